"""Users' data, prepared once a command in a process of its own, and kept in the user's cache by their digest.

Each run reads the file and proves the digest; the code of the data is recorded with the run's other code.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.catalog import tasks
from bench.catalog.cache import default_cache
from bench.catalog.factory_calls import check_call
from bench.catalog.tasks import Report, Task, WrongDataError, aeon, read_description
from bench.catalog.tasks.prepared import write_prepared
from bench.catalog.tasks.users import task_of
from bench.core.errors import system_refusal
from bench.core.scratch import ScratchFolder

_WORKER = "bench.worker.prepare_data"


def prepare_task(name: str, origin: str, report: Report) -> Task:
    """Make the task of `module:factory`, or `aeon:NAME`, known to this process, its data read, checked and kept.

    Args:
        name: the factory, or the data set of the package aeon, of which no code is run.
        origin: where the name came from, for messages.
        report: called with a sentence when the data are kept.

    Raises:
        UsageError: the factory can't be found or called, its data are not as they must be, or they can't be kept.
    """
    if not name.startswith(aeon.PREFIX):
        check_call("task", name, origin)
    folder = prepared_folder()
    otherwise = "set BENCH_CACHE_DIR to another folder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ScratchFolder("preparing", folder, otherwise) as scratch:
            made = scratch / "data.npz"
            if name.startswith(aeon.PREFIX):
                with made.open("w+b") as file:
                    write_prepared(file, *task_of(name, aeon.read(name, origin)))
            else:
                _call_factory(name, origin, made)
            task = _kept(made, name, folder)
    except OSError as error:
        raise system_refusal(error, f"cannot keep the data of {name} in {folder}", otherwise) or error from error
    report(f"{name}: {task.title}, {task.train_samples:,} + {task.test_samples:,} samples, kept in {task.file}.")
    tasks.register(task)
    return task


def prepared_folder() -> Path:
    """Where prepared data are kept.

    Raises:
        UsageError: the user has no home folder, and names no cache.
    """
    return default_cache() / "prepared"


def prepared_name(name: str, digest: str) -> str:
    """The name of the file there that holds a task's data of this digest."""
    return f"{name.replace(':', '-')}-{digest[:12]}.npz"


def _call_factory(name: str, origin: str, made: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", _WORKER, name, str(made)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode or not made.exists():  # the factory may have ended the process
        problem = made.with_name(f"{made.name}.error")
        last = (done.stdout.strip().splitlines() or ["it printed nothing"])[-1]
        ended = f"the task {name!r} cannot be made: its process ended: {last}"
        what = problem.read_text(encoding="utf-8") if problem.exists() else ended
        raise WrongDataError(f"{what} ({origin}).")


def _kept(made: Path, name: str, folder: Path) -> Task:
    task = read_description(made)
    kept = folder / prepared_name(name, task.digest)
    with made.open("rb") as file:
        os.fsync(file.fileno())
    made.replace(kept)
    return read_description(kept)
