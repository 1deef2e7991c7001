"""A margin as its user writes it: `0.05`, `"5 %"`, `"0.5 points"`, and on the command line `5` for per cent. Pure."""

from __future__ import annotations

import math
import re
import reprlib

from bench.core.errors import UsageError
from bench.core.metric import Metric
from bench.core.units import FRACTION

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
_PERCENT = frozenset({"%", "percent", "per cent"})
_POINTS = frozenset({"point", "points", "percentage points"})

_LARGEST_RATIO = 0.5
_LARGEST_DIFFERENCE = 0.1
"""The largest margins that a number without a unit may be: a larger one is a percentage whose unit is missing."""


def read_margin(value: object, metric: Metric, where: str) -> float:
    """A metric's margin as it stands in a TOML file.

    Args:
        value: a number, which is a fraction (for a metric that is compared by its difference, in its unit); or a text
            with a unit: per cent, or for a metric such as accuracy, points.
        metric: the metric whose margin it is.
        where: what is read, for messages: `tolerance = 5 (train_seconds in pyproject.toml)`.

    Raises:
        UsageError: it is no number, has a unit that the metric isn't compared in, or is a number so large that the unit
            was forgotten.
    """
    in_points = not metric.as_ratio and metric.unit is FRACTION
    unit = "points" if in_points else "%" if metric.as_ratio else ""
    number, given = _parts(value, unit, where)
    if not given:
        largest = _LARGEST_DIFFERENCE if in_points else _LARGEST_RATIO
        if unit and number > largest:
            raise UsageError(
                f"{where} would be {100 * number:g} {unit}, which nobody means: write {number / 100:g}, or "
                f'"{number:g} {unit}", if that was meant, and else "{100 * number:g} {unit}".'
            )
        return number
    if unit and (given in _PERCENT or (in_points and given in _POINTS)):
        return number / 100
    ways = f'as in "5 {unit}"' if unit else "without a unit"
    raise UsageError(
        f"{where} has the unit {reprlib.repr(given)}, which {metric.title} isn't compared in: write it {ways}."
    )


def read_percentage(text: str, where: str, *, least: float = 0.0) -> float:
    """A margin of times as an option gives it, as a fraction: `1.5` and `1.5 %` are 0.015.

    Args:
        text: what was given.
        where: what is read, for messages: `--tolerance 1.5`.
        least: the smallest percentage that a number without a unit may be: a smaller one is rather a fraction.

    Raises:
        UsageError: it is no number, has another unit, or is so small that a fraction was meant.
    """
    number, given = _parts(text, "%", where)
    if given and given not in _PERCENT:
        raise UsageError(f"{where} has the unit {reprlib.repr(given)}: it is a percentage, as in 1.5 or '1.5 %'.")
    if not given and 0 < number < least:
        raise UsageError(
            f"{where} would be {number:g} %, which nobody means: write {100 * number:g}, if that was meant, and else "
            f"'{number:g} %'."
        )
    return number / 100


def _parts(value: object, unit: str, where: str) -> tuple[float, str]:
    """The number, and the unit as it was given; empty where there is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf:
        try:
            return float(value), ""
        except OverflowError:  # a whole number of 400 digits
            return math.inf, ""
    match = _NUMBER.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        or_text = f', nor a text with its unit, as in "5 {unit}"' if unit else ""
        raise UsageError(f"{where} is no number{or_text}.")
    return float(match[0]), match.string[match.end() :].strip().lower()
