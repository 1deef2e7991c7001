"""Whether a run that was made again gives the losses that are stored. Pure.

On the same machine and software a case gives the same losses to the last bit (a test of the real layer holds it). On
others it can't: sums are added up in another order, and training turns a difference in the last bit into one like that
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
_SHARE = 0.10
_ACCURACY = 0.01
_METRICS = ("loss", "accuracy")


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
        return self.again is not None and abs(self.again - self.centre) <= self.within


def check(stored: pd.DataFrame, again: pd.DataFrame, seeds: pd.DataFrame, *, exact: bool) -> tuple[Check, ...]:
    """Every loss and accuracy of a run against the same of its repetition, in the stored order.

    Args:
        stored: the observations of the stored run.
        again: those of the repetition.
        seeds: those of all the store's ok runs of this configuration, the stored one too.
        exact: machine and software are the same.
    """
    found = []
    new = dict(_figures(again))
    for key, value in _figures(stored):
        phase, epoch, metric = key
        spread = [own for other, own in _figures(seeds) if other == key]
        centre, within = (value, 0.0) if exact else _tolerance(value, metric, spread)
        found.append(Check(phase, epoch, metric, value, new.get(key), centre, within))
    return tuple(found)


def _tolerance(value: float, metric: str, spread: Sequence[float]) -> tuple[float, float]:
    least = _ACCURACY if metric == "accuracy" else _SHARE * abs(value)
    if len(spread) < _SEEDS:
        return value, least
    return statistics.fmean(spread), _DEVIATIONS * statistics.stdev(spread)


def _figures(rows: pd.DataFrame) -> list[tuple[tuple[str, int | None, str], float]]:
    found = []
    for row in rows.to_dict("records"):
        for metric in _METRICS:
            value = float(row[metric])
            if row["phase"] in ("train", "validate", "evaluate") and math.isfinite(value):
                epoch = None if math.isnan(row["epoch"]) else int(row["epoch"])
                found.append(((str(row["phase"]), epoch, metric), value))
    return found
