"""Watches the device beside a run, from the harness and never in the run: clocks, heat, power, memory, energy.

A thread asks the driver 20 times a second where there is a card; the counters of energy are read when the run reports
that a phase begins or has ended. What was not there to be asked, or was not seen, is None in the record; a driver that
no longer responds is not asked again.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from types import TracebackType
from typing import Any, Self, TypeVar

from bench.core.case import Case
from bench.core.observation import Observation, RunMetadata
from bench.core.protocol import Began, Event, Started
from bench.host.cuda_devices import VISIBLE
from bench.host.energy import EnergyCounter, IdlePower, joules_between, measure_idle, open_counter
from bench.host.nvml import Gpu, GpuFacts, GpuReading, OpenCard, open_gpu

SAMPLE_SECONDS = 0.05
"""From one reading to the next: twice the ten a second that a fall of the clock in a short epoch needs."""
_PAUSE_SECONDS = 0.005
"""The least between the end of a reading and the next: a driver that takes long to respond gets a rest."""
_RESPONSE_SECONDS = 10.0
"""How long a reading may take: a driver that has lost its card may never respond."""
_TIMED = ("train", "predict")
"""The phases whose clocks matter: those that are compared."""
_CALLS_BATCH = 1


class DeviceWatcher:
    """Gives each run of a campaign its watch; a device is opened, and its idle power measured, once.

    Args:
        open_card: gives the card of a device.
        counter_of: gives the counter of energy of a device.
        idle: measures idle power, before anything runs.
    """

    def __init__(
        self,
        open_card: OpenCard = open_gpu,
        counter_of: Callable[[Gpu | None, str], EnergyCounter | None] = open_counter,
        idle: Callable[[EnergyCounter], IdlePower | None] = measure_idle,
    ) -> None:
        self._open_card, self._counter_of, self._idle = open_card, counter_of, idle
        self._opened: dict[tuple[str, str | None], _Device] = {}

    def watch(self, case: Case, variables: Mapping[str, str]) -> RunWatch:
        """The watch of a run, a context that is there from before its request until its end.

        Args:
            case: of the run.
            variables: those that its process gets beside the harness's: they may show it another card.
        """
        environ = {**os.environ, **variables}
        key = case.device, environ.get(VISIBLE)
        device = self._opened.get(key)
        if device is None:
            card = self._open_card(case.device, environ)
            counter = self._counter_of(card, case.device)
            device = _Device(card, counter, self._idle(counter) if counter else None)
            self._opened[key] = device
        return RunWatch(device)


@dataclass
class _Device:
    card: Gpu | None
    counter: EnergyCounter | None
    idle: IdlePower | None

    def give_up(self) -> None:
        """Ask it no more: its driver has not responded."""
        self.card = self.counter = None


@dataclass
class _Seen:
    """What the sampling thread has seen of a card."""

    readings: int = 0
    timed: list[GpuReading] = field(default_factory=list)
    longest_gap_seconds: float | None = None
    """Between two successive readings in timed phases."""
    celsius: int | None = None
    process_bytes: int | None = None
    other_processes: int | None = None
    _timed_at: float | None = None

    def add(self, reading: GpuReading, at_seconds: float, *, timed: bool, pid: int | None) -> None:
        self.readings += 1
        self.celsius = _largest(self.celsius, reading.celsius)
        if timed:
            self.timed.append(reading)
            gap = None if self._timed_at is None else at_seconds - self._timed_at
            self.longest_gap_seconds = _largest(self.longest_gap_seconds, gap)
        self._timed_at = at_seconds if timed else None
        self._add_processes(reading.process_bytes or {}, timed=timed, pid=pid)

    def _add_processes(self, processes: Mapping[int, int | None], *, timed: bool, pid: int | None) -> None:
        """What is timed has a context on the card, whatever number its process has there: containers hide it."""
        if not processes or not (timed or pid in processes):
            return
        self.other_processes = _largest(self.other_processes, len(processes) - 1)
        for number, used in processes.items():
            if number == pid or len(processes) == 1:
                self.process_bytes = _largest(self.process_bytes, used)


class RunWatch:
    """What the harness sees of the device during one run. `saw` is called with each event of the run."""

    def __init__(self, device: _Device) -> None:
        self._device = device
        self._card, self._counter, self._idle = device.card, device.counter, device.idle
        self._phase: str | None = None
        self._pid: int | None = None
        self._begun: tuple[float, float] | None = None
        self._calls: list[Observation] = []
        self._calls_energy: tuple[float, float] | None = None
        self._seen = _Seen()
        self._facts: GpuFacts | None = None
        self._before: GpuReading | None = None
        self._after: GpuReading | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._card is not None:
            self._facts, self._before = self._card.facts(), self._card.read()
            self._thread = threading.Thread(target=self._sample, args=(self._card,), daemon=True, name="device")
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is None or self._card is None:
            return
        self._thread.join(_RESPONSE_SECONDS)
        if self._thread.is_alive():
            self._device.give_up()
        else:
            self._after = self._card.read()

    def _sample(self, card: Gpu) -> None:
        due = time.monotonic() + SAMPLE_SECONDS
        while not self._stop.wait(max(_PAUSE_SECONDS, due - time.monotonic())):
            asked, phase = time.monotonic(), self._phase
            due = max(due, asked) + SAMPLE_SECONDS
            reading = card.read()
            self._seen.add(reading, asked, timed=phase in _TIMED and phase == self._phase, pid=self._pid)

    def saw(self, event: Event, at_seconds: float) -> Event:
        """Note an event, and give it back, an observation with the energy of its phase.

        Args:
            event: of the run.
            at_seconds: when it came, by any clock.
        """
        if isinstance(event, Started):
            self._pid = event.pid
        elif isinstance(event, Began):
            self._phase = event.phase
            joules = self._joules()
            self._begun = None if joules is None else (at_seconds, joules)
        elif isinstance(event, Observation):
            if event.phase == "predict":
                return self._saw_call(event, at_seconds)
            energy, idle = self._used(at_seconds)
            self._phase = None
            return replace(event, energy_joules=energy, idle_energy_joules=idle)
        return event

    def _saw_call(self, call: Observation, at_seconds: float) -> Observation:
        """The calls at batch 1 are reported together when all are made: what was used since they began is theirs."""
        if call.predict_batch == _CALLS_BATCH:
            if not self._calls:
                energy, idle = self._used(at_seconds)
                self._calls_energy = None if energy is None or idle is None else (energy, idle)
            self._calls.append(call)
        return call

    def _joules(self) -> float | None:
        return None if self._counter is None or self._idle is None else self._counter.joules()

    def _used(self, at_seconds: float) -> tuple[float | None, float | None]:
        """What was used since the phase began: beyond idle power, and by it."""
        if self._begun is None or self._idle is None:
            return None, None
        begun, before = self._begun
        used = joules_between(before, self._joules())
        idle = self._idle.watts * (at_seconds - begun)
        return (None, None) if used is None else (used - idle, idle)

    def observations(self) -> tuple[Observation, ...]:
        """The rows that the harness adds to a run's own."""
        if self._calls_energy is None:
            return ()
        energy, idle = self._calls_energy
        calls = len(self._calls)
        return (Observation(phase="calls", samples=calls, energy_joules=energy, idle_energy_joules=idle),)

    def completed(self, metadata: RunMetadata) -> RunMetadata:
        """What the run has reported of itself, with what was seen from here; called when the watch has ended."""
        metadata = replace(
            metadata,
            idle_watts=self._idle.watts if self._idle else None,
            energy_counter=self._counter.source if self._counter else None,
        )
        if self._facts is None:
            return metadata
        timed = self._seen.timed
        slowed = [reading.throttling for reading in timed if reading.throttling is not None]
        reasons = dict.fromkeys(reason for throttling in slowed for reason in throttling)
        watts = [reading.watts for reading in timed if reading.watts is not None]
        clocks = [reading.sm_mhz for reading in timed if reading.sm_mhz is not None]
        memory_clocks = [reading.memory_mhz for reading in timed if reading.memory_mhz is not None]
        return replace(
            metadata,
            device_process_bytes=self._seen.process_bytes,
            device_sm_mhz_highest=max(clocks, default=None),
            device_sm_mhz_lowest=min(clocks, default=None),
            device_memory_mhz_lowest=min(memory_clocks, default=None),
            device_celsius_highest=self._seen.celsius,
            device_watts=sum(watts) / len(watts) if watts else None,
            device_throttling=", ".join(reasons) if slowed else None,
            device_others=self._seen.other_processes,
            device_json=json.dumps(
                {
                    **asdict(self._facts),
                    "before": _plain(self._before),
                    "after": _plain(self._after),
                    "readings": self._seen.readings,
                    "timed_readings": len(timed),
                    "longest_gap_seconds": self._seen.longest_gap_seconds,
                },
                sort_keys=True,
            ),
        )


def _plain(reading: GpuReading | None) -> dict[str, Any] | None:
    """A reading as JSON has it; other processes are counted, and not named."""
    if reading is None:
        return None
    processes = reading.process_bytes
    values = {name: value for name, value in asdict(reading).items() if name != "process_bytes"}
    return {**values, "processes": None if processes is None else len(processes)}


_Number = TypeVar("_Number", int, float)


def _largest(known: _Number | None, value: _Number | None) -> _Number | None:
    return value if known is None else known if value is None else max(known, value)
