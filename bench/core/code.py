"""The code that a run imported: the record which crosses processes, and what two of them have in common."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, order=True, kw_only=True)
class ImportedModule:
    """One module of the user's project, or of a package that only the user's code imports."""

    name: str
    """As in `sys.modules`: `my.cells`."""
    file: str
    """The absolute path that it was loaded from, links resolved."""
    sha256: str
    """SHA-256, in hex, of the file's content: source, or a compiled extension."""
    distribution: str = ""
    """Name and version of the installed package that the file lies in; empty for a module in no installed package."""


def to_json(modules: Iterable[ImportedModule]) -> str:
    """The record as one line of JSON, sorted by name."""
    return json.dumps([asdict(module) for module in sorted(modules)])


def from_json(text: str | None) -> tuple[ImportedModule, ...]:
    """The record that `to_json` wrote; empty where a run recorded none, or the text is no such record."""
    try:
        return tuple(ImportedModule(**values) for values in json.loads(text or "[]"))
    except (ValueError, TypeError):
        return ()
