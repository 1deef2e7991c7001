"""The user's settings of this program: `[tool.bench]` in the pyproject.toml of the project that one stands in."""

from __future__ import annotations

import difflib
import reprlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.errors import UsageError, unknown

FILE = "pyproject.toml"
_KEYS = ("gate", "source")
"""What may stand under `[tool.bench]`: `bench.plan.gate`, `bench.duel.layout`."""


@dataclass(frozen=True)
class ProjectSettings:
    """A pyproject.toml and its `[tool.bench]`."""

    path: Path
    table: Mapping[str, Any]


def find_project(start: Path) -> ProjectSettings | None:
    """The nearest pyproject.toml with a `[tool.bench]`, from a folder up to the top of its repository, or to the home.

    A folder that lies in neither is the only one that is looked into: what others put into a shared folder
    is no setting of this project.

    Raises:
        UsageError: one that is met can't be read, or has a table that is misspelt.
    """
    for folder in _upwards(start.absolute()):
        path = folder / FILE
        if path.is_file():
            table = own_table(read_toml(path, "the settings"), path)
            if table is not None:
                return ProjectSettings(path, table)
    return None


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """A TOML file's content.

    Args:
        path: the file.
        what: is read from it, for messages: "the margins".

    Raises:
        UsageError: it can't be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # brackets nested ten thousand deep
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read {what} from {str(path)!r} ({why}): name a TOML file.") from None


def own_table(content: Mapping[str, Any], path: Path) -> Mapping[str, Any] | None:
    """`[tool.bench]` of a file's content; None where there is none.

    Args:
        content: the file's.
        path: the file, for messages.

    Raises:
        UsageError: it holds a key that isn't known, or a table for this program stands under another name.
    """
    tools = content.get("tool")
    tools = tools if isinstance(tools, dict) else {}
    misspelt = [f"tool.{name}" for name in difflib.get_close_matches("bench", tools) if _holds_gate(tools[name])]
    for name in (*misspelt, *(["bench"] if _holds_gate(content.get("bench")) else [])):
        if name != "tool.bench":
            raise UsageError(f"[{name}.gate] in {path} isn't read: did you mean [tool.bench.gate]?")
    table = tools.get("bench")
    if table is None:
        return None
    if not isinstance(table, dict):
        raise UsageError(f"bench = {reprlib.repr(table)} ([tool] in {path}) must be a table, as in [tool.bench.gate].")
    for key in table:
        if key not in _KEYS:
            raise unknown("key", key, _KEYS, f"[tool.bench] in {path}")
    return table


def _holds_gate(table: object) -> bool:
    return isinstance(table, dict) and "gate" in table


def _upwards(start: Path) -> Iterator[Path]:
    folders = (start, *start.parents)
    try:
        home = Path.home()
    except RuntimeError:  # an account without one
        home = None
    tops = [folder for folder in folders if folder == home or (folder / ".git").exists()]
    yield from folders[: folders.index(tops[0]) + 1] if tops else folders[:1]
