"""The registry of tasks: what is learnt from which data. A file a kind of data, in which a task is a row."""

from __future__ import annotations

from bench.catalog.tasks import mnist
from bench.catalog.tasks.npz import load, read_npz, write_npz
from bench.catalog.tasks.task import (
    CLASS_LABEL,
    PARTS,
    Arrays,
    Report,
    Source,
    SourceError,
    Target,
    Task,
    Words,
    WrongDataError,
    content_digest,
    part_digests,
    sizes,
    verify,
)
from bench.core.case import Case
from bench.core.errors import UsageError, named

__all__ = [
    "CLASS_LABEL",
    "PARTS",
    "TASKS",
    "Arrays",
    "Report",
    "Source",
    "SourceError",
    "Target",
    "Task",
    "Words",
    "WrongDataError",
    "content_digest",
    "find",
    "known",
    "load",
    "of",
    "part_digests",
    "read_npz",
    "sizes",
    "verify",
    "write_npz",
]

TASKS: dict[str, Task] = {task.name: task for kind in (mnist,) for task in kind.TASKS}


def find(name: str, origin: str = "a case") -> Task:
    """The task of that name.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    return named("task", name, TASKS, origin)


def of(case: Case, origin: str = "a case") -> Task:
    """The task of a case, sized for it: its steps, features and outputs are those that the case's network gets.

    Raises:
        UsageError: there is none of that name; the message gives the nearest one.
    """
    return find(case.task, origin)


def known(case: Case) -> Task | None:
    """The task of a stored case, as `of` gives it; None where this version doesn't know it."""
    try:
        return of(case)
    except UsageError:
        return None
