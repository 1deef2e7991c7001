"""What the rounds of a process group say of two sides: robust against what disturbs a batch, a round or a side."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bench.duel.rounds import (
    Round,
    SideRound,
    group_log_ratio,
    round_log_ratios,
    rounds_of,
    rows_of,
)


def a_side(seconds: float, idle: float = 0.0) -> SideRound:
    return SideRound(
        steps=20,
        batches=(0.5 * seconds, 0.5 * seconds),
        cpu_seconds=seconds,
        idle_cpu_seconds=idle,
        start_seconds=0.0,
    )


def some_calls(seconds: Sequence[float]) -> SideRound:
    return replace(a_side(sum(seconds)), steps=len(seconds), call_seconds=tuple(seconds))


def a_round(number: int, a: float, b: float, idle: float = 0.0, group: int = 0) -> Round:
    """A round in which the sides take so many seconds, and B's process uses the CPU while A works."""
    return Round(group=group, number=number, sides={0: a_side(a, idle), 1: a_side(b)})


def rounds(*times: tuple[float, float]) -> list[Round]:
    return [a_round(number, a, b) for number, (a, b) in enumerate(times)]


def disturbed(clean: list[Round], number: int, idle: float) -> list[Round]:
    """The same with the first `number` rounds disturbed."""
    return [
        replace(each, sides={**each.sides, 0: replace(each.sides[0], idle_cpu_seconds=idle)})
        if each.number < number
        else each
        for each in clean
    ]


def ratio(of: Sequence[Round]) -> float | None:
    """B / A of a process pair."""
    return group_log_ratio(of, 0, 1)


def test_a_pairs_ratio_is_the_median_of_its_rounds() -> None:
    times = [(0.5, 0.55), (0.6, 0.6), (0.5, 0.75), (0.4, 0.42), (0.9, 0.95)]
    assert ratio(rounds(*times)) == pytest.approx(statistics.median(math.log(b / a) for a, b in times))


def test_disturbed_rounds_move_a_pairs_ratio_hardly() -> None:
    """One round in seven is far off, as on real machines: the median is surer than Hodges and Lehmann's estimate."""
    generator = np.random.default_rng(11)
    medians: list[float] = []
    walsh: list[float] = []
    for _ in range(300):
        logs = generator.normal(0.0, 0.02, 8) + (generator.random(8) < 1 / 7) * generator.normal(0.0, 0.8, 8)
        logarithm = ratio(rounds(*((0.5, 0.5 * math.exp(log)) for log in logs)))
        assert logarithm is not None
        medians.append(logarithm)
        walsh.append(statistics.median((logs[i] + logs[j]) / 2 for i in range(8) for j in range(i, 8)))
    assert np.std(medians) < 0.9 * np.std(walsh)
    quiet = [(0.5, 0.55)] * 12
    assert ratio(rounds(*quiet, (5.0, 0.5), (0.5, 5.0), (0.5, 5.0))) == pytest.approx(math.log(1.1))


def test_a_round_in_which_the_idle_side_used_the_processors_is_discarded() -> None:
    clean = rounds(*[(0.5, 0.5)] * 7, (0.5, 1.0), (0.5, 1.0))
    assert ratio(clean) == pytest.approx(0.0)
    assert ratio(disturbed(clean, 4, 0.06)) == pytest.approx(0.0)  # three rounds and two are left
    assert ratio(disturbed(clean, 5, 0.06)) is None  # two and two, of nine
    assert ratio(disturbed(clean, 9, 0.01)) == pytest.approx(0.0)  # a tick


def test_each_clean_round_has_a_ratio_of_its_own() -> None:
    measured = disturbed(rounds((0.5, 0.55), (0.6, 0.9), (0.5, 0.4), (1.0, 1.0)), 1, 1.0)
    clean = [each for each in measured if each.clean((0, 1))]
    assert len(clean) == 3
    expected = [math.log(each.sides[1].seconds / each.sides[0].seconds) for each in clean]
    assert round_log_ratios(measured, 0, 1) == pytest.approx(expected)
    assert round_log_ratios(measured, 1, 0) == pytest.approx([-ratio for ratio in expected])


def test_a_pair_with_too_few_rounds_left_says_nothing() -> None:
    assert ratio(disturbed(rounds(*[(0.5, 0.5)] * 4), 3, 1.0)) is None
    assert ratio([]) is None
    assert ratio(rounds((0.0, 0.5), (0.5, 0.5))) == 0.0  # half of them are left


def test_a_third_side_neither_hides_nor_moves_the_ratio_of_two() -> None:
    """Contamination counts for the sides that it is about; steps of another number are divided out."""
    third = replace(a_side(2.0, idle=1.5), steps=40)
    of_three = [replace(each, sides={**each.sides, 2: third}) for each in rounds((0.5, 0.55), (0.6, 0.66))]
    assert group_log_ratio(of_three, 0, 1) == pytest.approx(math.log(1.1))
    assert group_log_ratio(of_three, 0, 2) is None
    quiet = [replace(each, sides={**each.sides, 2: replace(third, idle_cpu_seconds=0.0)}) for each in of_three]
    assert group_log_ratio(quiet[:1], 0, 2) == pytest.approx(math.log(2.0))
    assert group_log_ratio(quiet, 1, 0) == pytest.approx(-math.log(1.1))
    gone = [replace(each, sides={0: each.sides[0], 2: each.sides[2]}) for each in quiet]
    assert group_log_ratio(gone, 0, 1) is None


def test_a_quantile_of_calls_is_compared_over_all_clean_rounds_of_a_group() -> None:
    """Three quarters of the calls are equal; the tail of B's is twice A's, but for a round that A was disturbed in."""
    usual = [1.0] * 75
    measured = [
        Round(
            group=0, number=number, sides={0: some_calls([*usual, *[2.0] * 25]), 1: some_calls([*usual, *[4.0] * 25])}
        )
        for number in range(3)
    ]
    contaminated = {0: replace(some_calls([9.0] * 100), idle_cpu_seconds=900.0), 1: some_calls([1.0] * 100)}
    measured.append(Round(group=0, number=3, sides=contaminated))
    assert group_log_ratio(measured, 0, 1, 0.5) == pytest.approx(0.0, abs=1e-6)
    assert group_log_ratio(measured, 0, 1, 0.95) == pytest.approx(math.log(2), abs=1e-6)
    assert group_log_ratio(measured[2:], 0, 1, 0.95) is not None
    assert group_log_ratio([*measured[2:], measured[3]], 0, 1, 0.95) is None
    rows = rows_of(measured)
    assert rounds_of(rows) == tuple(measured)
    assert "calls" not in rows_of(rounds((1.0, 2.0)))[0]


def test_the_processor_of_a_round_is_kept_where_its_sides_shared_one() -> None:
    shared = [replace(each, core=each.number % 2) for each in rounds((1.0, 2.0), (1.0, 2.0))]
    assert rounds_of(rows_of(shared)) == tuple(shared)
    assert "core" not in rows_of(rounds((1.0, 2.0)))[0]
    # a recording that goes on with what it began without: NaN where there was none
    mixed = pd.DataFrame(rows_of([*rounds((1.0, 2.0)), replace(shared[1], group=1)]))
    assert [each.core for each in rounds_of(mixed.to_dict("records"))] == [None, 1]
