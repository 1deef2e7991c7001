"""Durable files: written whole or not at all, never over another's, with the way out where a folder refuses.

A path may be an object's (`bench.store.objects`), which asks for less: it has no folder, and no half-written state.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bench.core.case import digest
from bench.core.errors import system_refusal
from bench.store.objects import ObjectPath

_ANOTHER_FOLDER = "name another folder with --results"
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Holds the store's lock, which goes with the process that holds it; makes the store where it is missing.

    An object store has no locks. Leases keep harnesses apart there, as on machines that share a folder without them.
    """
    if isinstance(store, ObjectPath):
        yield
        return
    with refused(store):
        make_folder(store)
        handle = os.open(store / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with refused(store):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        with contextlib.suppress(OSError):  # nothing was written; and what failed before it is what has to be reported
            os.close(handle)


def publish(
    path: Path, write: Callable[[IO[bytes]], object], check: Callable[[Path], None] = lambda temporary: None
) -> bool:
    """Makes the file `path` appear whole and durable, or not at all; an existing one is kept.

    `write` fills a temporary file beside it, `check` may read that back and raise, and then it gets its name. An object
    has it before the check, which is then of the object, and takes it away again.

    Returns:
        True where the file is the one written now, False where there was one already.

    Raises:
        UsageError: the folder cannot be written to, or is full.
    """
    if isinstance(path, ObjectPath):
        return _published_object(path, write, check)
    with refused(path.parent):
        make_folder(path.parent)
        with _temporary(path) as (temporary, file):
            write(file)
            file.flush()
            os.fsync(file.fileno())
            check(temporary)
            ours = _name(temporary, path)
        sync_folder(path.parent)
    return ours


def _published_object(path: ObjectPath, write: Callable[[IO[bytes]], object], check: Callable[[Path], None]) -> bool:
    content = io.BytesIO()
    write(content)
    ours = path.create(content.getvalue())
    if ours:
        try:
            check(path)
        except BaseException:
            path.unlink()
            raise
    return ours


def create(path: Path, content: bytes) -> bool:
    """Makes a small file that only one process can make, of one machine or of many that share the folder.

    It is whole from the start; where the file system has no hard links, it is empty for a moment first.

    Returns:
        True where this call has made it, False where it was there already.

    Raises:
        UsageError: the folder cannot be written to, or is full.
    """
    if isinstance(path, ObjectPath):
        return path.create(content)
    with refused(path.parent):
        make_folder(path.parent)
        with _temporary(path) as (temporary, file):
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a client of a network file system may give it its name before its content
            try:
                os.link(temporary, path)
            except FileExistsError:
                # a request whose reply was lost is sent again, and then refused though it had succeeded
                return os.fstat(file.fileno()).st_nlink > 1
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                try:
                    path.touch(exist_ok=False)
                except FileExistsError:
                    return False
                temporary.rename(path)
    return True


def stamped(path: Path) -> tuple[bytes | None, int]:
    """The content of a small file and its modification time in nanoseconds; no content, where it is not there.

    One that may not be read is as good as empty.
    """
    try:
        if isinstance(path, ObjectPath):
            return path.stamped()
        with path.open("rb") as file:  # opened: a network file system then asks its server
            return file.read(4096), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None, 0
    except OSError:
        with contextlib.suppress(OSError):
            return b"", path.stat().st_mtime_ns
        return b"", 0


def touch(path: Path, content: bytes) -> None:
    """Gives a file the present as its modification time, where it still holds this content.

    Raises:
        OSError: it may not be touched.
        UsageError: the object store cannot be asked.
    """
    if isinstance(path, ObjectPath):
        path.renew(content)
    elif stamped(path)[0] == content:
        os.utime(path)


def local_file(path: Path) -> Path:
    """Where a process of this machine can write a file of the store while it grows: there, or in place of an object.

    Raises:
        UsageError: the user has no folder for what is made.
    """
    if not isinstance(path, ObjectPath):
        return path.absolute()
    from bench.catalog.cache import default_cache  # which imports what light commands can do without

    return (default_cache() / "logs" / digest(str(path.parent)) / path.name).absolute()


def keep(file: Path, path: Path) -> None:
    """Puts what has been written to `local_file(path)` into the store, where it isn't there already.

    Raises:
        UsageError: the store cannot be written to.
    """
    if isinstance(path, ObjectPath) and file.exists():
        publish(path, lambda target: target.write(file.read_bytes()))
        file.unlink()


def replace_file(path: Path, content: bytes) -> None:
    """Gives the file `path` its content in one step and durably: a reader sees the old or the new one, whole.

    A file that is there already keeps its permissions. What killed writers of this file have left beside it is removed.

    Raises:
        OSError: the folder or the file cannot be written to.
    """
    sweep(path.parent, f".{glob.escape(path.name)}.{'[0-9a-f]' * 16}.tmp")
    with _temporary(path) as (temporary, file):
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o7777)
        temporary.replace(path)
    sync_folder(path.parent)


def sweep(folder: Path, pattern: str = ".*.tmp") -> int:
    """Removes the temporary files that killed writers left in `folder`, and returns how many.

    `pattern` is that of their names: a folder that isn't the store's has files of others, too.

    A writer holds a lock on its temporary file for as long as it lives, and the kernel drops it when the writer dies,
    however it dies. So a file that can be locked is nobody's: unlike a process id in the name this survives reused ids
    and containers, and unlike an age it needs no guess about how slow a writer can be.
    """
    removed = 0
    for path in folder.glob(pattern):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        except OSError:  # its writer lives, or finished just now, or it is another user's
            continue
        removed += 1
    return removed


def remove_stale(store: Path) -> int:
    """Removes the temporary files of writers that were killed, never those of a living one; returns how many."""
    return sum(sweep(store / name) for name in ("runs", "campaigns", "bounds"))


def sync_folder(folder: Path) -> None:
    """Makes the names in `folder` durable: syncing a file doesn't sync its name."""
    if isinstance(folder, ObjectPath):
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        try:
            with temporary.open("xb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not temporary.exists():  # a sweep came between the creation and the lock
                    continue
                yield temporary, file
                return
        finally:
            temporary.unlink(missing_ok=True)


def _name(temporary: Path, path: Path) -> bool:
    """Gives the file its name unless that is taken. A link never overwrites, where a rename would."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():
            return False
        temporary.rename(path)
    return True


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, durably; one that is there already is left as it is."""
    if isinstance(folder, ObjectPath) or folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


@contextmanager
def refused(path: Path, otherwise: str = _ANOTHER_FOLDER) -> Iterator[None]:
    """Makes what the system refuses (no permission, no space, a file in the way) the user's error.

    Args:
        path: what the error names.
        otherwise: another way out than the usual one.

    Raises:
        UsageError: instead of an `OSError` that the user can do something about, with the way out.
    """
    try:
        yield
    except OSError as error:
        if refusal := system_refusal(error, f"cannot write to {path}", otherwise):
            raise refusal from error
        raise


@contextmanager
def removed_if_interrupted(folder: Path) -> Iterator[None]:
    """Let nothing of a folder stay where the user interrupts what fills it."""
    try:
        yield
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        raise
