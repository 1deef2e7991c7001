"""The machine-wide lock that keeps two timed runs from overlapping, and the locks of its cards."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.core.errors import UsageError

DEFAULT_LOCK = Path("/tmp/rnn-bench.lock")
"""Not in TMPDIR, which batch systems and macOS set for each job or user: two timed runs would not meet."""
LOCK_VARIABLE = "BENCH_MACHINE_LOCK"
"""The environment variable that names another file, for a machine whose /tmp is not shared or not writable."""

_WRITE_SECONDS = 0.01
"""The time that a new holder of the lock needs to write down its process id."""
_QUEUE, _CARD = ".queue", ".card-"
"""What the names of the files beside the machine's lock go on with."""


@contextlib.contextmanager
def machine_lock(
    waiting: Callable[[str], None], path: Path | None = None, *, card: str | None = None
) -> Iterator[None]:
    """Keep two timed runs on one machine from overlapping, or, of those on a card of their own, two on one card.

    A run on a card shares the machine's lock with runs on other cards, and excludes one on the whole machine. Whoever
    waits for the whole machine goes before those that ask later. The system drops a lock when its holder dies.

    Args:
        waiting: given a sentence that names the holder, when a lock isn't free.
        path: the machine's lock; by default the file of the variable `BENCH_MACHINE_LOCK`, or the one that all users
            share. Those of its cards and of who waits lie beside it.
        card: what names the card on the machine; None for a run that has the machine to itself.

    Raises:
        UsageError: a file cannot be opened or locked.
    """
    path = _lock_path(path)
    with contextlib.ExitStack() as stack:
        with _held(_beside(path, _QUEUE), fcntl.LOCK_EX, waiting, "is the next to time on this machine", needed=False):
            how = fcntl.LOCK_EX if card is None else fcntl.LOCK_SH
            stack.enter_context(_held(path, how, waiting, "is timing on this machine"))
        if card is not None:
            file = _beside(path, _CARD + _file_name(card))
            stack.enter_context(_held(file, fcntl.LOCK_EX, waiting, f"is timing on the GPU {card}"))
        yield


@contextlib.contextmanager
def _held(path: Path, how: int, waiting: Callable[[str], None], what: str, *, needed: bool = True) -> Iterator[None]:
    """Hold a lock, after waiting for it.

    Args:
        path: its file.
        how: `fcntl.LOCK_EX` or `fcntl.LOCK_SH`.
        waiting: given a sentence, when it isn't free.
        what: what its holder does, for the sentence.
        needed: whether it must be held: what only orders those that wait may have no place to lie in.
    """
    try:
        fd = _open_shared(path)
    except OSError as error:
        if needed:
            raise _lock_refused(path, error) from None
        yield
        return
    try:
        try:
            if not (_taken(fd, how) or _taken(fd, how, after_seconds=_WRITE_SECONDS)):
                holder = os.pread(fd, 64, 0).decode(errors="replace").strip()
                waiting(f"another bench (process {holder or 'unknown'}) {what}: waiting for it")
                fcntl.flock(fd, how)
        except OSError as error:
            raise _lock_refused(path, error) from None
        with contextlib.suppress(OSError):  # another user's file, or a full disk: it only names who holds the lock
            os.pwrite(fd, f"{os.getpid():<20}\n".encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)


def _taken(fd: int, how: int, after_seconds: float = 0.0) -> bool:
    """Whether a lock is free, and taken now; `cards_in_use` has one for a moment, so that it is asked for twice."""
    time.sleep(after_seconds)
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def cards_in_use(path: Path | None = None) -> frozenset[str]:
    """The cards of this machine that runs are timed on just now, as their locks' files name them.

    Args:
        path: the machine's lock, as `machine_lock` has it.
    """
    path = _lock_path(path)
    prefix = path.name + _CARD
    files = [file for file in path.parent.glob(f"{prefix}*") if not file.is_symlink()]
    return frozenset(file.name.removeprefix(prefix) for file in files if _is_held(file))


def _is_held(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _taken(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _file_name(card: str) -> str:
    return re.sub(r"[^\w.-]", "-", card)


def lock_identity() -> str:
    """What identifies the lock of this process's machine: processes with another one don't wait for each other.

    Raises:
        UsageError: the file cannot be opened.
    """
    path = _lock_path(None)
    try:
        fd = _open_shared(path)
    except OSError as error:
        raise _lock_refused(path, error) from None
    try:
        status = os.fstat(fd)
        return f"{status.st_dev}:{status.st_ino}"
    finally:
        os.close(fd)


def _lock_path(path: Path | None) -> Path:
    return path or Path(os.environ.get(LOCK_VARIABLE) or DEFAULT_LOCK)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _open_shared(path: Path) -> int:
    """Open or make a file that each user may lock. Never a link: the folder is everybody's, and the file is written."""
    try:
        # no O_CREAT at first: in a sticky folder the system refuses it for another user's file
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with contextlib.suppress(PermissionError):
            os.fchmod(fd, 0o666)  # whatever the umask
        return fd


def _lock_refused(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot use {path}, the lock that keeps timed runs apart ({error.strerror}): remove it if it is in the way, "
        f"or name another file with {LOCK_VARIABLE}."
    )
