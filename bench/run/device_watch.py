"""Watches the device beside a run, from the harness and never in the run: clocks, heat, power, memory, energy.

A thread asks the driver 20 times a second where there is a card; the counters of energy are read when the run reports
that a phase begins or has ended. What was not there to be asked is None in the record, and costs nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from bench.core.case import Case
from bench.core.observation import Observation, RunMetadata
from bench.core.protocol import Began, Event, Started
from bench.host.energy import EnergyCounter, IdlePower, measure_idle, open_counter
from bench.host.nvml import Gpu, GpuReading, open_gpu

SAMPLE_SECONDS = 0.05
"""Between two readings: twice the ten a second that a fall of the clock in a short epoch needs."""
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
        open_card: Callable[[str], Gpu | None] = open_gpu,
        counter_of: Callable[[Gpu | None, str], EnergyCounter | None] = open_counter,
        idle: Callable[[EnergyCounter], IdlePower | None] = measure_idle,
    ) -> None:
        self._open_card, self._counter_of, self._idle = open_card, counter_of, idle
        self._opened: dict[str, _Device] = {}

    def watch(self, case: Case) -> RunWatch:
        """The watch of a run, a context that is there from before its request until its end."""
        device = self._opened.get(case.device)
        if device is None:
            card = self._open_card(case.device)
            counter = self._counter_of(card, case.device)
            device = _Device(card, counter, self._idle(counter) if counter else None)
            self._opened[case.device] = device
        return RunWatch(device)


@dataclass(frozen=True)
class _Device:
    card: Gpu | None
    counter: EnergyCounter | None
    idle: IdlePower | None


@dataclass
class _Seen:
    """What the sampling thread has seen of a card."""

    readings: int = 0
    timed: list[GpuReading] = field(default_factory=list)
    celsius: int | None = None
    process_bytes: int | None = None
    other_processes: int = 0

    def add(self, reading: GpuReading, *, timed: bool, pid: int | None) -> None:
        self.readings += 1
        if timed:
            self.timed.append(reading)
        self.celsius = _largest(self.celsius, reading.celsius)
        if reading.process_bytes is not None:
            self.process_bytes = _largest(self.process_bytes, reading.process_bytes.get(pid) if pid else None)
            self.other_processes = max(self.other_processes, len(reading.process_bytes.keys() - {pid}))


class RunWatch:
    """What the harness sees of the device during one run. `saw` is called with each event of the run."""

    def __init__(self, device: _Device) -> None:
        self._card, self._counter, self._idle = device.card, device.counter, device.idle
        self._phase: str | None = None
        self._pid: int | None = None
        self._begun: tuple[float, float] | None = None
        self._calls: list[Observation] = []
        self._calls_energy: tuple[float, float] | None = None
        self._seen = _Seen()
        self._before: GpuReading | None = None
        self._after: GpuReading | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._card is not None:
            self._before = self._card.read()
            self._thread = threading.Thread(target=self._sample, args=(self._card,), daemon=True, name="device")
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None and self._card is not None:
            self._thread.join()
            self._after = self._card.read()

    def _sample(self, card: Gpu) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._seen.add(card.read(), timed=self._phase in _TIMED, pid=self._pid)

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
        joules = self._joules()
        if joules is None or self._begun is None or self._idle is None:
            return None, None
        begun, before = self._begun
        idle = self._idle.watts * (at_seconds - begun)
        return joules - before - idle, idle

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
        if self._card is None:
            return metadata
        timed = self._seen.timed
        reasons = dict.fromkeys(reason for reading in timed for reason in reading.throttling)
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
            device_throttling=", ".join(reasons),
            device_others=self._seen.other_processes,
            device_json=json.dumps(
                {
                    **asdict(self._card.facts()),
                    "before": _plain(self._before),
                    "after": _plain(self._after),
                    "readings": self._seen.readings,
                    "timed_readings": len(timed),
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


def _largest(known: int | None, value: int | None) -> int | None:
    return value if known is None else known if value is None else max(known, value)
