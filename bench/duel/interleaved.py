"""Interleaved measurement: two sides alive at once and never at work at the same time, over fresh process pairs.

`InterleavedRunner` owns the processes, and measures a process pair at a time.
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
from typing import Self, TypeVar

import psutil

from bench.core import code
from bench.core.case import Status
from bench.core.code import ImportedModule
from bench.core.errors import BenchError, ExitCode
from bench.core.observation import RunMetadata
from bench.core.protocol import CodeImported, Event, Finished, Request, Started, TimedBatch, TimedPhase
from bench.duel.rounds import Round, SideRound
from bench.duel.sides import PreparedSide
from bench.run.server import Server, default_isolation, killed_by

ROUND_SECONDS = 0.5
"""A round's time on the slower side: long beside the ticks in which the system counts CPU time."""

BATCH_SECONDS = 0.03
"""A timed batch's time: the two sides' batches alternate within a round. What neighbours on the machine do to a step
changes it by a third, and comes and goes within tenths of a second: of whole rounds one side would have the better and
the other the worse. A timed batch is a step at least, and long beside the tenths of a millisecond between two."""

ROUNDS = 8
"""Rounds of a process pair, after the discarded first one. A fresh pair costs about six seconds and the rounds eight;
with four, ten minutes would hold two fifths more pairs, each less sure by a fifth (SimpleRNN) to a half (LSTM)."""

PAIRS_PER_SERVER = 4
"""The processes of pairs are forked from two servers, which have imported the backend and are replaced after so many
pairs: where a server's libraries and heap lie, all its children inherit. New ones for each pair would take a quarter of
the time."""

_WARM_STEPS = 2
_TRIAL_STEPS = 8
_TRIALS = 3
"""How the batching is found: by the first pair's median step."""

_SILENCE_SECONDS = 300.0
"""A side that reports nothing for so long is killed: a timed batch is far shorter, compiling takes seconds to a
minute."""

T = TypeVar("T", bound=Event)

ImportedCode = tuple[ImportedModule, ...]


class SideFailedError(BenchError):
    """A side of a duel did not do what was asked of it."""

    exit_code = ExitCode.RUNS_FAILED


@dataclass(frozen=True)
class Batching:
    """How a side's work is cut: the same on both sides, and in all pairs of a duel."""

    steps: int
    """Steps of a timed batch."""
    batches: int
    """Timed batches of a side in a round."""

    @classmethod
    def of(cls, step_seconds: float) -> Batching:
        """The batching for steps that take so long on the slower side."""
        steps = max(1, round(BATCH_SECONDS / step_seconds))
        return cls(steps, max(1, round(ROUND_SECONDS / (steps * step_seconds))))


@dataclass(frozen=True, kw_only=True)
class ProcessPair:
    """What was measured with one fresh process of each side."""

    rounds: tuple[Round, ...]
    metadata: tuple[RunMetadata, RunMetadata]
    """The last metadata of A and of B."""
    code: tuple[ImportedCode, ImportedCode] = ((), ())
    """What A and B imported to build their models."""
    batching: Batching
    seconds: float
    """From the start of both processes to the end of both, and this pair's part of what starting their servers took."""


class InterleavedRunner:
    """The two sides' servers and their present process pair; a context manager that leaves no process behind.

    Args:
        a: the base.
        b: what is compared with it.
        data: the verified data file of their task.
        folder: where each process's log goes.
        phase: what a timed batch does.
        cpus: logical processors to run on; empty: all that the harness may use.
        check_code: is given what A and B imported, before anything of a pair is timed; raises to refuse it.
        on_tick: called about once a second while nothing is reported.
        clock: seconds.
    """

    def __init__(
        self,
        a: PreparedSide,
        b: PreparedSide,
        *,
        data: Path | None,
        folder: Path,
        phase: TimedPhase = TimedPhase.TRAIN,
        cpus: tuple[int, ...] = (),
        check_code: Callable[[ImportedCode, ImportedCode], None] = lambda a, b: None,
        on_tick: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sides = (a, b)
        self._data, self._folder, self._phase, self._cpus = data, folder, phase, cpus
        self._check_code, self._on_tick, self._clock = check_code, on_tick, clock
        self._servers: dict[int, Server] = {}
        self._generation, self._starting_seconds = 0, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End both servers, and what they run."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def prepare(self, number: int = 0) -> None:
        """Wait until both servers for the pair of this number have imported their backend.

        Raises:
            SideFailedError: one of them can't.
        """
        generation = number // PAIRS_PER_SERVER
        if generation != self._generation:
            self.close()
        self._generation = generation
        begun = self._clock()
        for index in _order(generation):  # both import at once
            side, server = self._sides[index], self._servers.get(index)
            if server is not None and not server.settle():
                server.close()
                server = None
            if server is None:
                isolation = default_isolation(side.case.device)
                self._servers[index] = Server(side.case.backend, side.worker, isolation, self._cpus, side.environment)
        if all(server.ready for server in self._servers.values()):
            return
        for index, side in enumerate(self._sides):
            server = self._servers[index]
            if not server.ready:
                server.wait_ready(self._clock, self._on_tick)
            if server.problem:
                raise SideFailedError(f"{_name(index)} ({side.title}): {server.problem}")
        self._starting_seconds = self._clock() - begun

    def measure(self, number: int, batching: Batching | None, rounds: int = ROUNDS, begun: float = 0.0) -> ProcessPair:
        """Measure one fresh process pair: both build, warm up, and do so many rounds, A B B A.

        Whatever one side must do first (a timed batch, the start of its process, of its server) the other does first as
        often.

        Args:
            number: of the pair, from 0; it decides which side is first in what.
            batching: None finds it out.
            rounds: the number of rounds, after the discarded first one.
            begun: the beginning of the duel, by the clock.

        Raises:
            SideFailedError: a side died, fell silent, or ran another kernel than the one asked for.
            UsageError: a side did not import its own code.
        """
        self.prepare(number)
        start = self._clock()
        with contextlib.ExitStack() as stack:
            both = {index: stack.enter_context(self._process(index, number)) for index in _order(number // 2)}
            # both build and compile at the same time, and then do a round that is discarded
            imported = {index: process.imported_code() for index, process in both.items()}
            self._check_code(imported[0], imported[1])
            if batching is None:
                _together(both, _WARM_STEPS)
                batching = Batching.of(_step_seconds(list(both.values())))
            for _ in range(batching.batches):
                _together(both, batching.steps)
            measured = []
            for round_number in range(rounds):
                a, b = self._round(both, batching, round_number + number, begun)
                measured.append(Round(group=number, number=round_number, sides={0: a, 1: b}))
            metadata = {index: process.end() for index, process in both.items()}
        for server in self._servers.values():
            server.settle()  # until both processes are gone
        return ProcessPair(
            rounds=tuple(measured),
            metadata=(metadata[0], metadata[1]),
            code=(imported[0], imported[1]),
            batching=batching,
            seconds=self._clock() - start + self._starting_seconds / PAIRS_PER_SERVER,
        )

    def _round(
        self, both: Mapping[int, _SideProcess], batching: Batching, first: int, begun: float
    ) -> tuple[SideRound, SideRound]:
        """Timed batches in the order A B B A A B B A, or the other way round where `first` is odd."""
        sums = {index: _Sums() for index in both}
        for batch in range(batching.batches):
            for index in _order(first + batch):
                side, idle = sums[index], both[1 - index]
                start, idle_before = self._clock(), idle.cpu_seconds()
                timed = both[index].time_batch(batching.steps)
                side.start_seconds = start - begun if math.isnan(side.start_seconds) else side.start_seconds
                side.batches.append(timed.seconds)
                side.cpu_seconds += timed.cpu_seconds
                side.idle_cpu_seconds += idle.cpu_seconds() - idle_before
        return sums[0].side_round(batching), sums[1].side_round(batching)

    @contextlib.contextmanager
    def _process(self, index: int, number: int) -> Iterator[_SideProcess]:
        side, server = self._sides[index], self._servers[index]
        log = self._folder / f"{'ab'[index]}{number}.log"
        request = Request(case=side.case, data=self._data, log=log.absolute(), phase=self._phase)
        process = _SideProcess(f"{_name(index)} ({side.title})", server, request, self._on_tick, self._clock)
        try:
            yield process
        finally:
            process.close()
            if not process.finished:  # it is killed, with its server
                self._servers.pop(index).close()


@dataclass
class _Sums:
    """What adds up over a side's timed batches of a round."""

    start_seconds: float = math.nan
    batches: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    idle_cpu_seconds: float = 0.0

    def side_round(self, batching: Batching) -> SideRound:
        return SideRound(
            steps=batching.steps * batching.batches,
            batches=tuple(self.batches),
            cpu_seconds=self.cpu_seconds,
            idle_cpu_seconds=self.idle_cpu_seconds,
            start_seconds=self.start_seconds,
        )


class _SideProcess:
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

    def command(self, steps: int) -> None:
        """Let it do so many steps; 0 ends the side."""
        with contextlib.suppress(BrokenPipeError):  # it has died, which `expect` finds out
            os.write(self._commands, f"{steps}\n".encode())

    def time_batch(self, steps: int) -> TimedBatch:
        """Let it do so many steps, and wait for their times."""
        self.command(steps)
        return self.expect(TimedBatch)

    def imported_code(self) -> ImportedCode:
        """Wait until it has built its model, and give what it imported for that."""
        return code.from_json(self.expect(CodeImported).modules_json)

    def end(self) -> RunMetadata:
        """Let it report its metadata, and end."""
        self.command(0)
        metadata = self.expect(RunMetadata)
        self.expect(Finished)
        return metadata

    def cpu_seconds(self) -> float:
        """CPU time of the process so far; NaN where it can't be read."""
        try:
            times = self._process.cpu_times() if self._process else None
        except psutil.Error:
            return math.nan
        return times.user + times.system if times else math.nan

    def expect(self, kind: type[T]) -> T:
        """Wait for an event of this kind.

        Raises:
            SideFailedError: the side ends, or reports nothing for too long.
        """
        last_event = self._clock()
        for event in self._events:
            if event is None:
                self._on_tick()
                if self._clock() - last_event > _SILENCE_SECONDS:
                    self._server.dump()
                    raise self._failed(f"silent for {_SILENCE_SECONDS:g} s, killed")
                continue
            last_event = self._clock()
            if isinstance(event, Started):
                self._process = psutil.Process(event.pid)
            if isinstance(event, Finished):
                self.finished = True
                if event.status is not Status.OK:
                    raise self._failed(event.error or event.status.value)
            if isinstance(event, kind):
                return event
        exit_code = self._server.exit_code()
        if exit_code is None:
            raise self._failed("its process died, and its server with it")
        ending = f"ended with exit code {exit_code}" if exit_code >= 0 else f"was {killed_by(-exit_code)}"
        raise self._failed(f"its process {ending}")

    def _failed(self, what: str) -> SideFailedError:
        return SideFailedError(f"{self._name} failed: {what}; its log is {self._request.log}")


def _together(both: Mapping[int, _SideProcess], steps: int) -> None:
    """Let both sides work at once; the times are discarded."""
    for process in both.values():
        process.command(steps)
    for process in both.values():
        process.expect(TimedBatch)


def _step_seconds(both: Sequence[_SideProcess]) -> float:
    """The median time of a step on the slower side."""
    seconds: list[list[float]] = [[], []]
    for _ in range(_TRIALS):
        for trial, process in zip(seconds, both, strict=True):
            trial.append(process.time_batch(_TRIAL_STEPS).seconds / _TRIAL_STEPS)
    return max(map(statistics.median, seconds))


def _order(number: int) -> tuple[int, int]:
    """Which side is first, alternately."""
    return (0, 1) if number % 2 == 0 else (1, 0)


def _name(index: int) -> str:
    return "AB"[index]
