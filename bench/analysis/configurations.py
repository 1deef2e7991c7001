"""One configuration on two sides → what is to be judged of it, and what is missing or failed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.analysis.device_state import marks_apart
from bench.analysis.equal_code import EqualCode
from bench.analysis.findings import Finding, PendingFinding
from bench.analysis.matching import ComparisonEnvironment, Groups, RunGroup, comparison_environment, matched
from bench.analysis.promises import FindingRuns, Promises
from bench.analysis.samples import make_sample, readings
from bench.analysis.stalls import find_stalls
from bench.analysis.verdict import Verdict
from bench.core.case import Case
from bench.core.metric import Metric
from bench.plan.gate import Gate


@dataclass(frozen=True)
class ConfigurationSides:
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
        """The runs behind a finding on some of the groups.

        Args:
            base: those of the base.
            new: those of the new side.
            base_entered: how many of the base's runs enter the finding.
            new_entered: how many of the new side's do.
        """
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


def with_unfinished(
    sides: ConfigurationSides, pending: Sequence[PendingFinding | Finding]
) -> tuple[PendingFinding | Finding, ...]:
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


_LACKING = {
    (False, False): "neither side has measured it",
    (False, True): "the base hasn't measured it",
    (True, False): "the new side hasn't measured it",
    (True, True): "the sides have measured it with unlike anchors",
}


def unmeasured(sides: ConfigurationSides, required: Sequence[Metric]) -> Iterator[Finding]:
    """That a configuration which ran on both sides has no figure of what is required by name."""
    for before, after in matched(sides.base, sides.new) if required and sides.base and sides.new else ():
        base, new = sides.base[before], sides.new[after]
        if not (base.runs and new.runs):
            continue
        before_has, after_has = (
            {metric.name for metric, _ in readings(side.runs, side.interleaved)} for side in (base, new)
        )
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
            where = _LACKING[metric.name in before_has, metric.name in after_has]
            yield question.without_interval(Verdict.MISSING, f"it is required, and {where}")


def to_be_judged(sides: ConfigurationSides, gate: Gate, across_software: bool) -> list[PendingFinding | Finding]:
    """What is to be judged of a configuration, metric by metric, and that runs of it are missing or failed.

    Args:
        sides: its runs on both sides.
        gate: the margins, and the drift that the user declares.
        across_software: compare times although the software differs.
    """
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
    sides: ConfigurationSides,
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
    ours = (
        readings(new.runs, new.interleaved)
        if same_runs
        else readings(
            [run for run in new.runs if run.run_id not in shared],
            {name: figures for name, figures in new.interleaved.items() if name not in base.interleaved},
        )
    )
    theirs = readings(base.runs, base.interleaved)
    unlike = dict(_unlike_anchors(theirs, ours))
    for (metric, detail), before in theirs.items():
        after = ours.get((metric, detail), [])
        if metric.is_interleaved and not after:
            continue  # with an anchor on one side alone, or two unlike ones, there is nothing that it could stand for
        sample = equal_code.with_drift(make_sample(metric, after, before), metric, detail, gate.drift)
        stalled = _stalled(base, new, same_runs) if metric.of_steady_epochs else []
        anchors = [unlike[metric.name]] if metric.name in unlike else []
        question = PendingFinding(
            configuration=sides.case,
            environment=environment,
            metric=metric,
            detail=detail,
            sample=sample,
            same_runs=same_runs,
            remarks=(*remarks, *stalled, *anchors),
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
    stand_ins = {
        question.metric.stands_for: question.metric
        for question in pending
        if isinstance(question, PendingFinding) and question.needs_interval
    }
    return [
        replace(question, stand_in=stand_ins.get(question.metric.name))
        if isinstance(question, PendingFinding)
        else question
        for question in pending
    ]


def _unlike_anchors(
    base: Mapping[tuple[Metric, str], object], new: Mapping[tuple[Metric, str], object]
) -> Iterator[tuple[str, str]]:
    """By metric for which a time over the anchor's would have stood: why none does, where both sides have one."""
    for metric in {metric for metric, _ in base if metric.is_interleaved}:
        before, after = ([detail for measured, detail in side if measured is metric] for side in (base, new))
        if after and not {*before} & {*after}:
            listed = f"{', '.join(before)}; on the new side {', '.join(after)}"
            yield metric.stands_for, f"{metric.title} cannot stand for it: the anchor of the base is {listed}"


def _stalled(base: RunGroup, new: RunGroup, same_runs: bool) -> list[str]:
    """That epochs of a side stalled, which are in its times."""
    sides = {"in the base": base, **({} if same_runs else {"on the new side": new})}
    by_side = {where: find_stalls(group.runs) for where, group in sides.items()}
    return [f"epochs that stalled {where}: {stalls}" for where, stalls in by_side.items() if stalls]


def _new_failures(
    sides: ConfigurationSides, base: RunGroup | None, new: RunGroup, environment: ComparisonEnvironment | None = None
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
