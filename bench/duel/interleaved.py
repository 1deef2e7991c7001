"""Two sides of a duel, both alive at once and never at work at the same time, over fresh pairs of processes.

`Arena` owns the processes; `fight` lets pairs of them take turns until `bench.duel.sequential` is sure or the
time is spent.
"""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self, TypeVar

import psutil

from bench.analysis.verdict import Verdict
from bench.core.case import Case, Status
from bench.core.errors import BenchError, ExitCode, UsageError
from bench.core.metrics import Margins, RunMetadata
from bench.core.protocol import Event, Finished, Request, Started, Stroke
from bench.duel import sequential as duel
from bench.duel.sequential import Look, Schedule, Slice
from bench.run.server import HARNESS_ENVIRONMENT, Server, WorkerEnvironment, default_isolation, killed_by

WORKER = "bench.worker.side"
"""The module that takes a side's turns; scripts and tests name another."""

SLICE_SECONDS = 0.5
"""What a slice takes on the slower side: long beside the ticks in which the system counts processor time."""

STROKE_SECONDS = 0.03
"""A slice is made of strokes, and the two sides' alternate: what neighbours on the machine do to a step changes it by a
third, and comes and goes within tenths of a second. Of whole slices one side would have the better and the other the
worse. A stroke is a step at least, and long beside the tenths of a millisecond between two."""

TURNS = 8
"""Of a pair, after one that isn't counted. A fresh pair costs about six seconds and the turns eight; with four, ten
minutes would hold two fifths more pairs, each less sure by a fifth (SimpleRNN) to a half (LSTM)."""

PAIRS_A_SERVER = 4
"""A pair's processes are forked from two servers, which have imported the backend and after so many pairs are replaced:
where a server's libraries and heap lie, all its children inherit. New ones for each pair would take a quarter of the
time."""

_WARM_STEPS = 2
_TRIAL_STEPS = 8
_TRIALS = 3
"""How the pace is found: by the first pair's median step."""

_SPARE_FRACTION = 0.08
"""Of the time budget: later pairs may take longer than the first, from which the looks are planned."""

_MOST_PAIRS = 60
"""However short they are: with twice as many, the interval would be a third narrower, and a fresh bias as large."""

_SPOILT = 3
"""So many more spoilt pairs than good ones, and this machine can't hold a duel now."""

_SILENCE_SECONDS = 300.0
"""A side that says nothing for so long is killed: a slice takes half a second, compiling seconds to a minute."""

T = TypeVar("T", bound=Event)


class SideFailedError(BenchError):
    """A side of a duel did not do what was asked of it."""

    exit_code = ExitCode.RUNS_FAILED


@dataclass(frozen=True, kw_only=True)
class Side:
    """What fights: a case, and where its code and packages come from."""

    title: str
    """As the user named it."""
    case: Case
    place: WorkerEnvironment = HARNESS_ENVIRONMENT
    worker: str = WORKER


@dataclass(frozen=True)
class Pace:
    """How much of its work a side does at a time: the same on both sides, and in all pairs of a duel."""

    steps: int
    """Of a stroke."""
    strokes: int
    """Of a slice."""

    @classmethod
    def of(cls, step_seconds: float) -> Pace:
        """The pace for steps that take so long."""
        steps = max(1, round(STROKE_SECONDS / step_seconds))
        return cls(steps, max(1, round(SLICE_SECONDS / (steps * step_seconds))))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What came of one pair of processes."""

    slices: tuple[Slice, ...]
    facts: tuple[RunMetadata, RunMetadata]
    """Of A and of B."""
    pace: Pace
    seconds: float
    """From the start of both processes to the end of both, and a share of what it took to start their servers."""


class Arena:
    """The two sides' servers and the pair of processes that they have just now; leaves no process behind.

    Args:
        a: the base.
        b: what is compared with it.
        data: the verified data file of their task.
        folder: where each process's log goes.
        phase: what a slice does: `train` or `predict`.
        cpus: processors to run on; empty: all that the harness has.
        on_tick: called about once a second while nothing is reported.
        clock: seconds.
    """

    def __init__(
        self,
        a: Side,
        b: Side,
        *,
        data: Path,
        folder: Path,
        phase: str = "train",
        cpus: tuple[int, ...] = (),
        on_tick: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sides = (a, b)
        self._data, self._folder, self._phase, self._cpus = data, folder, phase, cpus
        self._on_tick, self._clock = on_tick, clock
        self._servers: dict[int, Server] = {}
        self._generation, self._starting_seconds = 0, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_servers()

    def _close_servers(self) -> None:
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def prepare(self, number: int = 0) -> None:
        """Wait until both servers for the pair of this number have imported their backend.

        Raises:
            SideFailedError: one can't.
        """
        generation = number // PAIRS_A_SERVER
        if generation != self._generation:
            self._close_servers()
        self._generation = generation
        begun = self._clock()
        for index in _order(generation):  # both import at once
            side, server = self._sides[index], self._servers.get(index)
            if server is not None and not server.settle():
                server.close()
                server = None
            if server is None:
                isolation = default_isolation(side.case.device)
                self._servers[index] = Server(side.case.backend, side.worker, isolation, self._cpus, side.place)
        if all(server.ready for server in self._servers.values()):
            return
        for index, side in enumerate(self._sides):
            server = self._servers[index]
            if not server.ready:
                server.wait_ready(self._clock, self._on_tick)
            if server.problem:
                raise SideFailedError(f"{_name(index)} ({side.title}): {server.problem}")
        self._starting_seconds = self._clock() - begun

    def fight(self, number: int, pace: Pace | None, turns: int = TURNS, begun: float = 0.0) -> Pair:
        """One fresh pair of processes: they build, warm up, and take so many turns, A B B A.

        Whatever one side must do first (a turn, the start of its process, of its server) the other does first as often.

        Args:
            number: of the pair, from 0; it decides who is first in what.
            pace: None finds it out.
            turns: slices of each side.
            begun: when the duel began, by the clock.

        Raises:
            SideFailedError: a side died, fell silent, or ran another kernel than the one asked for.
        """
        self.prepare(number)
        start = self._clock()
        order = _order(number // 2)
        with contextlib.ExitStack() as stack:
            both = {index: stack.enter_context(self._fighter(index, number)) for index in order}
            # both build and compile at the same time, and then take a turn that isn't counted
            if pace is None:
                _each(both, _WARM_STEPS)
                pace = Pace.of(_step_seconds(list(both.values())))
            for _ in range(pace.strokes):
                _each(both, pace.steps)
            slices: list[Slice] = []
            for turn in range(turns):
                for index, sums in sorted(self._turn(both, pace, turn + number).items()):
                    slices.append(
                        Slice(
                            pair=number,
                            turn=turn,
                            side="ab"[index],
                            steps=pace.steps * pace.strokes,
                            seconds=math.fsum(sums.strokes),
                            cpu_seconds=sums.cpu_seconds,
                            idle_cpu_seconds=sums.idle_cpu_seconds,
                            start_seconds=sums.start - begun,
                            strokes=tuple(sums.strokes),
                        )
                    )
            facts = {index: fighter.end() for index, fighter in both.items()}
        for server in self._servers.values():
            server.settle()  # until both processes are gone
        seconds = self._clock() - start + self._starting_seconds / PAIRS_A_SERVER
        return Pair(slices=tuple(slices), facts=(facts[0], facts[1]), pace=pace, seconds=seconds)

    def _turn(self, both: Mapping[int, _Fighter], pace: Pace, number: int) -> dict[int, _Sums]:
        """A slice of each side, stroke by stroke: A B B A A B B A, or the other way round."""
        sums = {index: _Sums() for index in both}
        for stroke in range(pace.strokes):
            for index in _order(number + stroke):
                own, other = sums[index], both[1 - index]
                began, idle = self._clock(), other.cpu_seconds()
                done = both[index].stroke(pace.steps)
                own.start = began if math.isnan(own.start) else own.start
                own.strokes.append(done.seconds)
                own.cpu_seconds += done.cpu_seconds
                own.idle_cpu_seconds += other.cpu_seconds() - idle
        return sums

    @contextlib.contextmanager
    def _fighter(self, index: int, number: int) -> Iterator[_Fighter]:
        side, server = self._sides[index], self._servers[index]
        log = self._folder / f"{'ab'[index]}{number}.log"
        request = Request(case=side.case, data=self._data, log=log.absolute(), phase=self._phase)
        fighter = _Fighter(f"{_name(index)} ({side.title})", server, request, self._on_tick, self._clock)
        try:
            yield fighter
        finally:
            fighter.close()
            if not fighter.finished:  # it is killed, with its server
                self._servers.pop(index).close()


@dataclass
class _Sums:
    """Over one side's strokes of a turn."""

    start: float = math.nan
    """When the first began, by the clock."""
    strokes: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    idle_cpu_seconds: float = 0.0


class _Fighter:
    """One side's process of the present pair."""

    def __init__(
        self,
        name: str,
        server: Server,
        request: Request,
        on_tick: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.finished = False
        self._name, self._server, self._request = name, server, request
        self._on_tick, self._clock = on_tick, clock
        read, self._commands = os.pipe()
        self._events = server.events(request, read)
        self._process: psutil.Process | None = None

    def close(self) -> None:
        self._events.close()
        os.close(self._commands)

    def tell(self, steps: int) -> None:
        """So many steps are to be done; 0 ends the side."""
        with contextlib.suppress(BrokenPipeError):  # it has died, which `expect` finds out
            os.write(self._commands, f"{steps}\n".encode())

    def stroke(self, steps: int) -> Stroke:
        self.tell(steps)
        return self.expect(Stroke)

    def end(self) -> RunMetadata:
        self.tell(0)
        facts = self.expect(RunMetadata)
        self.expect(Finished)
        return facts

    def cpu_seconds(self) -> float:
        """Processor time of the process so far."""
        try:
            times = self._process.cpu_times() if self._process else None
        except psutil.Error:
            return math.nan
        return times.user + times.system if times else math.nan

    def expect(self, kind: type[T]) -> T:
        """Wait for such an event.

        Raises:
            SideFailedError: the side ends, or says nothing for too long.
        """
        heard = self._clock()
        for event in self._events:
            if event is None:
                self._on_tick()
                if self._clock() - heard > _SILENCE_SECONDS:
                    self._server.dump()
                    raise self._failed(f"silent for {_SILENCE_SECONDS:g} s, killed")
                continue
            heard = self._clock()
            if isinstance(event, Started):
                self._process = psutil.Process(event.pid)
            if isinstance(event, Finished):
                self.finished = True
                if event.status is not Status.OK:
                    raise self._failed(event.error or event.status.value)
            if isinstance(event, kind):
                return event
        code = self._server.exit_code()
        if code is None:
            raise self._failed("its process died, and its server with it")
        raise self._failed(f"its process {f'ended with exit code {code}' if code >= 0 else f'was {killed_by(-code)}'}")

    def _failed(self, what: str) -> SideFailedError:
        return SideFailedError(f"{self._name} failed: {what}; its log is {self._request.log}")


def _each(both: Mapping[int, _Fighter], steps: int) -> None:
    """A stroke of both at once, whose time isn't looked at."""
    for fighter in both.values():
        fighter.tell(steps)
    for fighter in both.values():
        fighter.expect(Stroke)


def _step_seconds(both: Sequence[_Fighter]) -> float:
    """What a step takes on the slower side."""
    seconds: list[list[float]] = [[], []]
    for _ in range(_TRIALS):
        for trial, fighter in zip(seconds, both, strict=True):
            trial.append(fighter.stroke(_TRIAL_STEPS).seconds / _TRIAL_STEPS)
    return max(map(statistics.median, seconds))


def _order(number: int) -> tuple[int, int]:
    """Which side is first, in turn."""
    return (0, 1) if number % 2 == 0 else (1, 0)


def _name(index: int) -> str:
    return "AB"[index]


class Fights(Protocol):
    """What `duel_until_sure` needs of an `Arena`."""

    def fight(self, number: int, pace: Pace | None, turns: int = TURNS, begun: float = 0.0) -> Pair:
        """See `Arena.fight`."""


class Reporter(Protocol):
    """Who is told how a duel goes on."""

    def pair_ended(self, log_ratio: float | None, so_far: Look, schedule: Schedule, seconds: float) -> None:
        """A pair has ended, `seconds` after the duel's beginning. Its ratio is None where it was spoilt."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a duel ended."""

    look: Look
    schedule: Schedule
    log_ratios: tuple[float, ...]
    """Of the pairs that count, in their order."""
    spoilt: int
    """Pairs that don't count, because a side used the processors in the other's turns."""
    dropped: int
    """Slices in whose time the other side used the processors."""
    slices: tuple[Slice, ...]
    facts: tuple[RunMetadata, RunMetadata]
    pace: Pace
    seconds: float
    needed_seconds: float | None
    """About how long it would have to be in all to be sure, where it isn't; None where no time would do."""


@dataclass
class _Record:
    """What has happened so far."""

    log_ratios: list[float] = field(default_factory=list)
    spoilt: int = 0
    pairs: list[Pair] = field(default_factory=list)

    @property
    def pair_seconds(self) -> float:
        return statistics.mean(pair.seconds for pair in self.pairs)


def duel_until_sure(
    arena: Fights,
    reporter: Reporter,
    *,
    budget_seconds: float,
    margins: Margins,
    turns: int = TURNS,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """Let fresh pairs fight until a look is sure, or the time is spent.

    Raises:
        UsageError: the budget is too short for a verdict.
        SideFailedError: a side failed.
    """
    begun = clock()
    record, schedule, pace = _Record(), Schedule.up_to(duel.FEWEST_PAIRS), None
    while True:
        number = len(record.pairs)
        pair = arena.fight(number, pace, turns, begun)
        record.pairs.append(pair)
        if pace is None:
            # the first pair's time says how many there can be; its ratio has no say in it
            pace, schedule = pair.pace, _schedule(pair.seconds, budget_seconds)
        ratio = duel.pair_log_ratio(pair.slices)
        if ratio is None:
            record.spoilt += 1
        else:
            record.log_ratios.append(ratio)
        good = len(record.log_ratios)
        so_far = duel.look(record.log_ratios, schedule.level(schedule.next_look(good)), margins)
        reporter.pair_ended(ratio, so_far, schedule, clock() - begun)
        at_a_look = ratio is not None and good in schedule.looks
        spent = clock() - begun + record.pair_seconds > budget_seconds or record.spoilt > good + _SPOILT
        if (at_a_look and so_far.verdict is not Verdict.INCONCLUSIVE) or good >= schedule.most or spent:
            break
    stopped = duel.decide(record.log_ratios, schedule, margins)
    everything = [one for pair in record.pairs for one in pair.slices]
    return Result(
        look=stopped,
        schedule=schedule,
        log_ratios=tuple(record.log_ratios),
        spoilt=record.spoilt,
        dropped=sum(map(duel.spun, everything)),
        slices=tuple(everything),
        facts=record.pairs[-1].facts,
        pace=pace,
        seconds=clock() - begun,
        needed_seconds=_needed(stopped, record, margins),
    )


def _schedule(pair_seconds: float, budget_seconds: float) -> Schedule:
    most = math.floor(budget_seconds * (1 - _SPARE_FRACTION) / pair_seconds)
    if most < duel.FEWEST_PAIRS:
        needed = duel.FEWEST_PAIRS * pair_seconds / (1 - _SPARE_FRACTION)
        raise UsageError(
            f"--budget {budget_seconds / 60:g} (minutes) is too short: a pair of processes takes {pair_seconds:.0f} s "
            f"here, and there is no verdict on fewer than {duel.FEWEST_PAIRS} pairs: "
            f"write --budget {math.ceil(needed / 6) / 10:g}."
        )
    return Schedule.up_to(min(most, _MOST_PAIRS))


def _needed(stopped: Look, record: _Record, margins: Margins) -> float | None:
    if stopped.verdict is not Verdict.INCONCLUSIVE:
        return None
    pairs = duel.pairs_needed(stopped, margins)
    return None if pairs is None else (pairs + record.spoilt) * record.pair_seconds
