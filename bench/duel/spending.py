"""Error spending by the calendar: how much of the chance to err each interim analysis may use, and its level.

A measurement that may stop at any of several stages spends its chance to err, α, bit by bit: by the time that the
fraction t of its budget is over, α · t^1.5 (Lan and DeMets, 1983, *Biometrika* 70, 659; by calendar time 1989,
*Biometrics* 45, 1017; the power family of Kim and DeMets, 1987, *Biometrika* 74, 149). Neither the number of stages nor
what there will be at each has to be known beforehand: a stage's boundary follows from the stages that there were, and
from the numbers of values at them. The boundary is found by numerical integration over the joint normal distribution
of the stages (Armitage, McPherson and Rowe, 1969, *J. R. Statist. Soc. A* 132, 235; Jennison and Turnbull, 2000, *Group
Sequential Methods*, chapter 19), and is carried over to Student's t by its significance level, as Pocock proposed
(1977, *Biometrika* 64, 191); `scripts/duel_boundaries.py` shows by simulation what that keeps of the coverage.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

EXPONENT = 1.5
"""What is spent grows with this power of the time that is over: with 1, early stages would take much of what a late
one needs; with 3, large differences would be found late."""

_NODES = 256
"""The number of an integral's nodes: with thousands of values they lie no farther apart than one value moves their sum,
and the boundary is exact to four digits (`tests/duel/test_spending.py`)."""

_FARTHEST = 12.0
"""The largest boundary that is sought, in standard errors; beyond it floats don't differ from certainty."""


@dataclass(frozen=True)
class Stage:
    """One interim analysis of one ratio."""

    values: int
    """How many independent values there were."""
    spent: float
    """The chance to err that is used up with this stage, 0 to 1."""


def spent(alpha: float, fraction: float) -> float:
    """The chance to err that may be used up when this fraction of the budget is over.

    Args:
        alpha: the whole chance.
        fraction: of the time, 0 to 1; later than the end is the end.
    """
    return float(alpha * min(fraction, 1.0) ** EXPONENT)


def significance_level(stages: tuple[Stage, ...]) -> float:
    """The two-sided significance level of the last of these stages.

    Args:
        stages: in their order; each with more values, and more spent, than the one before.

    Raises:
        ValueError: they are not in such an order.
    """
    return 2 * float(ndtr(-_path(stages).boundary))


@dataclass(frozen=True)
class _Path:
    """The sums of normal values that have crossed no boundary so far, after a stage."""

    boundary: float
    """The stage's boundary, in standard errors."""
    sums: npt.NDArray[np.float64]
    """The nodes of the integral over the sum of all values."""
    mass: npt.NDArray[np.float64]
    """The probability at each node: density times weight."""


@functools.lru_cache(maxsize=4096)
def _path(stages: tuple[Stage, ...]) -> _Path:
    from scipy.optimize import brentq  # a tenth of a second, which a table without a duel does without

    *earlier, now = stages
    if not earlier:
        boundary = -float(ndtri(now.spent / 2))
        sums, weights = _nodes(boundary * np.sqrt(now.values))
        return _Path(boundary, sums, weights * _density(sums, now.values))
    before, last = _path(tuple(earlier)), earlier[-1]
    growth, left = now.values - last.values, now.spent - last.spent
    if growth <= 0 or left <= 0:
        raise ValueError(f"a stage at {now} after one at {last}: each needs more values, and more to spend")

    def excess(boundary: float) -> float:
        """The chance to cross it now for the first time, beyond what may be spent."""
        edge = boundary * np.sqrt(now.values)
        beyond = ndtr((-edge - before.sums) / np.sqrt(growth)) + ndtr((before.sums - edge) / np.sqrt(growth))
        return float(before.mass @ beyond) - left

    boundary = float(brentq(excess, 0.0, _FARTHEST, xtol=1e-6))
    sums, weights = _nodes(boundary * np.sqrt(now.values))
    arriving = _density(sums[:, np.newaxis] - before.sums, growth) @ before.mass
    return _Path(boundary, sums, weights * arriving)


def _nodes(edge: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    nodes, weights = _legendre()
    return edge * nodes, edge * weights


@functools.cache
def _legendre() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(_NODES)


def _density(sums: npt.NDArray[np.float64], values: int) -> npt.NDArray[np.float64]:
    """The density of the sum of so many standard normal values."""
    density: npt.NDArray[np.float64] = np.exp(-0.5 * sums**2 / values) / np.sqrt(2 * np.pi * values)
    return density
