"""How training time grows with a size: the exponent of a power law, the nearest simple law, and crossovers. Pure.

A series is all runs whose configurations differ in one size alone, over three values of it or more. Its exponent is the
slope of the logarithm of seconds an epoch over that of the size, by ordinary least squares over the runs, with
Student's t interval (n - 2 degrees of freedom). The simple law is chosen as Google Benchmark does it
(`src/complexity.cc`, MinimalLeastSq): for each of constant, log n, linear, n log n, quadratic and cubic the best factor
by least squares, then the law whose root mean square error, over the mean time, is the least.

Where two series cross is read off the line through the logarithms of their ratios, block by block. The interval holds
the sizes at which that line's 95 % band contains a ratio of 1 (inverse prediction: Draper and Smith, *Applied
Regression Analysis*, section 3.2).
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.special import stdtrit

from bench.analysis.rows import Row, paired_train_seconds
from bench.analysis.stats import CONFIDENCE, Estimate, Floats, Interval
from bench.analysis.summary import Section
from bench.catalog import networks
from bench.catalog.networks import NETWORKS
from bench.core.case import Case

SIZES = ("steps", "units", "batch_size", "layers")
"""The fields of a case that are sizes."""
FEWEST_VALUES = 3
"""Values of a size that a law is fitted to."""
_CONTENDERS = ("cell", "kernel", "backend", "runtime")
_GRID = 401

LAWS: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "constant": lambda n: 1.0,
        "log n": lambda n: math.log2(n),
        "linear": lambda n: n,
        "n log n": lambda n: n * math.log2(n),
        "quadratic": lambda n: n**2,
        "cubic": lambda n: n**3,
    }
)
"""The simple laws by name: what the time is a multiple of."""


@dataclass(frozen=True, kw_only=True)
class SizeSeries:
    """Rows that differ in one size alone, by its value, ascending."""

    size: str
    case: Case
    """The configuration with the size at its default: what all of them have in common."""
    rows: Mapping[int, Row]


@dataclass(frozen=True, kw_only=True)
class ScalingLaw:
    """How a series' seconds an epoch grow with its size."""

    series: SizeSeries
    exponent: Estimate
    """The power law's; `n` counts runs."""
    law: str
    """The nearest of `LAWS`."""
    error_fraction: float
    """Root mean square error of that law, over the mean time."""


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """Where one series becomes faster than another."""

    size: str
    smaller: Case
    """The faster below."""
    larger: Case
    """The faster above."""
    at: Estimate
    """The size; `n` counts blocks."""


def find_series(sections: Iterable[Section]) -> list[list[SizeSeries]]:
    """The series of sections that may be compared, a list for each machine, software, code and task.

    Sections that differ in their data alone belong together: another length is other data.
    """
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for section in sections:
        groups[tuple(section.key._replace(data_digest=None))] += [row for row in section.rows if row.runs]
    return [all_series for rows in groups.values() if (all_series := _series(rows))]


def fit(series: SizeSeries) -> ScalingLaw | None:
    """The law of a series; None where its times are not all above 0."""
    points = [
        (value, figure)
        for value, row in series.rows.items()
        for run in row.runs
        if (figure := run.figure("train_seconds")) is not None and figure > 0
    ]
    if len({value for value, _ in points}) < FEWEST_VALUES:
        return None
    sizes, seconds = np.array(points, dtype=np.float64).T
    errors = {name: _error(np.array([law(size) for size in sizes]), seconds) for name, law in LAWS.items()}
    best = min(errors, key=errors.__getitem__)
    return ScalingLaw(series=series, exponent=exponent(sizes, seconds), law=best, error_fraction=errors[best])


def exponent(sizes: Floats, seconds: Floats) -> Estimate:
    """The exponent of the power law that times follow, with its interval.

    Args:
        sizes: n_runs values above 0, of which three differ or more.
        seconds: n_runs times above 0, aligned with the sizes.
    """
    x, y = np.log(sizes), np.log(seconds)
    slope, intercept = np.polyfit(x, y, 1)
    residual, spread = np.square(y - intercept - slope * x).sum(), np.square(x - x.mean()).sum()
    half = _t(len(x) - 2) * math.sqrt(residual / (len(x) - 2) / spread)
    return Estimate(float(slope), Interval(float(slope) - half, float(slope) + half) if half > 0 else None, len(x))


def find_crossovers(all_series: Sequence[SizeSeries]) -> list[Crossover]:
    """Where series that differ in cell, kernel, backend or runtime cross, within the sizes that were measured."""
    crossovers = []
    for first, second in itertools.combinations(all_series, 2):
        if first.size == second.size and _common(first.case) == _common(second.case):
            crossovers += _crossing(first, second)
    return crossovers


def _series(rows: Sequence[Row]) -> list[SizeSeries]:
    all_series = []
    for size in SIZES:
        by_rest: dict[Case, dict[int, Row]] = defaultdict(dict)
        for row in rows:
            value = _value(row, size)
            if value is not None:
                by_rest[_without(row.configuration, {size: 1})][value] = row
        all_series += [
            SizeSeries(size=size, case=case, rows=dict(sorted(by_value.items())))
            for case, by_value in by_rest.items()
            if len(by_value) >= FEWEST_VALUES
        ]
    return all_series


def _value(row: Row, size: str) -> int | None:
    """The value of a size, with what a default stands for."""
    case = row.configuration
    if size == "steps":
        return row.task.steps if row.task else None
    if size == "layers" and not case.layers:
        return len(networks.of(case).recurrent) or None if case.network in NETWORKS else None
    return int(getattr(case, size))


def _common(case: Case) -> Case:
    return _without(case, dict.fromkeys(_CONTENDERS, ""))


def _without(case: Case, fields: Mapping[str, Any]) -> Case:
    return replace(case, **fields)


def _t(freedom: int) -> float:
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _error(law: Floats, seconds: Floats) -> float:
    factor = float((law * seconds).sum() / np.square(law).sum())
    return math.sqrt(float(np.square(seconds - factor * law).mean())) / float(seconds.mean())


def _crossing(first: SizeSeries, second: SizeSeries) -> list[Crossover]:
    points: list[tuple[float, float]] = []
    for value in first.rows.keys() & second.rows.keys():
        ours, theirs = paired_train_seconds(first.rows[value], second.rows[value])
        points += [(math.log(value), math.log(a / b)) for a, b in zip(ours, theirs, strict=True) if a > 0 and b > 0]
    if len({place for place, _ in points}) < FEWEST_VALUES:
        return []
    x, y = (np.array(column) for column in zip(*sorted(points), strict=True))
    slope, intercept = np.polyfit(x, y, 1)
    grid = np.linspace(x.min(), x.max(), _GRID)
    fitted = intercept + slope * grid
    if fitted[0] * fitted[-1] >= 0:
        return []
    freedom = len(x) - 2
    scatter = float(np.square(y - intercept - slope * x).sum()) / freedom
    band = _t(freedom) * np.sqrt(scatter * (1 / len(x) + np.square(grid - x.mean()) / np.square(x - x.mean()).sum()))
    unsure = np.exp(grid[np.abs(fitted) <= band])
    at, held = math.exp(-intercept / slope), (float(unsure.min()), float(unsure.max())) if len(unsure) else None
    interval = Interval(min(held[0], at), max(held[1], at)) if held else None
    faster_first = fitted[0] < 0
    return [
        Crossover(
            size=first.size,
            smaller=(first if faster_first else second).case,
            larger=(second if faster_first else first).case,
            at=Estimate(at, interval if interval and interval.low < interval.high else None, len(x)),
        )
    ]
