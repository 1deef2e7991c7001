"""How many rounds the next process group does: as many as narrow the interval most in the time that there is, pure.

A group's log-ratio varies with its processes, which no round removes, and with its rounds. Fresh processes cost seconds
before anything is timed. With `between` and `within` for the two variances, the number of rounds that makes the mean
over groups surest for its time is √(within / between · start / round) (Cochran, 1977, *Sampling Techniques*, 3rd ed.,
§10.6: the optimum in subsampling), which differs from machine to machine and from layer to layer (docs/how-sure.md).

Only spreads and times decide, never where the mean lies: what a group's sides differ by is as likely either way however
many rounds it has, and the intervals stay what they are.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.duel.interleaved import ROUNDS, ProcessGroup
from bench.duel.sequential import Contrast

FIRST_ROUNDS = 6
"""Rounds of the groups before `ALLOCATED_FROM`: between what the two kinds of noise want."""

FEWEST_ROUNDS = 3
"""With fewer a group would hardly be cheaper: a round takes half a second a side, and its start about five."""

ALLOCATED_FROM = 4
"""So many groups are measured before their spread decides."""


@dataclass(frozen=True, kw_only=True)
class GroupValue:
    """One ratio in one process group."""

    log_ratio: float
    rounds: int
    """Those that it is from."""
    round_variance: float
    """The variance of its rounds' log-ratios; NaN for a single round."""

    @classmethod
    def of(cls, log_ratio: float, round_log_ratios: Sequence[float]) -> GroupValue:
        """A group's value and those of its rounds."""
        several = len(round_log_ratios) > 1
        variance = _variance(round_log_ratios) if several else math.nan
        return cls(log_ratio=log_ratio, rounds=len(round_log_ratios), round_variance=variance)


@dataclass(frozen=True)
class GroupCost:
    """What process groups take, by those so far."""

    start_seconds: float
    """A side's part before the first round, after the last, and between timed batches."""
    round_seconds: float
    """A side's part of a round, the anchor's time divided among the sides."""

    @classmethod
    def of(cls, groups: Sequence[ProcessGroup]) -> GroupCost:
        """The mean over groups; at least one."""
        timed = [math.fsum(side.seconds for each in group.rounds for side in each.sides.values()) for group in groups]
        sides = [group.sides for group in groups]
        side_rounds = sum(len(group.rounds) * number for group, number in zip(groups, sides, strict=True))
        start = math.fsum(group.seconds for group in groups) - math.fsum(timed)
        return cls(max(0.0, start) / sum(sides), math.fsum(timed) / side_rounds)

    def seconds(self, sides: int, rounds: int) -> float:
        """What a group of so many sides and rounds will take."""
        return sides * (self.start_seconds + rounds * self.round_seconds)


def first_rounds(contrasts: Iterable[Contrast]) -> int:
    """The rounds of the first groups.

    Args:
        contrasts: what is asked for.
    """
    return ROUNDS if any(each.quantile is not None for each in contrasts) else FIRST_ROUNDS


def next_rounds(values: Mapping[Contrast, Sequence[GroupValue]], cost: GroupCost) -> int:
    """The rounds of the next group, for the ratio that is least certain. Quantiles of calls want all that there may be.

    Args:
        values: of each ratio that isn't settled, from the groups so far.
        cost: of a group.
    """
    least_certain = max(values.values(), key=_squared_error, default=())
    spreads = [value.round_variance for value in least_certain if not math.isnan(value.round_variance)]
    if len(least_certain) < ALLOCATED_FROM or not spreads or first_rounds(values) != FIRST_ROUNDS:
        return first_rounds(values)
    within = statistics.median(spreads)  # a neighbour's burst is in few groups
    from_rounds = within * statistics.fmean(1 / value.rounds for value in least_certain)
    between = _variance([value.log_ratio for value in least_certain]) - from_rounds
    if between <= 0 or cost.round_seconds <= 0:
        return ROUNDS
    best = math.sqrt(within / between * cost.start_seconds / cost.round_seconds)
    return min(ROUNDS, max(FEWEST_ROUNDS, round(best)))


def _squared_error(values: Sequence[GroupValue]) -> float:
    if len(values) < 2:
        return math.inf
    return _variance([value.log_ratio for value in values]) / len(values)


def _variance(values: Sequence[float]) -> float:
    """The variance of a sample of two or more; `statistics.variance` computes with fractions, and takes far longer."""
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
