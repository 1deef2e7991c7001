"""The judgement of a duel, pure: one log-ratio a process pair → interim analyses → a verdict.

Two processes whose timed batches are interleaved share what disturbs the machine, so the ratio of neighbouring batches
is far surer than either time. But rounds of one process pair aren't independent, and a pair has an offset of its own:
the replicate is the process pair.

There are at most five interim analyses, at numbers of pairs fixed before any ratio is known. Each has an interval, and
all of a duel's intervals hold the true ratio together with 95 %: repeated confidence intervals (Jennison & Turnbull,
1989, *J. R. Statist. Soc. B* 51, 305). So any rule that reads them inherits that, the test for a difference and the
test for equivalence alike (Schuirmann, 1987: an interval inside the margin), and it doesn't matter when the duel stops.
The boundaries are of Wang & Tsiatis's family (1987, *Biometrics* 43, 193), between Pocock's, equal at each analysis,
and O'Brien & Fleming's, nearly closed at first; they are carried over to Student's t by their significance levels, as
Pocock proposed (1977, *Biometrika* 64, 191), and their constant is found by simulation with the trimmed t that is used
here (`scripts/duel_boundaries.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import ndtr

from bench.analysis.stats import trimmed_t
from bench.analysis.verdict import Verdict, judge
from bench.core.metric import Margins

CONFIDENCE = 0.95
"""The probability that all intervals of a duel hold the true ratio."""

FEWEST_PAIRS = 5
"""No verdict on fewer: a spread from four values means little, and Student's t makes up for it only in theory."""

_FRACTIONS = (0.2, 0.3, 0.5, 0.75, 1.0)
"""The interim analyses, as fractions of the most pairs: early ones find what is large in a third of the time."""

SHAPE = 0.25
"""Wang & Tsiatis's Δ: 0.5 is Pocock's boundary, 0 is O'Brien & Fleming's."""

CONSTANT = 2.17
"""The boundary at the last analysis, in standard errors of the normal distribution, for `CONFIDENCE` and `SHAPE`."""

TRIMMED = 0.05
"""The fraction of pairs that an analysis cuts off at either end: now and then a pair is off by ten times what the
others are, and a single such pair would make the mean unsure. From twenty pairs on; fewer are all wanted."""

MARGINS = Margins(tolerance=0.015, floor=0.005)
"""Narrower than those that two stores are compared by: interleaving removes what drifts between them."""


@dataclass(frozen=True)
class Schedule:
    """The numbers of pairs at which there is an interim analysis, fixed before any ratio is known."""

    sizes: tuple[int, ...]

    @classmethod
    def up_to(cls, most: int) -> Schedule:
        """The schedule of a duel of at most `most` pairs (`FEWEST_PAIRS` or more)."""
        numbers = {max(FEWEST_PAIRS, round(fraction * most)) for fraction in _FRACTIONS}
        return cls(tuple(sorted(numbers)))

    @property
    def most(self) -> int:
        """The number of pairs of the last analysis."""
        return self.sizes[-1]

    def level(self, number: int, constant: float = CONSTANT) -> float:
        """The two-sided significance level of the analysis with this number, from 0."""
        boundary = constant * (self.sizes[number] / self.most) ** (SHAPE - 0.5)
        return float(2 * ndtr(-boundary))

    def next_analysis(self, pairs: int) -> int:
        """The number, from 0, of the analysis that so many pairs lead to or have reached; beyond them, of the last."""
        return next((number for number, size in enumerate(self.sizes) if size >= pairs), len(self.sizes) - 1)


@dataclass(frozen=True)
class InterimAnalysis:
    """The estimate from the pairs so far. Ratios are B's time over A's."""

    pairs: int
    ratio: float
    """Geometric mean over the pairs, trimmed by `TRIMMED`; NaN for none."""
    low: float | None
    high: float | None
    """The upper end of the interval; both ends are None where the pairs give none: fewer than two, or all equal."""
    verdict: Verdict
    measurable: bool = False
    """Whether the interval leaves out 1: with `same`, there is a difference, and it is small."""


def analyse(log_ratios: Sequence[float], level: float, margins: Margins) -> InterimAnalysis:
    """Estimate the ratio from process pairs, with its interval and the verdict on it.

    Args:
        log_ratios: B / A, one a pair, in their order.
        level: two-sided significance level of the interval (`Schedule.level`).
        margins: equivalence margin and noise floor, as fractions of A's time.
    """
    estimate = trimmed_t(log_ratios, TRIMMED, 1 - level)
    ratio = math.exp(estimate.value) if estimate.n else math.nan
    if estimate.interval is None:
        return InterimAnalysis(estimate.n, ratio, None, None, Verdict.INCONCLUSIVE)
    low, high = estimate.interval.low, estimate.interval.high
    enough = estimate.n >= FEWEST_PAIRS
    change = judge(estimate.interval, margins.of_logarithm) if enough else Verdict.INCONCLUSIVE
    verdict = {Verdict.WORSE: Verdict.SLOWER, Verdict.BETTER: Verdict.FASTER}.get(change, change)
    return InterimAnalysis(estimate.n, ratio, _exp(low), _exp(high), verdict, low > 0 or high < 0)


def decide(log_ratios: Sequence[float], schedule: Schedule, margins: Margins) -> InterimAnalysis:
    """The analysis at which a duel over these pairs stops: the first that is conclusive, or the last that they reach.

    Pairs that end between two analyses, because the time has, are analysed by the boundary of the one that they were on
    the way to. That analysis comes early then, and is the last, which makes an error no likelier than it was.

    Args:
        log_ratios: B / A, one a pair, in their order.
        schedule: fixed before any of them was known.
        margins: equivalence margin and noise floor, as fractions of A's time.
    """
    reached = [number for number, pairs in enumerate(schedule.sizes) if pairs <= len(log_ratios)]
    stopped = analyse((), 1 - CONFIDENCE, margins)
    for number in reached:
        stopped = analyse(log_ratios[: schedule.sizes[number]], schedule.level(number), margins)
        if stopped.verdict is not Verdict.INCONCLUSIVE:
            return stopped
    if len(log_ratios) < schedule.most and (not reached or len(log_ratios) > schedule.sizes[reached[-1]]):
        return analyse(log_ratios, schedule.level(schedule.next_analysis(len(log_ratios))), margins)
    return stopped


def pairs_needed(now: InterimAnalysis, margins: Margins) -> int | None:
    """About how many pairs in all would make an inconclusive analysis conclusive, if the ratio stays.

    The interval narrows with the root of their number. It has to fit into the equivalence margin, or to lie beyond the
    noise floor. None where no number would do.
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
