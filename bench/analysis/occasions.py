"""How far the machine's speed moves between occasions, and what that does to a comparison of times. Pure.

An *occasion* is a campaign: runs that were measured together. Runs of one occasion agree with each other and not with
those of another, since the machine itself drifts: its neighbours, its temperature, its memory. So two sides that were
measured on two occasions differ by the drift between them, which no number of runs removes, and the replicate of such a
comparison is the occasion. Four ways lead to a verdict all the same:

- The sides were *interleaved*: neighbours in time are paired, and share the drift (`neighbours`).
- The drift is *declared*: no farther than this does the machine's speed move from one occasion to another.
- The drift is *measured*: equal code, measured on several occasions, shows it (`measured_drift`).
- The drift is *divided out*: both sides were measured beside the anchor, and times over the anchor's are compared
  (`AnchoredDrift`).

All is on natural logarithms of seconds. docs/between-days.md has what was simulated.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import fdtri, stdtrit

from bench.analysis.random_effects import random_effects
from bench.analysis.stats import Floats, StandardError, single_difference, welch

MIN_FREEDOM = 4
"""The fewest degrees of freedom that a measured drift is estimated with: five occasions of equal code."""

ERROR_FRACTION = 1 / 5
"""What fraction of its error rate a verdict may use whose drift was measured. Where the drift is far larger than the
margins every error of the interval is a wrong verdict, so that at 5 % 5 % of them would be."""

UNFOLLOWED = {True: 0.1, False: 0.3}
"""The least that a cell's sensitivity to the machine's drift is taken to differ from the anchor's by, where that is 1;
by whether the anchor is trained as the cells are. Two stores' own process groups may show that it is more
(`AnchoredDrift.between`)."""

OCCASIONS = StandardError(0.002, 8)
"""The least that two occasions are taken to differ by beside a trained anchor: what recorded sessions of two machines
did, an hour or more apart (docs/between-days.md). Two stores may show that it is more."""

_PARTS = 8
"""The parts of a store whose differences show how far occasions differ: fewer would be longer, and leave the spread
itself unsure."""

_PARTS_ALPHA = 0.05
"""How often parts that differ by noise alone are taken to differ by more."""

_STEADY = 1e-4
"""An anchor whose logarithm varies by less within the sides shows no sensitivity."""

_APART = 0.5
"""Occasions count as several where they are at least this fraction of the time apart that the two sides are."""


class TimedRun(Protocol):
    """A run's time, and when it was measured."""

    @property
    def value(self) -> float:
        """Seconds, or samples a second."""

    @property
    def started_at(self) -> float:
        """When it began, seconds since 1970, UTC; NaN where it is not known."""

    @property
    def campaign_id(self) -> str:
        """Its campaign."""


class TimedBesideAnchor(TimedRun, Protocol):
    """A process group's time over the anchor's."""

    @property
    def anchor_seconds(self) -> float:
        """A step of the anchor."""

    @property
    def anchor_is_trained(self) -> bool:
        """Whether Keras trained it, as it trained the cells; NumPy's is not."""


@dataclass(frozen=True)
class DeclaredDrift:
    """The user's word: how far the machine's speed moves between two occasions."""

    bound: float
    """The farthest, as a fraction of the time: 0.02 is 2 % slower or faster."""

    @property
    def words(self) -> str:
        """What it is, for a finding's basis."""
        return f"± {100 * self.bound:.3g} % of drift, as declared"

    def half_width(self, base: Sequence[TimedRun], new: Sequence[TimedRun], confidence: float) -> float | None:
        """Half the interval of the log-ratio of two sides; None where it has no width.

        Args:
            base: the base's runs.
            new: the new side's.
            confidence: the interval's coverage.
        """
        spread = welch(_logs(new), _logs(base))
        half = spread.half_width(confidence) if spread else 0.0
        return half + math.log1p(self.bound) or None


@dataclass(frozen=True, kw_only=True)
class MeasuredDrift:
    """What equal code, measured on several occasions, shows of the machine's drift."""

    occasions: int
    """How many there were."""
    freedom: int
    """The degrees of freedom of the variance: a group of equal code has one less than occasions."""
    variance: float
    """The variance of an occasion's mean, the noise of its runs included."""
    within: float
    """The part of it that is the noise of the runs."""
    farthest: float
    """The largest distance of an occasion from the mean of its group."""
    apart: float
    """How far apart the occasions are at least, seconds."""

    @property
    def words(self) -> str:
        """What it is, for a finding's basis."""
        return f"{100 * math.expm1(math.sqrt(self.variance)):.2g} % of drift between {self.occasions} occasions"

    def half_width(self, base: Sequence[TimedRun], new: Sequence[TimedRun], confidence: float) -> float | None:
        """Half the interval of the log-ratio of two sides; None where neither runs nor occasions vary.

        With occasions as large as those that the drift was measured on it is Student's t for a difference of their
        means; where the sides have fewer runs, or noisier ones, the noise that is in excess is added. It is never
        narrower than the farthest that an occasion was seen from the others: a machine that is slow one day in ten
        isn't normal.

        Args:
            base: the base's runs.
            new: the new side's.
            confidence: the interval's coverage.
        """
        occasions = sum(_fraction_squared(side, self.apart) for side in (base, new))
        quantile = float(stdtrit(self.freedom, (1 + confidence) / 2))
        of_occasions = max(quantile * math.sqrt(self.variance * occasions), self.farthest)
        spread = welch(_logs(new), _logs(base))
        excess = max(0.0, spread.error**2 - self.within * occasions) if spread else 0.0
        of_runs = spread.half_width(confidence) * math.sqrt(excess) / spread.error if spread and excess else 0.0
        return math.hypot(of_occasions, of_runs) or None


@dataclass(frozen=True, kw_only=True)
class AnchoredDrift:
    """What is left of the machine's drift in times over the anchor's, which doesn't follow it wholly.

    A cell need not follow the anchor: other work on the machine may slow it several times as much, or take what the
    anchor hardly uses. How far their ratio moves from group to group shows how far it does. What moves it may last.
    Beside an anchor that is trained as the cells are, two occasions are taken to differ as two parts of a store do,
    each an eighth of it, and as recorded sessions did at least (`OCCASIONS`): of flicker noise the variance of two
    samples' difference is the same however long and far apart they are (Barnes et al., 1971, IEEE Trans. Instrum. Meas.
    IM-20, 105). Beside NumPy's, which follows the cells less, they are taken to differ as two single groups do.
    """

    moved: float
    """The logarithm of how many times longer the anchor took on the new side."""
    unfollowed: float
    """By how much the cell's sensitivity to what moved the anchor differs from the anchor's."""
    slope: StandardError | None = None
    """That of the sensitivity, where process groups show it."""
    occasions: StandardError | None = None
    """What two occasions differ by beside the anchor; None where groups don't vary."""

    @classmethod
    def between(cls, base: Sequence[TimedBesideAnchor], new: Sequence[TimedBesideAnchor]) -> AnchoredDrift:
        """That between two sides.

        Within either side, the slope of the ratio's logarithm on the anchor's shows how much more than the anchor a
        cell is slowed; the interval has its standard error too.

        Args:
            base: the base's process groups.
            new: those of the new side.
        """
        sides = [sorted(side, key=lambda group: group.started_at) for side in (base, new)]
        anchors = [np.log([group.anchor_seconds for group in side]) for side in sides]
        ratios = [_logs(side) for side in sides]
        moved = float(np.median(anchors[1]) - np.median(anchors[0]))
        is_trained = all(group.anchor_is_trained for side in sides for group in side)
        occasions = _between_parts(ratios) if is_trained else single_difference(*ratios)
        x, y = (np.concatenate([logs - logs.mean() for logs in both]) for both in (anchors, ratios))
        squares, freedom = float(x @ x), len(x) - 3
        if freedom < 1 or math.sqrt(squares / len(x)) < _STEADY:
            return cls(moved=moved, unfollowed=UNFOLLOWED[is_trained], occasions=occasions)
        slope = float(x @ y) / squares
        error = math.sqrt(float(((y - slope * x) ** 2).sum()) / freedom / squares)
        return cls(
            moved=moved,
            unfollowed=max(UNFOLLOWED[is_trained], abs(slope)),
            slope=StandardError(error, freedom),
            occasions=occasions,
        )

    @property
    def words(self) -> str:
        """What it is, for a finding's basis."""
        unseen = 100 * math.expm1(self.occasions.error) if self.occasions else 0.0
        return (
            f"{unseen:.2g} % of drift that the anchor doesn't follow, and up to "
            f"{100 * math.expm1(self.left):.2g} % for its own change by {100 * math.expm1(self.moved):+.2g} %"
        ).replace("-", "−")

    @property
    def left(self) -> float:
        """The farthest that what moved the anchor moves the log-ratio of the two sides."""
        return self.unfollowed * abs(self.moved)

    def half_width(self, base: Sequence[TimedRun], new: Sequence[TimedRun], confidence: float) -> float | None:
        """Half the interval of the log-ratio of two sides; None where it has no width.

        Args:
            base: the base's process groups.
            new: the new side's.
            confidence: the interval's coverage.
        """
        return self._half_width(welch(_logs(new), _logs(base)), confidence) or None

    def least_half_width(self, confidence: float) -> float:
        """What is left of it where the means of the groups are known exactly.

        Args:
            confidence: the interval's coverage.
        """
        return self._half_width(None, confidence)

    def _half_width(self, of_groups: StandardError | None, confidence: float) -> float:
        parts = ((of_groups, 1.0), (self.slope, abs(self.moved)), (self.occasions, 1.0))
        return math.hypot(*(by * error.half_width(confidence) for error, by in parts if error)) + self.left


Drift = DeclaredDrift | MeasuredDrift | AnchoredDrift


def apart(base: Sequence[TimedRun], new: Sequence[TimedRun]) -> float:
    """The time between the two sides, seconds: between the middles of the two campaigns that are nearest.

    NaN where it is not known when they were measured.
    """
    middles = [[float(np.mean([run.started_at for run in runs])) for runs in _campaigns(side)] for side in (base, new)]
    return min((abs(before - after) for before in middles[0] for after in middles[1]), default=math.nan)


def neighbours(base: Sequence[TimedRun], new: Sequence[TimedRun]) -> tuple[list[int], list[int]] | None:
    """The runs of two sides that were measured interleaved, paired by nearness in time; None where they weren't.

    Interleaved are sides whose runs alternate: in the order of time, at least half of the shorter side's runs have
    a neighbour of the other side, no run being in two pairs. And each side came first in a quarter of the pairs at
    least, since a machine that becomes slower and slower favours the one that is always the first. The order alone
    decides, never the times.

    Args:
        base: the base's runs.
        new: the new side's.

    Returns:
        The places of the paired runs on either side, pair by pair.
    """
    order = sorted(
        [(run.started_at, 0, i) for i, run in enumerate(base)] + [(run.started_at, 1, i) for i, run in enumerate(new)]
    )
    starts = [start for start, _, _ in order]
    if not np.isfinite(starts).all() or len(set(starts)) < len(starts):
        return None
    pairs: list[tuple[int, int]] = []
    base_first = place = 0
    while place + 1 < len(order):
        (_, side, i), (_, next_side, j) = order[place : place + 2]
        if side == next_side:
            place += 1
            continue
        pairs.append((j, i) if side else (i, j))
        base_first += not side
        place += 2
    if (
        not pairs
        or 2 * len(pairs) < min(len(base), len(new))
        or 4 * min(base_first, len(pairs) - base_first) < len(pairs)
    ):
        return None
    return [i for i, _ in pairs], [j for _, j in pairs]


def measured_drift(groups: Iterable[Sequence[TimedRun]], least_apart: float) -> MeasuredDrift | None:
    """The drift that groups of runs show, each of equal code on one machine; None where they are too few occasions.

    Occasions that are nearer to each other than the sides are may share what the sides don't: they count as one.

    Args:
        groups: the runs of each group, of one configuration, machine, software and version of the code.
        least_apart: how far apart the two sides are, seconds (`apart`).
    """
    variance = within = farthest = 0.0
    occasions = freedom = 0
    for group in groups:
        logs = [_logs(runs) for runs in _occasions(group, _APART * least_apart)]
        if len(logs) < 2:
            continue
        means = np.array([of_occasion.mean() for of_occasion in logs])
        more = len(logs) - 1
        variance += more * float(means.var(ddof=1))
        within += more * _within(logs)
        farthest = max(farthest, float(np.abs(means - means.mean()).max()))
        occasions += len(logs)
        freedom += more
    if freedom < MIN_FREEDOM:
        return None
    return MeasuredDrift(
        occasions=occasions,
        freedom=freedom,
        variance=variance / freedom,
        within=within / freedom,
        farthest=farthest,
        apart=_APART * least_apart,
    )


def _within(logs: Sequence[Floats]) -> float:
    """The variance that the noise of single runs gives to the mean of an occasion; 0 where no occasion has two."""
    freedom = sum(len(of_occasion) - 1 for of_occasion in logs)
    if not freedom:
        return 0.0
    return sum(map(_squares, logs)) / freedom * float(np.mean([1 / len(of_occasion) for of_occasion in logs]))


def _fraction_squared(runs: Sequence[TimedRun], least_apart: float) -> float:
    """One over the number of a side's occasions, each counted by the fraction of the runs that it has."""
    return sum((len(occasion) / len(runs)) ** 2 for occasion in _occasions(runs, least_apart))


def _occasions(runs: Sequence[TimedRun], least_apart: float) -> list[list[TimedRun]]:
    """Campaigns in the order of time, those that are too near to the one before taken together."""
    gathered: list[list[TimedRun]] = []
    since = -math.inf
    for campaign in sorted(_campaigns(runs), key=_middle):
        if gathered and not _middle(campaign) - since >= least_apart:
            gathered[-1].extend(campaign)
        else:
            since = _middle(campaign)
            gathered.append(list(campaign))
    return gathered


def _campaigns(runs: Iterable[TimedRun]) -> list[list[TimedRun]]:
    campaigns: dict[str, list[TimedRun]] = defaultdict(list)
    for run in runs:
        campaigns[run.campaign_id].append(run)
    return list(campaigns.values())


def _middle(runs: Sequence[TimedRun]) -> float:
    return float(np.mean([run.started_at for run in runs]))


def _between_parts(sides: Sequence[Floats]) -> StandardError | None:
    """What two occasions differ by, where they differ as parts of either side do; None where nothing varies, and of
    sides with less than three values.

    Args:
        sides: the logarithms of either side, in the order of time.
    """
    if min(map(len, sides)) < 3 or all(np.ptp(values) == 0 for values in sides):
        return None
    parts = [np.array_split(values, max(2, min(_PARTS, len(values) // 2))) for values in sides]
    spread = math.hypot(*(effects.spread for of_side in parts if (effects := random_effects(of_side))))
    if spread < OCCASIONS.error or not _parts_differ(parts):
        return OCCASIONS
    return StandardError(spread, sum(len(of_side) - 1 for of_side in parts))


def _parts_differ(sides: Sequence[Sequence[Floats]]) -> bool:
    """Whether an F test finds that the means of either side's parts differ by more than their values explain."""
    freedom = sum(len(parts) - 1 for parts in sides)
    freedom_within = sum(len(part) - 1 for parts in sides for part in parts)
    within = sum(_squares(part) for parts in sides for part in parts)
    between = sum(_squares(np.concatenate(parts)) for parts in sides) - within
    return between / freedom > float(fdtri(freedom, freedom_within, 1 - _PARTS_ALPHA)) * within / freedom_within


def _squares(values: Floats) -> float:
    """The sum of squares about the mean."""
    return float(((values - values.mean()) ** 2).sum())


def _logs(runs: Iterable[TimedRun]) -> Floats:
    return np.log([run.value for run in runs])
