"""Two frames of observations → findings: what is decidedly the same, better or worse, and what is undecided. Pure.

The unit is the run, and for accuracy and loss the seed, by which the two sides are paired. Times are paired where the
sides were interleaved; else the machine's drift between the two occasions is in their ratio, and no verdict is given
where that is not known (`bench.analysis.occasions`).

All findings hold together: each rests on an interval of confidence 1 - 0.05 / m, where m is the number of intervals of
the whole comparison (Bonferroni), so that with 95 % confidence every one of them holds its truth. A false regression
*anywhere* in a comparison has therefore at most 2.5 %, and so has a false `same`, however many configurations and
metrics are compared. Holm's procedure (1979) would find a little more, but gives no intervals, and `same` needs one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from bench.analysis.device_state import marks_apart
from bench.analysis.equal_code import EqualCode
from bench.analysis.findings import Finding, PendingFinding
from bench.analysis.matching import (
    ComparisonEnvironment,
    Groups,
    RunGroup,
    by_configuration,
    comparison_environment,
    matched,
)
from bench.analysis.promises import FindingRuns, Promises, read_promises
from bench.analysis.samples import make_sample, readings
from bench.analysis.stalls import find_stalls
from bench.analysis.stats import CONFIDENCE
from bench.analysis.trends import Trends, find_trends
from bench.analysis.verdict import Verdict, exit_code
from bench.core.axes import varying
from bench.core.case import Case
from bench.core.errors import ExitCode
from bench.core.metric import Metric
from bench.core.metrics import METRICS
from bench.plan.gate import Gate
from bench.store.campaign import Manifest


@dataclass(frozen=True, kw_only=True)
class ComparedStore:
    """One side of a comparison: where it was read from, and what is in it."""

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
class Comparison:
    """All findings of two sides, in the order of their configurations."""

    base: ComparedStore
    new: ComparedStore
    findings: tuple[Finding, ...]
    intervals: int
    """How many simultaneous intervals share the error rate."""
    confidence: float
    """The confidence of each simultaneous interval, 0 to 1."""
    axes: tuple[str, ...]
    """The fields in which the configurations differ, without the cell."""
    trends: tuple[Trends, Trends]
    """The trends of both sides' runs, base and new."""
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
        """The exit code of `bench gate`."""
        return exit_code(finding.verdict for finding in self.deciding(gate))


def compare(
    base: pd.DataFrame,
    new: pd.DataFrame,
    gate: Gate,
    *,
    across_software: bool = False,
    names: tuple[str, str] = ("base", "new"),
    manifests: tuple[Sequence[Manifest], Sequence[Manifest]] = ((), ()),
    history: pd.DataFrame | None = None,
) -> Comparison:
    """The findings on all configurations of two frames of observations; neither may be empty.

    Args:
        base: what was: observations with the columns `bench.analysis.records.NEEDED`, a row each.
        new: what is, likewise.
        gate: the margins.
        across_software: compare times although the software differs: the difference is what is asked.
        names: of the two sides, for a reader.
        manifests: of the two sides' stores, where they are at hand: a run that one promises and its side lacks is a
            finding.
        history: observations on other occasions, which show the machine's drift beside those of the two sides.

    Raises:
        KeyError: a column is missing.
    """
    ours, theirs = by_configuration(new), by_configuration(base)
    elsewhere = by_configuration(history) if history is not None and gate.drift is None else {}
    promises = read_promises(base, manifests[0]), read_promises(new, manifests[1])
    added = tuple(case for case in ours if case not in theirs)
    only_promised = dict.fromkeys(
        case for side in promises for case in side.by_configuration if case not in theirs and case not in ours
    )
    configurations = [
        _Sides(case, theirs.get(case, {}), ours.get(case, {}), elsewhere.get(case, {}), *promises)
        for case in (*theirs, *added, *only_promised)
    ]
    judgeable = [_of_configuration(sides, gate, across_software) for sides in configurations]
    compared_metrics = {finding.metric.name for of_case in judgeable for finding in of_case if finding.metric}
    # the defaults are required where they are measured: a suite without inference is as good as any
    unmeasured = sorted(gate.required - compared_metrics) if gate.required_by_name else []
    pending = [
        finding
        for sides, of_case in zip(configurations, judgeable, strict=True)
        for finding in _unfinished(sides, [*of_case, *_unmeasured(sides, [METRICS[name] for name in unmeasured])])
    ]
    intervals = sum(isinstance(finding, PendingFinding) and finding.needs_interval for finding in pending)
    confidence = 1 - (1 - CONFIDENCE) / max(intervals, 1)
    findings = tuple(
        finding.judged(gate, confidence) if isinstance(finding, PendingFinding) else finding for finding in pending
    )
    compared = _compared_store(base, names[0]), _compared_store(new, names[1])
    return Comparison(
        base=compared[0],
        new=compared[1],
        findings=findings,
        intervals=intervals,
        confidence=confidence,
        axes=varying([*theirs, *added, *only_promised]),
        trends=(_trends(theirs), _trends(ours)),
        added=added,
        remarks=_occasions(*compared, findings),
    )


# --- one configuration ---


@dataclass(frozen=True)
class _Sides:
    """A configuration, its runs on both sides, and what was promised of it."""

    case: Case
    base: Groups
    new: Groups
    history: Groups
    base_promises: Promises
    new_promises: Promises

    def runs(
        self, base: Sequence[RunGroup], new: Sequence[RunGroup], base_entered: int = 0, new_entered: int = 0
    ) -> FindingRuns:
        """The runs behind a finding on some of the groups."""
        return FindingRuns(
            base=self.base_promises.counts(self.case, base, base_entered),
            new=self.new_promises.counts(self.case, new, new_entered),
        )

    def as_a_whole(self, verdict: Verdict, *remarks: str) -> Finding:
        """The finding on all runs of the configuration as such."""
        return Finding(
            configuration=self.case,
            environment=ComparisonEnvironment(),
            metric=None,
            verdict=verdict,
            remarks=remarks,
            runs=self.runs(tuple(self.base.values()), tuple(self.new.values())),
        )


def _unfinished(sides: _Sides, pending: Sequence[PendingFinding | Finding]) -> tuple[PendingFinding | Finding, ...]:
    """The findings on a configuration, and that runs of it are missing which a manifest promised."""
    remarks = [
        f"{promise.lacking} of {promise.runs} promised runs are missing {where}: campaign {promise.campaign_id} was "
        f"not finished{f' ({promise.command})' if promise.command else ''}"
        for where, promises in (("in the base", sides.base_promises), ("on the new side", sides.new_promises))
        for promise in promises.lacking(sides.case)
    ]
    if not remarks:
        return tuple(pending)
    *before, last = pending or (None,)
    if isinstance(last, Finding) and last.verdict is Verdict.MISSING:
        return (*before, replace(last, remarks=(*last.remarks, *remarks)))
    return (*pending, sides.as_a_whole(Verdict.MISSING, *remarks))


def _unmeasured(sides: _Sides, required: Sequence[Metric]) -> Iterator[Finding]:
    """That a configuration which ran on both sides has no figure of what is required by name."""
    for before, after in matched(sides.base, sides.new) if required and sides.base and sides.new else ():
        base, new = sides.base[before], sides.new[after]
        if not (base.runs and new.runs):
            continue
        measured = {metric.name for metric, _ in readings(new.runs)}
        for metric in required:
            question = PendingFinding(
                configuration=sides.case,
                environment=comparison_environment(sides.base, sides.new, before, after),
                metric=metric,
                detail="",
                sample=make_sample(metric, [], []),
                same_runs=False,
                remarks=(),
                runs=sides.runs([base], [new]),
            )
            where = "the base hasn't measured it" if metric.name in measured else "neither side has measured it"
            yield question.without_interval(Verdict.MISSING, f"it is required, and {where}")


def _of_configuration(sides: _Sides, gate: Gate, across_software: bool) -> list[PendingFinding | Finding]:
    base, new = sides.base, sides.new
    if not base:
        return [finding for group in new.values() for finding in _new_failures(sides, None, group)]
    if not new:
        return [sides.as_a_whole(Verdict.MISSING, "the base has runs of it, the new side has none")]
    pairs = matched(base, new)
    pending: list[PendingFinding | Finding] = []
    for before, after in pairs:
        environment = comparison_environment(base, new, before, after)
        equal_code = EqualCode(sides.base, sides.new, sides.history, after.machine_fingerprint)
        pending += _of_groups(sides, base[before], new[after], environment, equal_code, gate, across_software)
    compared = {after for _, after in pairs}
    for key, group in new.items():
        pending += _new_failures(sides, None, group) if key not in compared else []
    return pending


def _of_groups(
    sides: _Sides,
    base: RunGroup,
    new: RunGroup,
    environment: ComparisonEnvironment,
    equal_code: EqualCode,
    gate: Gate,
    across_software: bool,
) -> list[PendingFinding | Finding]:
    pending: list[PendingFinding | Finding] = list(_new_failures(sides, base, new, environment))
    same_runs = base.ids == new.ids
    if not (base.runs and new.runs):
        if not pending:
            where = "in the base" if new.runs else "on the new side" if base.runs else "on either side"
            pending.append(
                Finding(
                    configuration=sides.case,
                    environment=environment,
                    metric=None,
                    verdict=Verdict.SAME if same_runs else Verdict.INCONCLUSIVE,
                    basis="the same runs on both sides" if same_runs else "",
                    remarks=(f"no run ended ok {where}",),
                    runs=sides.runs([base], [new]),
                )
            )
        return pending
    remarks = []
    if base.kernels != new.kernels:
        remarks.append(f"the kernel that ran: {base.kernels} → {new.kernels}")
    versions = base.cell_versions | new.cell_versions
    mixed = max(len(base.cell_versions), len(new.cell_versions)) > 1
    if len(versions) > 1 and not mixed:
        remarks.append("the source of the cell differs")
    remarks += marks_apart([run.device for run in base.runs], [run.device for run in new.runs])
    # A run that both sides hold would agree with itself, and speak for `same`: the base keeps it.
    shared = {run.run_id for run in base.runs}
    ours = readings(new.runs if same_runs else [run for run in new.runs if run.run_id not in shared])
    for (metric, detail), before in readings(base.runs).items():
        after = ours.get((metric, detail), [])
        sample = equal_code.with_drift(make_sample(metric, after, before), metric, detail, gate.drift)
        stalled = _stalled(base, new, same_runs) if metric.of_steady_epochs else []
        question = PendingFinding(
            configuration=sides.case,
            environment=environment,
            metric=metric,
            detail=detail,
            sample=sample,
            same_runs=same_runs,
            remarks=(*remarks, *stalled),
            runs=sides.runs([base], [new], sample.base_runs, sample.new_runs),
        )
        if mixed:
            why = "there is more than one version of the cell's source on a side: name a part of it"
            pending.append(question.without_interval(Verdict.INCOMPARABLE, why))
        elif reason := environment.incomparable(metric, across_software):
            pending.append(question.without_interval(Verdict.INCOMPARABLE, reason))
        elif not after:
            why = "the base has this figure, the new side hasn't"
            pending.append(question.without_interval(Verdict.MISSING, why))
        else:
            pending.append(question)
    return pending


def _stalled(base: RunGroup, new: RunGroup, same_runs: bool) -> list[str]:
    """That epochs of a side stalled, which are in its times."""
    sides = {"in the base": base, **({} if same_runs else {"on the new side": new})}
    by_side = {where: find_stalls(group.runs) for where, group in sides.items()}
    return [f"epochs that stalled {where}: {stalls}" for where, stalls in by_side.items() if stalls]


def _new_failures(
    sides: _Sides, base: RunGroup | None, new: RunGroup, environment: ComparisonEnvironment | None = None
) -> list[Finding]:
    """A finding, if runs failed, timed out or were invalid in blocks in which the base's did not."""
    before = {(run.seed, run.repeat) for run in base.failed} if base else set()
    fresh = [run for run in new.failed if (run.seed, run.repeat) not in before]
    if not fresh:
        return []
    tried = len(new.runs) + len(new.failed)
    reasons = [f"{excluded.status}: {excluded.reason}" for row in new.rows for excluded in row.excluded]
    return [
        Finding(
            configuration=sides.case,
            environment=environment or ComparisonEnvironment(),
            metric=None,
            verdict=Verdict.FAILED,
            new_values=len(new.runs),
            remarks=(f"{len(fresh)} of {tried} runs", *dict.fromkeys(reasons)),
            runs=sides.runs([base] if base else [], [new]),
        )
    ]


# --- the whole ---


def _compared_store(frame: pd.DataFrame, name: str) -> ComparedStore:
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


def _trends(configurations: Mapping[Case, Groups]) -> Trends:
    """The trends of all sections of a side."""
    sections = {
        id(section): section
        for groups in configurations.values()
        for group in groups.values()
        for section in group.sections
    }
    trends = [find_trends(section.runs) for section in sections.values()]
    return Trends(
        tuple(trend for of_section in trends for trend in of_section.epochs),
        tuple(trend for of_section in trends for trend in of_section.campaigns),
    )


def _occasions(base: ComparedStore, new: ComparedStore, findings: Sequence[Finding]) -> tuple[str, ...]:
    """What the machine's drift does to times that were not interleaved."""
    if not any(finding.drift for finding in findings):
        return ()
    gap = max((new.began - base.ended).total_seconds(), (base.began - new.ended).total_seconds())
    when = f"{_long(gap)} apart" if gap > 0 else "on occasions that overlap"
    return (
        f"The sides were not interleaved, but measured {when}: the machine's drift between occasions is in the "
        "intervals of times, declared or as equal code shows it. Interleaved (bench duel) they would be narrower.",
    )


def _long(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return "minutes"
