"""The file of a task that was prepared from a user's data, or a package's: its arrays, and the task, as one `.npz`."""

from __future__ import annotations

import json
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import IO

from bench.catalog.tasks.description import from_json, to_json
from bench.catalog.tasks.task import Arrays, Task, WrongDataError, content_digest

_DESCRIPTION = "task.json"
_WAY_OUT = "delete it, and run the command again"


def write_prepared(file: IO[bytes], task: Task, arrays: Arrays) -> None:
    """Write what `read_prepared` reads.

    Args:
        file: open for writing and reading bytes.
        task: what is described, its code too.
        arrays: the data.
    """
    import numpy as np

    np.savez(file, **arrays.parts)  # type: ignore[arg-type] # names of arrays, none of them an option
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(_DESCRIPTION, json.dumps({"task": to_json(task), "code": task.code_json}))


def read_description(path: Path) -> Task:
    """The task of a prepared file, without its arrays.

    Raises:
        WrongDataError: it cannot be read, or is none of ours.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = json.loads(archive.read(_DESCRIPTION))
        task = from_json(content["task"])
        if task is None:
            raise ValueError("it describes no task")
        return replace(task, file=path, code_json=str(content["code"]))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise WrongDataError(f"{path} holds no prepared data ({error}); {_WAY_OUT}") from error


def read_prepared(path: Path, task: Task) -> Arrays:
    """The arrays of a prepared file, proved by the digest of their content.

    Raises:
        WrongDataError: they cannot be read, or aren't those that the task was made of.
    """
    import numpy as np

    names = {field.name for field in fields(Arrays)}
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = Arrays(**{name: archive[name] for name in archive.files if name in names})
    except Exception as error:  # what numpy and zipfile raise over damaged bytes is no closed set
        raise WrongDataError(f"{path} is not a whole .npz file: {error}; {_WAY_OUT}") from error
    if content_digest(arrays) != task.digest:
        raise WrongDataError(f"{path}: the content isn't that of {task.name} (SHA-256 differs); {_WAY_OUT}")
    return arrays
