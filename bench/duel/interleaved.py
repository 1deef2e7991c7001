"""Interleaved measurement: several sides alive at once, never two at work at a time, over fresh process groups.

`InterleavedRunner` owns the processes, and measures a process group at a time.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from bench.core.observation import RunMetadata
from bench.core.protocol import Request, TimedBatch, TimedPhase
from bench.duel.cores import move, shared_cores
from bench.duel.device_share import sharing_devices
from bench.duel.device_use import DeviceUse, DeviceWatch
from bench.duel.orders import williams_square
from bench.duel.rounds import ANCHOR, Round, SideRound, side_key, side_name
from bench.duel.side_process import ImportedCode, SideFailedError, SideProcess
from bench.duel.sides import PreparedSide
from bench.host.hardware import usable_cores
from bench.run.server import Isolation, Server, WorkerEnvironment, default_isolation

ROUND_SECONDS = 0.5
"""A round's time on the slowest side: long beside the ticks in which the system counts CPU time."""

BATCH_SECONDS = 0.03
"""A timed batch's time: the sides' batches alternate within a round. What neighbours on the machine do to a step
changes it by a third, and comes and goes within tenths of a second: of whole rounds one side would have the better and
the other the worse. A timed batch is a step at least, and long beside the tenths of a millisecond between two."""

ANCHOR_SECONDS = 0.008
"""The time of a batch of NumPy's anchor. It is there for comparisons between occasions, which vary by percents: a
quarter of a side's time is enough. A trained anchor's batch is a side's."""

ROUNDS = 12
"""The most rounds of a process group, after the discarded first one (`bench.duel.allocation`). A fresh group of two
costs about ten seconds and these rounds twelve; with sixteen a difference of 5 % would need more than three minutes."""

_MOST_AT_ONCE = 4
"""The most groups whose servers are started together: a server that has imported its backend takes half a gigabyte."""

_WARM_STEPS = 2
_TRIAL_STEPS = 8
_TRIALS = 3
"""How the batching is found: by the first group's median step."""


@dataclass(frozen=True)
class Batching:
    """How the work is cut: the same on all sides, and in all process groups of a measurement."""

    steps: int
    """Steps of a side's timed batch."""
    batches: int
    """Timed batches of a side in a round."""
    anchor_steps: int = 0
    """Steps of the anchor's timed batch."""
    multiples: Mapping[int, int] = field(default_factory=dict)
    """How many times as many steps a much faster side on a GPU does in a timed batch; 1 goes unsaid."""

    @classmethod
    def of(
        cls,
        step_seconds: float,
        anchor_seconds: float | None,
        round_seconds: float = ROUND_SECONDS,
        anchor_batch_seconds: float = ANCHOR_SECONDS,
    ) -> Batching:
        """The batching for sides of which the slowest takes so long for a step.

        Args:
            step_seconds: of the slowest side.
            anchor_seconds: a step of the anchor; None without one.
            round_seconds: a round's time on the slowest side.
            anchor_batch_seconds: a timed batch of the anchor.
        """
        steps = max(1, round(BATCH_SECONDS / step_seconds))
        return cls(
            steps,
            max(1, round(round_seconds / (steps * step_seconds))),
            0 if anchor_seconds is None else max(1, round(anchor_batch_seconds / anchor_seconds)),
        )

    def with_multiples(self, step_seconds: Mapping[int, float]) -> Batching:
        """The same for sides that start work on a GPU ahead of it: in a batch of few steps they don't show their speed.

        Args:
            step_seconds: of each side on a GPU.
        """
        times = {side: int(BATCH_SECONDS / (self.steps * seconds)) for side, seconds in step_seconds.items()}
        return replace(self, multiples={side: multiple for side, multiple in times.items() if multiple > 1})

    def steps_of(self, side: int) -> int:
        """Steps of a timed batch of this side."""
        return self.anchor_steps if side == ANCHOR else self.steps * self.multiples.get(side, 1)


@dataclass(frozen=True, kw_only=True)
class ProcessGroup:
    """What was measured with one fresh process of each side that took part."""

    rounds: tuple[Round, ...]
    metadata: Mapping[int, RunMetadata]
    """The last metadata of each, the anchor's too, by its number."""
    code: Mapping[int, ImportedCode] = field(default_factory=dict)
    """What each side imported to build its model."""
    device_use: DeviceUse | None = None
    """What the driver reported of the sides' cards; None where there is none."""
    batching: Batching
    seconds: float
    """`server_seconds`, and from then to the end of the last process; without the search for the batching."""
    server_seconds: float = 0.0
    """From the start of the first server until all had imported their backend; where the servers of several groups were
    started together, an equal part of that."""

    @property
    def sides(self) -> int:
        """How many took part, without the anchor."""
        return len(self.metadata.keys() - {ANCHOR})


class InterleavedRunner:
    """The servers of all sides and their present process group; a context manager that leaves no process behind.

    Args:
        sides: what is measured, by number from 0.
        anchor: what else is measured, for comparisons with other occasions; None for none.
        data: the verified data file of their task.
        folder: where each process's log goes.
        phase: what a timed batch does.
        cpus: logical processors to run on; empty: all that the harness may use.
        fresh_servers: replace the servers before each group, which makes groups independent of each other; else they
            are kept, and `start` starts them before anything is timed.
        round_seconds: a round's time on the slowest side.
        check_code: is given what each side imported, before anything of a group is timed; raises to refuse it.
        on_tick: called about once a second while nothing is reported.
        clock: seconds.
        watch: asks the drivers of the sides' cards; None makes one.
    """

    def __init__(
        self,
        sides: Sequence[PreparedSide],
        *,
        anchor: PreparedSide | None = None,
        data: Path | None,
        folder: Path,
        phase: TimedPhase = TimedPhase.TRAIN,
        cpus: tuple[int, ...] = (),
        fresh_servers: bool = True,
        round_seconds: float = ROUND_SECONDS,
        check_code: Callable[[Mapping[int, ImportedCode]], None] = lambda code: None,
        on_tick: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        watch: DeviceWatch | None = None,
    ) -> None:
        self._watch = watch or DeviceWatch(dict(enumerate(sides)))
        with_anchor = dict(enumerate(sides)) | ({} if anchor is None else {ANCHOR: anchor})
        self._sides = dict(zip(with_anchor, sharing_devices([*with_anchor.values()]), strict=True))
        self._anchor_batch_seconds = BATCH_SECONDS if anchor and anchor.computes_on_device else ANCHOR_SECONDS
        self._cores = shared_cores([*self._sides.values()], phase, cpus)
        self._data, self._folder, self._phase, self._cpus = data, folder, phase, self._cores or cpus
        self._fresh_servers, self._round_seconds = fresh_servers, round_seconds
        self._check_code, self._on_tick, self._clock = check_code, on_tick, clock
        self._servers: dict[int, Server] = {}
        self._ahead: list[dict[int, Server]] = []
        """The servers of groups to come, started together with those of an earlier group."""
        self._server_seconds = 0.0
        """A group's part of the time in which servers were started."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all servers, and what they run."""
        while self._ahead:
            self._next_servers()
        self._next_servers()

    def _next_servers(self) -> None:
        """End the present group's servers; those that were started ahead are the next group's."""
        for server in self._servers.values():
            server.close()
        self._servers = self._ahead.pop(0) if self._ahead else {}

    def measure(
        self,
        number: int,
        batching: Batching | None,
        sides: Sequence[int],
        rounds: int = ROUNDS,
        begun: float = 0.0,
    ) -> ProcessGroup:
        """Measure one fresh process group, its processes from fresh servers: all build, warm up, and do the rounds.

        A server's libraries and heap lie where they happen to, and all its children inherit that: groups of one server
        would be no independent replicates. Sides that import the same share their group's server: what they inherit
        alike is in none of their ratios, and each import costs seconds. Whatever one side must do first (a timed batch,
        the start of its server and of its process) each other does first as often, over as many groups as there are
        sides.

        Args:
            number: of the group, from 0; it decides which side is first in what.
            batching: None finds it out.
            sides: the numbers of those that take part.
            rounds: the number of rounds, after the discarded first one.
            begun: the beginning of the measurement, by the clock.

        Raises:
            SideFailedError: a side died, fell silent, or ran another kernel than the one asked for.
            UsageError: a side did not import its own code.
        """
        start, search_seconds = self._clock(), 0.0
        orders = [[sides[place] for place in row] for row in williams_square(len(sides))]
        with_anchor = [[*order, *(key for key in self._sides if key == ANCHOR)] for order in orders]
        order, *later = (with_anchor[(number + more) % len(orders)] for more in range(_MOST_AT_ONCE))
        self.start(order, *later)
        waited = self._clock() - start
        server_seconds = self._server_seconds if self._fresh_servers else waited
        with contextlib.ExitStack() as stack:
            processes = {side: stack.enter_context(self._process(side, number)) for side in order}
            # all build and compile at the same time, and then do a round that is discarded
            imported = {side: processes[side].imported_code() for side in order}
            self._check_code({side: code for side, code in imported.items() if side != ANCHOR})
            if batching is None:
                on_cards = [side for side in sides if self._sides[side].case.device != "cpu"]
                search = self._clock()
                batching = _found_out(processes, self._round_seconds, on_cards, self._anchor_batch_seconds)
                search_seconds = self._clock() - search
            for _ in range(batching.batches):
                _together(processes, batching.steps_of)
            self._watch.all_wait({side: process.pid for side, process in processes.items()})
            measured = []
            for each in range(rounds):
                core = move([process.pid for process in processes.values()], self._cores, each)
                of_sides = self._round(processes, batching, orders, number + each, begun)
                measured.append(Round(group=number, number=each, core=core, sides=of_sides))
                self._watch.round_ended()
            metadata = {side: processes[side].end() for side in order}
        for server in self._servers.values():
            server.settle()  # until all processes are gone
        if self._fresh_servers:
            self._next_servers()
        return ProcessGroup(
            rounds=tuple(measured),
            metadata=metadata,
            code=imported,
            device_use=self._watch.seen(),
            batching=batching,
            seconds=self._clock() - start - search_seconds - waited + server_seconds,
            server_seconds=server_seconds,
        )

    def start(self, order: Sequence[int], *later: Sequence[int]) -> None:
        """Start the servers of these sides that are not there, and wait until all have imported their backend.

        An import takes seconds of one processor: where there are more than a group's servers keep busy, those of groups
        to come are started at the same time.

        Args:
            order: the numbers of the sides of the present group, in the order in which they are started.
            later: the same of the groups to come, where each has fresh servers.

        Raises:
            SideFailedError: one of them can't.
        """
        begun = self._clock()
        missing = [number for number in order if number not in self._servers or not self._servers[number].settle()]
        if not missing:
            return
        for number in missing:
            if number in self._servers:
                self._servers.pop(number).close()
        started = [(self._servers, missing)]
        if self._fresh_servers and not self._servers:
            started += [({}, list(each)) for each in later[: self._groups_at_once(order) - 1]]
            self._ahead = [servers for servers, _ in started[1:]]
        for servers, numbers in started:
            for number in numbers:
                servers[number] = self._server_of(self._sides[number], servers)
        for servers, numbers in started:
            for number in sorted(numbers, key=lambda number: (number == ANCHOR, number)):
                server = servers[number]
                if not server.ready:
                    server.wait_ready(self._clock, self._on_tick)
                if server.problem:
                    raise SideFailedError(f"{self._title(number)}: {server.problem}")
        self._server_seconds = (self._clock() - begun) / len(started)

    def _groups_at_once(self, order: Sequence[int]) -> int:
        """The number of groups whose servers the processors start in the time of one; NumPy's anchor is no work."""
        imports: list[object] = []
        for side in (self._sides[number] for number in order):
            if side.computes_on_device and _imports_of(side) not in imports:
                imports.append(_imports_of(side))
        return max(1, min(_MOST_AT_ONCE, len(self._cpus or usable_cores()) // len(imports)))

    def _server_of(self, side: PreparedSide, servers: Mapping[int, Server]) -> Server:
        """The server that imports what a side needs: a new one, unless that of another side of its group does."""
        for number, server in servers.items():
            if _imports_of(self._sides[number]) == _imports_of(side):
                return server
        backend, worker, isolation, environment = _imports_of(side)
        return Server(backend, worker, isolation, self._cpus, environment)

    def _round(
        self,
        processes: Mapping[int, SideProcess],
        batching: Batching,
        orders: Sequence[Sequence[int]],
        first: int,
        begun: float,
    ) -> dict[int, SideRound]:
        """A timed batch of each side in one of the balanced orders, then of the anchor, and again in the next order."""
        sums = {side: _Sums() for side in processes}
        for batch in range(batching.batches):
            for side in (*orders[(first + batch) % len(orders)], *(key for key in processes if key == ANCHOR)):
                idle = [process for key, process in processes.items() if key != side]
                start, idle_before = self._clock(), sum(process.cpu_seconds() for process in idle)
                timed = processes[side].time_batch(batching.steps_of(side))
                sums[side].add(timed, start - begun, sum(process.cpu_seconds() for process in idle) - idle_before)
        return {side: sums[side].side_round(batching.steps_of(side)) for side in sorted(sums)}

    @contextlib.contextmanager
    def _process(self, number: int, group: int) -> Iterator[SideProcess]:
        log = self._folder / f"{side_key(number)}{group}.log"
        request = Request(case=self._sides[number].case, data=self._data, log=log.absolute(), phase=self._phase)
        process = SideProcess(self._title(number), self._servers[number], request, self._on_tick, self._clock)
        try:
            yield process
        finally:
            process.close()

    def _title(self, number: int) -> str:
        return side_name(number) + ("" if number == ANCHOR else f" ({self._sides[number].title})")


@dataclass
class _Sums:
    """What adds up over a side's timed batches of a round."""

    start_seconds: float = math.nan
    batches: list[float] = field(default_factory=list)
    call_seconds: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    idle_cpu_seconds: float = 0.0

    def add(self, timed: TimedBatch, start_seconds: float, idle_cpu_seconds: float) -> None:
        self.start_seconds = start_seconds if math.isnan(self.start_seconds) else self.start_seconds
        self.batches.append(timed.seconds)
        self.call_seconds += timed.call_seconds
        self.cpu_seconds += timed.cpu_seconds
        self.idle_cpu_seconds += idle_cpu_seconds

    def side_round(self, steps: int) -> SideRound:
        return SideRound(
            steps=steps * len(self.batches),
            batches=tuple(self.batches),
            call_seconds=tuple(self.call_seconds),
            cpu_seconds=self.cpu_seconds,
            idle_cpu_seconds=self.idle_cpu_seconds,
            start_seconds=self.start_seconds,
        )


def _imports_of(side: PreparedSide) -> tuple[str, str, Isolation, WorkerEnvironment]:
    """What decides on what a side's server has imported, and how it starts processes."""
    return side.case.backend, side.worker, default_isolation(side.case.device), side.environment


def _together(processes: Mapping[int, SideProcess], steps: Callable[[int], int]) -> None:
    """Let all sides work at once; the times are discarded."""
    for side, process in processes.items():
        process.command(steps(side))
    for process in processes.values():
        process.expect(TimedBatch)


def _found_out(
    processes: Mapping[int, SideProcess], round_seconds: float, on_cards: Sequence[int], anchor_batch_seconds: float
) -> Batching:
    """The batching by the median steps of the slowest side and of the anchor, and of each side on a GPU."""
    _together(processes, lambda _: _WARM_STEPS)
    seconds: dict[int, list[float]] = {side: [] for side in processes}
    for _ in range(_TRIALS):
        for side, process in processes.items():
            seconds[side].append(process.time_batch(_TRIAL_STEPS).seconds / _TRIAL_STEPS)
    medians = {side: statistics.median(times) for side, times in seconds.items()}
    anchor = medians.pop(ANCHOR, None)
    batching = Batching.of(max(medians.values()), anchor, round_seconds, anchor_batch_seconds)
    return batching.with_multiples({side: medians[side] for side in on_cards})
