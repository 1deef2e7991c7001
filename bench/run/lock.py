"""The machine-wide lock that keeps two timed runs from overlapping."""

from __future__ import annotations

import contextlib
import fcntl
import os
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


@contextlib.contextmanager
def machine_lock(waiting: Callable[[str], None], path: Path | None = None) -> Iterator[None]:
    """Keep two timed runs on one machine from overlapping: the system drops the lock when its holder dies.

    Args:
        waiting: given a sentence that names the holder, when the lock isn't free.
        path: the lock's file; by default that of the variable `BENCH_MACHINE_LOCK`, or the one that all users share.

    Raises:
        UsageError: the file cannot be opened or locked.
    """
    path, fd = _opened(path)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_WRITE_SECONDS)
            holder = os.pread(fd, 64, 0).decode(errors="replace").strip()
            waiting(f"another bench (process {holder or 'unknown'}) is timing on this machine: waiting for it")
            fcntl.flock(fd, fcntl.LOCK_EX)
        except OSError as error:
            raise _lock_refused(path, error) from None
        with contextlib.suppress(OSError):  # another user's file, or a full disk: it only names who holds the lock
            os.pwrite(fd, f"{os.getpid():<20}\n".encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)


def lock_identity() -> str:
    """What identifies the lock of this process's machine: processes with another one don't wait for each other.

    Raises:
        UsageError: the file cannot be opened.
    """
    _, fd = _opened(None)
    try:
        status = os.fstat(fd)
        return f"{status.st_dev}:{status.st_ino}"
    finally:
        os.close(fd)


def _opened(path: Path | None) -> tuple[Path, int]:
    path = path or Path(os.environ.get(LOCK_VARIABLE) or DEFAULT_LOCK)
    try:
        return path, _open_shared(path)
    except OSError as error:
        raise _lock_refused(path, error) from None


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
