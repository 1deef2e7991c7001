"""The judgement of a duel, pure: slices → one log-ratio a pair of processes → looks → a verdict.

Two processes that take turns share what disturbs the machine, so the ratio of neighbouring slices is far surer than
either time. But slices of one pair aren't independent, and a pair has an offset of its own: the unit is the pair.

The pairs are looked at no more than five times, at numbers fixed before any ratio is known. Each look has an interval,
and all of a duel's intervals hold the true ratio together with 95 %: repeated confidence intervals (Jennison &
Turnbull, 1989, *J. R. Statist. Soc. B* 51, 305). So any rule that reads them inherits that, the test for a difference
and the one for equivalence alike (Schuirmann, 1987: an interval inside the tolerance), and it doesn't matter when the
duel stops. The boundaries are of Wang & Tsiatis's family (1987, *Biometrics* 43, 193), between Pocock's, equal at each
look, and O'Brien & Fleming's, nearly closed at first; they are carried over to Student's t by their significance
levels, as Pocock proposed (1977, *Biometrika* 64, 191), and their constant is found by simulation with the trimmed t
that is used here (`scripts/duel_boundaries.py`).
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.special import ndtr

from bench.analysis.stats import trimmed_t
from bench.analysis.verdict import Verdict, judge
from bench.core.metrics import Margins

CONFIDENCE = 0.95
"""That all intervals of a duel hold the true ratio."""

FEWEST_PAIRS = 5
"""No verdict on fewer: a spread from four values says little, and Student's t makes up for it only in theory."""

_FRACTIONS = (0.2, 0.3, 0.5, 0.75, 1.0)
"""Where the looks lie, of the most pairs that there may be: early ones find what is large in a third of the time."""

SHAPE = 0.25
"""Wang & Tsiatis's Δ: 0.5 is Pocock's boundary, 0 is O'Brien & Fleming's."""

CONSTANT = 2.17
"""The boundary at the last look, in standard errors of the normal distribution, for `CONFIDENCE` and `SHAPE`."""

TRIMMED = 0.05
"""Of a look's pairs, at either end: now and then a pair is off by ten times what the others are, and one would do to
make the mean unsure. From twenty pairs on; fewer are all wanted."""

SPIN_FRACTION = 0.1
"""Of a slice's time: a side that used more processor time while the other had its turn has disturbed it. At half a
second that is five of the system's ticks, where one comes about by rounding."""

_FEWEST_TURNS_FRACTION = 0.5
"""Of a pair's turns: with fewer left the pair says nothing."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One side's part of a turn: the same steps on both sides, about half a second in all."""

    pair: int
    """From 0."""
    turn: int
    """From 0 in each pair; both sides have one slice of each turn, whose strokes alternate."""
    side: str
    """`a` or `b`."""
    steps: int
    seconds: float
    cpu_seconds: float
    """Processor time of all threads of the side's process."""
    idle_cpu_seconds: float
    """Processor time of the other side's process meanwhile, to a tick of the system (10 ms)."""
    start_seconds: float
    """When it began, since the beginning of the duel."""
    strokes: tuple[float, ...]
    """Seconds of each, as many on both sides: after the first of one side comes the first of the other, and so on."""


MARGINS = Margins(tolerance=0.015, floor=0.005)
"""Narrower than what two stores are compared by: taking turns removes what drifts between them."""


@dataclass(frozen=True)
class Schedule:
    """At which numbers of pairs a duel is looked at, fixed before any ratio is known."""

    looks: tuple[int, ...]

    @classmethod
    def up_to(cls, most: int) -> Schedule:
        """The looks of a duel of at most so many pairs (`FEWEST_PAIRS` or more)."""
        numbers = {max(FEWEST_PAIRS, round(fraction * most)) for fraction in _FRACTIONS}
        return cls(tuple(sorted(numbers)))

    @property
    def most(self) -> int:
        return self.looks[-1]

    def level(self, number: int, constant: float = CONSTANT) -> float:
        """The two-sided significance level of the look numbered from 0."""
        boundary = constant * (self.looks[number] / self.most) ** (SHAPE - 0.5)
        return float(2 * ndtr(-boundary))

    def next_look(self, pairs: int) -> int:
        """The number, from 0, of the look that so many pairs lead to or have reached; the last one beyond."""
        return next((number for number, at in enumerate(self.looks) if at >= pairs), len(self.looks) - 1)


@dataclass(frozen=True)
class Look:
    """What the pairs so far say. Ratios are B's time over A's."""

    pairs: int
    ratio: float
    """Geometric mean over the pairs, trimmed by `TRIMMED`; NaN for none."""
    low: float | None
    high: float | None
    """The interval, None where the pairs give none: fewer than two, or all equal."""
    verdict: Verdict
    measurable: bool = False
    """The interval leaves out 1: with `same`, there is a difference, and it is small."""


def pair_log_ratio(slices: Iterable[Slice]) -> float | None:
    """The log-ratio B / A of one pair of processes, robustly over its strokes; None where too few turns are left.

    It is the median of all strokes' ratios, each to the neighbouring one of the other side. With quiet noise the mean
    would need a third fewer; but on shared cores a stroke now and then takes three times as long (docs/how-sure.md). A
    turn goes where either side used the processor in the other's slice, or one slice is missing.
    """
    turns: defaultdict[int, dict[str, Slice]] = defaultdict(dict)
    for one in slices:
        turns[one.turn][one.side] = one
    clean = [turn for turn in turns.values() if _clean(turn)]
    if not clean or len(clean) < _FEWEST_TURNS_FRACTION * len(turns):
        return None
    strokes = (both for turn in clean for both in zip(turn["a"].strokes, turn["b"].strokes, strict=True))
    return statistics.median(math.log(b / a) for a, b in strokes)


def _clean(turn: dict[str, Slice]) -> bool:
    return len(turn) == 2 and not any(spun(one) for one in turn.values())


def spun(one: Slice) -> bool:
    """Whether the other side used the processor in this slice, or its time is no time."""
    return not all(seconds > 0 for seconds in one.strokes) or one.idle_cpu_seconds > SPIN_FRACTION * one.seconds


def look(log_ratios: Sequence[float], level: float, margins: Margins) -> Look:
    """The estimate of so many pairs, its interval at this level, and what that says."""
    estimate = trimmed_t(log_ratios, TRIMMED, 1 - level)
    ratio = math.exp(estimate.value) if estimate.n else math.nan
    if estimate.interval is None:
        return Look(estimate.n, ratio, None, None, Verdict.INCONCLUSIVE)
    low, high = estimate.interval.low, estimate.interval.high
    sure = judge(estimate.interval, margins.of_logarithm) if estimate.n >= FEWEST_PAIRS else Verdict.INCONCLUSIVE
    verdict = {Verdict.WORSE: Verdict.SLOWER, Verdict.BETTER: Verdict.FASTER}.get(sure, sure)
    return Look(estimate.n, ratio, _exp(low), _exp(high), verdict, low > 0 or high < 0)


def decide(log_ratios: Sequence[float], schedule: Schedule, margins: Margins) -> Look:
    """The look at which a duel over these pairs stops: the first that is sure, or the last that they reach.

    Pairs that end between two looks, because the time has, are looked at by the boundary of the look that they were on
    the way to. That look comes early then, and is the last, which makes an error no likelier than it was.
    """
    reached = [number for number, pairs in enumerate(schedule.looks) if pairs <= len(log_ratios)]
    stopped = look((), 1 - CONFIDENCE, margins)
    for number in reached:
        stopped = look(log_ratios[: schedule.looks[number]], schedule.level(number), margins)
        if stopped.verdict is not Verdict.INCONCLUSIVE:
            return stopped
    if len(log_ratios) < schedule.most and (not reached or len(log_ratios) > schedule.looks[reached[-1]]):
        return look(log_ratios, schedule.level(schedule.next_look(len(log_ratios))), margins)
    return stopped


def pairs_needed(now: Look, margins: Margins) -> int | None:
    """About how many pairs in all would make an inconclusive look sure, if the ratio stays; None where none would.

    The interval narrows with the root of their number. It has to fit into the tolerance, or to lie beyond the floor.
    """
    if now.low is None or now.high is None or now.low == now.high:
        return None
    half = math.log(now.high / now.low) / 2
    distance = abs(math.log(now.ratio))
    logs = margins.of_logarithm
    room = max(logs.tolerance - distance, distance - logs.floor)
    return max(now.pairs + 1, FEWEST_PAIRS, math.ceil(now.pairs * (half / room) ** 2))


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
