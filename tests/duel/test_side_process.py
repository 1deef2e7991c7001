"""bench.duel.side_process: a process that is gone before the harness has read its first event."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import cast

import pytest

from bench.core.case import Case, Status
from bench.core.protocol import Event, Finished, Request, Started, TimedBatch
from bench.duel.side_process import SideFailedError, SideProcess
from bench.run.server import Server


class EndedBefore:
    """A server whose run has ended with a reason, and is reaped, when its events are read; and that run."""

    def request(self, request: Request, commands: int) -> EndedBefore:
        os.close(commands)
        self.events = self._events()
        return self

    def _events(self) -> Generator[Event, None, None]:
        gone = subprocess.Popen(["true"])
        gone.wait()
        yield Started(gone.pid)
        yield Finished(Status.FAILED, "the cell cannot be imported")


def test_a_side_that_ends_at_once_is_reported_with_its_reason(tmp_path: Path) -> None:
    request = Request(case=Case(cell="gru"), data=None, log=tmp_path / "log")
    process = SideProcess("B", cast(Server, EndedBefore()), request)
    with pytest.raises(SideFailedError, match="B failed: the cell cannot be imported"):
        process.expect(TimedBatch)
    process.close()
