"""The levels of stages, against another way to the same integrals, and against simulated sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from bench.duel.spending import Stage, significance_level, spent

TIMES = st.lists(st.tuples(st.integers(1, 30), st.floats(0.01, 1.0)), min_size=1, max_size=10)
"""Of each stage: how many more values, and how much more of the time, than at the one before."""


def boundaries(stages: tuple[Stage, ...]) -> list[float]:
    return [-float(ndtri(significance_level(stages[: number + 1]) / 2)) for number in range(len(stages))]


def test_one_look_has_the_whole_level() -> None:
    assert significance_level((Stage(20, 0.05),)) == pytest.approx(0.05)


def test_looks_are_crossed_as_often_as_is_spent() -> None:
    """By the cumulative distribution of the three stages' joint normal distribution."""
    stages = (Stage(6, 0.01), Stage(10, 0.025), Stage(24, 0.05))
    sizes = np.array([stage.values for stage in stages])
    correlation = np.sqrt(np.minimum.outer(sizes, sizes) / np.maximum.outer(sizes, sizes))
    for number, stage in enumerate(stages, start=1):
        edge = np.array(boundaries(stages))[:number]
        normal = multivariate_normal(np.zeros(number), correlation[:number, :number])
        inside = normal.cdf(edge, lower_limit=-edge)
        assert 1 - inside == pytest.approx(stage.spent, abs=2e-5)


def test_pococks_boundary_comes_out() -> None:
    """Five equal stages at 2.413 standard errors spend 5 % (Pocock, 1977, table 1), and the five have one boundary."""
    fractions = (0.01582, 0.02757, 0.03655, 0.04381, 0.05)  # of simulated sums; what each stage spends with 2.413
    sums = np.random.default_rng(5).standard_normal((400_000, 5)).cumsum(axis=1)
    crossed = (np.abs(sums) > 2.413 * np.sqrt(np.arange(1, 6))).cumsum(axis=1) > 0
    assert crossed.mean(axis=0) == pytest.approx(fractions, abs=0.001)
    stages = tuple(Stage(10 * number, spent) for number, spent in enumerate(crossed.mean(axis=0), start=1))
    assert boundaries(stages) == pytest.approx([2.413] * 5, abs=0.02)


@given(TIMES)
def test_any_calendar_of_stages_has_levels(steps: list[tuple[int, float]]) -> None:
    """No stage has more than what it may newly spend and all before it may, and none has nothing."""
    values = np.cumsum([more for more, _ in steps])
    times = np.cumsum([time for _, time in steps])
    stages = tuple(Stage(int(n), spent(0.05, t)) for n, t in zip(values, times / times[-1], strict=True))
    before = 0.0
    for number, stage in enumerate(stages):
        level = significance_level(stages[: number + 1])
        assert stage.spent - before - 1e-6 <= level <= stage.spent + 1e-6
        before = stage.spent
    assert before == pytest.approx(0.05)


def test_what_is_spent_ends_with_the_time() -> None:
    assert spent(0.05, 0.0) == 0
    assert spent(0.05, 0.25) == pytest.approx(0.05 / 8)
    assert spent(0.05, 1.0) == spent(0.05, 1.7) == pytest.approx(0.05)


@pytest.mark.parametrize("second", [Stage(10, 0.03), Stage(9, 0.03), Stage(12, 0.01)])
def test_looks_that_have_nothing_new_are_refused(second: Stage) -> None:
    with pytest.raises(ValueError, match="more values, and more to spend"):
        significance_level((Stage(10, 0.01), second))


def test_far_more_values_change_no_accuracy() -> None:
    """Hundreds of times as many, and then a single one more: what the integral's nodes must be close enough for."""
    stages = (Stage(5, 0.01), Stage(6, 0.02), Stage(2000, 0.04), Stage(2001, 0.05))
    sums = np.random.default_rng(1).standard_normal((200_000, 4)) * np.sqrt([5, 1, 1994, 1])
    edges = np.array(boundaries(stages)) * np.sqrt([stage.values for stage in stages])
    crossed = (np.abs(sums.cumsum(axis=1)) > edges).cumsum(axis=1) > 0
    for stage, fraction in zip(stages, crossed.mean(axis=0), strict=True):
        assert fraction == pytest.approx(stage.spent, abs=4 * math.sqrt(stage.spent / 200_000))
