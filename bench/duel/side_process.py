"""One side's process in the present process group: its commands, its events, and what is left of it when it fails."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

from bench.core import code
from bench.core.case import Status
from bench.core.code import ImportedModule
from bench.core.errors import BenchError, ExitCode
from bench.core.observation import RunMetadata
from bench.core.protocol import CodeImported, Event, Finished, Request, Started, TimedBatch
from bench.run.server import Server, killed_by

_SILENCE_SECONDS = 300.0
"""A side that reports nothing for so long is killed: a timed batch is far shorter, compiling takes seconds to a
minute."""

T = TypeVar("T", bound=Event)

ImportedCode = tuple[ImportedModule, ...]


class SideFailedError(BenchError):
    """A side of a duel did not do what was asked of it."""

    exit_code = ExitCode.RUNS_FAILED


class SideProcess:
    """The process that does one side's timed batches.

    Args:
        name: of the side, for messages.
        server: gives the process.
        request: what it is to do.
        on_tick: called about once a second while nothing is reported.
        clock: seconds.
    """

    def __init__(
        self,
        name: str,
        server: Server,
        request: Request,
        on_tick: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._request = name, request
        self._on_tick, self._clock = on_tick, clock
        read, self._commands = os.pipe()
        self._run = server.request(request, read)
        self._process: psutil.Process | None = None

    def close(self) -> None:
        """Ask nothing more of it."""
        self._run.events.close()
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

    @property
    def pid(self) -> int:
        """Its process id; it has reported that it began."""
        assert self._process is not None
        return self._process.pid

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
        for event in self._run.events:
            if event is None:
                self._on_tick()
                if self._clock() - last_event > _SILENCE_SECONDS:
                    self._run.dump()
                    raise self._failed(f"silent for {_SILENCE_SECONDS:g} s, killed")
                continue
            last_event = self._clock()
            if isinstance(event, Started):
                with contextlib.suppress(psutil.NoSuchProcess):  # it has ended already, and reported why
                    self._process = psutil.Process(event.pid)
            if isinstance(event, Finished) and event.status is not Status.OK:
                raise self._failed(event.error or event.status.value)
            if isinstance(event, kind):
                return event
        exit_code = self._run.exit_code()
        if exit_code is None:
            raise self._failed("its process died, and its server with it")
        ending = f"ended with exit code {exit_code}" if exit_code >= 0 else f"was {killed_by(-exit_code)}"
        raise self._failed(f"its process {ending}")

    def _failed(self, what: str) -> SideFailedError:
        return SideFailedError(f"{self._name} failed: {what}; its log is {self._request.log}")
