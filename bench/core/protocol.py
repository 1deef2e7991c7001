"""What the harness and its worker processes say to each other: JSON lines, with frozen types at both ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.core.case import Case, Status
from bench.core.metrics import Observation, RunMetadata


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run, as asked of a worker."""

    case: Case
    data: Path
    """The verified data file of the case's task."""
    log: Path
    """Where the run's standard output and error go, behind what is there already."""
    phase: str = "train"
    """For a duel's side, which does nothing else: `train` or `predict`."""

    def to_line(self) -> bytes:
        """Encode for the worker's control socket."""
        # the canonical form: a duel's side may be an earlier commit, which doesn't know an axis that was added later
        case = json.loads(self.case.canonical)
        values = {"case": case, "data": str(self.data), "log": str(self.log), "phase": self.phase}
        return json.dumps(values).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Request:
        """Decode what `to_line` wrote."""
        values = json.loads(line)
        return cls(
            case=Case(**values["case"]), data=Path(values["data"]), log=Path(values["log"]), phase=values["phase"]
        )


@dataclass(frozen=True)
class Started:
    """The run's process is there and has imported what it needs; the first event of a run."""

    pid: int


@dataclass(frozen=True)
class Began:
    """A phase has begun."""

    phase: str
    epoch: int | None = None


@dataclass(frozen=True)
class Stroke:
    """A duel's side has done the steps that it was told to do, and waits to be told again."""

    steps: int
    seconds: float
    cpu_seconds: float
    """Processor time of all threads of the side's process meanwhile."""


@dataclass(frozen=True)
class Finished:
    """The run has ended by itself; the last event of a run."""

    status: Status
    error: str | None = None
    cpu_seconds: float | None = None
    """Processor time of the run's process, its import left out."""


Event = Started | Began | Observation | RunMetadata | Stroke | Finished
Emit = Callable[[Event], None]
"""How a run reports; what a worker's `measure(request, emit)` is given."""

_KINDS: dict[str, type[Any]] = {
    "Started": Started,
    "Began": Began,
    "Observation": Observation,
    "RunFacts": RunMetadata,
    "Stroke": Stroke,
    "Finished": Finished,
}
"""By its name on the wire, which never changes: the other end may be of an earlier commit."""
_NAMES = {kind: name for name, kind in _KINDS.items()}


class InvalidRun(Exception):  # noqa: N818 - it names a status
    """Raised by `measure`: the run did not do what was asked of it. Its text says how; nothing of it is compared."""


class FailedRun(Exception):  # noqa: N818 - it names a status
    """Raised by `measure`: the run failed in a way that has a name. Its text alone is the run's error."""


def encode(event: Event) -> bytes:
    """One line for the event pipe. NaN and infinity pass: a loss may be either."""
    return json.dumps([_NAMES[type(event)], asdict(event)]).encode() + b"\n"


def decode(line: bytes) -> Event:
    """The event that `encode` wrote."""
    name, values = json.loads(line)
    if name == "Finished":
        values["status"] = Status(values["status"])
    event: Event = _KINDS[name](**values)
    return event


def kill_group(leader: int) -> None:
    """Kill a run's process and all that it has started; both ends may have to."""
    # one that has not become a leader yet is killed by its own id
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(leader, signal.SIGKILL)
