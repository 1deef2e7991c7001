"""A metric of one configuration on two sides → a finding: a verdict, and what it rests on. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bench.analysis.matching import ComparisonEnvironment
from bench.analysis.occasions import ERROR_FRACTION, MIN_FREEDOM, AnchoredDrift, DeclaredDrift, Drift, MeasuredDrift
from bench.analysis.promises import FindingRuns
from bench.analysis.samples import Pairing, Sample, centre
from bench.analysis.stats import Estimate, Interval, assumed_interval
from bench.analysis.verdict import Verdict, judge
from bench.core.case import Case
from bench.core.metric import Margins, Metric, MetricKind
from bench.core.metrics import METRICS
from bench.plan.gate import Gate

MIN_RUNS = 5
"""The fewest runs a side. Times of one program can have two modes (docs/results.md: whole epochs at 15 or at 25 s).
Where both are equally likely, n runs a side fall into one mode each, and not the same, with a chance of 2 · 4⁻ⁿ, and
seem decidedly different; from 5 runs on that is 0.2 %."""

MIN_SEEDS = 3
"""The fewest seeds a side: fewer give Student's t one degree of freedom, whose intervals are too wide for a verdict."""

_ANCHORED = frozenset(metric.stands_for for metric in METRICS.values() if metric.is_interleaved)
"""The metrics that an anchor helps to a verdict."""

_MOST_MORE = 10_000
"""Above it, how many runs it would take is no advice."""


def unknown_drift(metric: Metric) -> str:
    """Why times of sides that weren't interleaved have no verdict, and the ways out."""
    anchor = "measure both with an anchor (bench run --interleave 10), " if metric.name in _ANCHORED else ""
    return (
        f"how far this machine's speed drifts between two occasions is not known, and {MIN_FREEDOM + 1} occasions of "
        f"equal code, as far apart as the sides, are the least that show it: interleave the sides (bench duel), "
        f"{anchor}name a store that has these occasions (--drift RESULTS), or declare the drift (--drift '2 %')"
    )


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A verdict, and what it rests on."""

    configuration: Case
    environment: ComparisonEnvironment
    metric: Metric | None
    """None where the verdict is on the runs as such: missing, or failed."""
    verdict: Verdict
    runs: FindingRuns
    """How many runs were promised, ended, and entered the finding."""
    detail: str = ""
    """For inference: the call path and the batch; for a time over the anchor's what the anchor was."""
    base: float | None = None
    """The base's value, in the metric's unit: the median over runs; for accuracy and loss the mean over seeds."""
    new: float | None = None
    """The new side's value, likewise."""
    change: Estimate | None = None
    """new/base, or new - base for a metric that is compared so, with its own 95 % interval."""
    simultaneous: Interval | None = None
    """The interval that the verdict rests on: it holds its truth together with all others of the comparison."""
    base_values: int = 0
    """How many runs, or seeds, the base has."""
    new_values: int = 0
    """How many runs, or seeds, the new side has."""
    basis: str = ""
    """What the values are, in words: `8 pairs of seeds, by seed`."""
    pairing: Pairing = Pairing.NONE
    """What the values of a pair share."""
    drift: Drift | None = None
    """The machine's drift between the two sides that is in the intervals; None where there is none in them."""
    stand_in: Metric | None = None
    """The metric that is judged in its stead, because the machine's drift is not known."""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PendingFinding:
    """What is to be judged, once it is known how many intervals share the error rate."""

    configuration: Case
    environment: ComparisonEnvironment
    metric: Metric
    detail: str
    sample: Sample
    same_runs: bool
    """Both sides are the same runs."""
    runs: FindingRuns
    remarks: tuple[str, ...]
    stand_in: Metric | None = None
    """The metric that is judged in its stead where the machine's drift is not known."""

    @property
    def fewest(self) -> int:
        """How many values a side a verdict takes."""
        return MIN_SEEDS if self.metric.replicate == "seed" else MIN_RUNS

    @property
    def needs_interval(self) -> bool:
        """Whether an interval is needed, and may be had."""
        return not self.same_runs and self.sample.n >= self.fewest and not self._drift_unknown

    @property
    def _drift_unknown(self) -> bool:
        return self.sample.drifting and self.sample.drift is None

    def without_interval(self, verdict: Verdict, why: str) -> Finding:
        """The finding of a verdict that needs none, and why it doesn't."""
        return self._finding(verdict, None, "", why)

    def judged(self, gate: Gate, confidence: float) -> Finding:
        """The finding by a gate's margins.

        Args:
            gate: the margins.
            confidence: that of the simultaneous interval.
        """
        metric, sample, basis = self.metric, self.sample, self.sample.basis(self.metric.replicate)
        if self.same_runs:
            return self._finding(Verdict.SAME, None, "the same runs on both sides")
        if self.stand_in is not None and self._drift_unknown:
            why = f"how far the machine drifted is not known, and {self.stand_in.title} is judged instead"
            return replace(self._finding(Verdict.INCONCLUSIVE, None, basis, why), stand_in=self.stand_in)
        if not self.needs_interval and sample.n >= self.fewest:
            return self._finding(Verdict.INCONCLUSIVE, None, basis, unknown_drift(metric))
        if not self.needs_interval:
            why = f"too few: {self.fewest} {metric.replicate}s a side are the least that a verdict rests on"
            return self._finding(Verdict.INCONCLUSIVE, None, basis, why)
        if sample.equal:
            return self._finding(Verdict.SAME, None, basis, f"equal in all {sample.n}")
        margins = gate.margins[metric.name]
        if metric.as_ratio:
            margins = margins.of_logarithm
        if isinstance(sample.drift, MeasuredDrift):
            confidence = 1 - (1 - confidence) * ERROR_FRACTION
        value, change = sample.on_an_even_scale(metric, confidence)
        remarks = []
        if change is None:  # what varies not at all is taken to vary by the floor, which nothing measured is sure below
            change = assumed_interval(value, margins.floor, sample.n, confidence)
            remarks.append("all of them changed alike; a spread as large as the floor is assumed")
        simultaneous = Interval(math.exp(change.low), math.exp(change.high)) if change and metric.as_ratio else change
        if change is not None and not metric.lower_is_better:
            change, value = Interval(-change.high, -change.low), -value
        verdict = judge(change, margins)
        if change is not None and verdict is Verdict.SAME and (change.low > 0 or change.high < 0):
            remarks.append("a measurable difference, inside the tolerance")
        if change is not None and verdict is Verdict.INCONCLUSIVE:
            remarks.append(self._advice(abs(value), (change.high - change.low) / 2, margins, confidence))
        return self._finding(_in_words_of(metric, verdict), simultaneous, basis, *remarks)

    def _finding(self, verdict: Verdict, simultaneous: Interval | None, basis: str, *remarks: str) -> Finding:
        sample, metric = self.sample, self.metric
        return Finding(
            configuration=self.configuration,
            environment=self.environment,
            metric=metric,
            detail=self.detail,
            verdict=verdict,
            base=centre(metric, sample.base_values) if sample.base else None,
            new=centre(metric, sample.new_values) if sample.new else None,
            change=sample.change(metric) if sample.n and verdict is not Verdict.INCOMPARABLE else None,
            simultaneous=simultaneous,
            base_values=len(sample.base),
            new_values=len(sample.new),
            runs=self.runs,
            basis=basis,
            pairing=sample.pairing,
            drift=sample.drift,
            remarks=(*remarks, *self.remarks),
        )

    def _advice(self, distance: float, half: float, margins: Margins, confidence: float) -> str:
        """What would narrow the interval enough, if the estimate is the truth: its width falls as 1/√n."""
        sample, replicate = self.sample, self.metric.replicate
        needed = max(margins.tolerance - distance, distance - margins.floor)
        if isinstance(sample.drift, DeclaredDrift):
            constant = math.log1p(sample.drift.bound)
            if constant >= needed:
                return "the drift that was declared is too large to decide it: interleave the sides (bench duel)"
            half, needed = half - constant, needed - constant
        elif isinstance(sample.drift, AnchoredDrift):
            advice = f"{MIN_FREEDOM + 1} occasions of equal code, or interleaving the sides (bench duel), would decide"
            if sample.drift.least_half_width(confidence) < needed:
                return f"{advice}, or more process groups (a larger --interleave)"
            return f"{advice}; more process groups would not"
        elif sample.drift is not None:
            return "more occasions of either side, or interleaving the sides (bench duel), would decide"
        if needed**2 * _MOST_MORE < sample.n * half**2:
            return "too noisy to decide"
        least = max(math.ceil(sample.n * (half / needed) ** 2), sample.n + 1)
        values = f"pairs of {replicate}s" if sample.paired else f"{replicate}s a side"
        return f"about {least:,} {values} in all would decide"


def _in_words_of(metric: Metric, verdict: Verdict) -> Verdict:
    if metric.kind is not MetricKind.TIME:
        return verdict
    return {Verdict.WORSE: Verdict.SLOWER, Verdict.BETTER: Verdict.FASTER}.get(verdict, verdict)
