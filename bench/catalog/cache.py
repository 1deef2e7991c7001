"""A task's data, verified, in the user's cache: from a folder, one of the task's sources, or the package.

Nothing unverified is ever kept, and a file of ours is whole or not there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from bench.catalog.tasks import Arrays, Report, SourceError, Task, WrongDataError, find, read_npz, write_npz
from bench.core.errors import UsageError, system_refusal


class DataUnavailableError(UsageError):
    """No source has the data. `tried` holds each source with why it failed."""

    def __init__(self, task: Task, tried: list[tuple[str, str]]) -> None:
        """Makes the message from `tried`: pairs of a source and a reason."""
        self.tried = tuple(tried)
        other_task = f", or take data that comes with the program: --set tasks={task.stand_in}" if task.stand_in else ""
        lines = "".join(f"\n  - {source}: {reason}" for source, reason in tried)
        super().__init__(
            f"the data of task {task.name!r} cannot be had; tried:{lines}\n"
            f"Name a folder that has it with --data-dir or BENCH_DATA_DIR{other_task}."
        )


def obtain(
    task: Task, *, data_dir: Path | None, cache_dir: Path | None = None, offline: bool = False, report: Report
) -> Path | None:
    """The path of this task's verified data, got from the first source that has it; None where no file is needed.

    A recipe needs the file of the task that it starts from; one that generates its data needs none.

    A folder that the user named is always read and verified, even when the data is already cached. An embedded task
    needs no source: its file is the package's own.

    Args:
        task: whose data.
        data_dir: a folder that holds it (`Task.read_folder`); None takes BENCH_DATA_DIR, if set.
        cache_dir: where the data is kept; None takes BENCH_CACHE_DIR, else `$XDG_CACHE_HOME/bench` or `~/.cache/bench`.
        offline: leaves out the sources that need the network.
        report: called with a line about what is going on.

    Raises:
        UsageError: the named folder or a file in it is wrong, or the cache cannot be written.
        DataUnavailableError: no source has it.
    """
    if task.file:
        return task.file
    if task.recipe:
        source = task.recipe.source
        return (
            obtain(find(source), data_dir=data_dir, cache_dir=cache_dir, offline=offline, report=report)
            if source
            else None
        )
    if task.embedded:
        return _packaged(task)
    named = _named_folder(task, data_dir)
    cache = cache_dir or default_cache()
    kept = _kept_file(task, cache)
    if _fault(kept, task) is None:
        return kept
    try:
        with exclusive_scratch(cache, report) as scratch:
            # Looked at again: another process may have made it while this one waited.
            if (fault := _fault(kept, task)) is None:
                return kept
            if os.path.lexists(kept):
                report(f"{fault}: making it again.")
            _keep(named or _first_source(task, scratch, offline, report), kept, scratch)
    except OSError as error:
        refusal = system_refusal(error, f"cannot keep the data in {cache}", "set BENCH_CACHE_DIR to another folder")
        raise refusal or error from error
    report(f"{task.name}: verified, kept in {kept}.")
    return kept


def sources_to_ask(task: Task, *, data_dir: Path | None) -> tuple[str, ...]:
    """The names of the sources on the network that `obtain` would ask for data that are not on this machine.

    Nothing is read: whether a file that is here has the data, `obtain` finds out.

    Args:
        task: whose data.
        data_dir: as `obtain` takes it.
    """
    if task.recipe:
        return sources_to_ask(find(task.recipe.source), data_dir=data_dir) if task.recipe.source else ()
    is_here = task.file or task.embedded or data_dir is not None or os.environ.get("BENCH_DATA_DIR")
    if is_here or any(source.is_present for source in task.sources) or _kept_file(task, default_cache()).exists():
        return ()
    return tuple(source.name for source in task.sources if source.needs_network)


def _kept_file(task: Task, cache: Path) -> Path:
    return cache / f"{task.name}-{task.digest[:12]}.npz"


def _packaged(task: Task) -> Path:
    path = Path(str(resources.files("bench") / "catalog" / "data" / f"{task.name}.npz"))
    try:
        read_npz(path, task)
    except WrongDataError as error:
        raise UsageError(f"{error}; it comes with the program: install that again.") from error
    return path


def default_cache() -> Path:
    """Where what was made or fetched is kept: BENCH_CACHE_DIR, else `$XDG_CACHE_HOME/bench` or `~/.cache/bench`.

    Raises:
        UsageError: none of them is set, and the user has no home folder.
    """
    if chosen := os.environ.get("BENCH_CACHE_DIR"):
        return Path(chosen)
    # by the XDG specification a relative path there is to be ignored
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (base if base.is_absolute() else Path.home() / ".cache") / "bench"
    except RuntimeError:  # a container's user without a home
        raise UsageError("no home folder to keep the data in; set BENCH_CACHE_DIR to a folder.") from None


def _fault(kept: Path, task: Task) -> str | None:
    """Why the cached file cannot be used; None if it can."""
    try:
        read_npz(kept, task)
    except WrongDataError as error:
        return str(error)
    return None


@contextmanager
def exclusive_scratch(cache: Path, report: Report) -> Iterator[Path]:
    """A scratch folder inside of a folder of the cache, held by one process at a time, and gone afterwards.

    What is made there and renamed into the folder is whole or not there, and made once when two processes want it.

    Raises:
        OSError: the folder can't be made or written to.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"waiting for another process that is writing into {cache}.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        # Under the lock nobody else is at work, so these are what killed processes left.
        for leftover in cache.glob(".getting-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".getting-", ignore_cleanup_errors=True) as scratch:
            yield Path(scratch)


def _keep(arrays: Arrays, kept: Path, scratch: Path) -> None:
    """Writes the data under a temporary name, syncs file and folder, renames."""
    new = scratch / "new.npz"
    with new.open("wb") as file:
        write_npz(file, arrays, compressed=False)
        file.flush()
        os.fsync(file.fileno())
    new.replace(kept)
    folder = os.open(kept.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _named_folder(task: Task, data_dir: Path | None) -> Arrays | None:
    """The data of the folder that the user named, if any."""
    from_environment = os.environ.get("BENCH_DATA_DIR")
    if data_dir is not None:
        folder, origin = data_dir, "--data-dir"
    elif from_environment:
        folder, origin = Path(from_environment), "BENCH_DATA_DIR"
    else:
        return None
    try:
        if task.read_folder is None:
            return read_npz(folder / f"{task.name}.npz", task)
        return task.read_folder(folder, task)
    except WrongDataError as error:
        raise UsageError(
            f"{error} ({origin}): name a folder with the data of {task.name}, or leave {origin} out."
        ) from error


def _first_source(task: Task, scratch: Path, offline: bool, report: Report) -> Arrays:
    """What the first source gives that has the data."""
    tried: list[tuple[str, str]] = []
    for source in task.sources:
        if offline and source.needs_network:
            tried.append((source.name, "left out, offline"))
            continue
        try:
            return source.read(task, scratch, report)
        except (SourceError, WrongDataError) as error:
            tried.append((source.name, str(error)))
    raise DataUnavailableError(task, tried)
