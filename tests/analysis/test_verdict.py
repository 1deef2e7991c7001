"""The rule that turns an interval into a verdict, and verdicts into an exit code."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.stats import Interval
from bench.analysis.verdict import IMPROVEMENTS, REGRESSIONS, Verdict, exit_code, judge
from bench.core.errors import ExitCode
from bench.core.metric import Margins

TIME = Margins(tolerance=0.03, floor=0.005)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.01, 0.02, Verdict.SAME),
        (0.01, 0.02, Verdict.SAME),  # a measurable difference inside the tolerance
        (-0.03, 0.03, Verdict.SAME),
        (0.01, 0.04, Verdict.WORSE),
        (0.2, 0.3, Verdict.WORSE),
        (0.005, 0.04, Verdict.INCONCLUSIVE),  # the floor itself is not beyond it
        (0.0, 0.04, Verdict.INCONCLUSIVE),
        (-0.1, 0.1, Verdict.INCONCLUSIVE),
        (-0.04, -0.01, Verdict.BETTER),
        (-0.04, -0.005, Verdict.INCONCLUSIVE),
    ],
)
def test_the_rule_at_its_edges(low: float, high: float, verdict: Verdict) -> None:
    assert judge(Interval(low, high), TIME) is verdict


def test_without_an_interval_nothing_is_sure() -> None:
    assert judge(None, TIME) is Verdict.INCONCLUSIVE


numbers = st.floats(-0.2, 0.2)
MIRROR = {Verdict.WORSE: Verdict.BETTER, Verdict.BETTER: Verdict.WORSE}


@given(numbers, numbers, st.floats(0.001, 0.1), st.floats(0, 1))
def test_a_verdict_is_true_of_every_change_in_its_interval(a: float, b: float, tolerance: float, share: float) -> None:
    change, margins = Interval(min(a, b), max(a, b)), Margins(tolerance, share * tolerance)
    verdict = judge(change, margins)
    ends = (change.low, change.high)
    truths = {
        Verdict.SAME: all(abs(end) <= tolerance for end in ends),
        Verdict.WORSE: all(end > margins.floor for end in ends),
        Verdict.BETTER: all(end < -margins.floor for end in ends),
        Verdict.INCONCLUSIVE: True,
    }
    assert truths[verdict]
    assert judge(Interval(-change.high, -change.low), margins) is MIRROR.get(verdict, verdict)


def test_a_ratio_and_its_inverse_are_equally_far_from_one() -> None:
    logs = TIME.of_logarithm
    assert (math.exp(logs.tolerance), math.exp(logs.floor)) == pytest.approx((1.03, 1.005))


@pytest.mark.parametrize(
    ("tolerance", "floor"), [(0.0, 0.0), (-0.01, 0.0), (0.01, 0.02), (0.01, -0.01), (math.nan, 0.0), (math.inf, 0.0)]
)
def test_margins_that_would_make_nonsense_are_refused(tolerance: float, floor: float) -> None:
    with pytest.raises(ValueError, match="0 ≤ floor ≤ tolerance"):
        Margins(tolerance, floor)


def test_a_gate_is_green_only_when_something_was_judged_and_all_of_it_is_sure_and_no_regression() -> None:
    green = {Verdict.SAME} | IMPROVEMENTS
    for size in (1, 2, 3):
        for verdicts in itertools.combinations(Verdict, size):
            assert (exit_code(verdicts) is ExitCode.OK) == (set(verdicts) <= green)
    assert exit_code([]) is ExitCode.NO_VERDICT


def test_failures_come_before_regressions_and_those_before_uncertainty() -> None:
    unsure = [Verdict.INCONCLUSIVE, Verdict.MISSING, Verdict.INCOMPARABLE, Verdict.SAME]
    for regression in REGRESSIONS:
        assert exit_code([*unsure, regression, Verdict.FAILED]) is ExitCode.RUNS_FAILED
        assert exit_code([*unsure, regression]) is ExitCode.REGRESSION
    for verdict in unsure[:-1]:
        assert exit_code([verdict, Verdict.SAME]) is ExitCode.NO_VERDICT
