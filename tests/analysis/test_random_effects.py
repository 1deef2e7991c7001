"""The random-effects model: figures worked out by hand, and intervals that hold the truth as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import stdtrit

from bench.analysis.random_effects import random_effects
from bench.analysis.stats import Interval


def ends(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    return interval.low, interval.high


def test_of_groups_of_one_value_it_is_student_s_t() -> None:
    """One value of each machine: their mean, their standard deviation, and the interval of both."""
    values = [0.7, 0.9, 1.0, 1.2]
    found = random_effects([[value] for value in values])
    assert found is not None
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    t = float(stdtrit(3, 0.975))
    assert found.mean.value == pytest.approx(mean)
    assert found.mean.n == 4
    assert found.spread == pytest.approx(deviation)
    assert ends(found.mean.interval) == pytest.approx((mean - t * deviation / 2, mean + t * deviation / 2))
    half = t * deviation * math.sqrt(1.25)
    assert ends(found.expected) == pytest.approx((mean - half, mean + half))


def test_of_groups_of_equal_size_the_spread_is_that_of_an_analysis_of_variance() -> None:
    groups = [[1.0, 1.2], [2.0, 2.2], [3.1, 3.3]]
    found = random_effects(groups)
    assert found is not None
    within = 0.02  # of each pair of values
    assert found.spread**2 == pytest.approx(np.var([1.1, 2.1, 3.2], ddof=1) - within / 2, rel=1e-6)
    assert found.mean.value == pytest.approx(np.mean([1.1, 2.1, 3.2]))


def test_a_group_counts_by_how_sure_it_is() -> None:
    few, many = [1.0, 1.2], [2.0, 2.2] * 20
    found = random_effects([few, many, [2.1, 2.2]])
    plain = np.mean([np.mean(group) for group in (few, many, [2.1, 2.2])])
    assert found is not None
    assert plain < found.mean.value < 2.1


def test_machines_that_agree_are_not_made_surer_than_their_runs() -> None:
    found = random_effects([[1.0, 1.4], [1.1, 1.3], [1.0, 1.4]])
    assert found is not None
    assert found.spread == 0
    half = float(stdtrit(2, 0.975)) * math.sqrt((0.08 + 0.02 + 0.08) / 3 / 6)
    assert ends(found.mean.interval) == pytest.approx((1.2 - half, 1.2 + half))


@pytest.mark.parametrize("groups", [[], [[1.0, 2.0]], [[], [1.0], []]])
def test_one_group_says_nothing_of_others(groups: list[list[float]]) -> None:
    assert random_effects(groups) is None


def test_equal_values_give_no_interval_and_two_groups_expect_nothing() -> None:
    equal = random_effects([[1.0, 1.0], [1.0]])
    assert equal is not None
    assert (equal.mean.interval, equal.spread, equal.expected) == (None, 0.0, None)
    two = random_effects([[1.0, 1.1], [2.0]])
    assert two is not None
    assert two.mean.interval is not None
    assert two.expected is None


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("machines", [2, 3, 6])
def test_intervals_hold_the_truth_as_often_as_they_say(machines: int, spread: float) -> None:
    """Machines with 2 to 9 runs each, whose noise is 1 to 4 %: within three standard errors of 95 %, or above it."""
    generator = np.random.default_rng(1000 * machines + int(100 * spread))
    truth, held, expected, trials = math.log(2.4), 0, 0, 600
    for _ in range(trials):
        values = truth + spread * generator.standard_normal(machines + 1)
        noise, sizes = generator.uniform(0.01, 0.04, machines), generator.integers(2, 10, machines)
        found = random_effects(
            [v + s * generator.standard_normal(n) for v, s, n in zip(values[:-1], noise, sizes, strict=True)]
        )
        assert found is not None
        assert found.mean.interval is not None
        held += found.mean.interval.low <= truth <= found.mean.interval.high
        expected += bool(found.expected and found.expected.low <= values[-1] <= found.expected.high)
    least = 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials)
    assert held / trials >= least
    if machines > 2:
        assert expected / trials >= least
