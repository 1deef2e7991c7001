"""The judgement of a duel: against slow, obvious oracles, against data of known truth, and for what is odd."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from bench.analysis.verdict import Verdict
from bench.duel.sequential import (
    CONFIDENCE,
    CONSTANT,
    FEWEST_PAIRS,
    MARGINS,
    InterimAnalysis,
    Schedule,
    analyse,
    decide,
    pairs_needed,
)
from scripts.duel_boundaries import MOST_PAIRS, smallest_constants

NOISE = 0.016  # of a pair's log-ratio, as seen on a machine with two cores


def test_an_analysis_is_students_t_interval_at_its_level() -> None:
    values = [0.010, 0.021, -0.004, 0.013, 0.008, 0.017]
    seen = analyse(values, 0.01, MARGINS)
    low, high = scipy_stats.t.interval(0.99, 5, np.mean(values), scipy_stats.sem(values))
    assert (seen.low, seen.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert seen.ratio == pytest.approx(math.exp(np.mean(values)))
    assert seen.pairs == 6


def test_one_pair_that_is_far_off_does_not_drown_the_others() -> None:
    quiet = [0.001 * (-1) ** n for n in range(20)]
    assert analyse([*quiet, 0.4], 0.01, MARGINS).verdict is Verdict.SAME
    assert analyse([*quiet, 0.4, 0.4, 0.4], 0.01, MARGINS).verdict is Verdict.INCONCLUSIVE


@given(
    st.lists(st.floats(-0.5, 0.5) | st.sampled_from([math.nan, math.inf, 0.0]), max_size=12),
    st.floats(1e-6, 0.2),
)
def test_no_values_make_an_analysis_fail_or_sure_of_too_few(values: list[float], level: float) -> None:
    seen = analyse(values, level, MARGINS)
    finite = [value for value in values if math.isfinite(value)]
    assert seen.pairs == len(finite)
    if len(finite) < FEWEST_PAIRS or len(set(finite)) == 1:
        assert seen.verdict is Verdict.INCONCLUSIVE
    if seen.low is not None and seen.high is not None:
        assert seen.low <= seen.ratio <= seen.high


def test_equal_ratios_give_no_interval_and_no_verdict() -> None:
    """Zero variance in a handful of pairs is a broken clock, and no certainty."""
    seen = analyse([0.05] * 10, 0.05, MARGINS)
    assert (seen.pairs, seen.low, seen.high, seen.verdict) == (10, None, None, Verdict.INCONCLUSIVE)
    assert seen.ratio == pytest.approx(math.exp(0.05))


@given(st.integers(FEWEST_PAIRS, 500))
def test_the_analyses_are_at_most_five_and_end_at_the_most_pairs(most: int) -> None:
    schedule = Schedule.up_to(most)
    assert 1 <= len(schedule.sizes) <= 5
    assert schedule.sizes[0] >= FEWEST_PAIRS
    assert schedule.most == most
    levels = [schedule.level(number) for number in range(len(schedule.sizes))]
    assert levels == sorted(levels)
    assert levels[0] > 0
    assert levels[-1] < 1 - CONFIDENCE


def test_the_constant_holds_the_coverage_for_every_schedule() -> None:
    """By another way than `decide`'s: whole duels at once, t from its definition."""
    for most in MOST_PAIRS[:-1]:
        needed = smallest_constants(Schedule.up_to(most), duels=20_000, seed=most)
        missed = float(np.mean(needed >= CONSTANT))
        assert missed < 1 - CONFIDENCE + 3 * math.sqrt(0.05 * 0.95 / 20_000), most


def duels(true_percent: float, most: int, number: int, noise: float = NOISE) -> list[InterimAnalysis]:
    generator = np.random.default_rng(most)
    schedule = Schedule.up_to(most)
    pairs = generator.normal(math.log1p(true_percent / 100), noise, (number, most))
    return [decide(list(row), schedule, MARGINS) for row in pairs]


def fraction(analyses: list[InterimAnalysis], verdict: Verdict) -> float:
    return sum(each.verdict is verdict for each in analyses) / len(analyses)


def test_equal_sides_are_the_same_and_hardly_ever_anything_else() -> None:
    ended = duels(0.0, most=28, number=1_500)
    assert fraction(ended, Verdict.SAME) > 0.9
    assert fraction(ended, Verdict.SLOWER) + fraction(ended, Verdict.FASTER) < 0.005
    assert min(each.pairs for each in ended) >= FEWEST_PAIRS


def test_the_error_rates_hold_where_they_are_hardest_to_hold() -> None:
    """A difference as large as the floor is called one, and one as large as the tolerance none, in 2.5 % at most."""
    limit = 0.025 + 3 * math.sqrt(0.025 * 0.975 / 1_500)
    for most in (8, 28):
        assert fraction(duels(0.5, most, number=1_500), Verdict.SLOWER) < limit
        assert fraction(duels(1.5, most, number=1_500), Verdict.SAME) < limit
        assert fraction(duels(100 * (1 / 1.015 - 1), most, number=1_500), Verdict.SAME) < limit


def test_real_slowdowns_are_found_the_larger_the_sooner() -> None:
    two, five = duels(2.0, most=28, number=600), duels(5.0, most=28, number=600)
    assert fraction(two, Verdict.SLOWER) > 0.8
    assert fraction(five, Verdict.SLOWER) > 0.99
    assert statistics.median(each.pairs for each in five) < statistics.median(each.pairs for each in two)
    assert fraction(duels(-5.0, most=28, number=200), Verdict.FASTER) > 0.99


def test_a_duel_stops_at_the_first_analysis_that_is_conclusive() -> None:
    generator = np.random.default_rng(3)
    schedule = Schedule.up_to(28)
    values = list(generator.normal(0.2, 0.01, 28))
    assert decide(values, schedule, MARGINS).pairs == schedule.sizes[0]
    assert decide(values[:5], schedule, MARGINS).pairs == 5  # the time ended before the first analysis at 6


def test_pairs_that_end_between_analyses_are_analysed_by_the_boundary_ahead() -> None:
    schedule = Schedule.up_to(28)
    generator = np.random.default_rng(4)
    values = list(generator.normal(0.012, 0.03, 28))
    ahead = decide(values[:17], schedule, MARGINS)
    assert ahead == analyse(values[:17], schedule.level(3), MARGINS)
    assert decide(values[:14], schedule, MARGINS) == analyse(values[:14], schedule.level(2), MARGINS)
    assert decide([], schedule, MARGINS).verdict is Verdict.INCONCLUSIVE


def test_how_many_pairs_it_would_take() -> None:
    """Four times as many halve the interval: ±3 % around 0 fits into 1.5 % then."""
    now = InterimAnalysis(10, 1.0, 1 / 1.03, 1.03, Verdict.INCONCLUSIVE)
    needed = pairs_needed(now, MARGINS)
    assert needed == math.ceil(10 * (math.log(1.03) / math.log(1.015)) ** 2)
    # 3 % with ±3 %: it has to leave 0.5 % behind
    aside = replace(now, ratio=1.03, low=1.0, high=1.0609)
    assert pairs_needed(aside, MARGINS) == math.ceil(10 * (math.log(1.03) / (math.log(1.03) - math.log(1.005))) ** 2)
    assert pairs_needed(InterimAnalysis(10, 1.0, None, None, Verdict.INCONCLUSIVE), MARGINS) is None
