"""Two frames of observations → findings: what is decidedly the same, better or worse, and what is undecided. Pure.

The unit is the run, and for accuracy and loss the seed. Where both sides have the same blocks (seed and repeat), they
are paired; else they are two independent samples.

All findings hold together: each rests on an interval of confidence 1 - 0.05 / m, where m is the number of intervals of
the whole comparison (Bonferroni), so that with 95 % confidence every one of them holds its truth. A false regression
*anywhere* in a comparison has therefore at most 2.5 %, and so has a false `same`, however many configurations and
metrics are compared. Holm's procedure (1979) would find a little more, but gives no intervals, and `same` needs one.

The intervals know the spread between the runs that were measured. They do not know how the machine itself drifts
between two measurements; a comparison of what was not interleaved has a remark on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.analysis.findings import Finding, PendingFinding
from bench.analysis.matching import (
    ComparisonEnvironment,
    Groups,
    RunGroup,
    by_configuration,
    comparison_environment,
    matched,
)
from bench.analysis.samples import make_sample, readings
from bench.analysis.stats import CONFIDENCE
from bench.analysis.verdict import Verdict, exit_code
from bench.core.axes import varying
from bench.core.case import Case
from bench.core.errors import ExitCode
from bench.core.metric import MetricKind
from bench.plan.gate import Gate


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
) -> Comparison:
    """The findings on all configurations of two frames of observations; neither may be empty.

    Args:
        base: what was: observations with the columns `bench.analysis.records.NEEDED`, a row each.
        new: what is, likewise.
        gate: the margins.
        across_software: compare times although the software differs: the difference is what is asked.
        names: of the two sides, for a reader.

    Raises:
        KeyError: a column is missing.
    """
    ours, theirs = by_configuration(new), by_configuration(base)
    added = tuple(case for case in ours if case not in theirs)
    pending: list[PendingFinding | Finding] = []
    for case, groups in theirs.items():
        pending += _of_configuration(case, groups, ours.get(case, {}), across_software)
    for case in added:
        pending += _all_new_failures(case, ours[case])
    intervals = sum(isinstance(finding, PendingFinding) and finding.needs_interval for finding in pending)
    confidence = 1 - (1 - CONFIDENCE) / max(intervals, 1)
    findings = tuple(
        finding.judged(gate, confidence) if isinstance(finding, PendingFinding) else finding for finding in pending
    )
    sides = _compared_store(base, names[0]), _compared_store(new, names[1])
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


# --- one configuration ---


def _of_configuration(case: Case, base: Groups, new: Groups, across_software: bool) -> list[PendingFinding | Finding]:
    if not new:
        return [_as_a_whole(case, Verdict.MISSING, "the base has it, the new side hasn't")]
    pairs = matched(base, new)
    pending: list[PendingFinding | Finding] = []
    for before, after in pairs:
        environment = comparison_environment(base, new, before, after)
        pending += _of_groups(case, base[before], new[after], environment, across_software)
    compared = {after for _, after in pairs}
    pending += _all_new_failures(case, {key: group for key, group in new.items() if key not in compared})
    return pending


def _of_groups(
    case: Case, base: RunGroup, new: RunGroup, environment: ComparisonEnvironment, across_software: bool
) -> list[PendingFinding | Finding]:
    pending: list[PendingFinding | Finding] = list(_new_failures(case, base, new, environment))
    same_runs = base.ids == new.ids
    if not (base.runs and new.runs):
        if not pending:
            where = "in the base" if new.runs else "on the new side" if base.runs else "on either side"
            verdict = Verdict.SAME if same_runs else Verdict.INCONCLUSIVE
            pending.append(_as_a_whole(case, verdict, f"no run ended ok {where}", environment))
        return pending
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
        question = PendingFinding(
            configuration=case,
            environment=environment,
            metric=metric,
            detail=detail,
            sample=make_sample(after, before),
            same_runs=same_runs,
            remarks=tuple(remarks),
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


def _as_a_whole(case: Case, verdict: Verdict, remark: str, environment: ComparisonEnvironment | None = None) -> Finding:
    return Finding(
        configuration=case,
        environment=environment or ComparisonEnvironment(),
        metric=None,
        verdict=verdict,
        basis="the same runs on both sides" if verdict is Verdict.SAME else "",
        remarks=(remark,),
    )


def _all_new_failures(case: Case, groups: Groups) -> list[Finding]:
    """The failures of a configuration where the base has nothing to compare with."""
    nowhere = ComparisonEnvironment()
    return [finding for group in groups.values() for finding in _new_failures(case, None, group, nowhere)]


def _new_failures(
    case: Case, base: RunGroup | None, new: RunGroup, environment: ComparisonEnvironment
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
            configuration=case,
            environment=environment,
            metric=None,
            verdict=Verdict.FAILED,
            new_values=len(new.runs),
            remarks=(f"{len(fresh)} of {tried} runs", *dict.fromkeys(reasons)),
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


def _drift(base: ComparedStore, new: ComparedStore, findings: Sequence[Finding]) -> tuple[str, ...]:
    """What the intervals of times cannot know, where one side was measured after the other."""
    timed = any(
        finding.simultaneous is not None and finding.metric is not None and finding.metric.kind is MetricKind.TIME
        for finding in findings
    )
    gap = max((new.began - base.ended).total_seconds(), (base.began - new.ended).total_seconds())
    if not timed or gap < 0:
        return ()
    return (
        f"The sides were not interleaved, but measured {_long(gap)} apart: how far the machine's own speed drifted "
        "between them is in the ratios of times, and not in their intervals. `bench duel` interleaves them.",
    )


def _long(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return "minutes"
