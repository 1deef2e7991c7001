"""Where the level of a series moves, and how small a move it would still show. Pure.

A level holds for at least `SEGMENT` points; a spike of one or two points is no change. Change points are found by PELT
(Killick, Fearnhead & Eckley, 2012) with a squared-error cost, on values that are cleaned of spikes and scaled by their
own noise. Its false positives were counted on series without a change (`tests/analysis/test_change_points.py` repeats
it): 4 of 100 series of 10 points, 1 of 100 of 30 points; with skewed noise 4 and 2 of 100. That is for points that are
independent: a machine that drifts moves its level, and that is a change of level too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SEGMENT = 5
"""Points that a level must hold for, before and after a change."""

_PENALTY = 6.0
"""Times log n: what a change point must save in squares of the noise. 2 log n would be the Bayesian criterion's, for a
noise that is known; ours comes from the same few points, and 6 makes up for that (see above)."""

_SPIKE = 3.0
"""So many standard deviations from the median of its neighbours a point is a spike (Hampel's filter, width 5)."""

_POWER_QUANTILE = 2.33
"""Standard deviations for a power of 99 % where the noise is known. It is estimated from the same few points: of steps
of `smallest_detectable` size, where they are hardest to see, 89 to 92 of 100 were found in series of 10 points, 95 to
97 in 15, 97 to 99 in 30, with normal, skewed and heavy-tailed noise (1,000 series each;
`tests/analysis/test_change_points.py` repeats it)."""

Floats = npt.NDArray[np.float64]


def change_points(values: Sequence[float], least: float = 0.0) -> tuple[int, ...]:
    """Where the level of a series moves: indices of the first values of new levels, ascending.

    PELT (Killick, Fearnhead & Eckley, 2012, *JASA* 107, 1590) with a squared-error cost, on values scaled by their
    noise.

    Args:
        values: n_points values in order; none is found in fewer than two segments' worth, or where a value is not
            finite.
        least: the least standard deviation of noise, in the values' unit; smaller steps are then no changes.
    """
    import ruptures  # a second to import

    measured = np.asarray(values, dtype=np.float64)
    if len(measured) < 2 * SEGMENT or not np.isfinite(measured).all():
        return ()
    spread = max(_noise(measured), least)
    if not spread > 0:
        spread = float(np.ptp(measured)) / len(measured) or 1.0  # a step between values that are otherwise equal
    signal = _without_spikes(measured, spread) / spread
    search = ruptures.Pelt(model="l2", min_size=SEGMENT, jump=1).fit(signal.reshape(-1, 1))
    return tuple(search.predict(pen=_PENALTY * math.log(len(signal)))[:-1])


def smallest_detectable(values: Sequence[float], least: float = 0.0, starts: Sequence[int] = ()) -> float:
    """The smallest step that `change_points` would have found, nine times in ten, in the longest level.

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
    return of_noise * max(_noise(measured), _spread_about_levels(measured, starts), least)


def _noise(values: Floats) -> float:
    """The standard deviation of the noise, from differences of neighbours: a step spoils one of them only."""
    steps = np.diff(values)
    return float(np.median(np.abs(steps - np.median(steps))) / 0.6745 / math.sqrt(2))


def _spread_about_levels(values: Floats, starts: Sequence[int]) -> float:
    """The standard deviation about the levels' medians, from the median absolute deviation.

    Where a machine has two modes that alternate, most differences of neighbours are equal, and show no noise.
    """
    residuals = np.concatenate([level - np.median(level) for level in np.split(values, list(starts))])
    return float(np.median(np.abs(residuals)) / 0.6745)


def _without_spikes(values: Floats, spread: float) -> Floats:
    cleaned = values.copy()
    for i, value in enumerate(values):
        start = min(max(0, i - 2), len(values) - 5)  # at the ends the nearest five
        around = np.median(values[start : start + 5])
        if abs(value - around) > _SPIKE * spread:
            cleaned[i] = around
    return cleaned
