"""Two frames of observations → findings: what is surely the same, better or worse, and what cannot be told. Pure.

The unit is the run, and for accuracy and loss the seed; epochs and calls of a run are never pooled. Where both sides
have the same blocks (seed and repeat), they are paired; else they are two independent samples.

All findings are sure together: each rests on an interval of confidence 1 - 0.05 / m, where m is the number of intervals
of the whole comparison (Bonferroni), so that with 95 % confidence every one of them holds its truth. A false regression
*anywhere* in a comparison has therefore at most 2.5 %, and so has a false `same`, however many configurations and
metrics are compared. Holm's procedure would find a little more, but gives no intervals, and `same` needs one.

The intervals know the spread between the runs that were measured. They do not know how the machine itself drifts
between two measurements; a comparison of what was not measured in turns says so.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.records import RunRecord
from bench.analysis.rows import Row, by_seed
from bench.analysis.stats import (
    CONFIDENCE,
    Estimate,
    Interval,
    assumed_interval,
    mean_t,
    paired_ratio,
    unpaired_difference,
    unpaired_ratio,
)
from bench.analysis.summary import Section, summarise
from bench.analysis.verdict import Verdict, exit_code, judge
from bench.core.axes import varying
from bench.core.case import Case
from bench.core.errors import ExitCode
from bench.core.metrics import CALL_PATHS, METRICS, Margins, Metric, MetricKind
from bench.host.fingerprint import differences
from bench.plan.gate import Gate

MIN_RUNS = 5
"""Of each side. Times of one program can have two modes (README: whole epochs at 15 or at 25 seconds). Where both modes
are equally likely, n runs a side fall into one mode each, and not the same, with a chance of 2 · 4⁻ⁿ, and look surely
different; from 5 runs on that is 0.2 %."""

MIN_SEEDS = 3
"""Of each side, for accuracy and loss: fewer give Student's t one degree of freedom, whose intervals say nothing."""

_MOST_MORE = 10_000
"""Above it, how many runs it would take is no advice."""


@dataclass(frozen=True, kw_only=True)
class ComparedStore:
    """What is compared: where it was read from, and what is in it."""

    name: str
    runs: int
    campaigns: int
    program_commits: tuple[str, ...]
    project_commits: tuple[str, ...]
    began: pd.Timestamp
    """When its first run began."""
    ended: pd.Timestamp
    """When its last run began."""


@dataclass(frozen=True, kw_only=True)
class ComparisonEnvironment:
    """What the two sides of a finding were measured on: new's machine and software, and in what base's differ."""

    machine: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, Any] = field(default_factory=dict)
    machine_differences: tuple[str, ...] = ()
    software_differences: tuple[str, ...] = ()
    data_differ: bool = False


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A verdict, and what it rests on."""

    configuration: Case
    environment: ComparisonEnvironment
    metric: Metric | None
    """None where the verdict is on the runs as such: missing, or failed."""
    verdict: Verdict
    detail: str = ""
    """For inference: the entry and the batch."""
    base: float | None = None
    """The median over runs; for accuracy and loss the mean over seeds."""
    new: float | None = None
    change: Estimate | None = None
    """new/base, or new - base for a metric that is compared so, with its own 95 % interval."""
    simultaneous: Interval | None = None
    """The interval that the verdict rests on: sure together with all others of the comparison."""
    base_values: int = 0
    """How many there are on this side: of runs, or of seeds."""
    new_values: int = 0
    basis: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All findings of two sides, in the order of their configurations."""

    base: ComparedStore
    new: ComparedStore
    findings: tuple[Finding, ...]
    intervals: int
    """How many share the error rate."""
    confidence: float
    """Of each."""
    axes: tuple[str, ...]
    """The fields in which the configurations differ, without the cell."""
    added: tuple[Case, ...]
    """Configurations that only the new side has: nothing to compare them with."""
    remarks: tuple[str, ...]

    def deciding(self, gate: Gate) -> tuple[Finding, ...]:
        """The findings that an exit code comes from: all but what is inconclusive and not required."""
        return tuple(
            finding
            for finding in self.findings
            if finding.verdict is not Verdict.INCONCLUSIVE
            or finding.metric is None
            or finding.metric.name in gate.required
        )

    def exit_code(self, gate: Gate) -> ExitCode:
        return exit_code(finding.verdict for finding in self.deciding(gate))


def compare(
    base: pd.DataFrame,
    new: pd.DataFrame,
    gate: Gate,
    *,
    across_software: bool = False,
    names: tuple[str, str] = ("base", "new"),
) -> Comparison:
    """The findings on all configurations of the two frames (of `bench.store.load`; neither may be empty).

    Args:
        base: what was.
        new: what is.
        gate: the margins.
        across_software: compare times although the software differs: the difference is what is asked.
        names: of the two sides, for a reader.
    """
    ours, theirs = _by_configuration(new), _by_configuration(base)
    added = tuple(case for case in ours if case not in theirs)
    questions: list[_Question | Finding] = []
    for case, groups in theirs.items():
        questions += _of_configuration(case, groups, ours.get(case, {}), across_software)
    for case in added:
        questions += [
            f for group in ours[case].values() for f in _new_failures(case, None, group, ComparisonEnvironment())
        ]
    intervals = sum(isinstance(one, _Question) and one.open for one in questions)
    confidence = 1 - (1 - CONFIDENCE) / max(intervals, 1)
    findings = tuple(one.judged(gate, confidence) if isinstance(one, _Question) else one for one in questions)
    sides = _side(base, names[0]), _side(new, names[1])
    return Comparison(
        base=sides[0],
        new=sides[1],
        findings=findings,
        intervals=intervals,
        confidence=confidence,
        axes=varying([*theirs, *added]),
        added=added,
        remarks=_drift(*sides, findings),
    )


# --- which runs are compared with which ---

_Environment = tuple[str, str, str]
"""Fingerprints of the machine and the software, and the digest of the data; empty where unknown."""


@dataclass(frozen=True)
class _Group:
    """The runs of one configuration in one environment on one side."""

    sections: tuple[Section, ...]
    rows: tuple[Row, ...]

    @property
    def runs(self) -> list[RunRecord]:
        return [run for row in self.rows for run in row.runs]

    @property
    def failed(self) -> list[RunRecord]:
        return [run for row in self.rows for run in row.failed]

    @property
    def ids(self) -> set[str]:
        return {run.run_id for run in [*self.runs, *self.failed]}

    @property
    def kernels(self) -> str:
        return ", ".join(sorted({kernel for row in self.rows for kernel in row.kernels_attested})) or "unknown"

    @property
    def cell_versions(self) -> set[str]:
        """Digests of the source of a user's cell; a cell of bench's own has none."""
        own = ":" in self.rows[0].cell
        return {section.cells_digest for section in self.sections} if own else set()


_Groups = dict[_Environment, _Group]


def _by_configuration(frame: pd.DataFrame) -> dict[Case, _Groups]:
    """How many calls are timed does not tell configurations apart here: what both sides have is compared."""
    found: dict[Case, _Groups] = defaultdict(dict)
    for section in summarise(frame):
        machine, software, data = section.machine_fingerprint, section.software_fingerprint, section.data_digest
        environment = (machine or "", software or "", data or "")
        for row in section.rows:
            groups = found[replace(row.configuration, latency_calls=0)]
            there = groups.get(environment, _Group((), ()))
            groups[environment] = _Group((*there.sections, section), (*there.rows, row))
    return found


def _of_configuration(case: Case, base: _Groups, new: _Groups, across_software: bool) -> list[_Question | Finding]:
    if not new:
        return [_as_a_whole(case, Verdict.MISSING, "the base has it, the new side hasn't")]
    pairs = [(environment, environment) for environment in base if environment in new]
    if not pairs:  # what differs least, and then what was measured most
        pairs = [min(((b, n) for b in base for n in new), key=lambda pair: _distance(pair, base, new))]
    found: list[_Question | Finding] = []
    for b, n in pairs:
        found += _of_groups(case, base[b], new[n], _comparison_environment(base[b], new[n], b, n), across_software)
    matched = {n for _, n in pairs}
    for environment, group in new.items():
        if environment not in matched:
            found += _new_failures(case, None, group, ComparisonEnvironment())
    return found


def _distance(pair: tuple[_Environment, _Environment], base: _Groups, new: _Groups) -> tuple[Any, ...]:
    b, n = pair
    return (b[2] != n[2], b[0] != n[0], b[1] != n[1], -min(len(base[b].runs), len(new[n].runs)), pair)


def _comparison_environment(base: _Group, new: _Group, b: _Environment, n: _Environment) -> ComparisonEnvironment:
    before, after = base.sections[0], new.sections[0]

    def differing(one: Mapping[str, Any], other: Mapping[str, Any], differ: bool) -> tuple[str, ...]:
        return (differences(one, other) or ("facts that are not recorded",)) if differ else ()

    return ComparisonEnvironment(
        machine=after.machine,
        software=after.software,
        machine_differences=differing(before.machine, after.machine, b[0] != n[0]),
        software_differences=differing(before.software, after.software, b[1] != n[1]),
        data_differ=bool(b[2] and n[2]) and b[2] != n[2],
    )


def _of_groups(
    case: Case, base: _Group, new: _Group, environment: ComparisonEnvironment, across_software: bool
) -> list[_Question | Finding]:
    found: list[_Question | Finding] = list(_new_failures(case, base, new, environment))
    same_runs = base.ids == new.ids
    if not (base.runs and new.runs):
        if not found:
            where = "in the base" if new.runs else "on the new side" if base.runs else "on either side"
            verdict = Verdict.SAME if same_runs else Verdict.INCONCLUSIVE
            found.append(_as_a_whole(case, verdict, f"no run ended ok {where}", environment))
        return found
    remarks = []
    if base.kernels != new.kernels:
        remarks.append(f"the kernel that ran: {base.kernels} → {new.kernels}")
    versions = base.cell_versions | new.cell_versions
    mixed = max(len(base.cell_versions), len(new.cell_versions)) > 1
    if len(versions) > 1 and not mixed:
        remarks.append("the source of the cell differs")
    # A run that both sides hold would agree with itself, and speak for `same`: the base keeps it.
    shared = {run.run_id for run in base.runs}
    ours = readings(new.runs if same_runs else [run for run in new.runs if run.run_id not in shared])
    for (metric, detail), before in readings(base.runs).items():
        after = ours.get((metric, detail), [])
        question = _Question(case, environment, metric, detail, _sample(after, before), same_runs, tuple(remarks))
        if mixed:
            why = "there is more than one version of the cell's source on a side: name a part of it"
            found.append(question.without(Verdict.INCOMPARABLE, why))
        elif reason := _incomparable(metric, environment, across_software):
            found.append(question.without(Verdict.INCOMPARABLE, reason))
        elif not after:
            found.append(question.without(Verdict.MISSING, "the base has this figure, the new side hasn't"))
        else:
            found.append(question)
    return found


def _as_a_whole(case: Case, verdict: Verdict, remark: str, environment: ComparisonEnvironment | None = None) -> Finding:
    same = "the same runs on both sides" if verdict is Verdict.SAME else ""
    return Finding(
        configuration=case,
        environment=environment or ComparisonEnvironment(),
        metric=None,
        verdict=verdict,
        basis=same,
        remarks=(remark,),
    )


def _new_failures(case: Case, base: _Group | None, new: _Group, environment: ComparisonEnvironment) -> list[Finding]:
    """One finding, if runs failed, timed out or were invalid in blocks in which the base's did not."""
    before = {(run.seed, run.repeat) for run in base.failed} if base else set()
    fresh = [run for run in new.failed if (run.seed, run.repeat) not in before]
    if not fresh:
        return []
    tried = len(new.runs) + len(new.failed)
    reasons = [f"{out.status}: {out.reason}" for row in new.rows for out in row.left_out]
    return [
        Finding(
            configuration=case,
            environment=environment,
            metric=None,
            verdict=Verdict.FAILED,
            new_values=len(new.runs),
            remarks=(f"{len(fresh)} of {tried} runs", *dict.fromkeys(reasons)),
        )
    ]


def _incomparable(metric: Metric, environment: ComparisonEnvironment, across_software: bool) -> str | None:
    if environment.data_differ:
        return "the data differ"
    if metric.kind is MetricKind.QUALITY:
        return None
    if environment.machine_differences:
        return f"the machines differ: {'; '.join(environment.machine_differences)}"
    if environment.software_differences and not across_software:
        return f"the software differs: {'; '.join(environment.software_differences)} (--across software compares it)"
    return None


# --- the figures ---

_Block = tuple[int, int]
"""Seed and repeat; for accuracy and loss the seed, and 0."""

_Reading = tuple[_Block, float]


def readings(runs: Sequence[RunRecord]) -> dict[tuple[Metric, str], list[_Reading]]:
    """By metric and detail: a value for each run, and for accuracy and loss one for each seed."""
    found: dict[tuple[Metric, str], list[_Reading]] = {}
    for (name, detail), figure in _figures(runs).items():
        metric = METRICS[name]
        if metric.kind is MetricKind.QUALITY:
            values = [((seed, 0), value) for seed, value in by_seed(runs, figure).items()]
        else:
            values = [((run.seed, run.repeat), value) for run in runs if (value := figure(run)) is not None]
        kept = [(block, value) for block, value in values if value > 0 or not metric.as_ratio]
        if kept:
            found[metric, detail] = kept
    return found


def _figures(runs: Sequence[RunRecord]) -> dict[tuple[str, str], Callable[[RunRecord], float | None]]:
    """How each metric is read from a run: latency by entry, throughput by entry and batch."""
    batches: dict[str, set[int]] = defaultdict(set)
    for run in runs:
        for entry, answers in run.answers.items():
            batches[entry] |= set(answers.samples_per_second)
    return {
        ("train_seconds", ""): lambda run: run.train_seconds,
        ("compile_seconds", ""): lambda run: run.compile_seconds,
        **{("latency_seconds", entry): functools.partial(_latency, entry) for entry in CALL_PATHS if entry in batches},
        **{
            ("throughput", f"{entry}, batch {batch}"): functools.partial(_throughput, entry, batch)
            for entry in CALL_PATHS
            for batch in sorted(batches.get(entry, ()))
        },
        ("memory_bytes", ""): lambda run: run.memory_bytes,
        ("accuracy", ""): lambda run: run.accuracy,
        ("loss", ""): lambda run: run.loss,
    }


def _latency(entry: str, run: RunRecord) -> float | None:
    return run.answers[entry].p50_seconds if entry in run.answers else None


def _throughput(entry: str, batch: int, run: RunRecord) -> float | None:
    return run.answers[entry].samples_per_second.get(batch) if entry in run.answers else None


@dataclass(frozen=True)
class _Sample:
    """The values of both sides; where they are paired, those at one place belong together."""

    base: tuple[float, ...]
    new: tuple[float, ...]
    paired: bool
    unused: int
    """Values in a block that the other side hasn't."""

    @property
    def n(self) -> int:
        return min(len(self.base), len(self.new))

    @property
    def equal(self) -> bool:
        """Whether there is no difference at all."""
        return self.base == self.new if self.paired else len({*self.base, *self.new}) == 1

    def change(self, metric: Metric, confidence: float = CONFIDENCE) -> Estimate:
        if metric.as_ratio:
            return (paired_ratio if self.paired else unpaired_ratio)(self.new, self.base, confidence)
        if self.paired:
            return mean_t([new - base for new, base in zip(self.new, self.base, strict=True)], confidence)
        return unpaired_difference(self.new, self.base, confidence)

    def on_an_even_scale(self, metric: Metric, confidence: float) -> tuple[float, Interval | None]:
        """The change and its interval on the scale on which margins are equal both ways."""
        estimate = self.change(metric, confidence)
        interval = estimate.interval
        if not metric.as_ratio:
            return estimate.value, interval
        return math.log(estimate.value), Interval(math.log(interval.low), math.log(interval.high)) if interval else None


def _sample(new: Sequence[_Reading], base: Sequence[_Reading]) -> _Sample:
    """Paired where no side has a block twice and at least half of the shorter side's blocks are in both.

    It looks at blocks alone, never at values, so that it can favour no verdict.
    """
    ours, theirs = dict(new), dict(base)
    both = sorted(ours.keys() & theirs.keys())
    once = len(ours) == len(new) and len(theirs) == len(base)
    if once and len(both) >= 2 and 2 * len(both) >= min(len(ours), len(theirs)):
        unused = len(ours) + len(theirs) - 2 * len(both)
        return _Sample(tuple(theirs[block] for block in both), tuple(ours[block] for block in both), True, unused)
    return _Sample(tuple(value for _, value in base), tuple(value for _, value in new), False, 0)


# --- the verdict ---


@dataclass(frozen=True)
class _Question:
    """What is to be judged, once it is known how many questions share the error rate."""

    configuration: Case
    environment: ComparisonEnvironment
    metric: Metric
    detail: str
    sample: _Sample
    same_runs: bool
    remarks: tuple[str, ...]

    @property
    def fewest(self) -> int:
        return MIN_SEEDS if self.metric.kind is MetricKind.QUALITY else MIN_RUNS

    @property
    def open(self) -> bool:
        """Whether an interval is needed, and may be had."""
        return not self.same_runs and self.sample.n >= self.fewest

    def without(self, verdict: Verdict, why: str) -> Finding:
        """The finding that needs no interval."""
        return self._finding(verdict, None, "", why)

    def judged(self, gate: Gate, confidence: float) -> Finding:
        metric, sample = self.metric, self.sample
        unit = "seed" if metric.kind is MetricKind.QUALITY else "run"
        if self.same_runs:
            return self._finding(Verdict.SAME, None, "the same runs on both sides")
        if not self.open:
            why = f"too few: {self.fewest} {unit}s a side are the least that a verdict rests on"
            return self._finding(Verdict.INCONCLUSIVE, None, self._basis(unit), why)
        if sample.equal:
            return self._finding(Verdict.SAME, None, self._basis(unit), f"equal in all {sample.n}")
        margins = gate.margins[metric.name]
        if metric.as_ratio:
            margins = margins.of_logarithm
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
            remarks.append(_advice(sample, unit, abs(value), (change.high - change.low) / 2, margins))
        return self._finding(_in_words_of(metric, verdict), simultaneous, self._basis(unit), *remarks)

    def _basis(self, unit: str) -> str:
        sample = self.sample
        if sample.paired:
            by = "seed" if unit == "seed" else "block"
            pairs = f"{sample.n} pair{'s' if sample.n != 1 else ''} of {unit}s, by {by}"
            return f"{pairs}; {sample.unused} without a partner" if sample.unused else pairs
        return f"{len(sample.base)} and {len(sample.new)} {unit}s, unpaired"

    def _finding(self, verdict: Verdict, simultaneous: Interval | None, basis: str, *remarks: str) -> Finding:
        sample, metric = self.sample, self.metric
        middle = np.mean if metric.kind is MetricKind.QUALITY else np.median
        return Finding(
            configuration=self.configuration,
            environment=self.environment,
            metric=metric,
            detail=self.detail,
            verdict=verdict,
            base=float(middle(sample.base)) if sample.base else None,
            new=float(middle(sample.new)) if sample.new else None,
            change=sample.change(metric) if sample.n and verdict is not Verdict.INCOMPARABLE else None,
            simultaneous=simultaneous,
            base_values=len(sample.base),
            new_values=len(sample.new),
            basis=basis,
            remarks=(*remarks, *self.remarks),
        )


def _in_words_of(metric: Metric, verdict: Verdict) -> Verdict:
    if metric.kind is not MetricKind.TIME:
        return verdict
    return {Verdict.WORSE: Verdict.SLOWER, Verdict.BETTER: Verdict.FASTER}.get(verdict, verdict)


def _advice(sample: _Sample, unit: str, distance: float, half: float, margins: Margins) -> str:
    """How many values would narrow the interval enough, if the estimate is the truth: its width falls as 1/√n."""
    needed = max(margins.tolerance - distance, distance - margins.floor)
    if needed**2 * _MOST_MORE < sample.n * half**2:
        return "too noisy to tell"
    least = max(math.ceil(sample.n * (half / needed) ** 2), sample.n + 1)
    return f"about {least:,} {f'pairs of {unit}s' if sample.paired else f'{unit}s a side'} would tell"


# --- what is said of the whole ---


def _side(frame: pd.DataFrame, name: str) -> ComparedStore:
    runs = frame.drop_duplicates("run_id")

    def commits(column: str) -> tuple[str, ...]:
        return tuple(sorted(set(map(str, runs[column].dropna()))))

    return ComparedStore(
        name=name,
        runs=len(runs),
        campaigns=int(runs["campaign_id"].nunique()),
        program_commits=commits("program_commit"),
        project_commits=commits("project_commit"),
        began=runs["started_at"].min(),
        ended=runs["started_at"].max(),
    )


def _drift(base: ComparedStore, new: ComparedStore, findings: Sequence[Finding]) -> tuple[str, ...]:
    """What the intervals of times cannot know, where one side was measured after the other."""
    timed = any(
        f.simultaneous is not None and f.metric is not None and f.metric.kind is MetricKind.TIME for f in findings
    )
    gap = max((new.began - base.ended).total_seconds(), (base.began - new.ended).total_seconds())
    if not timed or gap < 0:
        return ()
    return (
        f"The sides were not measured in turns, but {_long(gap)} apart: how far the machine's own speed drifted "
        "between them is in the ratios of times, and not in their intervals. `bench duel` takes turns.",
    )


def _long(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return "minutes"
