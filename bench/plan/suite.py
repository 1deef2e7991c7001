"""TOML → `Suite`, validated: the axes that are crossed, and the fixed settings.

A suite may have parts (`[[parts]]`), each with axes that replace those of `[axes]`: what is run is all that any part
crosses. So what matters most can have more seeds than the rest, in the same blocks.
"""

from __future__ import annotations

import math
import reprlib
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Len
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, create_model, field_validator
from pydantic_core import ErrorDetails

from bench.core.axes import AXES, Axis
from bench.core.claim import read_claim_tables
from bench.core.errors import UsageError, unknown
from bench.plan.gate import read_gate
from bench.plan.set_values import MAX_RUNS, axis_values, by_cell, scalar, short, variables_as_axis

_REST = ""
"""The key of the origin of all values that no --set has overridden."""


def _axis_field(axis: Axis) -> tuple[Any, tuple[str | int | float, ...]]:
    """The type and the default of an axis in the model of axes: a tuple of at least one valid value."""
    if axis.is_number:
        infinite = False if axis.type is float else None
        rule = Field(ge=axis.at_least, gt=axis.above, le=axis.at_most, allow_inf_nan=infinite)
    elif axis.type is bool:
        rule = Field()
    else:
        rule = Field(min_length=1)
    return Annotated[tuple[Annotated[axis.type, rule], ...], Len(min_length=1)], axis.default  # type: ignore[name-defined]


_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)
_fields: Any = {plural: _axis_field(axis) for plural, axis in AXES.items()}
_Declared = create_model("_Declared", __config__=_STRICT, **_fields)


class Axes(_Declared):  # type: ignore[misc, valid-type]
    """What is crossed with what: a field for each of `AXES`, a tuple of distinct values."""

    @field_validator("*", mode="after")
    @classmethod
    def _distinct(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        value, count = Counter(values).most_common(1)[0]
        if count > 1:
            raise ValueError(f"{value!r} stands there {count} times")
        return values


class Settings(BaseModel):
    """What is the same for every case of the suite; `[settings]` may hold those axes beside it that are settings."""

    model_config = _STRICT

    repeats: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Runs of each case; more repeats buy certainty about time, more seeds about accuracy."""
    bounds: bool = False
    """Whether to measure this machine's roofline ceilings first (`bench.store.ceilings`), where they aren't known."""
    silence_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 900.0
    """A run that reports nothing (no phase, no epoch ended) for so long is killed."""
    fallback_task: str = ""
    """The task to run instead, and to report so, where the data of the task `mnist` cannot be had; empty: none."""


_SETTINGS_AMONG_AXES = {plural for plural, axis in AXES.items() if axis.setting}
_PER_CELL = [plural for plural, axis in AXES.items() if plural != "seeds" and (axis.is_number or axis.type is bool)]
"""The axes that may differ from cell to cell: not those that name things, nor the seeds, which pair the cells' runs."""
_TABLES: dict[str, tuple[str, ...]] = {
    "settings": (*Settings.model_fields, *_SETTINGS_AMONG_AXES),
    "axes": tuple(AXES),
}
"""The tables of a suite's file, and the keys that may stand in each."""
_PerCell = dict[str, dict[str, list[Any]]]
"""The values that cells have for themselves, by cell and axis."""
_SCALARS: dict[str, Any] = {name: field.annotation for name, field in Settings.model_fields.items()}
_PARTS = "parts"


class Suite(BaseModel):
    """A named set of axes and settings."""

    model_config = _STRICT

    name: Annotated[str, Field(min_length=1)]
    title: str = ""
    axes: Axes = Axes()
    parts: tuple[Axes, ...] = ()
    """What is crossed by itself, one after another; where there are none, it is `axes`."""
    settings: Settings = Settings()
    claims: tuple[str, ...] = ()
    """What it is expected to show, `accuracy: gru > lstm`, which tables judge; read by `bench.core.claim`."""
    _own_values: dict[str, dict[str, tuple[Any, ...]]] = PrivateAttr(default_factory=dict)
    """By cell: the values that `[cells.NAME]` gives it alone, by axis."""
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    def origin(self, key: str) -> str:
        """Where the value of an axis or a setting came from, as an error calls it."""
        return self._origins.get(key) or self._origins.get(_REST) or f"the suite {self.name}"

    @property
    def crossings(self) -> tuple[Axes, ...]:
        """The axes that are crossed, by part; and in it by cell, where a cell has values of its own."""
        parts = self.parts or (self.axes,)
        if not self._own_values:
            return parts
        return tuple(
            axes.model_copy(update={**self._own_values.get(cell, {}), "cells": (cell,)})
            for axes in parts
            for cell in axes.cells
        )

    def claiming(self, claims: tuple[str, ...]) -> Suite:
        """The same suite with what it is expected to show."""
        return self.model_copy(update={"claims": claims})

    @property
    def runs(self) -> int:
        """How many runs the crossings come to; what two parts have in common counts twice."""
        return self.settings.repeats * sum(
            math.prod(len(getattr(axes, axis)) for axis in AXES) for axes in self.crossings
        )

    def values(self, axis: str) -> tuple[Any, ...]:
        """The values of an axis, by its plural, over all parts: each once, in their order."""
        return tuple(dict.fromkeys(value for axes in self.crossings for value in getattr(axes, axis)))


def built_in() -> dict[str, Path]:
    """The suites that come with the program: name → file."""
    folder = Path(str(resources.files("bench") / "plan" / "suites"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find(name_or_file: str) -> Path:
    """The file of a suite: one that comes with the program, or the user's.

    Raises:
        UsageError: the name is no file's, and no suite of that name comes with the program.
    """
    suites = built_in()
    if name_or_file in suites:
        return suites[name_or_file]
    if name_or_file.endswith(".toml") or "/" in name_or_file:
        return Path(name_or_file)
    raise unknown("suite", name_or_file, suites, "a suite of one's own is named by its file, ending in .toml")


def load(name_or_file: str, overrides: Iterable[str] = ()) -> Suite:
    """Read a suite by its name, or from a TOML file, and apply `--set axis=value,value` overrides.

    Args:
        name_or_file: the name of a suite that comes with the program, or a TOML file.
        overrides: those of `--set`; an axis given there replaces the suite's.

    Raises:
        UsageError: no such suite, unreadable or malformed TOML, an unknown key, a value out of range.
    """
    path = find(name_or_file)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        known = ", ".join(built_in())
        raise UsageError(
            f"cannot read the suite {str(path)!r}: {reason}; name a TOML file, or one of {known}."
        ) from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, and ten thousand nested brackets
        raise UsageError(f"the suite {str(path)!r} is not valid TOML: {error}.") from None
    read_gate(raw.pop("gate", {}), f"[gate] in {path}")  # a comparison reads it; a slip in it is reported now
    for table in _TABLES:
        if not isinstance(raw.setdefault(table, {}), dict):
            raise UsageError(f"{table!r} in {str(path)!r} must be a table: write [{table}] on a line of its own.")
    parts = raw.setdefault(_PARTS, [])
    if not (isinstance(parts, list) and all(isinstance(part, dict) for part in parts)):
        raise UsageError(
            f"{_PARTS!r} in {str(path)!r} must be tables: write [[{_PARTS}]] on a line of its own above each."
        )
    claims = raw.pop("claims", [])
    suite = _made({"name": path.stem, **raw}, overrides, str(path))
    cells = {*suite.values("cells"), *raw["axes"].get("cells", ())}  # --set may have left some out
    return suite.claiming(read_claim_tables(claims, cells, str(path))) if claims else suite


def crossed(
    name: str,
    axes: Mapping[str, Sequence[Any]],
    overrides: Iterable[str] = (),
    parts: Iterable[Mapping[str, Sequence[Any]]] = (),
) -> Suite:
    """A suite of these axes, with `--set axis=value,value` overrides applied.

    Args:
        name: the suite's name, and that of the command which makes it.
        axes: the values of axes, by plural; those left out have their defaults.
        overrides: those of `--set`, which win over `axes` and `parts`.
        parts: the axes of each part, which replace those of `axes` in it.

    Raises:
        UsageError: as `load` does.
    """
    of_all, *of_parts = ({axis: list(values) for axis, values in each.items()} for each in (axes, *parts))
    raw = {"name": name, "axes": of_all, _PARTS: of_parts, "settings": {}}
    return _made(raw, overrides, f"bench {name}")


def _made(raw: dict[str, Any], overrides: Iterable[str], rest: str) -> Suite:
    """The validated suite; `rest` is where that came from which no override gave."""
    raw, per_cell = _apart(_with_settings_as_axes(raw, rest), rest)
    raw, per_cell, given = _with_overrides(raw, per_cell, overrides)
    origins = {**given, _REST: rest}
    suite = _validated(raw, origins)
    suite._origins.update(origins)
    for cell in per_cell.keys() & set(suite.values("cells")):
        axes = _validated({**raw, "axes": {**raw["axes"], **per_cell[cell]}}, origins).axes
        suite._own_values[cell] = {key: getattr(axes, key) for key in per_cell[cell]}
    if suite.runs > MAX_RUNS:
        raise UsageError(
            f"the suite {suite.name} asks for {suite.runs:,} runs, and {MAX_RUNS:,} are the most: shorten its axes."
        )
    return suite


def _with_settings_as_axes(raw: dict[str, Any], origin: str) -> dict[str, Any]:
    """The suite with each axis that stands under [settings], as a single value, among the axes."""
    axes, settings = dict(raw["axes"]), dict(raw["settings"])
    for key in _SETTINGS_AMONG_AXES & settings.keys():
        value = settings.pop(key)
        if key in axes:
            raise UsageError(f"{key} ({origin}) stands both under [axes] and under [settings]: leave one out.")
        if isinstance(value, list):
            raise UsageError(f"{key} = {_shown(value)} ({origin}) cannot be used: several values belong under [axes].")
        axes[key] = [value]
    return {**raw, "axes": axes, "settings": settings}


def _apart(raw: dict[str, Any], origin: str) -> tuple[dict[str, Any], _PerCell]:
    """The suite without its tables `[cells.NAME]`, and the values that they give, by cell and axis."""
    if not isinstance(raw.get("cells", {}), dict):
        raise UsageError(f"the key 'cells' ({origin}) belongs under [axes].")
    per_cell: _PerCell = {}
    for cell, values in raw.get("cells", {}).items():
        table = f"[cells.{cell}] in {origin}"
        if not isinstance(values, dict):
            raise UsageError(f"cells.{cell} in {origin} must be a table: write [cells.{cell}] on a line of its own.")
        cells = raw["axes"].get("cells", AXES["cells"].default)
        if isinstance(cells, list | tuple) and cell not in cells:
            raise unknown("cell", cell, [name for name in cells if isinstance(name, str)], table)
        for key, value in values.items():
            _check_per_cell(key, table)
            per_cell.setdefault(cell, {})[key] = value if isinstance(value, list) else [value]
    return {key: value for key, value in raw.items() if key != "cells"}, per_cell


def _check_per_cell(key: str, origin: str) -> None:
    if key in AXES and key not in _PER_CELL:
        raise UsageError(f"{key} ({origin}) cannot differ from cell to cell: put it under [axes], for all.")
    if key not in AXES:
        raise unknown("key", key, _PER_CELL, origin)


def _with_overrides(
    raw: dict[str, Any], per_cell: _PerCell, overrides: Iterable[str]
) -> tuple[dict[str, Any], _PerCell, dict[str, str]]:
    """The suite with the overrides put in, the cells' own values too, and where each overridden value came from."""
    given: dict[str, str] = {}
    named: dict[str, str] = {}
    per_cell = {cell: dict(values) for cell, values in per_cell.items()}
    tables = {table: dict(raw[table]) for table in _TABLES}
    for override in variables_as_axis(overrides):
        key, equals, text = override.partition("=")
        key, origin = key.strip(), f"--set {short(override)}"
        if not equals:
            raise UsageError(f"{origin} has no value: write --set {key}=value,value.")
        if key in given:
            raise UsageError(f"--set {key} is given twice: write the values in one, as --set {key}=value,value.")
        if key in AXES:
            for values in per_cell.values():
                values.pop(key, None)
            text, texts = by_cell(text) if key in _PER_CELL else (text, {})
            named |= dict.fromkeys(texts, origin)
            for cell, part in texts.items():
                per_cell.setdefault(cell, {})[key] = axis_values(AXES[key], part, origin)
            if text or not texts:
                tables["axes"][key] = axis_values(AXES[key], text, origin)
        elif key in Settings.model_fields:
            tables["settings"][key] = scalar(key, _SCALARS[key], text.strip(), origin)
        else:
            raise unknown("key", key, [*AXES, *Settings.model_fields], origin)
        given[key] = origin
    for cell, origin in named.items():
        if cell not in (cells := tables["axes"].get("cells", AXES["cells"].default)):
            raise unknown("cell", cell, cells, origin)
    # what is given replaces the axis of every part
    parts = [{key: values for key, values in part.items() if key not in given} for part in raw.get(_PARTS, ())]
    return {**raw, **tables, _PARTS: parts}, per_cell, given


def _validated(raw: Mapping[str, Any], origins: Mapping[str, str]) -> Suite:
    axes = _as_tuples(raw["axes"], origins[_REST])
    parts = tuple(axes | _as_tuples(part, origins[_REST]) for part in raw[_PARTS])
    settings = {
        key: _as_float(value) if _SCALARS.get(key) is float else value for key, value in raw["settings"].items()
    }
    try:
        return Suite.model_validate({**raw, "axes": axes, _PARTS: parts, "settings": settings})
    except ValidationError as error:
        # an unknown key is reported first: the value that it should have set may be what else is wrong
        first = min(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
        raise _as_usage_error(first, origins) from None


def _as_tuples(table: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The axes of a table as the strict model takes them: tuples where TOML has lists."""
    axes = {}
    for key, given in table.items():
        axis = AXES.get(key)
        # an axis may be written as --set takes it, seeds = "0..9"
        values = axis_values(axis, given, origin) if axis and isinstance(given, str) else given
        if isinstance(values, list):
            values = tuple(_as_float(value) if axis and axis.type is float else value for value in values)
        axes[key] = values
    return axes


def _as_float(value: Any) -> Any:
    """A whole number as a float: TOML distinguishes 1 from 1.0, and nobody means to."""
    return float(value) if type(value) is int else value


def _as_usage_error(error: ErrorDetails, origins: Mapping[str, str]) -> UsageError:
    """One sentence for what is wrong."""
    *tables, key = [part for part in error["loc"] if isinstance(part, str)]
    origin = origins.get(key, origins[_REST])
    if error["type"] == "extra_forbidden":
        if tables:
            in_part = tables[0] == _PARTS
            keys = _TABLES["axes" if in_part else tables[0]]
            return unknown("key", key, keys, f"{f'[[{_PARTS}]]' if in_part else f'[{tables[0]}]'} in {origin}")
        # a key that belongs into a table is the likeliest slip
        home = next((table for table, keys in _TABLES.items() if key in keys), None)
        if home:
            return UsageError(f"the key {key!r} ({origin}) belongs under [{home}].")
        return unknown("key", key, [*Suite.model_fields, "gate"], origin)
    value, rule = error["input"], error.get("ctx", {})
    reason = {
        "tuple_type": f"it must be a list, as in {key} = [{_shown(value)}]",
        "too_short": "there must be at least one value",
        "int_type": "it must be a whole number",
        "float_type": "it must be a number",
        "bool_type": "it must be true or false",
        "finite_number": "it must be a finite number",
        "string_type": "it must be text",
        "string_too_short": "it must not be empty",
        "greater_than": f"it must be greater than {rule.get('gt')}",
        "greater_than_equal": f"it must be at least {rule.get('ge')}",
        "less_than_equal": f"it must be at most {rule.get('le')}",
    }.get(error["type"], error["msg"].removeprefix("Value error, "))
    return UsageError(f"{key} = {_shown(value)} ({origin}) cannot be used: {reason}.")


def _shown(value: Any) -> str:
    """A value as the suite would write it, and no longer than a line."""
    if isinstance(value, bool):
        return str(value).lower()
    return _values.repr(list(value) if isinstance(value, tuple) else value)


_values = reprlib.Repr()
_values.maxstring = _values.maxlong = _values.maxother = 60
