"""What a comparison asks: the metrics, their margins, and which of them a gate must be certain about.

A user's own settings stand under `[tool.bench.gate]` in pyproject.toml, or under `[gate]` in a suite:

    [tool.bench.gate]
    require = ["train_seconds", "accuracy"]
    drift = "2 %"
    train_seconds = { tolerance = "5 %" }
    accuracy = { tolerance = "1 point", floor = 0.002 }
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.core.errors import UsageError, unknown
from bench.core.margins import read_margin
from bench.core.metric import Margins, Metric
from bench.core.metrics import COMPARED, METRICS, find_metric
from bench.plan.project import find_project, own_table, read_toml


@dataclass(frozen=True)
class Gate:
    """The margins of each metric, and those metrics that a gate must be certain about.

    A regression counts in every metric. An inconclusive verdict counts in the required ones only: compile times, for
    example, vary too much for a conclusion from a few runs.
    """

    margins: Mapping[str, Margins] = field(default_factory=lambda: dict(COMPARED))
    required: frozenset[str] = frozenset(name for name, metric in METRICS.items() if metric.required)
    required_by_name: bool = False
    """Whether the user named the required ones; one of these that neither side measured is missing."""
    drift: float | None = None
    """How far the machine's speed moves from one occasion to another at most, as a fraction: the user's declaration, by
    which times of sides that were not interleaved are judged. None where there is none."""
    named: frozenset[str] = field(default=frozenset(), compare=False)
    """The metrics whose margins the user named."""
    origin: str = field(default="", compare=False)
    """Where it was read from ("[gate] in my.toml"); empty for the defaults."""


def read_gate(table: object, origin: str) -> Gate:
    """A gate from a table of a TOML file.

    Args:
        table: the table as TOML gives it: `require`, `drift`, and a table of margins for each metric that is named.
        origin: where it stands ("[gate] in my.toml"), for messages.

    Raises:
        UsageError: an unknown key, or margins that make no sense.
    """
    if not isinstance(table, Mapping):
        raise UsageError(f"the gate ({origin}) must be a table, as in train_seconds = {{ tolerance = 0.05 }}.")
    gate = Gate(origin=origin)
    given: dict[str, str] = {}
    for key, value in table.items():
        if key == "require":
            gate = replace(gate, required=_required(value, origin), required_by_name=True)
            continue
        if key == "drift":
            where = f"drift = {reprlib.repr(value)} ({origin})"
            gate = replace(gate, drift=checked_drift(read_margin(value, METRICS["train_seconds"], where), where))
            continue
        metric = _metric(key, origin)
        if metric.name in given:
            raise UsageError(f"{key} and {given[metric.name]} ({origin}) are one metric: leave one of them out.")
        given[metric.name] = key
        gate = replace(gate, margins={**gate.margins, metric.name: _margins(metric, value, f"{key} in {origin}")})
    return replace(gate, named=frozenset(given))


def find_gate(file: Path | None) -> Gate:
    """The gate of a TOML file: `[tool.bench.gate]` of a pyproject.toml, or `[gate]` of a suite.

    Where no file is named: that of the project (`bench.plan.project.find_project`), or the defaults.

    Raises:
        UsageError: the file that was named has no gate, or any file cannot be read or has a gate that makes no sense.
    """
    if file is None:
        project = find_project(Path.cwd())
        if project is None or "gate" not in project.table:
            return Gate()
        return read_gate(project.table["gate"], f"[tool.bench.gate] in {_shown(project.path)}")
    content = read_toml(file, "the margins")
    table = own_table(content, file)
    if table is not None and "gate" in table:
        return read_gate(table["gate"], f"[tool.bench.gate] in {file}")
    if "gate" in content:
        return read_gate(content["gate"], f"[gate] in {file}")
    near = difflib.get_close_matches("gate", content, n=1)
    slip = f" (it has [{near[0]}])" if near else ""
    raise UsageError(f"{file} names no margins{slip}: put them under [tool.bench.gate], or under [gate] in a suite.")


def _shown(path: Path) -> str:
    """A file as the user would name it from here, where it lies here or below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _metric(name: str, origin: str) -> Metric:
    try:
        return find_metric(name, origin)
    except UsageError:
        known = [text for metric in COMPARED for text in (metric, METRICS[metric].title)]
        raise unknown("key", name, ["require", "drift", *known], origin) from None


def _required(value: object, origin: str) -> frozenset[str]:
    if not isinstance(value, list) or not value:
        raise UsageError(f'require ({origin}) must be a list of metrics, as in require = ["train_seconds"].')
    return frozenset(find_metric(str(name), f"require in {origin}").name for name in value)


def checked_drift(drift: float, where: str) -> float:
    """A declared drift, if it makes sense.

    Args:
        drift: how far the machine's speed moves at most, as a fraction.
        where: what was read, for messages.

    Raises:
        UsageError: it is negative, or more than the whole.
    """
    if not 0 <= drift <= 1:
        raise UsageError(f"{where} isn't from 0 to 100 %: give the farthest that the speed moves, as in '2 %'.")
    return drift


def _margins(metric: Metric, value: object, where: str) -> Margins:
    usual = COMPARED[metric.name]
    if not isinstance(value, Mapping) or not value:
        raise UsageError(f"{where} must be a table, as in {metric.name} = {{ tolerance = 0.05 }}.")
    given = {}
    for key, written in value.items():
        if key not in ("tolerance", "floor"):
            raise unknown("key", str(key), ("tolerance", "floor"), where)
        given[key] = read_margin(written, metric, f"{key} = {reprlib.repr(written)} ({where})")
    tolerance = given.get("tolerance", usual.tolerance)
    # who asks for a narrower tolerance than the usual floor means the floor to be narrower too
    floor = given.get("floor", min(usual.floor, tolerance))
    try:
        return Margins(tolerance, floor)
    except ValueError as error:
        raise UsageError(f"{where}: {error}.") from None
