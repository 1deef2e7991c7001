"""What a comparison asks: the metrics, their margins, and which of them a gate must be certain about.

A user's own settings stand under `[tool.bench.gate]` in pyproject.toml, or under `[gate]` in a suite:

    [tool.bench.gate]
    require = ["train_seconds", "accuracy"]
    train_seconds = { tolerance = 0.05 }
    accuracy = { tolerance = 0.01, floor = 0.002 }
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.core.errors import UsageError, unknown
from bench.core.metric import Margins
from bench.core.metrics import COMPARED, METRICS, find_metric


@dataclass(frozen=True)
class Gate:
    """The margins of each metric, and those metrics that a gate must be certain about.

    A regression counts in every metric. An inconclusive verdict counts in the required ones only: compile times, for
    example, vary too much for a conclusion from a few runs.
    """

    margins: Mapping[str, Margins] = field(default_factory=lambda: dict(COMPARED))
    required: frozenset[str] = frozenset(name for name, metric in METRICS.items() if metric.required)


def read_gate(table: object, origin: str) -> Gate:
    """A gate from a table of a TOML file.

    Args:
        table: the table as TOML gives it: `require`, and a table of margins for each metric that is named.
        origin: where it stands ("[gate] in my.toml"), for messages.

    Raises:
        UsageError: an unknown key, or margins that make no sense.
    """
    if not isinstance(table, Mapping):
        raise UsageError(f"the gate ({origin}) must be a table, as in train_seconds = {{ tolerance = 0.05 }}.")
    gate = Gate()
    for key, value in table.items():
        if key == "require":
            gate = replace(gate, required=_required(value, origin))
        elif key in COMPARED:
            gate = replace(gate, margins={**gate.margins, key: _margins(key, value, origin)})
        else:
            raise unknown("key", key, ["require", *COMPARED], origin)
    return gate


def find_gate(file: Path | None) -> Gate:
    """The gate of a TOML file: `[tool.bench.gate]` of a pyproject.toml, or `[gate]` of a suite.

    Where no file is named: that of pyproject.toml in this folder, or the defaults.

    Raises:
        UsageError: the file that was named has no gate, or any file cannot be read or has a gate that makes no sense.
    """
    path = Path("pyproject.toml") if file is None else file
    if file is None and not path.exists():
        return Gate()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read the margins from {str(path)!r} ({why}): name a TOML file.") from None
    for names in (("tool", "bench", "gate"), ("gate",)):
        table: Any = content
        for name in names:
            table = table.get(name) if isinstance(table, dict) else None
        if table is not None:
            return read_gate(table, f"[{'.'.join(names)}] in {path}")
    if file is not None:
        raise UsageError(f"{path} names no margins: put them under [tool.bench.gate], or under [gate] in a suite.")
    return Gate()


def _required(value: object, origin: str) -> frozenset[str]:
    if not isinstance(value, list) or not value:
        raise UsageError(f'require ({origin}) must be a list of metrics, as in require = ["train_seconds"].')
    for name in value:
        find_metric(str(name), f"require in {origin}")
    return frozenset(value)


def _margins(name: str, value: object, origin: str) -> Margins:
    where = f"{name} in {origin}"
    usual = COMPARED[name]
    if not isinstance(value, Mapping) or not value:
        raise UsageError(f"{where} must be a table, as in {name} = {{ tolerance = 0.05 }}.")
    for key, number in value.items():
        if key not in ("tolerance", "floor"):
            raise unknown("key", str(key), ("tolerance", "floor"), where)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise UsageError(f"{key} = {number!r} ({where}) is not a number.")
    tolerance = float(value.get("tolerance", usual.tolerance))
    # who asks for a narrower tolerance than the usual floor means the floor to be narrower too
    floor = float(value.get("floor", min(usual.floor, tolerance)))
    try:
        return Margins(tolerance, floor)
    except ValueError as error:
        raise UsageError(f"{where}: {error}.") from None
