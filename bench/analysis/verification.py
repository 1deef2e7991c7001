"""Whether a run that was made again gives the losses that are stored. Pure.

On the same machine and software a case gives the same losses to the last bit (a test of the real layer holds it). On
others it can't: sums are added up in another order, and training makes of a difference in the last bit one like that
of another seed. So there a loss must lie as near to the mean of the store's own seeds as they do themselves: within 3
standard deviations, where there are 3 seeds or more, else within 10 % of the stored figure (0.01 for an accuracy).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

_DEVIATIONS = 3.0
_SEEDS = 3
_FRACTION = 0.10
_ACCURACY = 0.01
_METRICS = ("loss", "accuracy", "mae")


@dataclass(frozen=True)
class Check:
    """One figure, stored and measured again; `within` is the tolerance around `centre`, 0 for bit for bit."""

    phase: str
    epoch: int | None
    metric: str
    stored: float
    again: float | None
    centre: float
    within: float

    @property
    def ok(self) -> bool:
        """Whether the repetition has the figure, near enough."""
        return self.again is not None and abs(self.again - self.centre) <= self.within


def check(stored: pd.DataFrame, again: pd.DataFrame, seeds: pd.DataFrame, *, exact: bool) -> tuple[Check, ...]:
    """Every loss, accuracy and mean absolute error of a run against the same of its repetition, in the stored order.

    Args:
        stored: the observations of the stored run.
        again: those of the repetition.
        seeds: those of all the store's ok runs of this configuration, the stored one too.
        exact: machine and software are the same.
    """
    checks = []
    repeated = dict(_figures(again))
    for key, value in _figures(stored):
        phase, epoch, metric = key
        spread = [of_seed for figure, of_seed in _figures(seeds) if figure == key]
        centre, within = (value, 0.0) if exact else _tolerance(value, metric, spread)
        checks.append(Check(phase, epoch, metric, value, repeated.get(key), centre, within))
    return tuple(checks)


def _tolerance(value: float, metric: str, spread: Sequence[float]) -> tuple[float, float]:
    least = _ACCURACY if metric == "accuracy" else _FRACTION * abs(value)
    if len(spread) < _SEEDS:
        return value, least
    return statistics.fmean(spread), _DEVIATIONS * statistics.stdev(spread)


def _figures(rows: pd.DataFrame) -> list[tuple[tuple[str, int | None, str], float]]:
    figures = []
    for row in rows.to_dict("records"):
        for metric in _METRICS:
            value = float(row[metric])
            if row["phase"] in ("train", "validate", "evaluate") and math.isfinite(value):
                epoch = None if math.isnan(row["epoch"]) else int(row["epoch"])
                figures.append(((str(row["phase"]), epoch, metric), value))
    return figures
