"""The registry of tasks: what is learnt from which data. A file a kind of data, in which a task is a row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.catalog.tasks import generated, mnist, pixels
from bench.catalog.tasks.description import family_of, from_json, to_json
from bench.catalog.tasks.npz import load_npz, read_npz, write_npz
from bench.catalog.tasks.prepared import read_description, read_prepared
from bench.catalog.tasks.target import CLASS_LABEL, TARGETS, Target
from bench.catalog.tasks.task import (
    PARTS,
    Arrays,
    Baseline,
    Recipe,
    Report,
    Source,
    SourceError,
    Task,
    Words,
    WrongDataError,
    content_digest,
    part_digests,
    sizes,
    verify,
)
from bench.core.axes import BY_FIELD
from bench.core.case import Case
from bench.core.errors import UsageError, named

__all__ = [
    "CLASS_LABEL",
    "PARTS",
    "SIZES",
    "TARGETS",
    "TASKS",
    "Arrays",
    "Baseline",
    "Recipe",
    "Report",
    "Source",
    "SourceError",
    "Target",
    "Task",
    "Words",
    "WrongDataError",
    "content_digest",
    "family_of",
    "find",
    "from_json",
    "known",
    "load",
    "of",
    "part_digests",
    "read_description",
    "read_npz",
    "register",
    "sizes",
    "to_json",
    "verify",
    "write_npz",
]

TASKS: dict[str, Task] = {task.name: task for kind in (mnist, pixels, generated) for task in kind.TASKS}

SIZES = {"steps": 0, "features": 0, "classes": 0, "coarse": 1}
"""The fields of `Case` that size a task, each with the value that leaves the task as it is."""


_prepared: dict[str, Task] = {}
"""Users' tasks, by `module:factory`: those that this process has prepared, or was given the file of."""


def register(task: Task) -> None:
    """Make a prepared task known to this process."""
    _prepared[task.name] = task


def find(name: str, origin: str = "a case") -> Task:
    """The task of that name.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    if ":" in name and name not in _prepared:
        raise UsageError(f"the data of the task {name!r} ({origin}) are not prepared.")
    return named("task", name, {**TASKS, **_prepared}, origin)


def of(case: Case, origin: str | Callable[[str], str] = "a case") -> Task:
    """The task of a case, sized for it: its steps, features and outputs are those that the case's network gets.

    Args:
        case: whose task.
        origin: where the case came from, for messages; or where each axis came from, by the axis's plural.

    Raises:
        UsageError: there is none of that name, or it can't be had of the size that the case asks for.
    """

    def came_from(field: str) -> str:
        return origin if isinstance(origin, str) else origin(BY_FIELD[field].plural)

    task = find(case.task, came_from("task"))
    asked = {field: value for field, default in SIZES.items() if (value := getattr(case, field)) != default}
    takes = task.recipe.takes if task.recipe else ()
    for field, value in asked.items():
        if field not in takes:
            able = ", ".join(each.name for each in TASKS.values() if each.recipe and field in each.recipe.takes)
            raise UsageError(
                f"the task {task.name} can't take {field} = {value} ({came_from(field)}): its data have "
                f"{task.steps} steps × {task.features} features; tasks that take {field}: {able}."
            )
    if not asked or task.recipe is None:
        return task
    try:
        return task.recipe.sized(task, asked)
    except ValueError as reason:
        values = ", ".join(f"{field} = {value} ({came_from(field)})" for field, value in asked.items())
        raise UsageError(f"the task {task.name} can't take {values}: {reason}.") from None


def known(case: Case, description: object = None) -> Task | None:
    """The task of a stored case, as `of` gives it; None where it is not known.

    Args:
        case: as it is stored.
        description: what its run kept of its task (`task_json`), which is read where this version doesn't know it.
    """
    try:
        return of(case)
    except UsageError:
        return from_json(description)


def load(path: Path | None, task: Task) -> Arrays:
    """A task's data: read and verified from the file that `bench.catalog.cache.obtain` gave, or made by its recipe.

    Raises:
        UsageError: the file is gone, damaged or not this task's data; names the way to get it again.
    """
    if task.file:
        return read_prepared(task.file, task)
    if task.recipe is None:
        assert path is not None
        return load_npz(path, task)
    return task.recipe.make(task, load(path, find(task.recipe.source)) if task.recipe.source else None)
