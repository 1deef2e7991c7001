"""Leases: who is measuring a campaign, or a block of it, among all the processes that share the store's folder.

A lease is a file that only one process can create, on one machine, over a network file system, or in an object store.
Its holder touches it every `BEAT_SECONDS`, and removes it. Who finds it there judges whether the holder lives:

- A holder in the same namespace of process ids lives as long as there is its process, with its start time.
- Of one on another machine nothing is known but that the file keeps being touched. An observer measures with a
  monotonic clock of its own for how long it has not seen the file's modification time change, and takes the holder for
  dead after `SILENT_SECONDS`. No two clocks are ever compared: neither those of two hosts nor the file server's.

A dead holder's lease is never removed before it is replaced. Its successor creates the next generation of the file,
`.<name>.<generation>.lease`, which again only one process can: of two that judged the same holder dead, one loses. A
holder that had only been stopped for long learns from the higher generation, or from the loss of its file, that it
holds nothing any more (`Leases.holds`).
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.core.errors import UsageError
from bench.host.processes import ProcessIdentity
from bench.store.files import create, stamped, touch

BEAT_SECONDS = 5.0
"""Between two touches of a lease."""
SILENT_SECONDS = 60.0
"""A holder on another machine that has been seen to do nothing for so long is taken for dead."""

_POLL_SECONDS = 0.2
_READINGS = 5
"""Attempts at reading a lease that cannot be read, before it counts as lost."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease."""

    process: ProcessIdentity
    since: str
    """When it was taken, by the holder's clock: UTC, ISO 8601, to the second. For people only."""
    seen_alive: bool
    """Whether it certainly lives; False for one on another machine whose lease has not been seen to change yet."""

    def __str__(self) -> str:
        stopped = ", which is stopped" if self.process.is_stopped() else ""
        return f"process {self.process.pid} on {self.process.host}{stopped}, since {self.since}"


@dataclass
class _Watch:
    """What an observer has seen of another machine's lease."""

    content: bytes
    touched: int
    seen_at: float
    silent_seconds: float = 0.0
    has_changed: bool = False


class Leases:
    """The leases that this process holds in a store; a context manager that gives them all back.

    A lease's name is a path in the store, of letters, digits, `-` and `/`. What is decided by the content of a folder
    needs a lease in that folder: to create a file there makes a client of a network file system forget what it
    remembers of the content.

    Args:
        store: the results folder.
        process: who takes them.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        store: Path,
        *,
        process: ProcessIdentity | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._clock = store, clock
        content = {
            **asdict(process or ProcessIdentity.current()),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "token": secrets.token_hex(8),  # a process may hold leases twice
        }
        self._content = json.dumps(content).encode()
        self._held: dict[str, Path] = {}
        self._watched: dict[Path, _Watch] = {}
        self._ended = threading.Event()
        self._beats = threading.Thread(target=self._beat, name="leases", daemon=True)

    def __enter__(self) -> Self:
        self._beats.start()
        return self

    def __exit__(self, *_: BaseException | type[BaseException] | TracebackType | None) -> None:
        self._ended.set()
        self._beats.join()
        for name in list(self._held):
            self.release(name)

    def take(self, name: str) -> Holder | None:
        """Take a lease; None where it is this process's now, or else who holds it.

        Raises:
            UsageError: the store cannot be written to.
        """
        while True:
            generations = self._generations(name)
            newest, judged = max(generations, default=0), None
            if newest:
                path = generations[newest]
                judged, touched = stamped(path)
                if judged is None:
                    newest -= 1  # it was given back just now
                elif (holder := self._living_holder(path, judged, touched)) is not None:
                    return holder
            successor = self._path(name, newest + 1)
            self._held[name] = successor  # before it is there: an interruption in between leaves nothing behind
            if not create(successor, self._content):
                del self._held[name]
                continue
            # what was listed may have been old, in a network file system; and the dead holder's file may be somebody
            # else's by now, after it and its successor had gone: while this one is there, nobody creates it
            generations = self._generations(name)
            before = stamped(generations[newest])[0] if newest in generations else None
            if max(generations, default=0) > newest + 1 or before not in (None, judged):
                self.release(name)
                continue
            for generation, path in generations.items():
                if generation <= newest:
                    path.unlink(missing_ok=True)
                    self._watched.pop(path, None)
            return None

    def holder(self, name: str) -> Holder | None:
        """Who holds a lease, as far as is seen; None where nobody does, or who did is dead."""
        generations = self._generations(name)
        if not generations:
            return None
        path = generations[max(generations)]
        content, touched = stamped(path)
        return None if content is None else self._living_holder(path, content, touched)

    def release(self, name: str) -> None:
        """Give a lease back; nothing happens where somebody has taken it over."""
        path = self._held.pop(name, None)
        # the folder is gone, read-only now, or out of reach: a successor will remove it
        with contextlib.suppress(OSError, UsageError):
            if path is not None and stamped(path)[0] == self._content:
                path.unlink(missing_ok=True)

    def holds(self, name: str) -> bool:
        """Whether this process still holds a lease: it may have been stopped, or cut off from the folder, for long."""
        path = self._held.get(name)
        if path is None or _read_again(path) != self._content:
            return False
        generations = self._generations(name)
        return generations.get(max(generations, default=0)) == path

    @contextlib.contextmanager
    def exclusively(self, name: str) -> Iterator[None]:
        """Hold a lease for a short while; who holds it before is waited for."""
        while self.take(name) is not None:
            time.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            self.release(name)

    def names(self) -> list[str]:
        """The names of all leases in the store, sorted, those of dead holders too."""
        paths = (path.relative_to(self._store) for path in self._store.glob("*/.*.*.lease"))
        return sorted({path.with_name(path.name[1:].rsplit(".", 2)[0]).as_posix() for path in paths})

    def sweep(self, *folders: str) -> None:
        """Remove the leases that killed processes of this machine have left in some folders of the store.

        Raises:
            UsageError: the store cannot be written to.
        """
        for name in self.names():
            if name.partition("/")[0] in folders and name not in self._held and self.take(name) is None:
                self.release(name)

    def _generations(self, name: str) -> dict[int, Path]:
        pattern = self._path(name, "*")
        numbers = {path: path.name.rsplit(".", 2)[1] for path in pattern.parent.glob(pattern.name)}
        return {int(number): path for path, number in numbers.items() if number.isdecimal()}

    def _path(self, name: str, generation: int | str) -> Path:
        path = self._store / name
        return path.with_name(f".{path.name}.{generation}.lease")

    def _living_holder(self, path: Path, content: bytes, touched: int) -> Holder | None:
        facts = _parsed(content)
        since = str(facts.pop("since", "an unknown time"))
        process = ProcessIdentity(
            host=str(facts.get("host", "an unknown machine")),
            namespace=str(facts.get("namespace", "")),
            pid=int(facts.get("pid", 0)),
            started=str(facts.get("started", "")),
        )
        alive = process.is_alive()
        if alive is None:
            watch = self._watch(path, content, touched)
            alive, seen_alive = watch.silent_seconds < SILENT_SECONDS, watch.has_changed
        else:
            seen_alive = alive
        return Holder(process, since, seen_alive) if alive else None

    def _watch(self, path: Path, content: bytes, touched: int) -> _Watch:
        now = self._clock()
        watch = self._watched.get(path)
        if watch is None or watch.content != content:
            watch = self._watched[path] = _Watch(content, touched, now)
        elif watch.touched != touched:
            watch.touched, watch.silent_seconds, watch.has_changed = touched, 0.0, True
        else:
            # who was stopped, perhaps together with the holder, has not watched meanwhile
            watch.silent_seconds += min(now - watch.seen_at, BEAT_SECONDS)
        watch.seen_at = now
        return watch

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            for path in list(self._held.values()):
                with contextlib.suppress(OSError, UsageError):  # the next beat may succeed
                    touch(path, self._content)


def _read_again(path: Path) -> bytes | None:
    """The content of a lease, read again where it could not be for a moment: a run is dropped where it isn't ours."""
    for _ in range(_READINGS):
        if content := stamped(path)[0]:
            return content
        if content is None:
            return None
        time.sleep(_POLL_SECONDS)
    return b""


def _parsed(content: bytes) -> dict[str, Any]:
    """The facts that a lease holds; none in one that is being written, or is none of ours."""
    try:
        facts = json.loads(content)
        return facts if isinstance(facts, dict) and isinstance(facts.get("pid"), int) else {}
    except ValueError:
        return {}
