"""Pure statistics: estimates with 95 % intervals, ratios and differences, paired or not.

One rule holds everywhere: where the data cannot carry an interval there is none (`None`), and a reader of intervals
must take that as "not known". So it is for one value, and for values that are all equal: a zero-width interval would
claim a certainty that a small sample does not give. Values that are not finite are no measurements: `n` is of the rest.

Samples are one-dimensional, of independent values: runs, process pairs or seeds, never epochs or calls of one run. A
`confidence` is the coverage of an interval, above 0 and below 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# scipy.stats takes a second to import; these are the same functions without its frame.
from scipy.special import bdtr, betainc, stdtrit

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
"""The coverage of every interval that is shown."""

# Values whose relative range is smaller are equal but for rounding.
_EQUAL = 1e-9

# An order-statistic interval for the median reaches 95 % from this many values on (1 - 2 · 0.5^6 = 0.969).
_ORDER_STATISTICS_FROM = 6


@dataclass(frozen=True)
class Interval:
    """A closed confidence interval, in the unit of its estimate."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A figure, its interval, and the number of independent values behind it.

    With `n` = 0 the value is NaN; where the data give no interval it is None.
    """

    value: float
    interval: Interval | None
    n: int

    def scaled(self, factor: float) -> Estimate:
        """The same in another unit: `factor` is positive."""
        interval = self.interval and Interval(factor * self.interval.low, factor * self.interval.high)
        return Estimate(factor * self.value, interval, self.n)


NOTHING = Estimate(math.nan, None, 0)


def stands_above(highest: Estimate, rest: Iterable[Estimate]) -> bool:
    """Whether the interval of the highest of some estimates lies above those of all the others.

    That is rarer than a difference that is significant at 5 %: two 95 % intervals part by chance in about 6 of 1,000
    cases, so that it may be asked of the highest of up to some ten.
    """
    return highest.interval is not None and all(
        each.interval is not None and each.interval.high < highest.interval.low for each in rest
    )


def quantiles(values: Iterable[float], *at: float) -> tuple[float, ...]:
    """The quantiles of one run's calls, between the two nearest values in proportion; NaN where nothing is finite.

    Calls of a run are not independent, so no interval can come from them. The definition is Hyndman and Fan's seventh
    (1996, *The American Statistician* 50, 361), NumPy's default.

    Args:
        values: the calls, in any order.
        at: the quantiles, 0 to 1.
    """
    sample = _finite(values)
    return tuple(float(x) for x in np.quantile(sample, at)) if sample.size else (math.nan,) * len(at)


def quantile_of_sorted(values: Floats, at: float) -> float:
    """One of `quantiles`, of finite values in ascending order: without their sorting, thousands take no time."""
    if not values.size:
        return math.nan
    place = at * (values.size - 1)
    below = int(place)
    above = min(below + 1, values.size - 1)
    return float(values[below] + (values[above] - values[below]) * (place - below))


def harrell_davis(values: Iterable[float], at: float) -> float:
    """A quantile as a mean of all order statistics, weighted by how likely each is that quantile; NaN for no values.

    So it doesn't jump from one order statistic to the next, as times do that come in clusters (Harrell and Davis, 1982,
    *Biometrika* 69, 635).

    Args:
        values: the calls, in any order.
        at: the quantile, above 0 and below 1.
    """
    sample = np.sort(_finite(values))
    n = sample.size
    if not n:
        return math.nan
    edges = betainc((n + 1) * at, (n + 1) * (1 - at), np.arange(n + 1) / n)
    return float(np.diff(edges) @ sample)


def mean_t(values: Iterable[float], confidence: float = CONFIDENCE) -> Estimate:
    """The mean, with Student's t interval (Student, 1908, *Biometrika* 6, 1).

    Args:
        values: a sample, roughly normal where it is small.
        confidence: the interval's coverage.
    """
    sample = _finite(values)
    if not sample.size:
        return NOTHING
    return Estimate(float(sample.mean()), _t_interval(sample, confidence), int(sample.size))


def trimmed_t(values: Iterable[float], fraction: float, confidence: float = CONFIDENCE) -> Estimate:
    """The mean without a fraction of the values at either end, with Tukey & McLaughlin's t interval.

    The standard error is that of the winsorized sample, over the fraction that is kept, with a degree of freedom less
    than there are values left (Tukey & McLaughlin, 1963, *Sankhyā* A 25, 331). No interval where all values, or all
    that are left, are equal.

    Args:
        values: a sample.
        fraction: what is cut off at either end, 0 to 0.5, rounded down to whole values; with none it is `mean_t`.
        confidence: the interval's coverage.
    """
    sample = np.sort(_finite(values))
    n = int(sample.size)
    cut = int(fraction * n)
    kept = sample[cut : n - cut]
    if cut == 0:
        return mean_t(kept, confidence)
    mean = float(kept.mean())
    if _all_equal(kept):
        return Estimate(mean, None, n)
    winsorized = np.clip(sample, kept[0], kept[-1])
    error = float(winsorized.std(ddof=1)) * math.sqrt(n) / kept.size
    half = float(stdtrit(kept.size - 1, (1 + confidence) / 2)) * error
    return Estimate(mean, _interval(mean - half, mean + half), n)


def median_runs(values: Iterable[float], confidence: float = CONFIDENCE) -> Estimate:
    """The median over runs, with an interval that suits times: skewed, positive, few.

    From 6 values on: the distribution-free interval between two order statistics, whose coverage is binomial and at
    least `confidence` (Hahn & Meeker, *Statistical Intervals*, on quantiles; Conover, *Practical Nonparametric
    Statistics*, the same).
    Fewer values do not reach 95 % that way: here it is Student's t interval for the mean of the logarithms, taken back
    by exp, and widened to hold the median where it doesn't. It assumes roughly log-normal values, and there is none
    where a value is not positive.

    Args:
        values: a sample, one value a run.
        confidence: the interval's coverage.
    """
    sample = np.sort(_finite(values))
    n = int(sample.size)
    if not n:
        return NOTHING
    median = float(np.median(sample))
    if _all_equal(sample):
        return Estimate(median, None, n)
    rank = _order_rank(n, confidence)
    if n >= _ORDER_STATISTICS_FROM and rank:
        return Estimate(median, _interval(sample[rank - 1], sample[n - rank]), n)
    logs = exp_interval(_t_interval(np.log(sample), confidence)) if sample[0] > 0 else None
    held = Interval(min(logs.low, median), max(logs.high, median)) if logs else None
    return Estimate(median, held, n)


def paired_ratio(new: Sequence[float], base: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """The geometric mean of new/base, paired by index, with Student's t interval on the log-ratios.

    A pair with a value that is not finite and positive is left out; `n` counts the pairs that remain.

    Args:
        new: n_pairs values, in one unit with `base`.
        base: n_pairs values, aligned with `new` block by block (or seed by seed, or process pair by process pair).
        confidence: the interval's coverage.

    Raises:
        ValueError: the two are not equally long, so nothing shows what belongs together.
    """
    pairs = np.column_stack(_same_length(new, base))
    logs = np.log(pairs[(np.isfinite(pairs) & (pairs > 0)).all(axis=1)])
    ratios = logs[:, 0] - logs[:, 1]
    if not ratios.size:
        return NOTHING
    # Equal ratios are found as ratios: around a ratio of 1 a relative range of logarithms means nothing.
    interval = None if _all_equal(np.exp(ratios)) else exp_interval(_t_interval(ratios, confidence))
    return Estimate(float(np.exp(ratios.mean())), interval, int(ratios.size))


def unpaired_ratio(new: Iterable[float], base: Iterable[float], confidence: float = CONFIDENCE) -> Estimate:
    """The ratio of the geometric means of new and base, two independent samples, with Welch's t interval on logarithms.

    Values that are not finite and positive are left out; `n` is that of the smaller sample.

    Args:
        new: a sample.
        base: a sample in the same unit, of any length.
        confidence: the interval's coverage.
    """
    new_logs, base_logs = (np.log(sample[sample > 0]) for sample in (_finite(new), _finite(base)))
    difference = unpaired_difference(new_logs, base_logs, confidence)
    if not difference.n:
        return NOTHING
    return Estimate(math.exp(difference.value), exp_interval(difference.interval), difference.n)


def unpaired_difference(new: Iterable[float], base: Iterable[float], confidence: float = CONFIDENCE) -> Estimate:
    """The mean of new less that of base, two independent samples, with Welch's t interval.

    The degrees of freedom are Welch and Satterthwaite's (Welch, 1947, *Biometrika* 34, 28). There is no interval where
    a sample has one value, since nothing is known of its spread, nor where neither has any spread. `n` is that of the
    smaller sample.

    Args:
        new: a sample.
        base: a sample in the same unit, of any length.
        confidence: the interval's coverage.
    """
    samples = _finite(new), _finite(base)
    n = min(sample.size for sample in samples)
    if not n:
        return NOTHING
    value = float(samples[0].mean() - samples[1].mean())
    error = welch(*samples)
    half = error.half_width(confidence) if error else math.nan
    return Estimate(value, _interval(value - half, value + half) if math.isfinite(half) else None, int(n))


@dataclass(frozen=True)
class StandardError:
    """The standard error of a difference of two means, and the degrees of freedom that it is estimated with."""

    error: float
    freedom: float

    def half_width(self, confidence: float = CONFIDENCE) -> float:
        """Half of Student's t interval of that coverage."""
        return float(stdtrit(self.freedom, (1 + confidence) / 2)) * self.error


def welch(new: Floats, base: Floats) -> StandardError | None:
    """Welch's standard error; None where a sample has fewer than two values, or neither has any spread.

    Args:
        new: a sample of finite values.
        base: another, of any length.
    """
    return _difference((new, base), (new.size, base.size))


def single_difference(new: Floats, base: Floats) -> StandardError | None:
    """The standard deviation of the difference of single values; None where Welch's standard error is.

    Args:
        new: a sample of finite values.
        base: another, of any length.
    """
    return _difference((new, base), (1, 1))


def _difference(samples: Sequence[Floats], sizes: Sequence[int]) -> StandardError | None:
    """That of the difference of means of so many values, the degrees of freedom as Satterthwaite has them."""
    if min(sample.size for sample in samples) < 2 or all(map(_all_equal, samples)):
        return None
    parts = [float(sample.var(ddof=1)) / size for sample, size in zip(samples, sizes, strict=True)]
    freedom = sum(parts) ** 2 / sum(part**2 / (sample.size - 1) for part, sample in zip(parts, samples, strict=True))
    return StandardError(math.sqrt(sum(parts)), freedom)


def assumed_interval(value: float, spread: float, n: int, confidence: float = CONFIDENCE) -> Interval | None:
    """Student's t interval of n values that are all `value`, had they varied with the standard deviation `spread`.

    For values that do not vary at all, where a reader knows how much such values vary at least; None for one of no
    width.

    Args:
        value: the mean.
        spread: the assumed standard deviation, in the same unit.
        n: how many values there are.
        confidence: the interval's coverage.
    """
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * spread / math.sqrt(n) if n > 1 else 0.0
    return _interval(value - half, value + half)


def _finite(values: Iterable[float]) -> Floats:
    array = np.asarray(values if isinstance(values, np.ndarray) else list(values), dtype=np.float64)
    kept: Floats = array[np.isfinite(array)]
    return kept


def _all_equal(sample: Floats) -> bool:
    return bool(np.ptp(sample) <= _EQUAL * np.abs(sample).max())


def _same_length(new: Sequence[float], base: Sequence[float]) -> tuple[Floats, Floats]:
    if len(new) != len(base):
        raise ValueError(f"pairs need equal lengths, not {len(new)} and {len(base)}")
    return np.asarray(new, dtype=np.float64), np.asarray(base, dtype=np.float64)


def _interval(low: float, high: float) -> Interval | None:
    """None for one of no width: see the rule above."""
    return Interval(float(low), float(high)) if low < high else None


def _t_interval(sample: Floats, confidence: float) -> Interval | None:
    n = sample.size
    if n < 2 or _all_equal(sample):
        return None
    half = float(stdtrit(n - 1, (1 + confidence) / 2) * sample.std(ddof=1) / math.sqrt(n))
    mean = float(sample.mean())
    return _interval(mean - half, mean + half)


def exp_interval(interval: Interval | None) -> Interval | None:
    """An interval of logarithms, taken back; no bound that overflows, since it would bound nothing."""
    if interval is None or interval.high > np.log(np.finfo(np.float64).max):
        return None
    return _interval(math.exp(interval.low), math.exp(interval.high))


def _order_rank(n: int, confidence: float) -> int:
    """The largest k for which the k-th smallest and largest of n values hold the median with this confidence; or 0."""
    below = bdtr(np.arange(n // 2), n, 0.5)  # P(fewer than k = i + 1 values lie below the median)
    return int(np.count_nonzero(below <= (1 - confidence) / 2))
