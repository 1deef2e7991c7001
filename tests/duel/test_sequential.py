"""The judgement of a duel: against slow, obvious oracles, against data of known truth, and for what is odd."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from bench.analysis.interleaved_figures import PRECISION_ALPHA
from bench.analysis.verdict import Verdict
from bench.duel.sequential import (
    ALPHA,
    CONFIDENCE,
    FEWEST_GROUPS,
    MARGINS,
    MOST_ANALYSES,
    PRECISE_FROM,
    Contrast,
    Decision,
    GroupRatios,
    InterimAnalysis,
    Question,
    SequentialJudge,
    StopReason,
    analyse,
    groups_needed,
)
from scripts.duel_boundaries import missed, missed_at_precision

NOISE = 0.016  # of a pair's log-ratio, as seen on a machine with two cores


def test_an_analysis_is_students_t_interval_at_its_level() -> None:
    values = [0.010, 0.021, -0.004, 0.013, 0.008, 0.017]
    seen = analyse(values, 0.01, MARGINS)
    low, high = scipy_stats.t.interval(0.99, 5, np.mean(values), scipy_stats.sem(values))
    assert (seen.low, seen.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert seen.ratio == pytest.approx(math.exp(np.mean(values)))
    assert seen.groups == 6


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
    assert seen.groups == len(finite)
    if len(finite) < FEWEST_GROUPS or len(set(finite)) == 1:
        assert seen.verdict is Verdict.INCONCLUSIVE
    if seen.low is not None and seen.high is not None:
        assert seen.low <= seen.ratio <= seen.high


def test_equal_ratios_give_no_interval_and_no_verdict() -> None:
    """Zero variance in a handful of pairs is a broken clock, and no certainty."""
    seen = analyse([0.05] * 10, 0.05, MARGINS)
    assert (seen.groups, seen.low, seen.high, seen.verdict) == (10, None, None, Verdict.INCONCLUSIVE)
    assert seen.ratio == pytest.approx(math.exp(0.05))


def test_all_intervals_of_all_analyses_hold_the_truth_together() -> None:
    """By another way than the judge's: whole measurements at once, t from its definition; and 5 % would be too much."""
    for sides, balance, groups in ((2, 1, 10), (2, 2, 20), (2, 2, 28), (2, 4, 40), (3, 6, 24), (8, 8, 24)):
        (rate,) = missed(sides, balance, groups, alphas=(ALPHA,), duels=20_000, seed=groups)
        assert rate < 1 - CONFIDENCE + 3 * math.sqrt(0.05 * 0.95 / 20_000), (sides, groups)
    (rate,) = missed(2, 1, 20, alphas=(1 - CONFIDENCE,), duels=60_000, seed=1)
    assert rate > 0.053


def test_the_intervals_that_precision_ends_with_hold_the_truth_together() -> None:
    """Whatever the precision: to stop where the spread looks small costs something, and 5 % would be too much."""
    whole = 1 - CONFIDENCE
    for sides, balance, groups in ((2, 2, 27), (3, 3, 18), (4, 4, 24)):
        rate = missed_at_precision(
            sides, balance, groups, alphas=(PRECISION_ALPHA, ALPHA), fewest=PRECISE_FROM, duels=10_000, seed=groups
        )
        assert rate < whole + 3 * math.sqrt(0.05 * 0.95 / 10_000), (sides, groups)
    rate = missed_at_precision(2, 2, 27, alphas=(whole, whole), fewest=FEWEST_GROUPS, duels=10_000, seed=1)
    assert rate > 0.062


def test_precision_has_one_level_for_all_analyses_that_may_stop_it() -> None:
    judge, contrast = SequentialJudge(question((0, 1), (0, 2), precision=0.001)), Contrast(0, 1)
    values = list(np.random.default_rng(1).normal(0.0, 0.01, 15))
    for number, value in enumerate(values, start=1):
        decision = judge.group_ended(
            GroupRatios(
                log_ratios={contrast: value, Contrast(0, 2): -value},
                elapsed_seconds=40.0 * number,
                balanced=number % 3 == 0,
                last=number == len(values),
            )
        )
        if decision.analysed:
            alpha = ALPHA if number == len(values) else PRECISION_ALPHA
            assert decision.analyses[contrast] == analyse(values[:number], alpha / 2, MARGINS)
    assert judge.analysed_at == (6, 9, 12, 15)


def test_few_groups_are_never_precise() -> None:
    _, decisions, _ = measure(question((0, 1), precision=0.05), {0: 1.0, 1: 1.0})
    assert decisions[-1].stop is StopReason.PRECISE
    assert decisions[-1].analyses[Contrast(0, 1)].groups == PRECISE_FROM + 1  # the first balanced count


def question(*contrasts: tuple[int, int], precision: float | None = None, budget_seconds: float = 600.0) -> Question:
    return Question(
        contrasts=tuple(Contrast(base, side) for base, side in contrasts),
        margins=MARGINS,
        budget_seconds=budget_seconds,
        precision=precision,
    )


def measure(
    asked: Question,
    steps: Mapping[int, float],
    *,
    group_seconds: Callable[[int], float] = lambda number: 20.0,
    balance: int = 2,
    noise: float = 0.011,
    seed: int = 0,
) -> tuple[SequentialJudge, list[Decision], list[float]]:
    """A measurement of sides whose steps take so long, with groups that take so long, until the judge stops it."""
    generator, judge = np.random.default_rng(seed), SequentialJudge(asked)
    decisions: list[Decision] = []
    elapsed = [0.0]
    while not decisions or decisions[-1].stop is None:
        number = len(decisions) + 1
        elapsed.append(elapsed[-1] + group_seconds(number))
        logs = {side: math.log(seconds) + generator.normal(0.0, noise) for side, seconds in steps.items()}
        group = GroupRatios(
            log_ratios={each: logs[each.side] - logs[each.base] for each in asked.contrasts},
            elapsed_seconds=elapsed[-1],
            balanced=number % balance == 0,
            last=elapsed[-1] + group_seconds(number + 1) > asked.budget_seconds,
        )
        decisions.append(judge.group_ended(group))
    return judge, decisions, elapsed[1:]


def test_a_large_difference_is_settled_at_the_first_stage() -> None:
    judge, decisions, _ = measure(question((0, 1)), {0: 1.0, 1: 1.2})
    assert judge.analysed_at == (6,)  # the first balanced count of at least five
    assert [decision.analysed for decision in decisions] == [False] * 5 + [True]
    analysis = decisions[-1].analyses[Contrast(0, 1)]
    assert (analysis.verdict, analysis.groups) == (Verdict.SLOWER, 6)
    assert analysis.ratio == pytest.approx(1.2, rel=0.02)
    assert decisions[-1].stop is StopReason.DECIDED
    assert decisions[-1].settled == {Contrast(0, 1)}


def test_settled_ratios_keep_their_analysis_and_the_rest_goes_on() -> None:
    """Of three sides one is far off: its ratio is settled first, and never analysed at again."""
    far, near = Contrast(0, 1), Contrast(0, 2)
    _, decisions, _ = measure(question((0, 1), (0, 2)), {0: 1.0, 1: 1.2, 2: 1.0}, noise=0.008)
    first = next(number for number, decision in enumerate(decisions) if far in decision.settled)
    assert first < len(decisions) - 1
    assert near not in decisions[first].settled
    assert {decision.analyses[far] for decision in decisions[first:]} == {decisions[first].analyses[far]}
    assert decisions[-1].stop is StopReason.DECIDED
    assert decisions[-1].analyses[near].verdict is Verdict.SAME
    assert decisions[-1].analyses[near].groups == len(decisions)


def test_all_pairs_widen_every_interval() -> None:
    steps = {0: 1.0, 1: 1.0, 2: 1.0}
    to_base, all_pairs = (
        measure(question(*pairs), steps)[1][5].analyses[Contrast(0, 1)]
        for pairs in (((0, 1), (0, 2)), ((0, 1), (0, 2), (1, 2)))
    )
    assert to_base.low is not None
    assert all_pairs.low is not None
    assert all_pairs.low < to_base.low
    assert all_pairs.ratio == to_base.ratio


def test_the_last_look_is_when_the_time_is_over_and_spends_the_rest() -> None:
    asked = question((0, 1), precision=1e-4)
    judge, decisions, _ = measure(asked, {0: 1.0, 1: 1.0})
    assert decisions[-1].stop is StopReason.TIME
    assert decisions[-1].analysed
    assert judge.analysed_at[-1] == len(decisions) == 30
    assert len(judge.analysed_at) <= MOST_ANALYSES
    needed = groups_needed(decisions[-1].analyses[Contrast(0, 1)], asked)
    assert needed is not None
    assert needed > 30


@given(st.lists(st.floats(1.0, 120.0), min_size=1, max_size=30), st.integers(1, 8))
def test_any_calendar_of_groups_gets_at_most_ten_analyses_and_uses_its_time(
    durations: list[float], balance: int
) -> None:
    judge, decisions, elapsed = measure(
        question((0, 1), precision=1e-9),
        {0: 1.0, 1: 1.0},
        group_seconds=lambda number: durations[number % len(durations)],
        balance=balance,
    )
    assert len(judge.analysed_at) <= MOST_ANALYSES
    assert list(judge.analysed_at) == [number for number, each in enumerate(decisions, start=1) if each.analysed]
    assert all(number % balance == 0 or number == len(decisions) for number in judge.analysed_at)
    assert decisions[-1].stop is StopReason.TIME
    assert elapsed[-1] + durations[(len(decisions) + 1) % len(durations)] > 600
    assert decisions[-1].analysed == (len(decisions) >= FEWEST_GROUPS)


def test_a_slow_first_group_costs_its_time_and_no_more() -> None:
    """A plan from the first group's 60 s would have had nine groups, and have ended after 3 of the 10 minutes."""
    judge, decisions, elapsed = measure(
        question((0, 1), precision=1e-4),
        {0: 1.0, 1: 1.0},
        group_seconds=lambda number: 60.0 if number == 1 else 15.0,
    )
    assert len(decisions) == judge.analysed_at[-1] == 37
    assert elapsed[-1] == 600


def test_precision_settles_a_ratio_whatever_its_verdict() -> None:
    asked = question((0, 1), (0, 2), precision=0.01)
    _, decisions, _ = measure(asked, {0: 1.0, 1: 2.28, 2: 1.01})
    assert decisions[-1].stop is StopReason.PRECISE
    for each in asked.contrasts:
        analysis = decisions[-1].analyses[each]
        assert analysis.low is not None
        assert analysis.high is not None
        assert math.log(analysis.high / analysis.low) / 2 <= math.log1p(0.01)
    coarser = measure(question((0, 1), (0, 2), precision=0.03), {0: 1.0, 1: 2.28, 2: 1.01})[1]
    assert len(coarser) < len(decisions)


def test_groups_without_a_value_are_not_counted() -> None:
    judge, contrast = SequentialJudge(question((0, 1))), Contrast(0, 1)
    for number in range(1, 7):
        log_ratios = {} if number == 1 else {contrast: 0.2 + 0.001 * number}
        decision = judge.group_ended(
            GroupRatios(log_ratios=log_ratios, elapsed_seconds=60.0 * number, balanced=True, last=number == 6)
        )
    assert decision.analyses[contrast].groups == 5
    assert judge.analysed_at == (5,)
    assert decision.stop is StopReason.DECIDED


def test_a_machine_that_gives_no_value_at_all_ends_with_no_verdict() -> None:
    asked = question((0, 1))
    decision = SequentialJudge(asked).group_ended(
        GroupRatios(log_ratios={}, elapsed_seconds=60.0, balanced=False, last=True)
    )
    analysis = decision.analyses[Contrast(0, 1)]
    assert (analysis.groups, analysis.verdict, decision.stop) == (0, Verdict.INCONCLUSIVE, StopReason.TIME)
    assert groups_needed(analysis, asked) is None


def test_how_many_groups_it_would_take() -> None:
    """Four times as many halve the interval: ±3 % around 0 fits into 1.5 % then, and is ±1 % after nine times."""
    now = InterimAnalysis(10, 1.0, 1 / 1.03, 1.03, Verdict.INCONCLUSIVE)
    margin = math.ceil(10 * (math.log(1.03) / math.log(1.015)) ** 2)
    precise = math.ceil(10 * (math.log(1.03) / math.log(1.01)) ** 2)
    assert groups_needed(now, question((0, 1))) == margin
    assert groups_needed(now, question((0, 1), precision=0.01)) == precise


def duels(true_percent: float, most: int, number: int, noise: float = NOISE) -> list[InterimAnalysis]:
    """Measurements of two sides whose time is over after so many pairs."""
    generator = np.random.default_rng(most)
    pairs = generator.normal(math.log1p(true_percent / 100), noise, (number, most))
    ended = []
    for values in pairs:
        judge, decision = SequentialJudge(question((0, 1))), None
        for pair, value in enumerate(values, 1):
            decision = judge.group_ended(
                GroupRatios(
                    log_ratios={Contrast(0, 1): value},
                    elapsed_seconds=600.0 * pair / most,
                    balanced=pair % 2 == 0,
                    last=pair == most,
                )
            )
            if decision.stop is not None:
                break
        assert decision is not None
        ended.append(decision.analyses[Contrast(0, 1)])
    return ended


def fraction(analyses: list[InterimAnalysis], verdict: Verdict) -> float:
    return sum(each.verdict is verdict for each in analyses) / len(analyses)


def test_equal_sides_are_the_same_and_hardly_ever_anything_else() -> None:
    ended = duels(0.0, most=28, number=1_500)
    assert fraction(ended, Verdict.SAME) > 0.9
    assert fraction(ended, Verdict.SLOWER) + fraction(ended, Verdict.FASTER) < 0.005
    assert min(each.groups for each in ended) >= FEWEST_GROUPS


def test_the_error_rates_hold_where_they_are_hardest_to_hold() -> None:
    """A difference as large as the floor is called one, and one as large as the tolerance none, in 2.5 % at most."""
    limit = 0.025 + 3 * math.sqrt(0.025 * 0.975 / 800)
    for most in (8, 28):
        assert fraction(duels(0.5, most, number=800), Verdict.SLOWER) < limit
        assert fraction(duels(1.5, most, number=800), Verdict.SAME) < limit
        assert fraction(duels(100 * (1 / 1.015 - 1), most, number=800), Verdict.SAME) < limit


def test_real_slowdowns_are_found_the_larger_the_sooner() -> None:
    two, five = duels(2.0, most=28, number=600), duels(5.0, most=28, number=600)
    assert fraction(two, Verdict.SLOWER) > 0.8
    assert fraction(five, Verdict.SLOWER) > 0.99
    assert statistics.median(each.groups for each in five) < statistics.median(each.groups for each in two)
    assert fraction(duels(-5.0, most=28, number=200), Verdict.FASTER) > 0.99
