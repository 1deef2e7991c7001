"""A gate between two commits: their times interleaved, their accuracy over seeds, all in one comparison.

The interleaved measurement (`bench.duel.procedure`) decides what a training step takes. Then each commit trains over
the same seeds (`bench.duel.training`), which decides accuracy, loss, memory and the time of compiling; the training
times of these runs are in the store, and judge nothing, since the interleaved ones are far surer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from bench.analysis.comparison import Comparison, compare
from bench.analysis.findings import Finding
from bench.analysis.matching import ComparisonEnvironment
from bench.analysis.promises import FindingRuns, RunCounts
from bench.analysis.records import NEEDED
from bench.analysis.stats import Estimate, Interval
from bench.analysis.verdict import Verdict
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.core.metrics import METRICS
from bench.duel import record
from bench.duel.budget import BudgetOption
from bench.duel.commits import WORKING_TREE, commit_name
from bench.duel.procedure import DuelReporter, DuelSettings, measure_duel, prepared_duel
from bench.duel.side_process import SideFailedError
from bench.duel.sides import PreparedSide
from bench.duel.training import TrainingReporter, TrainingSettings, train_commits
from bench.host.checkout import DIRTY, commit_of
from bench.plan.gate import Gate
from bench.run.pool import WORKER
from bench.store.campaign import Campaign, read_manifests
from bench.store.reader import load

TIMES_FRACTION = 0.5
"""The most that the interleaved measurement may use of the budget. What it leaves is for the seeds."""

_TIME = METRICS["train_seconds"]
_TRAINING = "train"
"""The phase of training epochs."""


@dataclass(frozen=True, kw_only=True)
class CommitGateSettings:
    """The options of one `bench gate` between commits."""

    duel: DuelSettings
    """The base and the head by their names, and the interleaved measurement, with the whole budget."""
    gate: Gate
    results: Path
    command: str
    """The command that measured it; kept in the manifests."""
    seeds: tuple[int, ...] = ()
    """Those that the user named; empty for as many as there is time for."""
    itself: bool = False
    """Let both be the same commit, as a test of the gate."""
    worker: str = WORKER
    """The module that does a run."""


class CommitGateReporter(DuelReporter, TrainingReporter, Protocol):
    """What `run_commit_gate` reports its progress to."""


@dataclass(frozen=True, kw_only=True)
class CommitGate:
    """What a gate between two commits came to."""

    comparison: Comparison
    gate: Gate
    """With the margins that times were judged by."""
    commits: Mapping[str, Mapping[str, str | None]]
    """The base and the head: `title`, `commit` (its whole name) and `subject`."""
    duel: Mapping[str, Any]
    """The record of the interleaved measurement (`bench.duel.record.to_data`)."""


def run_commit_gate(
    settings: CommitGateSettings,
    reporter: CommitGateReporter,
    clock: Callable[[], float] = time.monotonic,
) -> CommitGate:
    """Measure two commits and compare them.

    Args:
        settings: the commits, and how they are measured and judged.
        reporter: is given the progress, and sentences that a person should read.
        clock: seconds.

    Raises:
        KeyboardInterrupt: the user has interrupted; the runs that are finished are kept.
        SideFailedError: a commit's code fails in the interleaved measurement.
        UsageError: a commit cannot be had or imported, both are one, or the budget is too short.
    """
    _check_commits(settings, reporter.note)
    begun = clock()
    budget = settings.duel.budget_seconds
    times = replace(
        settings.duel,
        budget_seconds=TIMES_FRACTION * budget,
        budget_option=BudgetOption(fraction=TIMES_FRACTION),
    )
    with prepared_duel(times, reporter) as prepared:
        reporter.note(
            f"at most {times.budget_seconds / 60:g} of {budget / 60:g} min are for times; what they leave is for seeds"
        )
        try:
            duel = measure_duel(prepared, times, reporter)
        except SideFailedError as error:
            if "cannot be imported" in str(error):
                raise UsageError(str(error)) from None
            raise
        facts = record.to_data(duel.specification, duel.result)
        record.keep(duel.folder, facts, duel.result.rounds)
        base, head = prepared.sides[:2]
        campaigns = train_commits(
            (base, head),
            prepared.asked.cases[::2],
            TrainingSettings(
                results=settings.results,
                command=settings.command,
                machine=duel.specification.machine,
                data=prepared.data,
                seconds=budget - (clock() - begun),
                seeds=settings.seeds,
                cpus=settings.duel.cpus,
                worker=settings.worker,
            ),
            reporter,
        )
    gate = replace(settings.gate, margins={**settings.gate.margins, _TIME.name: settings.duel.margins})
    return CommitGate(
        comparison=_compared(gate, settings.results, facts, (base, head), campaigns, reporter.note),
        gate=gate,
        commits={"base": _commit_data(base), "head": _commit_data(head)},
        duel=facts,
    )


def _check_commits(settings: CommitGateSettings, note: Callable[[str], None]) -> None:
    """Refuse two names of one commit; note what of the working tree is not judged."""
    base, head = settings.duel.names
    names = [commit_name(name) for name in (base, head)]
    if base == head or (names[0] == names[1] and WORKING_TREE not in (base, head)):
        if not settings.itself:
            raise UsageError(
                f"base {base!r} and head {head!r} are the same commit ({(names[0] or '')[:10]}), which is never worse "
                f"than itself: name the commit that the change began from, as in --base origin/main, or give --self "
                f"if this is a test of the gate."
            )
        return
    there = commit_of(Path.cwd()) or ""
    if there.endswith(DIRTY) and there.removesuffix(DIRTY) == names[1]:
        note(
            f"warning: the working tree has changes that aren't in {head}, and that are not judged: commit them, or "
            f"give --head ."
        )


def _commit_data(side: PreparedSide) -> dict[str, str | None]:
    assert side.commit is not None
    return {"title": side.commit.title, "commit": side.commit.name, "subject": side.commit.subject}


def _compared(
    gate: Gate,
    results: Path,
    facts: Mapping[str, Any],
    commits: tuple[PreparedSide, PreparedSide],
    campaigns: tuple[Campaign, ...],
    warn: Callable[[str], None],
) -> Comparison:
    """The comparison of the runs, with the findings on times from the record of the interleaved measurement."""
    frame = load([results], columns=NEEDED, warn=warn)
    kept = frame["phase"] != _TRAINING
    base, new = (frame[kept & (frame["campaign_id"] == campaign.id)] for campaign in campaigns)
    of_base, of_new = (
        [manifest for manifest in read_manifests(results, warn=warn) if manifest.campaign.id == campaign.id]
        for campaign in campaigns
    )
    compared = compare(base, new, gate, names=(_words(commits[0]), _words(commits[1])), manifests=(of_base, of_new))
    rest = [finding for finding in compared.findings if finding.metric is not _TIME]
    findings: list[Finding] = []
    for contrast in facts["contrasts"]:
        case = _configuration(Case(**facts["sides"][contrast["side"]]["case"]))
        of_case = [finding for finding in rest if finding.configuration == case]
        environment = next((each.environment for each in of_case if each.environment.machine), ComparisonEnvironment())
        findings += [_time_finding(facts, contrast, case, environment), *of_case]
    remarks = (
        f"The training step: both commits alternated in timed batches, over {facts['groups']} groups of fresh "
        f"processes. The interval that is shown is the one that the verdict rests on; those of all configurations hold "
        f"together with 95 %, whenever the measurement ended (repeated confidence intervals).",
        "The rest: each commit's own training over the same seeds, one right after the other, in alternating order.",
    )
    return replace(compared, findings=tuple(findings), remarks=(*compared.remarks, *remarks))


def _words(side: PreparedSide) -> str:
    assert side.commit is not None
    return ": ".join(filter(None, (side.commit.title, side.commit.subject)))


def _configuration(case: Case) -> Case:
    """As a comparison of runs has it."""
    return replace(case.configuration, latency_calls=0)


def _time_finding(
    facts: Mapping[str, Any], contrast: Mapping[str, Any], case: Case, environment: ComparisonEnvironment
) -> Finding:
    groups, verdict = contrast["pairs"], Verdict(contrast["verdict"])
    interval = None if contrast["low"] is None else Interval(contrast["low"], contrast["high"])
    count = RunCounts(ended=groups, entered=groups)
    return Finding(
        configuration=case,
        environment=environment,
        metric=_TIME,
        detail="step, interleaved",
        verdict=verdict,
        base=facts["sides"][contrast["base"]]["step_seconds"],
        new=facts["sides"][contrast["side"]]["step_seconds"],
        change=Estimate(contrast["ratio"], interval, groups) if groups else None,
        simultaneous=interval,
        base_values=groups,
        new_values=groups,
        basis=f"{groups} groups of fresh processes, interleaved",
        runs=FindingRuns(base=count, new=count),
        remarks=tuple(_time_remarks(facts, contrast, verdict)),
    )


def _time_remarks(facts: Mapping[str, Any], contrast: Mapping[str, Any], verdict: Verdict) -> Iterator[str]:
    equal = "both commits execute the same program:"
    if contrast["same_code"]:
        yield f"{equal} no module that either imported differs"
    elif contrast["same_programs"]:
        yield f"{equal} what differs in their code is in no compiled program"
    if verdict is Verdict.INCONCLUSIVE and facts["needed_seconds"] is not None:
        minutes = facts["needed_seconds"] / 60
        budget = math.ceil(minutes / TIMES_FRACTION / 0.9)
        yield f"about {math.ceil(minutes)} min of interleaved measurement would decide: --budget {budget}"
