"""bench.analysis.stats against slow, obvious versions of itself, and against data whose answer is known."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis import stats
from bench.analysis.stats import (
    Estimate,
    Interval,
    assumed_interval,
    harrell_davis,
    mean_t,
    median_runs,
    paired_ratio,
    stands_above,
    trimmed_t,
    unpaired_difference,
    unpaired_ratio,
)

times = st.floats(min_value=1e-6, max_value=1e6)
anything = st.floats(allow_nan=True, allow_infinity=True, width=32)
estimators: list[Callable[[Sequence[float]], Estimate]] = [
    mean_t,
    median_runs,
    lambda values: paired_ratio(values, [1.0] * len(values)),
]
everywhere = pytest.mark.parametrize("estimate", estimators, ids=["mean", "median", "ratio"])

# Two-sided 95 % quantiles of Student's t, from a printed table.
T_TABLE = {1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262, 29: 2.045}


@everywhere
def test_nothing_gives_nothing(estimate: Callable[[Sequence[float]], Estimate]) -> None:
    for values in ([], [math.nan], [math.inf, math.nan]):
        estimated = estimate(values)
        assert math.isnan(estimated.value)
        assert (estimated.interval, estimated.n) == (None, 0)


@everywhere
def test_one_value_has_no_interval(estimate: Callable[[Sequence[float]], Estimate]) -> None:
    estimated = estimate([3.0])
    assert estimated.value == pytest.approx(3.0)
    assert (estimated.interval, estimated.n) == (None, 1)


@everywhere
@pytest.mark.parametrize("n", [2, 3, 6, 50])
def test_values_that_are_equal_but_for_rounding_claim_no_certainty(
    estimate: Callable[[Sequence[float]], Estimate], n: int
) -> None:
    values = [0.3, 0.1 + 0.2] * n
    assert estimate(values).interval is None
    assert estimate([0.0] * n).interval is None


def test_order_statistics_that_are_tied_are_no_interval_either() -> None:
    assert median_runs([1.0] * 8 + [2.0]) == Estimate(1.0, None, 9)


@everywhere
@given(values=st.lists(anything, max_size=12))
def test_any_values_give_an_ordered_interval_around_the_figure_or_none(
    estimate: Callable[[Sequence[float]], Estimate], values: list[float]
) -> None:
    estimated = estimate(values)
    assert estimated.n <= len(values)
    if estimated.interval is None:
        return
    assert estimated.n >= 2
    assert estimated.interval.low < estimated.interval.high
    if estimate is not estimators[-1]:  # BCa does not promise to hold the figure
        slack = 1e-9 * abs(estimated.value)
        assert estimated.interval.low - slack <= estimated.value <= estimated.interval.high + slack


@everywhere
@given(values=st.lists(times, min_size=2, max_size=9), junk=st.lists(st.sampled_from([math.nan, math.inf]), max_size=3))
def test_what_is_not_finite_is_no_measurement(
    estimate: Callable[[Sequence[float]], Estimate], values: list[float], junk: list[float]
) -> None:
    assert estimate([*values, *junk]) == estimate(values)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
def test_mean_has_the_interval_of_the_printed_table(n: int) -> None:
    values = [10 + math.sin(i * i) for i in range(n)]
    half = T_TABLE[n - 1] * statistics.stdev(values) / math.sqrt(n)
    estimated = mean_t(values)
    assert estimated.value == pytest.approx(statistics.mean(values))
    assert estimated.interval is not None
    assert estimated.interval.low == pytest.approx(estimated.value - half, rel=1e-3)
    assert estimated.interval.high == pytest.approx(estimated.value + half, rel=1e-3)


def test_a_higher_confidence_gives_a_wider_interval() -> None:
    values = [1.0, 1.2, 0.9, 1.1]
    narrow, wide = mean_t(values).interval, mean_t(values, 0.975).interval
    assert narrow is not None
    assert wide is not None
    assert wide.low < narrow.low
    assert narrow.high < wide.high


def _order_interval_by_counting(n: int) -> tuple[int, int]:
    """The narrowest symmetric pair of ranks whose coverage, summed coin by coin, reaches 95 %."""
    chance = [math.comb(n, below) / 2**n for below in range(n + 1)]
    covering = [(low, n + 1 - low) for low in range(1, n // 2 + 1) if sum(chance[low : n + 1 - low]) >= 0.95]
    return covering[-1]


@pytest.mark.parametrize("n", range(6, 60))
def test_median_of_many_runs_lies_between_the_order_statistics_that_counting_gives(n: int) -> None:
    values = [float(i) for i in range(1, n + 1)]
    low, high = _order_interval_by_counting(n)
    random.Random(n).shuffle(values)
    assert median_runs(values) == Estimate((n + 1) / 2, Interval(low, high), n)


def test_median_of_six_runs_spans_them_all_and_of_nine_leaves_out_the_extremes() -> None:
    # The two smallest cases in the printed tables (ranks 1 and 6 of 6; 2 and 8 of 9).
    assert median_runs([1, 2, 3, 4, 5, 6]).interval == Interval(1, 6)
    assert median_runs([1, 2, 3, 4, 5, 6, 7, 8, 9]).interval == Interval(2, 8)


@given(st.lists(times, min_size=2, max_size=5))
def test_median_of_few_runs_has_the_t_interval_of_the_logarithms_widened_to_hold_it(values: list[float]) -> None:
    estimated = median_runs(values)
    logs = mean_t([math.log(v) for v in values])
    assert estimated.value == pytest.approx(statistics.median(values))
    if estimated.interval and logs.interval and logs.interval.high < 700:
        assert estimated.interval.low == pytest.approx(min(math.exp(logs.interval.low), estimated.value), rel=1e-6)
        assert estimated.interval.high == pytest.approx(max(math.exp(logs.interval.high), estimated.value), rel=1e-6)


def test_median_of_few_runs_that_are_not_all_positive_has_no_interval() -> None:
    assert median_runs([-1.0, 2.0, 3.0]) == Estimate(2.0, None, 3)


@pytest.mark.parametrize("n", [3, 5, 8, 15])
def test_the_intervals_hold_the_truth_about_as_often_as_they_say(n: int) -> None:
    draw = np.random.default_rng(n)
    trials = 1500
    held = {"mean": 0, "median": 0, "ratio": 0}
    for _ in range(trials):
        base = np.exp(draw.normal(0, 0.1, n))
        new = 1.3 * base * np.exp(draw.normal(0, 0.05, n))
        normal = draw.normal(7, 2, n)
        for name, estimated, truth in (
            ("mean", mean_t(normal), 7.0),
            ("median", median_runs(base), 1.0),
            ("ratio", paired_ratio(new.tolist(), base.tolist()), 1.3),
        ):
            assert estimated.interval is not None
            held[name] += estimated.interval.low <= truth <= estimated.interval.high
    # Three standard errors of a share of 1500 around 0.95; the order statistics may hold it more often.
    for name, count in held.items():
        assert count / trials > 0.933, name
        assert name == "median" or count / trials < 0.967, name


@given(st.lists(st.tuples(times, times), min_size=1, max_size=8))
def test_ratio_is_the_geometric_mean_and_turns_over_with_its_sides(pairs: list[tuple[float, float]]) -> None:
    new, base = [list(side) for side in zip(*pairs, strict=True)]
    there, back = paired_ratio(new, base), paired_ratio(base, new)
    assert there.value == pytest.approx(math.prod(a / b for a, b in pairs) ** (1 / len(pairs)), rel=1e-6)
    assert there.value == pytest.approx(1 / back.value)
    if there.interval and back.interval and back.interval.low > 0:
        assert there.interval.high == pytest.approx(1 / back.interval.low)


def test_a_pair_without_a_positive_finite_value_is_left_out_as_a_pair() -> None:
    whole = paired_ratio([2.0, 4.2, 6.3], [1.0, 2.0, 3.0])
    assert paired_ratio([2.0, math.nan, 4.2, 0.0, 6.3, 5.0], [1.0, 9.0, 2.0, 9.0, 3.0, math.inf]) == whole
    assert whole.n == 3


def test_unequal_lengths_are_an_error_and_no_result() -> None:
    with pytest.raises(ValueError, match="3 and 2"):
        paired_ratio([1, 2, 3], [1, 2])


def test_drift_that_hits_both_sides_alike_does_not_widen_a_paired_ratio() -> None:
    drift = [1.0, 1.5, 2.0, 3.0]
    estimated = paired_ratio([2.0 * d * e for d, e in zip(drift, [1.01, 0.99, 1.0, 1.0], strict=True)], drift)
    assert estimated.interval is not None
    assert estimated.interval.high / estimated.interval.low < 1.05


def _welch_by_the_book(new: Sequence[float], base: Sequence[float], t: float) -> tuple[float, float, float]:
    """Low and high end of Welch's interval, in plain Python, and the degrees of freedom of Satterthwaite."""
    parts = [statistics.variance(side) / len(side) for side in (new, base)]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (new, base), strict=True))
    middle, half = statistics.mean(new) - statistics.mean(base), t * math.sqrt(sum(parts))
    return middle - half, middle + half, freedom


samples = st.lists(st.floats(0.1, 100), min_size=2, max_size=8).filter(lambda sample: max(sample) > 1.01 * min(sample))


@given(samples, samples)
def test_unpaired_intervals_agree_with_the_book_for_any_numbers_of_values(new: list[float], base: list[float]) -> None:
    *_, freedom = _welch_by_the_book(new, base, 0)
    low, high, _ = _welch_by_the_book(new, base, float(scipy.stats.t.ppf(0.975, freedom)))
    estimated = unpaired_difference(new, base)
    assert estimated.interval is not None
    assert (estimated.interval.low, estimated.interval.high) == pytest.approx((low, high))
    assert estimated.n == min(len(new), len(base))
    ratio = unpaired_ratio([math.exp(x / 50) for x in new], [math.exp(x / 50) for x in base])
    assert ratio.interval is not None
    assert 50 * math.log(ratio.interval.low) == pytest.approx(low, abs=1e-6)
    assert 50 * math.log(ratio.interval.high) == pytest.approx(high, abs=1e-6)


@given(st.lists(anything, max_size=5), st.lists(anything, max_size=5))
def test_unpaired_estimates_of_anything_are_finite_or_not_there(new: list[float], base: list[float]) -> None:
    for estimate in (unpaired_difference, unpaired_ratio):
        estimated = estimate(new, base)
        usable = [
            sum(math.isfinite(x) and (x > 0 or estimate is unpaired_difference) for x in side) for side in (new, base)
        ]
        assert estimated.n == min(usable)
        if estimated.n < 2:
            assert estimated.interval is None


def test_independent_samples_without_any_spread_or_with_one_value_give_no_interval() -> None:
    assert unpaired_difference([2.0, 2.0], [1.0, 1.0, 1.0]) == Estimate(1.0, None, 2)
    assert unpaired_difference([2.0], [1.0, 1.5]) == Estimate(0.75, None, 1)
    one_sided = unpaired_difference([2.0, 2.0, 2.0], [1.0, 1.5, 0.5])
    assert one_sided.interval is not None
    assert one_sided.interval.low < 1.0 < one_sided.interval.high
    assert unpaired_ratio([2.0, -1.0, math.nan], [1.0, 1.0]) == Estimate(2.0, None, 1)


@pytest.mark.parametrize("sizes", [(5, 5), (5, 12)])
def test_unpaired_intervals_hold_the_truth_as_often_as_they_say_though_the_spreads_differ(
    sizes: tuple[int, int],
) -> None:
    """Of 2,000 intervals of 95 %, 1,860 to 1,940 hold the truth (4 standard deviations)."""
    generator = np.random.default_rng(3)
    held = 0
    for _ in range(2_000):
        interval = unpaired_difference(generator.normal(1, 3, sizes[0]), generator.normal(0, 1, sizes[1])).interval
        assert interval is not None
        held += interval.low <= 1 <= interval.high
    assert 1_855 <= held <= 1_945


def test_an_assumed_spread_gives_students_interval() -> None:
    interval = assumed_interval(1.0, 0.1, 5)
    assert interval is not None
    assert interval.high - 1.0 == pytest.approx(T_TABLE[4] * 0.1 / math.sqrt(5), rel=1e-3)
    assert assumed_interval(1.0, 0.1, 1) is None
    assert assumed_interval(1.0, 0.0, 5) is None


def test_bounds_that_no_number_can_hold_are_no_interval() -> None:
    assert median_runs([1e-300, 1e300]).interval is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_quantiles_of_sorted_values_are_the_quantiles(values: list[float], at: float) -> None:
    assert stats.quantile_of_sorted(np.sort(values), at) == pytest.approx(stats.quantiles(values, at)[0], abs=1e-9)


def test_nothing_has_no_quantile() -> None:
    assert math.isnan(stats.quantile_of_sorted(np.empty(0), 0.5))


@pytest.mark.parametrize(("n", "fraction"), [(10, 0.1), (19, 0.1), (23, 0.2), (48, 0.1)])
def test_the_trimmed_interval_is_scipys(n: int, fraction: float) -> None:
    values = np.random.default_rng(n).standard_t(2, n)
    estimated = trimmed_t(values, fraction, 0.99)
    cut = int(fraction * n) / n  # scipy divides by the fraction that was asked for, not the one that was cut off
    low, high = scipy.stats.mstats.trimmed_mean_ci(values, (cut, cut), alpha=0.01)
    assert estimated.interval is not None
    assert (estimated.interval.low, estimated.interval.high) == pytest.approx((low, high))
    assert estimated.value == pytest.approx(scipy.stats.trim_mean(values, fraction))
    assert estimated.n == n


def test_too_few_values_to_trim_are_students() -> None:
    values = [0.1, 0.2, 0.4, 0.3, 0.9]
    assert trimmed_t(values, 0.1) == mean_t(values)
    assert trimmed_t([], 0.1) == mean_t([])
    assert trimmed_t([1.0] * 11 + [9.0], 0.1).interval is None  # what is left is all equal


@pytest.mark.parametrize("at", [0.5, 0.95, 0.99])
def test_harrell_and_davis_s_quantile_is_scipy_s(at: float) -> None:
    generator = np.random.default_rng(3)
    for n in (2, 30, 997):
        values = generator.lognormal(size=n)
        assert harrell_davis(values, at) == pytest.approx(float(scipy.stats.mstats.hdquantiles(values, [at])[0]))
    assert math.isnan(harrell_davis([], at))
    assert harrell_davis([3.0, math.nan], at) == pytest.approx(3.0)


def test_only_an_interval_above_all_others_stands_above_them() -> None:
    high, apart, overlapping, unknown = (
        Estimate(9.0, Interval(8.0, 10.0), 6),
        Estimate(5.0, Interval(4.0, 6.0), 6),
        Estimate(7.0, Interval(6.0, 8.1), 6),
        Estimate(1.0, None, 1),
    )
    assert stands_above(high, [apart])
    assert not stands_above(high, [apart, overlapping])
    assert not stands_above(high, [apart, unknown])
    assert not stands_above(unknown, [])
