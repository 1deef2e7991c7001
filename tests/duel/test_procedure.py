"""How a duel goes on, with pairs that are made up and a clock of their own."""

from __future__ import annotations

import math
import random

import pytest

from bench.analysis.verdict import Verdict
from bench.core.errors import UsageError
from bench.core.observation import RunMetadata
from bench.duel.interleaved import Batching, ProcessPair
from bench.duel.procedure import DuelResult, measure_until_decided
from bench.duel.sequential import MARGINS, InterimAnalysis, Schedule
from tests.duel.test_rounds import a_round


class MadeUp:
    """Pairs whose B takes `slowdown` times A's time; each takes `pair_seconds` of the clock."""

    def __init__(self, slowdown: float, pair_seconds: float = 20.0, noise: float = 0.01, contaminated: int = 0) -> None:
        self.now = 100.0
        self.asked: list[Batching | None] = []
        self._slowdown, self._noise = slowdown, noise
        self._pair_seconds, self._contaminated = pair_seconds, contaminated
        self._random = random.Random(7)

    def clock(self) -> float:
        return self.now

    def measure(self, number: int, batching: Batching | None, rounds: int = 4, begun: float = 0.0) -> ProcessPair:
        self.asked.append(batching)
        self.now += self._pair_seconds
        ratio = self._slowdown * math.exp(self._random.gauss(0.0, self._noise))
        idle = 0.4 if number < self._contaminated else 0.0
        return ProcessPair(
            rounds=tuple(a_round(each, 0.5, 0.5 * ratio, idle, number) for each in range(rounds)),
            metadata=(RunMetadata(), RunMetadata()),
            batching=Batching(2, 10),
            seconds=self._pair_seconds,
        )


class Reported:
    def __init__(self) -> None:
        self.pairs: list[tuple[float | None, InterimAnalysis, Schedule, float]] = []

    def pair_ended(self, log_ratio: float | None, so_far: InterimAnalysis, schedule: Schedule, seconds: float) -> None:
        self.pairs.append((log_ratio, so_far, schedule, seconds))


def measured(made_up: MadeUp, budget_seconds: float = 600.0) -> tuple[DuelResult, Reported]:
    reported = Reported()
    result = measure_until_decided(
        made_up, reported, budget_seconds=budget_seconds, margins=MARGINS, rounds=4, clock=made_up.clock
    )
    return result, reported


def test_a_large_difference_is_found_at_the_first_analysis() -> None:
    made_up = MadeUp(1.2)
    result, reported = measured(made_up)
    assert result.analysis.verdict is Verdict.SLOWER
    # 600 s less what is spared, at 20 s a pair
    assert result.schedule == Schedule.up_to(27)
    assert len(reported.pairs) == result.schedule.sizes[0] == len(result.log_ratios)
    # the first pair finds the batching out for all
    assert made_up.asked == [None, *[Batching(2, 10)] * (len(reported.pairs) - 1)]
    assert result.analysis.ratio == pytest.approx(1.2, rel=0.02)
    assert result.needed_seconds is None
    assert len(result.rounds) == len(reported.pairs) * 4


def test_equal_sides_end_as_the_same_within_the_budget() -> None:
    result, reported = measured(MadeUp(1.0))
    assert result.analysis.verdict is Verdict.SAME
    assert result.seconds <= 600
    assert result.log_ratios
    assert len(result.log_ratios) in result.schedule.sizes
    intervals = [(so_far.low, so_far.high) for _, so_far, _, _ in reported.pairs if so_far.low is not None]
    assert len(intervals) == len(reported.pairs) - 1  # one pair has none


def test_what_is_not_sure_when_the_time_is_spent_is_inconclusive_and_says_how_long_it_would_take() -> None:
    result, _ = measured(MadeUp(1.01, noise=0.06))
    assert result.analysis.verdict is Verdict.INCONCLUSIVE
    assert result.seconds <= 600
    assert result.needed_seconds is not None
    assert result.needed_seconds > 600


def test_pairs_that_grow_slower_do_not_break_the_budget() -> None:
    class Tiring(MadeUp):
        def measure(self, number: int, batching: Batching | None, rounds: int = 4, begun: float = 0.0) -> ProcessPair:
            self._pair_seconds = 20.0 + 5 * number
            return super().measure(number, batching, rounds, begun)

    result, _ = measured(Tiring(1.01, noise=0.06))
    assert result.seconds <= 600 + 60
    assert result.analysis.groups == len(result.log_ratios) < result.schedule.most


def test_a_budget_that_holds_no_five_pairs_is_refused_with_one_that_does() -> None:
    with pytest.raises(UsageError, match=r"--budget 1 .*20 s here.*write --budget 1\.9"):
        measured(MadeUp(1.0), budget_seconds=60)
    measured(MadeUp(1.2), budget_seconds=1.9 * 60)


def test_discarded_pairs_do_not_count() -> None:
    result, reported = measured(MadeUp(1.2, contaminated=2))
    assert result.discarded_pairs == 2
    assert sum(not each.clean((0, 1)) for each in result.rounds) == 8
    assert [ratio is None for ratio, _, _, _ in reported.pairs[:3]] == [True, True, False]
    assert result.analysis.verdict is Verdict.SLOWER
    assert result.analysis.groups == len(reported.pairs) - 2


def test_a_machine_on_which_every_pair_is_discarded_ends_the_duel_early() -> None:
    result, reported = measured(MadeUp(1.2, contaminated=1_000))
    assert result.analysis.verdict is Verdict.INCONCLUSIVE
    assert math.isnan(result.analysis.ratio)
    assert result.needed_seconds is None
    assert len(reported.pairs) == 4
