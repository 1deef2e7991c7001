"""What is written after `--set axis=`: texts → values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.catalog import variables
from bench.core.axes import Axis
from bench.core.errors import UsageError

MAX_RUNS = 100_000
"""Most runs of a suite, and values of a range: eleven days at ten seconds a run. More is a slip, and would fill the
memory first."""


def by_cell(text: str) -> tuple[str, dict[str, str]]:
    """The values for all cells, and those for one each: `32,gru:64` is `32`, and `64` for gru.

    A cell's name may have a colon itself, `my_cells:factory:64`.
    """
    shared: list[str] = []
    per_cell: dict[str, list[str]] = {}
    for part in text.split(","):
        cell, colon, value = part.rpartition(":")
        (per_cell.setdefault(cell.strip(), []) if colon else shared).append(value)
    return ",".join(shared), {cell: ",".join(values) for cell, values in per_cell.items()}


def variables_as_axis(overrides: Iterable[str]) -> list[str]:
    """The overrides of `--set` with all `env.NAME=value,value` made one of the axis `env`, all combinations.

    Args:
        overrides: `axis=value,value`, as the user gave them.

    Raises:
        UsageError: a variable is given twice, or without a value.
    """
    rest, values = [], dict[str, list[str]]()
    for override in overrides:
        key, _, text = override.partition("=")
        name = key.strip().removeprefix(variables.PREFIX)
        if name == key.strip():
            rest.append(override)
            continue
        if name in values:
            raise UsageError(f"--set {key} is given twice: write the values in one, as --set {key}=value,value.")
        values[name] = [part.strip() for part in text.split(",") if part.strip()]
        if not values[name]:
            raise UsageError(
                f"--set {override} has no value: write --set {key}=value,value, or --set {key}={variables.NONE} for a "
                f"variable that is not set."
            )
    return [*rest, *([f"env={','.join(variables.crossed(values))}"] if values else [])]


def axis_values(axis: Axis, text: str, origin: str) -> list[Any]:
    """The values of an axis that a text lists, `7,9` or, of whole numbers, a range: `0..9`.

    Args:
        axis: whose values they are.
        text: what stands after `axis=`.
        origin: where the text came from, as an error calls it.

    Raises:
        UsageError: a value is not of the axis's type.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if axis.type is int:
        return [value for part in parts for value in _whole_numbers(part, origin)]
    if axis.type is float:
        return [_number(axis.plural, part, origin) for part in parts]
    if axis.type is bool:
        return [_truth(axis.plural, part, origin) for part in parts]
    return parts


def _whole_numbers(part: str, origin: str) -> Iterable[int]:
    """`7` or an inclusive range, `0..9`."""
    first, dots, last = part.partition("..")
    try:
        start, stop = int(first), int(last) if dots else int(first)
    except ValueError:
        raise UsageError(f"{short(part)!r} ({origin}) is not a whole number or a range such as 0..9.") from None
    if stop < start:
        raise UsageError(f"the range {part!r} ({origin}) is empty: write the smaller number first.")
    if stop - start >= MAX_RUNS:
        raise UsageError(f"the range {part!r} ({origin}) has more than {MAX_RUNS:,} values.")
    return range(start, stop + 1)


def _number(key: str, text: str, origin: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{key} = {short(text)!r} ({origin}) is not a number.") from None


def scalar(key: str, kind: type, text: str, origin: str) -> Any:
    """The single value of a setting, of the type `kind`.

    Args:
        key: the setting's name.
        kind: bool, int, float or str.
        text: what stands after `key=`.
        origin: where the text came from, as an error calls it.

    Raises:
        UsageError: it is not of that type.
    """
    if kind is float:
        return _number(key, text, origin)
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise UsageError(f"{key} = {short(text)!r} ({origin}) is not a whole number.") from None
    if kind is bool:
        return _truth(key, text, origin)
    return text


def _truth(key: str, text: str, origin: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"{key} = {short(text)!r} ({origin}) is neither true nor false.")
    return text == "true"


def short(text: str) -> str:
    """A text as an error shows it: its first 80 characters."""
    return text if len(text) <= 80 else f"{text[:79]}…"
