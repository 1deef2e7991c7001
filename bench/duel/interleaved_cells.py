"""The interleaved measurement that a campaign ends with: its cells against each other, kept in the store.

A campaign's runs come one after the other, and what the machine did meanwhile is in the ratios of their times. Here the
configurations that differ in their cell alone are measured as the sides of a duel. Every timed batch is kept in the
store's folder `interleaved/`, a parquet file a measurement: the rows of `bench.duel.record.rows_of`, and beside them,
in the file's metadata, what they are of. Figures and intervals are computed when it is read, by the judge again.
"""

from __future__ import annotations

import json
import logging
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from bench.analysis.interleaved_figures import AnchoredGroup, InterleavedFigures, InterleavedKey
from bench.analysis.stats import Estimate, Interval, mean_t, median_runs
from bench.catalog.cells import REFERENCE_CELL
from bench.core.case import Case, digest
from bench.core.errors import BenchError
from bench.core.metric import Margins
from bench.core.scratch import ScratchFolder
from bench.duel.budget import BudgetOption
from bench.duel.interleaved import ROUND_SECONDS, InterleavedRunner
from bench.duel.procedure import DuelResult, GroupReporter, measure_until_settled
from bench.duel.rounds import ANCHOR, MOST_SIDES, Round, anchor_words, group_log_ratio, rounds_of, rows_of
from bench.duel.sequential import MARGINS, Contrast, GroupRatios, InterimAnalysis, Question, SequentialJudge
from bench.duel.sides import (
    WORKER,
    PreparedSide,
    pinned_allocator,
    trained_anchor_facts,
    trained_anchor_side,
    with_variables,
)
from bench.host.hardware import Machine
from bench.host.software import Software, SoftwareKey
from bench.plan.plan import Plan
from bench.run.lock import machine_lock
from bench.run.server import HARNESS_ENVIRONMENT
from bench.store.files import publish

INTERLEAVED_VERSION = 1
"""The version of the files in a store's folder `interleaved/`."""

PRECISION = 0.003
"""The measurement ends before its time is over when every ratio is known so well. Two stores of equal code differ by as
much (`bench.analysis.occasions.OCCASIONS`), so that knowing it better would decide little more between them."""

_QUICK_SECONDS = 120.0
"""In less time than this, one server does all sides and is kept from group to group, and the rounds are few: what
servers differ by, some tenths of a percent, is nothing beside what so few groups leave open."""
_QUICK_ROUNDS = 2
_QUICK_ROUND_SECONDS = 0.3

_KEY = b"bench_interleaved"
_BUDGET = BudgetOption("--interleave")
FOLDER = "interleaved"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class InterleavedSettings:
    """The store and the campaign that a measurement belongs to, and how long it may take."""

    results: Path
    campaign_id: str
    machine: Machine
    software: Mapping[SoftwareKey, Software]
    data: Mapping[str, Path | None]
    """The verified data file of each task."""
    budget_seconds: float
    cpus: tuple[int, ...] = ()
    worker: str = WORKER
    """The module that does the sides' timed batches."""


class InterleavedReporter(GroupReporter, Protocol):
    """What `interleave` reports its progress to."""

    def note(self, text: str) -> None:
        """Called with a sentence that a person should read."""


def families(plan: Plan) -> list[list[Case]]:
    """The configurations of a plan that are measured against each other: all but their cell is equal.

    The reference cell is the first of them, where it is there.
    """
    by_setting: dict[Case, list[Case]] = defaultdict(list)
    for case in dict.fromkeys(scheduled.case.configuration for scheduled in plan.scheduled):
        if case.runtime == "keras":
            by_setting[replace(case, cell=REFERENCE_CELL)].append(case)
    return [
        sorted(cases, key=lambda case: (case.cell != REFERENCE_CELL, case.cell))
        for cases in by_setting.values()
        if len(cases) > 1
    ]


def interleave(plan: Plan, settings: InterleavedSettings, reporter: InterleavedReporter) -> None:
    """Measure the configurations of each setting of a plan interleaved, and keep every timed batch in the store.

    Args:
        plan: the campaign's.
        settings: where it belongs, and how long it may take: the time is divided equally among the settings.
        reporter: is given the progress, and why a setting could not be measured.

    Raises:
        KeyboardInterrupt: the user has interrupted; the measurement that was under way is not kept.
        UsageError: the store cannot be written to.
    """
    measurable = []
    for cases in families(plan):
        if len(cases) <= MOST_SIDES:
            measurable.append(cases)
        else:
            reporter.note(f"not interleaved: {len(cases)} cells of a setting; {MOST_SIDES} are the most at once")
    for cases in measurable:
        reporter.note(f"interleaving {', '.join(case.cell for case in cases)}, so that their ratios are surer")
        try:
            started_at = datetime.now(UTC)
            question, result = _measured(cases, settings, settings.budget_seconds / len(measurable), reporter)
        except BenchError as error:  # the campaign's runs are there all the same
            reporter.note(f"warning: not interleaved: {error}")
            continue
        about = {
            "version": INTERLEAVED_VERSION,
            "campaign_id": settings.campaign_id,
            "started_at": started_at.isoformat(),
            "machine_fingerprint": settings.machine.fingerprint,
            "software_fingerprint": settings.software[SoftwareKey.of(cases[0])].fingerprint,
            "cases": [json.loads(case.canonical) for case in cases],
            "question": {
                **asdict(question),
                "contrasts": [{"base": each.base, "side": each.side} for each in question.contrasts],
            },
            "judged": {
                number: [each.elapsed_seconds, each.balanced, each.last] for number, each in result.judged.items()
            },
            "stopped": result.stop,
            "anchor": trained_anchor_facts(settings.software[SoftwareKey.of(cases[0])]),
            "attested_kernels": [result.metadata[side].attested_kernel for side in range(len(cases))],
        }
        _keep(settings.results, about, result)


def question_of(sides: int, budget_seconds: float) -> Question:
    """What such a measurement is to find out.

    Args:
        sides: how many there are, the base first.
        budget_seconds: that it may take.
    """
    return Question(
        contrasts=tuple(Contrast(0, side) for side in range(1, sides)),
        margins=MARGINS,
        budget_seconds=budget_seconds,
        precision=PRECISION,
    )


def _measured(
    cases: Sequence[Case], settings: InterleavedSettings, budget_seconds: float, reporter: GroupReporter
) -> tuple[Question, DuelResult]:
    """One measurement of configurations that differ in their cell."""
    environment = pinned_allocator(with_variables(HARNESS_ENVIRONMENT, cases[0]))
    sides = [
        PreparedSide(title=case.cell, case=case, environment=environment, worker=settings.worker) for case in cases
    ]
    question = question_of(len(sides), budget_seconds)
    is_quick = budget_seconds < _QUICK_SECONDS
    with (
        machine_lock(lambda text: None),
        ScratchFolder("interleaved") as logs,
        InterleavedRunner(
            sides,
            anchor=trained_anchor_side(sides[0]),
            data=settings.data[cases[0].task],
            folder=logs,
            cpus=settings.cpus,
            fresh_servers=not is_quick,
            round_seconds=_QUICK_ROUND_SECONDS if is_quick else ROUND_SECONDS,
        ) as runner,
    ):
        begun = time.monotonic()
        if is_quick:
            runner.start([*range(len(sides)), ANCHOR])
        rounds = _QUICK_ROUNDS if is_quick else None
        result = measure_until_settled(runner, reporter, question, rounds=rounds, budget_option=_BUDGET, begun=begun)
        return question, result


def _keep(results: Path, about: Mapping[str, Any], result: DuelResult) -> None:
    table = pa.Table.from_pylist(rows_of(result.rounds)).replace_schema_metadata({_KEY: json.dumps(about)})
    name = f"{about['campaign_id']}-{digest(json.dumps(about))}.parquet"
    publish(results / FOLDER / name, lambda file: pq.write_table(table, file))


def load_interleaved(
    stores: Iterable[Path], *, warn: Callable[[str], None] = _log.warning
) -> dict[InterleavedKey, InterleavedFigures]:
    """The figures of the interleaved measurements of stores; of a configuration's measurements the latest.

    Args:
        stores: folders of results; those without such measurements are as good as absent.
        warn: called with a sentence for each file that cannot be read; it is left out.
    """
    known: list[tuple[str, dict[InterleavedKey, InterleavedFigures]]] = []
    for path in (path for store in stores for path in sorted((store / FOLDER).glob("[!.]*.parquet"))):
        try:
            with path.open("rb") as file:
                table = pq.read_table(file)
            about = json.loads((table.schema.metadata or {})[_KEY])
            if about["version"] > INTERLEAVED_VERSION:
                warn(f"{path} was written by a newer bench and is left out: upgrade bench to read it.")
                continue
            known.append((about["started_at"], _figures(about, rounds_of(table.to_pylist()))))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
            warn(f"{path} holds no readable interleaved measurement ({error}) and is left out.")
    return {
        key: figures for _, measured in sorted(known, key=lambda each: each[0]) for key, figures in measured.items()
    }


def _figures(about: Mapping[str, Any], rounds: Sequence[Round]) -> dict[InterleavedKey, InterleavedFigures]:
    """The figures of each configuration, judged again."""
    groups: dict[int, list[Round]] = defaultdict(list)
    for each in rounds:
        groups[each.group].append(each)
    cases = [Case(**values) for values in about["cases"]]
    analyses = _judged_again(about, groups)
    figures = {}
    for side, case in enumerate(cases):
        anchored = tuple(_anchored(groups.values(), side, about))
        step = median_runs(statistics.median(times) for of in groups.values() if (times := _steps(of, side)))
        figures[case, str(about["campaign_id"])] = InterleavedFigures(
            step_seconds=step,
            ratio=_ratio(side, step.n, cases[0], analyses),
            anchor_ratio=_exponential(mean_t(group.log_ratio for group in anchored)),
            anchor=anchor_words(about["anchor"]),
            groups=anchored,
            log_ratios={
                base: tuple(_log_ratios(groups.values(), number, side))
                for number, base in enumerate(cases)
                if number != side
            },
        )
    return figures


def _log_ratios(groups: Iterable[Sequence[Round]], base: int, side: int) -> Iterator[float]:
    return (ratio for rounds in groups if (ratio := group_log_ratio(rounds, base, side)) is not None)


def _anchored(groups: Iterable[Sequence[Round]], side: int, about: Mapping[str, Any]) -> Iterator[AnchoredGroup]:
    started_at = datetime.fromisoformat(about["started_at"]).timestamp()
    for rounds in groups:
        ratio, anchor = group_log_ratio(rounds, ANCHOR, side), _steps(rounds, ANCHOR)
        if ratio is not None and anchor:
            began = min(each.sides[side].start_seconds for each in rounds if side in each.sides)
            yield AnchoredGroup(
                log_ratio=ratio,
                anchor_seconds=statistics.median(anchor),
                anchor_is_trained="trained_by" in about["anchor"],
                started_at=started_at + began,
            )


def _judged_again(
    about: Mapping[str, Any], groups: Mapping[int, Sequence[Round]]
) -> Mapping[Contrast, InterimAnalysis]:
    asked = about["question"]
    question = Question(
        contrasts=tuple(Contrast(**contrast) for contrast in asked["contrasts"]),
        margins=Margins(**asked["margins"]),
        budget_seconds=asked["budget_seconds"],
        precision=asked["precision"],
    )
    judge = SequentialJudge(question)
    analyses: Mapping[Contrast, InterimAnalysis] = {}
    for number, (elapsed, balanced, last) in sorted((int(name), facts) for name, facts in about["judged"].items()):
        ratios = {each: group_log_ratio(groups[number], each.base, each.side) for each in question.contrasts}
        analyses = judge.group_ended(
            GroupRatios(
                log_ratios={each: ratio for each, ratio in ratios.items() if ratio is not None},
                elapsed_seconds=elapsed,
                balanced=balanced,
                last=last,
            )
        ).analyses
    return analyses


def _ratio(side: int, groups: int, base: Case, analyses: Mapping[Contrast, InterimAnalysis]) -> Estimate | None:
    """The ratio to the reference cell, where that is the base."""
    if base.cell != REFERENCE_CELL:
        return None
    if side == 0:
        return Estimate(1.0, None, groups)
    analysis = analyses[Contrast(0, side)]
    interval = None if analysis.low is None or analysis.high is None else Interval(analysis.low, analysis.high)
    return Estimate(analysis.ratio, interval, analysis.groups)


def _steps(rounds: Sequence[Round], side: int) -> list[float]:
    """Seconds a step of all timed batches of a side in a group, contaminated rounds left out."""
    return [seconds for each in rounds if each.clean((side,)) for seconds in each.sides[side].step_seconds]


def _exponential(estimate: Estimate) -> Estimate:
    interval = estimate.interval and Interval(math.exp(estimate.interval.low), math.exp(estimate.interval.high))
    return Estimate(math.exp(estimate.value), interval, estimate.n)
