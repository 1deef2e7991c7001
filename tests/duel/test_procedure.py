"""How a duel goes on, with groups that are made up and a clock of their own."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from bench.analysis.verdict import Verdict
from bench.core.errors import UsageError
from bench.core.observation import RunMetadata
from bench.duel.allocation import ALLOCATED_FROM, FEWEST_ROUNDS, FIRST_ROUNDS
from bench.duel.interleaved import Batching, ProcessGroup
from bench.duel.procedure import MOST_GROUPS, DuelResult, measure_until_settled
from bench.duel.rounds import ANCHOR, Round
from bench.duel.sequential import MARGINS, Contrast, Decision, Question, StopReason
from tests.duel.test_rounds import a_side

A_B = Contrast(0, 1)
A_C = Contrast(0, 2)


class MadeUp:
    """Groups whose sides take so many times A's time, and the anchor half; each takes `group_seconds` of the clock."""

    def __init__(
        self, *slowdowns: float, group_seconds: float = 20.0, noise: float = 0.01, contaminated: int = 0
    ) -> None:
        self.now = 100.0
        self.asked: list[tuple[Batching | None, tuple[int, ...]]] = []
        self.rounds: list[int] = []
        self._times = (1.0, *slowdowns)
        self._noise = noise
        self._group_seconds, self._contaminated = group_seconds, contaminated
        self._random = random.Random(7)

    def clock(self) -> float:
        return self.now

    def measure(
        self,
        number: int,
        batching: Batching | None,
        sides: Sequence[int],
        rounds: int = 4,
        begun: float = 0.0,
    ) -> ProcessGroup:
        self.asked.append((batching, tuple(sides)))
        self.rounds.append(rounds)
        self.now += self._group_seconds * len(sides) / len(self._times)
        idle = 0.4 if number < self._contaminated else 0.0
        times = {side: self._times[side] * math.exp(self._random.gauss(0.0, self._noise)) for side in sides}
        parts = {side: a_side(0.5 * time, idle) for side, time in times.items()} | {ANCHOR: a_side(0.25)}
        return ProcessGroup(
            rounds=tuple(Round(group=number, number=each, sides=parts) for each in range(rounds)),
            metadata=dict.fromkeys(parts, RunMetadata()),
            batching=Batching(2, 10, 3),
            seconds=self._group_seconds * len(sides) / len(self._times),
        )


class Reported:
    def __init__(self) -> None:
        self.groups: list[tuple[Mapping[Contrast, float], Decision | None, float]] = []

    def group_ended(self, log_ratios: Mapping[Contrast, float], decision: Decision | None, seconds: float) -> None:
        self.groups.append((log_ratios, decision, seconds))


def measured(
    made_up: MadeUp,
    budget_seconds: float = 600.0,
    question: Question | None = None,
    begun: float | None = None,
    rounds: int | None = 4,
) -> tuple[DuelResult, Reported]:
    reported = Reported()
    asked = question or Question(contrasts=(A_B,), margins=MARGINS, budget_seconds=budget_seconds)
    result = measure_until_settled(made_up, reported, asked, rounds=rounds, begun=begun, clock=made_up.clock)
    return result, reported


def test_a_large_difference_is_found_at_the_first_analysis() -> None:
    made_up = MadeUp(1.2)
    result, reported = measured(made_up)
    analysis = result.analyses[A_B]
    assert analysis.verdict is Verdict.SLOWER
    assert result.stop is StopReason.DECIDED
    assert result.analysed_at == (6,)  # the first balanced number of at least five
    assert len(reported.groups) == len(result.log_ratios[A_B]) == 6
    # the first group finds the batching out for all
    assert made_up.asked == [(None, (0, 1)), *[(Batching(2, 10, 3), (0, 1))] * 5]
    assert analysis.ratio == pytest.approx(1.2, rel=0.02)
    assert result.needed_seconds is None
    assert len(result.rounds) == 6 * 4


def test_groups_have_as_many_rounds_as_narrow_the_interval_most() -> None:
    """Processes that differ while their rounds don't: after the first groups, the fewest rounds."""
    made_up = MadeUp(1.0, noise=0.02)
    measured(made_up, rounds=None)
    first, rest = made_up.rounds[:ALLOCATED_FROM], made_up.rounds[ALLOCATED_FROM:]
    assert first == [FIRST_ROUNDS] * ALLOCATED_FROM
    assert rest == [FEWEST_ROUNDS] * len(rest)
    assert len(rest) > 1


def test_each_side_has_its_ratio_to_the_anchor() -> None:
    result, _ = measured(MadeUp(1.2, noise=0.0001))
    for side, ratio in ((0, 2.0), (1, 2.4)):
        assert len(result.anchor_log_ratios[side]) == 6
        assert result.anchor_log_ratios[side] == pytest.approx([math.log(ratio)] * 6, abs=0.001)


def test_equal_sides_end_as_the_same_within_the_budget() -> None:
    result, reported = measured(MadeUp(1.0))
    assert result.analyses[A_B].verdict is Verdict.SAME
    assert result.seconds <= 600
    assert len(reported.groups) == result.analysed_at[-1]


def test_a_side_that_is_settled_leaves_and_its_time_goes_to_the_rest() -> None:
    """C is far slower, which is soon known; whether B is the same takes longer, at two thirds of a group's time."""
    made_up = MadeUp(1.0, 1.5, noise=0.012)
    question = Question(contrasts=(A_B, A_C), margins=MARGINS, budget_seconds=600.0)
    result, _ = measured(made_up, question=question)
    assert result.analyses[A_C].verdict is Verdict.SLOWER
    assert result.analyses[A_B].verdict is Verdict.SAME
    assert result.stop is StopReason.DECIDED
    taking_part = [sides for _, sides in made_up.asked]
    assert set(taking_part) == {(0, 1, 2), (0, 1)}
    assert taking_part == sorted(taking_part, key=len, reverse=True)
    assert len(result.log_ratios[A_C]) == taking_part.count((0, 1, 2)) == result.analyses[A_C].groups == 6
    assert len(result.log_ratios[A_B]) == len(taking_part) > 6
    # looked at only when each of the sides that are left was first as often as the others
    assert all((at - 6) % 2 == 0 for at in result.analysed_at)
    assert set(result.metadata) == {0, 1, 2, ANCHOR}
    assert result.seconds == pytest.approx(20.0 * 6 + 20.0 * 2 / 3 * (len(taking_part) - 6))


def test_a_base_stays_as_long_as_anything_is_compared_with_it() -> None:
    """Two configurations of two commits: when one is settled, its two sides leave."""
    made_up = MadeUp(1.3, 5.0, 5.0, noise=0.012)
    question = Question(contrasts=(A_B, Contrast(2, 3)), margins=MARGINS, budget_seconds=1200.0)
    result, _ = measured(made_up, question=question)
    assert [result.analyses[each].verdict for each in question.contrasts] == [Verdict.SLOWER, Verdict.SAME]
    assert {sides for _, sides in made_up.asked} == {(0, 1, 2, 3), (2, 3)}


def test_a_precision_is_gone_on_for_after_the_verdict() -> None:
    question = Question(contrasts=(A_B,), margins=MARGINS, budget_seconds=1200.0, precision=0.01)
    result, _ = measured(MadeUp(1.2), question=question)
    analysis = result.analyses[A_B]
    assert result.stop is StopReason.PRECISE
    assert analysis.low is not None
    assert analysis.high is not None
    assert analysis.high / analysis.low <= 1.01**2
    assert analysis.groups > 6


def test_what_is_not_sure_when_the_time_is_over_is_inconclusive_and_says_how_long_it_would_take() -> None:
    result, _ = measured(MadeUp(1.01, noise=0.06))
    assert result.analyses[A_B].verdict is Verdict.INCONCLUSIVE
    assert result.stop is StopReason.TIME
    assert 580 <= result.seconds <= 600
    assert result.needed_seconds is not None
    assert result.needed_seconds > 600


def test_groups_that_grow_slower_do_not_break_the_budget() -> None:
    class Tiring(MadeUp):
        def measure(
            self, number: int, batching: Batching | None, sides: Sequence[int], rounds: int = 4, begun: float = 0.0
        ) -> ProcessGroup:
            self._group_seconds = 20.0 + 5 * number
            return super().measure(number, batching, sides, rounds, begun)

    result, _ = measured(Tiring(1.01, noise=0.06))
    assert result.seconds <= 600 + 60
    assert result.analyses[A_B].groups == len(result.log_ratios[A_B])


def test_a_slow_first_group_costs_no_analysis() -> None:
    """What is planned goes by the clock: the time that is left is used, however long the first group took."""

    class SlowStart(MadeUp):
        def measure(
            self, number: int, batching: Batching | None, sides: Sequence[int], rounds: int = 4, begun: float = 0.0
        ) -> ProcessGroup:
            self._group_seconds = 20.0 if number else 100.0
            return super().measure(number, batching, sides, rounds, begun)

    result, _ = measured(SlowStart(1.01, noise=0.06))
    assert 570 <= result.seconds <= 600
    assert len(result.log_ratios[A_B]) == 25


def test_short_groups_are_no_more_than_so_many_and_their_time_is_what_is_spent() -> None:
    result, reported = measured(MadeUp(1.01, noise=0.06, group_seconds=1.0))
    assert len(reported.groups) == MOST_GROUPS
    assert result.stop is StopReason.TIME
    assert len(result.analysed_at) == 10


def test_a_budget_that_holds_no_five_groups_is_refused_with_one_that_does() -> None:
    with pytest.raises(UsageError, match=r"--budget 1 .*a process pair takes 20 s here.*write --budget 1\.7"):
        measured(MadeUp(1.0), budget_seconds=60)
    measured(MadeUp(1.2), budget_seconds=1.7 * 60)
    with pytest.raises(UsageError, match=r"takes 20 s here, and starting took 30 s, .*write --budget 2\.2"):
        measured(MadeUp(1.2), budget_seconds=1.7 * 60, begun=70.0)  # servers were started meanwhile
    three = Question(contrasts=(A_B, A_C), margins=MARGINS, budget_seconds=60.0)
    with pytest.raises(UsageError, match="a group of 3 processes takes 20 s"):
        measured(MadeUp(1.0, 1.0), question=three)
    measured(MadeUp(1.2, 1.2), question=replace(three, budget_seconds=102.0))


def test_discarded_groups_do_not_count() -> None:
    result, reported = measured(MadeUp(1.2, contaminated=2))
    assert result.discarded_groups == 2
    assert sum(not each.clean((0, 1)) for each in result.rounds) == 8
    assert [decision is None for _, decision, _ in reported.groups[:3]] == [True, True, False]
    assert result.analyses[A_B].verdict is Verdict.SLOWER
    assert result.analyses[A_B].groups == len(reported.groups) - 2


def test_a_machine_on_which_every_group_is_discarded_ends_the_duel_early() -> None:
    result, reported = measured(MadeUp(1.2, contaminated=1_000))
    assert result.analyses[A_B].verdict is Verdict.INCONCLUSIVE
    assert math.isnan(result.analyses[A_B].ratio)
    assert result.needed_seconds is None
    assert len(reported.groups) == 4
