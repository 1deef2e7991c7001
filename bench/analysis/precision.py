"""Measuring until an interval is narrow enough: when to stop, and what the interval is then. Pure.

Blocks are added until each interval is as narrow as was asked for. Such a rule favours samples that happen to vary
little: of intervals that are 95 % ones at a fixed number of values, as few as 92 % hold their truth where they are
first narrow enough, if the rule may stop from the fifth value on (Starr, 1966, *Ann. Math. Statist.* 37, 36, has the
same figures of Chow and Robbins's rule, 1965, *ibid.* 36, 457). Anscombe (1953, *J. R. Statist. Soc. B* 15, 1) corrects
the interval by a term that vanishes as values become many, which is what is done here: an interval that is read after
every block is wider by √(1 + 4/n) for a mean, and by 1 + 0.8/√n for a median, whose interval lies between two order
statistics and so has a width that varies more; and its width then decides. At the first chance to stop nothing has been
chosen yet, and nothing is corrected. Stopping because a budget is over depends on no value, and needs no correction.

What no rule corrects: a sample that holds none of a rare kind of value knows nothing of them, and stops early. That is
why nothing stops before `FEWEST_BLOCKS`. `scripts/simulate_precision.py` has what this does to real values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.analysis.stats import Estimate, Interval
from bench.core.metric import Metric

FEWEST_BLOCKS = 10
"""No interval is narrow enough before so many: of ten values that are low with a chance of 0.3 each, as some networks'
accuracies are, 3 % hold no low one; of five, 17 %."""


@dataclass(frozen=True)
class PrecisionTarget:
    """How narrow the interval of a metric is to be."""

    metric: Metric
    half_width: float
    """A fraction of the estimate for a metric that is compared by ratios; else in the metric's unit."""

    def reached(self, estimate: Estimate) -> bool:
        """Whether an estimate's interval is narrow enough, read after this block as after each one before it."""
        half = half_width(while_measuring(estimate, self.metric), self.metric)
        return estimate.n >= FEWEST_BLOCKS and half is not None and half <= self.half_width

    def values_needed(self, estimate: Estimate) -> int | None:
        """About how many values it would take in all, if they go on varying as they do; None where nothing is known."""
        half = half_width(while_measuring(estimate, self.metric), self.metric)
        if half is None:
            return None
        return max(FEWEST_BLOCKS, math.ceil(estimate.n * (half / self.half_width) ** 2))


def widening(values: int, metric: Metric) -> float:
    """What an interval is wider by because it is read after every block; found by simulation.

    Args:
        values: how many independent ones there are.
        metric: whose mean over seeds, or median over runs, the interval is of.
    """
    if values <= FEWEST_BLOCKS:
        return 1.0
    return math.sqrt(1 + 4 / values) if metric.replicate == "seed" else 1 + 0.8 / math.sqrt(values)


def while_measuring(estimate: Estimate, metric: Metric) -> Estimate:
    """The same with the interval that holds its truth with 95 % although its width decides when to stop.

    Args:
        estimate: one of a table's, of n independent values; its interval is that of a fixed n.
        metric: that it is of.
    """
    if estimate.interval is None:
        return estimate
    wider = widening(estimate.n, metric)
    low = estimate.value - wider * (estimate.value - estimate.interval.low)
    high = estimate.value + wider * (estimate.interval.high - estimate.value)
    return Estimate(estimate.value, Interval(low, high), estimate.n)


def half_width(estimate: Estimate, metric: Metric) -> float | None:
    """Half the width of an estimate's interval, as `PrecisionTarget.half_width` has it; None where there is none.

    Args:
        estimate: of the metric.
        metric: decides the scale.
    """
    if estimate.interval is None:
        return None
    half = (estimate.interval.high - estimate.interval.low) / 2
    return half / abs(estimate.value) if metric.as_ratio else half
