"""What crosses between the harness and its worker processes: JSON lines, with frozen types at both ends.

The wire format, version `DUEL_PROTOCOL`:

- The harness starts `python -P -m bench.worker serve …` (`bench.worker.__main__` documents its arguments).
- A request is one line, a JSON object, on the server's control socket: `case` (in its canonical form: the fields that
  differ from their defaults), `data`, `log` and `phase`. With it goes the write end of the run's event pipe; for a side
  of a duel, also the read end of a pipe that becomes its standard input.
- An event is one line on the event pipe: `[kind, {field: value}]`, where the kind is a key of `_EVENTS`. The first
  event of a run is `started`, the last `finished`.
- A side of a duel reports, with the event `code`, which code it imported to build its model. Then it reads from its
  standard input how many steps its next timed batch has, a decimal number a line, and reports each with the event
  `batch`. 0, or the end of the input, asks for the event `metadata`, and ends the side.

Additions that an older reader can do without (a field of an event) leave the version as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from bench.core.case import Case, Status
from bench.core.observation import Observation, RunMetadata

DUEL_PROTOCOL = 4
"""Version of the wire format. A duel between commits reads this line in the source of each commit, and refuses one that
has another version, or none.

4 (2026-11): a side may time single calls of inference.
3 (2026-11): a side reports the code that it imported, before its first timed batch.
2 (2026-11): events are named by their kind, and not by their class; timed batches.
1 (2026-11): had no such line; `worker/side.py` had another name for its timed batches.
"""


MEMORY_FRACTION = "BENCH_DEVICE_MEMORY_FRACTION"
"""The environment variable of a side that shares a card: the part of its memory that the side may take."""

MEMORY_LIMIT = "BENCH_DEVICE_MEMORY_LIMIT_MIB"
"""The same in MiB, for a backend that knows no parts; where the driver has reported how much the card has."""


class TimedPhase(StrEnum):
    """What a side of a duel does."""

    TRAIN = "train"
    PREDICT = "predict"
    PREDICT_CALLS = "predict-calls"
    COMPILED_CALLS = "compiled-calls"
    STREAMING_CALLS = "streaming-calls"

    @property
    def call_path(self) -> str:
        """The call path whose single calls are timed (`bench.core.observation.CALL_PATHS`); empty where it is steps."""
        return self.value.removesuffix("-calls") if self.value.endswith("-calls") else ""


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """A model of the user's whose recurrent layers are to be attested, and what it is to be trained on for a step."""

    factory: str
    """`module:factory`; called without arguments, it returns the model."""
    data_factory: str = ""
    """`module:factory`; called without arguments, it returns what `fit` takes. Empty: random data of its inputs."""
    steps: int
    """The size that random data have where the model leaves one open."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run that a worker is to do."""

    case: Case
    data: Path | None
    """The verified data file that the case's task is read from; None where its data are generated."""
    log: Path
    """The file that the run's standard output and error are appended to."""
    phase: TimedPhase = TimedPhase.TRAIN
    """What a side of a duel does; a whole run does not read it."""
    model: ModelRequest | None = None
    """What `bench.worker.model_attestation` does in place of a run; of the case it reads how the session is set."""
    build_only: bool = False
    """Whether a run ends once its network is built: what a user's factory does wrong is known then."""

    def to_line(self) -> bytes:
        """Encode for the worker's control socket."""
        # the canonical form: a duel's side may be an earlier commit, which doesn't know an axis that was added later
        case = json.loads(self.case.canonical)
        data = str(self.data) if self.data else None
        values = {"case": case, "data": data, "log": str(self.log), "phase": self.phase}
        model = {"model": asdict(self.model)} if self.model else {}
        trial = {"build_only": True} if self.build_only else {}
        return json.dumps(values | model | trial).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Request:
        """Decode what `to_line` wrote."""
        values = json.loads(line)
        return cls(
            case=Case(**values["case"]),
            data=Path(values["data"]) if values["data"] else None,
            log=Path(values["log"]),
            phase=TimedPhase(values["phase"]),
            model=ModelRequest(**values["model"]) if "model" in values else None,
            build_only=values.get("build_only", False),
        )


@dataclass(frozen=True)
class Started:
    """The run's process has imported what it needs; the first event of a run."""

    pid: int


@dataclass(frozen=True)
class Began:
    """A phase has begun."""

    phase: str
    epoch: int | None = None


@dataclass(frozen=True)
class CodeImported:
    """A side of a duel has built its model, and has imported this code for it."""

    modules_json: str
    """The modules as `bench.core.code.to_json` writes them, bench's own among them."""


@dataclass(frozen=True)
class TimedBatch:
    """A side of a duel has done the steps that were asked of it, and waits for the next command."""

    steps: int
    seconds: float
    cpu_seconds: float
    """CPU time of all threads of the side's process meanwhile."""
    call_seconds: tuple[float, ...] = ()
    """Seconds of each of its steps, where these are single calls of inference."""


@dataclass(frozen=True)
class Finished:
    """The run has ended by itself; the last event of a run."""

    status: Status
    error: str | None = None
    cpu_seconds: float | None = None
    """CPU time of the run's process, its import left out."""


Event = Started | Began | Observation | RunMetadata | CodeImported | TimedBatch | Finished
Emit = Callable[[Event], None]
"""How a run reports; the argument of a worker's `measure(request, emit)`."""

_EVENTS: dict[str, type[Any]] = {
    "started": Started,
    "began": Began,
    "observation": Observation,
    "metadata": RunMetadata,
    "code": CodeImported,
    "batch": TimedBatch,
    "finished": Finished,
}
_KINDS = {event_type: kind for kind, event_type in _EVENTS.items()}
_FIELDS = {kind: frozenset(field.name for field in fields(event_type)) for kind, event_type in _EVENTS.items()}


class InvalidRun(Exception):  # noqa: N818 - it names a status
    """Raised by `measure`: the run did not do what was asked of it. Its text states how; nothing of it is compared."""


class FailedRun(Exception):  # noqa: N818 - it names a status
    """Raised by `measure`: the run failed in a way that has a name. Its text alone is the run's error."""


def encode(event: Event) -> bytes:
    """Encode an event as one line for the event pipe. NaN and infinity pass: a loss may be either."""
    return json.dumps([_KINDS[type(event)], asdict(event)]).encode() + b"\n"


def decode(line: bytes) -> Event:
    """Decode what `encode` wrote. Fields that this version has not are left out: a duel's side may be a later
    commit."""
    kind, values = json.loads(line)
    event: Event = _EVENTS[kind](**{name: value for name, value in values.items() if name in _FIELDS[kind]})
    if isinstance(event, TimedBatch):
        return replace(event, call_seconds=tuple(event.call_seconds))
    return replace(event, status=Status(event.status)) if isinstance(event, Finished) else event


def kill_group(leader: int) -> None:
    """Kill a run's process and all that it has started; both ends may have to."""
    # one that has not become a leader yet is killed by its own id
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(leader, signal.SIGKILL)
