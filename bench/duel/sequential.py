"""The judgement of a duel, pure: log-ratios of process groups → interim analyses → a verdict for each ratio.

Processes whose timed batches are interleaved share what disturbs the machine, so the ratio of neighbouring batches is
far surer than either time. But rounds of one process group aren't independent, and a group has an offset of its own:
the replicate is the group of fresh processes, of fresh servers.

`SequentialJudge` is given each group as it ends, and decides whether to go on. There are at most ten interim analyses,
by the calendar: when a tenth more of the budget is over, and the orders of the processes are balanced; the last when
the time is over, which spends what is left of the chance to err (`bench.duel.spending`). So whatever time there is gets
used, and nothing is planned from how long the first group took. The intervals are repeated confidence intervals
(Jennison and Turnbull, 1989, *J. R. Statist. Soc. B* 51, 305): with 95 % all of them, at all analyses of all ratios,
hold their true ratios together. So any rule that reads them inherits that, the test for a difference and the test for
equivalence alike (Schuirmann, 1987: an interval inside the margin), and it doesn't matter when the measurement stops.
The chance to err is divided among the ratios (Bonferroni; Dunnett's correction for their common base would make
intervals narrower by 2 to 3 %), and along the analyses of each. A settled ratio is analysed no more, and what it had
left to spend is not given to the rest (Follmann, Proschan and Geller, 1994, *Biometrics* 50, 325).

A measurement to a precision stops by the widths of its intervals alone, and with normal values widths are independent
of where the mean lies: such interim analyses spend nothing. But it stops rather where the spread happens to seem small
(Starr, 1966, *Ann. Math. Statist.* 37, 1173). So there is one level for all analyses that may stop it,
`PRECISION_ALPHA`, and none does before `PRECISE_FROM` groups; the last, which ends it whatever its width, has `ALPHA`.
With 95 % the intervals at which its ratios were settled, or ended, hold together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.analysis.interleaved_figures import PRECISION_ALPHA, TRIMMED
from bench.analysis.stats import trimmed_t
from bench.analysis.verdict import Verdict, judge
from bench.core.metric import Margins
from bench.duel.spending import Stage, significance_level, spent

CONFIDENCE = 0.95
"""The probability that all intervals of a duel hold the true ratio."""

ALPHA = 0.044
"""The chance to err that all analyses of all ratios together may spend. Of normal values of a known spread that would
be 1 − `CONFIDENCE`; carried over to the trimmed t of few groups, the levels would let 5.7 % of measurements miss the
truth then, and with this 5.0 % (`scripts/duel_boundaries.py`)."""

PRECISE_FROM = 9
"""The fewest groups of a ratio that is precise: among fewer, the spread too often seems smaller than it is."""

FEWEST_GROUPS = 5
"""No verdict on fewer: a spread from four values means little, and Student's t makes up for it only in theory."""

MARGINS = Margins(tolerance=0.015, floor=0.005)
"""Narrower than those that two stores are compared by: interleaving removes what drifts between them."""


@dataclass(frozen=True)
class InterimAnalysis:
    """The estimate of one ratio, a side's time over its base's, from the process groups so far."""

    groups: int
    """How many have a value of it."""
    ratio: float
    """Geometric mean over the groups, trimmed by `TRIMMED`; NaN for none."""
    low: float | None
    high: float | None
    """The upper end of the interval; both ends are None where the groups give none: fewer than two, or all equal."""
    verdict: Verdict
    measurable: bool = False
    """Whether the interval leaves out 1: with `same`, there is a difference, and it is small."""


def analyse(log_ratios: Sequence[float], level: float, margins: Margins) -> InterimAnalysis:
    """Estimate a ratio from process groups, with its interval and the verdict on it.

    Args:
        log_ratios: side / base, one a group, in their order.
        level: two-sided significance level of the interval.
        margins: equivalence margin and noise floor, as fractions of the base's time.
    """
    estimate = trimmed_t(log_ratios, TRIMMED, 1 - level)
    ratio = math.exp(estimate.value) if estimate.n else math.nan
    if estimate.interval is None:
        return InterimAnalysis(estimate.n, ratio, None, None, Verdict.INCONCLUSIVE)
    low, high = estimate.interval.low, estimate.interval.high
    enough = estimate.n >= FEWEST_GROUPS
    change = judge(estimate.interval, margins.of_logarithm) if enough else Verdict.INCONCLUSIVE
    verdict = {Verdict.WORSE: Verdict.SLOWER, Verdict.BETTER: Verdict.FASTER}.get(change, change)
    return InterimAnalysis(estimate.n, ratio, _exp(low), _exp(high), verdict, low > 0 or high < 0)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


@dataclass(frozen=True, order=True)
class Contrast:
    """A ratio that is asked for: one side's time over its base's, by the sides' numbers from 0."""

    base: int
    side: int
    quantile: float | None = None
    """The quantile of single calls that is compared; None where it is the time of timed batches."""


def taking_part(contrasts: Iterable[Contrast]) -> tuple[int, ...]:
    """The numbers of the sides that some of these ratios are of, ascending."""
    return tuple(sorted({side for contrast in contrasts for side in (contrast.base, contrast.side)}))


class StopReason(StrEnum):
    """Why a measurement has ended."""

    PRECISE = "precise"
    """Every ratio is known to the precision that was asked for."""
    DECIDED = "decided"
    """Every verdict is made."""
    TIME = "time"
    """The time is over."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a measurement is to find out."""

    contrasts: tuple[Contrast, ...]
    """All ratios that are asked for; their intervals hold together."""
    margins: Margins
    """Equivalence margin and noise floor, as fractions of a base's time."""
    budget_seconds: float
    precision: float | None = None
    """A ratio is settled when its interval is at most so much wide to either side, as a fraction of it; None: when its
    verdict is made."""


@dataclass(frozen=True, kw_only=True)
class GroupRatios:
    """The log-ratios of one process group."""

    log_ratios: Mapping[Contrast, float]
    """log(side / base); a contrast has no value where a side has left, or was disturbed."""
    elapsed_seconds: float
    """From the beginning of the measurement to the end of the group."""
    balanced: bool
    """Whether each side has been the first in everything as often as each other."""
    last: bool
    """Whether no further group fits into the time."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What follows from the groups so far."""

    analyses: Mapping[Contrast, InterimAnalysis]
    """The analysis of every contrast: that at which it settled, where it did; the latest else, or after a group that no
    analysis is due after, what it would have given."""
    analysed: bool
    """Whether an analysis was due after this group; nothing settles else."""
    settled: frozenset[Contrast]
    stop: StopReason | None
    """None to go on."""


MOST_ANALYSES = 10
"""At most so many interim analyses: one for each tenth of the budget."""


class SequentialJudge:
    """Decides after each process group whether to go on, and which ratios are settled.

    Args:
        question: what is to be found out.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._alpha = ALPHA / len(question.contrasts)
        self._values: dict[Contrast, list[float]] = {contrast: [] for contrast in question.contrasts}
        self._stages: dict[Contrast, tuple[Stage, ...]] = dict.fromkeys(question.contrasts, ())
        self._settled: dict[Contrast, InterimAnalysis] = {}
        self._groups = 0
        self._next_fraction = 1 / MOST_ANALYSES
        self.analysed_at: tuple[int, ...] = ()
        """The numbers of groups at which there was an analysis; groups without any value aren't counted."""

    def group_ended(self, group: GroupRatios) -> Decision:
        """Take in one more group, and analyse all of them if that is due.

        Args:
            group: the next, in the order in which they ended.
        """
        self._groups += bool(group.log_ratios)
        for contrast, value in group.log_ratios.items():
            if contrast not in self._settled:
                self._values[contrast].append(value)
        fraction = group.elapsed_seconds / self._question.budget_seconds
        last = group.last or fraction >= 1
        due = last or (group.balanced and fraction >= self._next_fraction)
        analyses: dict[Contrast, InterimAnalysis] = {}
        analysed = False
        for contrast in self._question.contrasts:
            if contrast in self._settled:
                analyses[contrast] = self._settled[contrast]
                continue
            stage = self._stage(contrast, 1.0 if last else fraction)
            analyses[contrast] = analysis = self._analyse(contrast, stage, last)
            if due and stage is not None and stage.values >= FEWEST_GROUPS:
                analysed = True
                self._stages[contrast] += (stage,)
                if self._settles(analysis):
                    self._settled[contrast] = analysis
        if analysed:
            self.analysed_at += (self._groups,)
            self._next_fraction = (math.floor(MOST_ANALYSES * fraction) + 1) / MOST_ANALYSES
        return Decision(
            analyses=analyses, analysed=analysed, settled=frozenset(self._settled), stop=self._stop_reason(last)
        )

    def _stage(self, contrast: Contrast, fraction: float) -> Stage | None:
        """An analysis now; None where there is nothing that the one before did not have."""
        stage = Stage(len(self._values[contrast]), spent(self._alpha, fraction))
        before = self._stages[contrast][-1:] or (Stage(0, 0.0),)
        return stage if stage.values > before[0].values and stage.spent > before[0].spent else None

    def _analyse(self, contrast: Contrast, stage: Stage | None, last: bool) -> InterimAnalysis:
        """The analysis by the level of this stage, or of the latest that there was."""
        stages = self._stages[contrast] + ((stage,) if stage else ())
        if self._question.precision is not None:
            level = (ALPHA if last else PRECISION_ALPHA) / len(self._question.contrasts)
        else:
            level = significance_level(stages) if stages else self._alpha
        return analyse(self._values[contrast], level, self._question.margins)

    def _settles(self, analysis: InterimAnalysis) -> bool:
        if self._question.precision is None:
            return analysis.verdict is not Verdict.INCONCLUSIVE
        half = _half_width(analysis)
        return half is not None and half <= math.log1p(self._question.precision) and analysis.groups >= PRECISE_FROM

    def _stop_reason(self, last: bool) -> StopReason | None:
        if len(self._settled) == len(self._question.contrasts):
            return StopReason.DECIDED if self._question.precision is None else StopReason.PRECISE
        return StopReason.TIME if last else None


def groups_needed(now: InterimAnalysis, question: Question) -> int | None:
    """About how many groups in all would settle a ratio that isn't yet, if it stays what it is.

    The interval narrows with the root of their number. It has to become as narrow as the precision that was asked for;
    or else to fit into the equivalence margin, or to lie beyond the noise floor. None where no number would do.

    Args:
        now: the ratio's latest analysis.
        question: what is to be found out.
    """
    half = _half_width(now)
    if not half:
        return None
    if question.precision is not None:
        room = math.log1p(question.precision)
    else:
        distance, logs = abs(math.log(now.ratio)), question.margins.of_logarithm
        room = max(logs.tolerance - distance, distance - logs.floor)
    fewest = FEWEST_GROUPS if question.precision is None else PRECISE_FROM
    return max(now.groups + 1, fewest, math.ceil(now.groups * (half / room) ** 2))


def _half_width(analysis: InterimAnalysis) -> float | None:
    """Half the width of its interval, on the logarithmic scale; None where there is none."""
    return None if analysis.low is None or analysis.high is None else math.log(analysis.high / analysis.low) / 2
