"""How many rounds a process group does follows from what varies, and from what a group costs."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from bench.core.observation import RunMetadata
from bench.duel.allocation import (
    ALLOCATED_FROM,
    FEWEST_ROUNDS,
    FIRST_ROUNDS,
    GroupCost,
    GroupValue,
    first_rounds,
    next_rounds,
)
from bench.duel.interleaved import ROUNDS, Batching, ProcessGroup
from bench.duel.rounds import ANCHOR, Round
from bench.duel.sequential import Contrast
from tests.duel.test_rounds import a_side

A_B, A_C = Contrast(0, 1), Contrast(0, 2)
COST = GroupCost(start_seconds=4.0, round_seconds=0.5)


def values(between: float, within: float, groups: int, seed: int = 1, rounds: int = 6) -> list[GroupValue]:
    """Groups whose offsets and rounds vary by so much (standard deviations)."""
    draw = random.Random(seed)
    made = []
    for _ in range(groups):
        offset = draw.gauss(0.0, between)
        of_rounds = [offset + draw.gauss(0.0, within) for _ in range(rounds)]
        made.append(GroupValue.of(statistics.mean(of_rounds), of_rounds))
    return made


def test_the_optimum_of_subsampling_is_found() -> None:
    """√(within / between · start / round): with many groups the estimate is near it."""
    for between, within, cost in ((0.01, 0.02, COST), (0.02, 0.03, COST), (0.01, 0.01, GroupCost(8.0, 0.25))):
        best = within / between * math.sqrt(cost.start_seconds / cost.round_seconds)
        assert next_rounds({A_B: values(between, within, 400)}, cost) == pytest.approx(best, abs=1.0)


def test_what_the_optimum_narrows_is_the_error_for_its_time() -> None:
    """For the true variances no other number of rounds has a smaller standard error after the same time."""
    between, within = 0.012, 0.025

    def error(rounds: int) -> float:
        return (between**2 + within**2 / rounds) * COST.seconds(1, rounds)

    chosen = next_rounds({A_B: values(between, within, 2000)}, COST)
    assert min(range(FEWEST_ROUNDS, ROUNDS + 1), key=error) == pytest.approx(chosen, abs=1)


def test_processes_that_differ_get_few_rounds_and_equal_ones_all() -> None:
    assert next_rounds({A_B: values(0.03, 0.01, 10)}, COST) == FEWEST_ROUNDS
    assert next_rounds({A_B: values(0.0, 0.02, 10)}, COST) == ROUNDS


def test_the_least_certain_ratio_decides() -> None:
    certain, uncertain = values(0.0, 0.004, 10), values(0.03, 0.01, 10)
    assert next_rounds({A_B: certain}, COST) == ROUNDS
    assert next_rounds({A_B: certain, A_C: uncertain}, COST) == FEWEST_ROUNDS


def test_a_few_groups_decide_nothing() -> None:
    few = values(0.03, 0.01, ALLOCATED_FROM - 1)
    assert next_rounds({}, COST) == next_rounds({A_B: []}, COST) == next_rounds({A_B: few}, COST) == FIRST_ROUNDS
    assert next_rounds({A_B: values(0.03, 0.01, 10, rounds=1)}, COST) == FIRST_ROUNDS  # nothing is known of rounds


def test_one_group_s_burst_does_not_count() -> None:
    quiet = values(0.01, 0.01, 12)
    burst = GroupValue(log_ratio=quiet[0].log_ratio, rounds=6, round_variance=4.0)
    assert next_rounds({A_B: [*quiet, burst]}, COST) == pytest.approx(next_rounds({A_B: quiet}, COST), abs=1)


def test_quantiles_of_calls_get_all_rounds() -> None:
    tail = Contrast(0, 1, 0.95)
    assert first_rounds((tail,)) == next_rounds({tail: values(0.03, 0.01, 10)}, COST) == ROUNDS
    assert first_rounds((A_B,)) == FIRST_ROUNDS


def test_a_group_costs_what_those_before_took() -> None:
    """Groups of three and of two sides, of 6 and 3 rounds: 4 s a side to start, half a second a side and round."""
    parts = {0: a_side(0.5), 1: a_side(0.5), 2: a_side(0.5)}
    groups = []
    for sides, rounds in (((0, 1, 2), 6), ((0, 1), 3)):
        measured = {side: parts[side] for side in sides}
        groups.append(
            ProcessGroup(
                rounds=tuple(Round(group=0, number=each, sides=measured) for each in range(rounds)),
                metadata=dict.fromkeys((*sides, ANCHOR), RunMetadata()),
                batching=Batching(2, 10, 3),
                seconds=len(sides) * (4.0 + rounds * 0.5),
            )
        )
    cost = GroupCost.of(groups)
    assert (cost.start_seconds, cost.round_seconds) == pytest.approx((4.0, 0.5))
    assert [cost.seconds(group.sides, len(group.rounds)) for group in groups] == pytest.approx([21.0, 11.0])
