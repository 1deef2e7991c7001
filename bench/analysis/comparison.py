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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from bench.analysis.configurations import ConfigurationSides, to_be_judged, unmeasured, with_unfinished
from bench.analysis.findings import Finding, PendingFinding
from bench.analysis.interleaved_figures import KnownInterleaved
from bench.analysis.matching import Groups, by_configuration
from bench.analysis.occasions import AnchoredDrift
from bench.analysis.promises import read_promises
from bench.analysis.stats import CONFIDENCE
from bench.analysis.trends import Trends, find_trends
from bench.analysis.verdict import Verdict, exit_code
from bench.core.axes import varying
from bench.core.case import Case
from bench.core.errors import ExitCode
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
        """The findings that an exit code comes from: all but what is inconclusive and not required.

        Where the machine's drift leaves a required metric without a verdict, and another one stands for it, that one is
        required instead.
        """
        return tuple(
            finding
            for finding in self.findings
            if finding.verdict is not Verdict.INCONCLUSIVE
            or finding.metric is None
            or (finding.stand_in is None and gate.required & {finding.metric.name, finding.metric.stands_for})
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
    interleaved: KnownInterleaved = MappingProxyType({}),
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
        interleaved: the figures of the interleaved measurements of all of these: by them times are judged over the
            anchor's.

    Raises:
        KeyError: a column is missing.
    """
    ours, theirs = by_configuration(new, interleaved), by_configuration(base, interleaved)
    elsewhere = by_configuration(history, interleaved) if history is not None and gate.drift is None else {}
    promises = read_promises(base, manifests[0]), read_promises(new, manifests[1])
    added = tuple(case for case in ours if case not in theirs)
    only_promised = dict.fromkeys(
        case for side in promises for case in side.by_configuration if case not in theirs and case not in ours
    )
    configurations = [
        ConfigurationSides(case, theirs.get(case, {}), ours.get(case, {}), elsewhere.get(case, {}), *promises)
        for case in (*theirs, *added, *only_promised)
    ]
    judgeable = [to_be_judged(sides, gate, across_software) for sides in configurations]
    compared_metrics = {finding.metric.name for of_case in judgeable for finding in of_case if finding.metric}
    # the defaults are required where they are measured: a suite without inference is as good as any
    missing = [METRICS[name] for name in sorted(gate.required - compared_metrics)] if gate.required_by_name else []
    pending = [
        finding
        for sides, of_case in zip(configurations, judgeable, strict=True)
        for finding in with_unfinished(sides, [*of_case, *unmeasured(sides, missing)])
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
    drifts = [finding.drift for finding in findings if finding.drift]
    if not drifts:
        return ()
    gap = max((new.began - base.ended).total_seconds(), (base.began - new.ended).total_seconds())
    when = f"{_long(gap)} apart" if gap > 0 else "on occasions that overlap"
    known = "declared or as equal code shows it"
    if anchored := [drift for drift in drifts if isinstance(drift, AnchoredDrift)]:
        left = "what the anchor leaves of it"
        known = left if len(anchored) == len(drifts) else f"{known}, and {left} in those over the anchor's"
    return (
        f"The sides were not interleaved, but measured {when}: the machine's drift between occasions is in the "
        f"intervals of times, {known}. Interleaved (bench duel) they would be narrower.",
    )


def _long(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return "minutes"
