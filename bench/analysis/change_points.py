"""Where the level of a series moves, and how small a move it would still show. Pure.

A level holds for at least `SEGMENT` points. Change points are found by binary segmentation (Vostrikova, 1981, *Soviet
Math. Dokl.* 24, 55): the split that removes most squares, as long as it removes more than chance would. Chance is
judged by the *long-run* variance of the noise, which is larger than the variance of single points where neighbours
resemble each other (Lavielle and Moulines, 2000, *J. Time Ser. Anal.* 21, 33): a machine that is slow for a week makes
a level of nothing. It is estimated from what is left beside the levels, by several means of which the largest counts:

- as of an autoregression of order one, from the differences of neighbours and of next neighbours (Chakar et al., 2017,
  *Bernoulli* 23, 1408), whose correlation is taken to be as large as the number of points leaves possible;
- from the differences of the means of neighbouring blocks of one, two and four weeks (Dette, Eckle and Vetter, 2020,
  *Scand. J. Statist.* 47, 1243): a block has to be longer than what lifts its values together.

A series is examined again whenever it has grown by a point. What a split must save grows with the logarithm of the
number of points, so that the chance of any false change stays small over all these examinations together;
`scripts/simulate_history.py` counts them over a year of nights (docs/between-days.md).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from bench.analysis.stats import Floats

SEGMENT = 5
"""Points that a level must hold for, before and after a change."""

BLOCKS = (7, 14, 28)
"""Points of a block; blocks are compared where the series has four of them."""

_PENALTY = 6.0
"""Times log n: what a change point must save in squares of the noise. Over n points, examined one after the other, a
saving of 6 log n has about the chance of n⁻³ at each split of each examination, and there are n² of these."""

AT_ONCE = 2
"""Changes that are sought together: of a level that moved and came back, neither step stands out from the noise that
the other one makes."""

_UNCERTAINTY = 2.0
"""Times 1/√n, about two standard errors: how much larger the correlation of neighbours may be than it seems."""

_LARGEST_CORRELATION = 0.9
"""A correlation that is nearer to 1 is no noise about a level."""

_POWER_QUANTILE = 2.33
"""Standard deviations for a power of 99 %. Of steps of `smallest_detectable` size, where they are hardest to see, 99 to
100 of 100 were found in series of 10 to 100 points, with normal, skewed and heavy-tailed noise (400 series each;
`tests/analysis/test_change_points.py` repeats it)."""


def change_points(values: Sequence[float], least: float = 0.0) -> tuple[int, ...]:
    """Where the level of a series moves: indices of the first values of new levels, ascending.

    Args:
        values: n_points values in order; none is found in fewer than two segments' worth, or where a value is not
            finite.
        least: the least standard deviation of noise, in the values' unit; smaller steps are then no changes.
    """
    measured = np.asarray(values, dtype=np.float64)
    if not np.isfinite(measured).all():
        return ()
    starts: tuple[int, ...] = ()
    while (further := _further(measured, starts, least)) is not None:
        starts = further
    return starts


def smallest_detectable(values: Sequence[float], least: float = 0.0, starts: Sequence[int] = ()) -> float:
    """The smallest step that `change_points` would have found, 99 times in 100, in the longest level.

    A minimum detectable effect: the standard error times the sum of the critical value and the power's quantile (Bloom,
    1995, *Evaluation Review* 19, 547). Cutting a level of m points after point a saves, for a step of δ standard
    deviations of the noise, (δ √(a (m - a) / m) + Z)² squares of the noise, Z being standard normal; it is cut where
    that exceeds the penalty. The step is hardest to see `SEGMENT` points from an end: a = `SEGMENT` is what counts.

    Args:
        values: n_points values in order.
        least: as `change_points` takes it.
        starts: the changes that were found: what a further one must exceed is asked then.

    Returns:
        A difference in the values' unit; infinite where a level is too short to be cut, or a value is not finite.
    """
    measured = np.asarray(values, dtype=np.float64)
    longest = max(end - start for start, end in itertools.pairwise((0, *starts, len(measured))))
    if longest < 2 * SEGMENT or not np.isfinite(measured).all():
        return math.inf
    critical = math.sqrt(_PENALTY * math.log(len(measured)))
    of_noise = (critical + _POWER_QUANTILE) * math.sqrt(longest / (SEGMENT * (longest - SEGMENT)))
    return of_noise * long_run_deviation(_residuals(measured, starts), len(starts) + 1, least)


def long_run_deviation(residuals: Floats, levels: int, least: float = 0.0) -> float:
    """The standard deviation of the noise as means of many points have it: √n times that of a mean of n.

    Args:
        residuals: n_points values less the means of their levels, in order.
        levels: how many levels there are.
        least: the least that it is taken to be.
    """
    n = len(residuals)
    if n < 3:
        return least
    neighbours = float(np.mean(np.diff(residuals) ** 2)) / 2
    next_neighbours = float(np.mean((residuals[2:] - residuals[:-2]) ** 2)) / 2
    seeming = max(next_neighbours / neighbours - 1, 0.0) if neighbours else 0.0
    correlation = min(seeming + _UNCERTAINTY / math.sqrt(n), _LARGEST_CORRELATION)
    of_points = max(float(np.sum(residuals**2)) / max(n - levels, 1), neighbours)
    variance = of_points * (1 + correlation) / (1 - correlation)
    sums = np.concatenate([[0.0], np.cumsum(residuals)])
    for block in BLOCKS:
        if n >= 4 * block:
            means = (sums[block:] - sums[:-block]) / block
            variance = max(variance, block * float(np.mean((means[block:] - means[:-block]) ** 2)) / 2)
    return max(math.sqrt(variance), least)


def _further(values: Floats, starts: tuple[int, ...], least: float) -> tuple[int, ...] | None:
    """The changes with the next ones, as few at once as save enough; None where none do."""
    saved, together = 0.0, starts
    for number in range(1, AT_ONCE + 1):
        candidate = _best_split(values, together)
        if candidate is None or not candidate[1]:
            return None
        together, saved = tuple(sorted([*together, candidate[0]])), saved + candidate[1]
        noise = long_run_deviation(_residuals(values, together), len(together) + 1, least)
        if saved > number * _PENALTY * math.log(len(values)) * noise**2:
            return together
    return None


def _best_split(values: Floats, starts: Sequence[int]) -> tuple[int, float] | None:
    """The split of a level that removes most squares, and how many; None where every level is too short."""
    best = None
    for start, end in itertools.pairwise((0, *starts, len(values))):
        length = end - start
        if length < 2 * SEGMENT:
            continue
        lengths = np.arange(SEGMENT, length - SEGMENT + 1)
        sums = np.cumsum(values[start:end] - values[start:end].mean())[lengths - 1]
        saved = sums**2 * length / (lengths * (length - lengths))
        place = int(np.argmax(saved))
        if best is None or saved[place] > best[1]:
            best = (start + int(lengths[place]), float(saved[place]))
    return best


def _residuals(values: Floats, starts: Sequence[int]) -> Floats:
    """What is left of the values beside the means of their levels."""
    return np.concatenate([level - level.mean() for level in np.split(values, list(starts))])
