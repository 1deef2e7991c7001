"""Temporary folders that don't outlive their processes: making one removes those whose process was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from bench.core.errors import system_refusal

_SUFFIX = ".scratch"


class ScratchFolder:
    """A temporary folder that is gone when it is closed, or when the next one is made after its process has died.

    A process holds a lock on its folder for as long as it lives, and the kernel drops it when it dies, however it dies.
    So a folder that can be locked is nobody's: process ids are reused, and mean nothing in another container.

    Args:
        purpose: a word that its name holds.
        parent: where it is made; by default the system's temporary folder.
        otherwise: the way out where that can't be written to.

    Raises:
        UsageError: it can't be made, because the disk is full, or for want of permission.
    """

    def __init__(
        self, purpose: str, parent: Path | None = None, otherwise: str = "set TMPDIR to another folder"
    ) -> None:
        parent = parent or Path(tempfile.gettempdir())
        try:
            _remove_abandoned(parent)
            self.path, self._lock = _made(parent, purpose)
        except OSError as error:
            raise system_refusal(error, f"cannot write to {parent}", otherwise) or error from error

    def close(self) -> None:
        """Remove it, with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):  # it was closed before
            os.close(self._lock)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()


def _made(parent: Path, purpose: str) -> tuple[Path, int]:
    """A new folder and the descriptor that holds its lock, which a child does not inherit."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"bench-{purpose}-", suffix=_SUFFIX, dir=parent))
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        with contextlib.suppress(OSError):  # a file system without locks: nobody takes it for abandoned either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)  # it was taken for abandoned between its creation and the lock


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of this user whose process was killed."""
    for folder in parent.glob(f"bench-*{_SUFFIX}"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # its process lives, or there are no locks
            pass
        finally:
            os.close(lock)
