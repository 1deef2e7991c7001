"""The procedure of a duel: fresh process groups until every ratio is settled, or the time is over."""

from __future__ import annotations

import functools
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.catalog import tasks
from bench.catalog.cache import default_cache, obtain
from bench.core.metric import Margins
from bench.core.observation import RunMetadata
from bench.core.protocol import TimedPhase
from bench.core.scratch import ScratchFolder
from bench.duel.allocation import GroupCost, GroupValue, first_rounds, next_rounds
from bench.duel.budget import BudgetOption, check_budget, check_group
from bench.duel.code import check_own_code
from bench.duel.device_use import DeviceUse, in_all
from bench.duel.interleaved import ROUNDS, Batching, InterleavedRunner, ProcessGroup
from bench.duel.rounds import ANCHOR, Round, group_log_ratio, round_log_ratios
from bench.duel.sequential import (
    Contrast,
    Decision,
    GroupRatios,
    InterimAnalysis,
    Question,
    SequentialJudge,
    StopReason,
    groups_needed,
    taking_part,
)
from bench.duel.side_process import ImportedCode, SideFailedError
from bench.duel.sides import WORKER, PreparedSide, anchor_side, small_pages_reason
from bench.duel.specification import Asked, DuelSpecification, SideKind, asked, prepare_sides
from bench.host import noise
from bench.host.hardware import read_machine
from bench.run.lock import machine_lock
from bench.run.session import terminated_as_interrupted
from bench.store.files import make_folder, refused, removed_if_interrupted

MOST_GROUPS = 120
"""However short they are: with twice as many, the interval would be a third narrower, and a fresh bias as large."""

_LOGS = "logs"
_BUDGET = BudgetOption()
_TOLERATED_DISCARDED = 3
"""With so many more discarded groups than good ones, this machine can't hold a duel now."""


class MeasuresGroups(Protocol):
    """What `measure_until_settled` needs of an `InterleavedRunner`."""

    def measure(
        self,
        number: int,
        batching: Batching | None,
        sides: Sequence[int],
        rounds: int = ROUNDS,
        begun: float = 0.0,
    ) -> ProcessGroup:
        """See `InterleavedRunner.measure`."""


class GroupReporter(Protocol):
    """What `measure_until_settled` reports its progress to."""

    def group_ended(self, log_ratios: Mapping[Contrast, float], decision: Decision | None, seconds: float) -> None:
        """Called when a process group has ended, `seconds` after the beginning.

        Args:
            log_ratios: the group's value of each ratio; empty where it is discarded.
            decision: what follows from the groups so far; None for a discarded one.
            seconds: since the beginning.
        """


class DuelReporter(GroupReporter, Protocol):
    """What `run_duel` reports its progress to."""

    def duel_began(self, specification: DuelSpecification) -> None:
        """Called when all sides are ready, before they import their backend."""

    def note(self, text: str) -> None:
        """Called with a sentence that a person should read."""


@dataclass(frozen=True, kw_only=True)
class DuelResult:
    """How a duel ended."""

    analyses: Mapping[Contrast, InterimAnalysis]
    """The analysis that each ratio was settled at, or the last."""
    stop: StopReason
    analysed_at: tuple[int, ...]
    """The numbers of process groups at which there was an interim analysis."""
    judged: Mapping[int, GroupRatios]
    """What was judged, by the number of the process group."""
    log_ratios: Mapping[Contrast, tuple[float, ...]]
    """log(side / base) of each group that counts, in their order."""
    anchor_log_ratios: Mapping[int, tuple[float, ...]]
    """log(side / anchor) of each group that counts; empty where there was no anchor."""
    discarded_groups: int
    """Groups that don't count, because too many of their rounds are contaminated."""
    rounds: tuple[Round, ...]
    """The rounds of all groups, discarded ones included."""
    metadata: Mapping[int, RunMetadata]
    """The metadata of each side, and of the anchor, in the last group that it took part in."""
    code: Mapping[int, ImportedCode]
    """What each side imported in the last group that it took part in."""
    device_use: DeviceUse | None = None
    """What the driver reported of the sides' cards in any group; None where there is none."""
    batching: Batching
    seconds: float
    needed_seconds: float | None
    """About how long it would have to be in all to settle every ratio, where it hasn't; None where no time would."""


@dataclass(frozen=True, kw_only=True)
class DuelSettings:
    """The arguments and options of one `bench duel`."""

    names: tuple[str, ...]
    """The commits, environments or settings as the user named them, the base first; empty where the sides are the
    configurations of `overrides` alone."""
    folder: Path
    """Where its files lie, and the logs meanwhile."""
    margins: Margins
    overrides: tuple[str, ...] = ()
    all_pairs: bool = False
    """Ask for the ratio of each two sides, and not only of each to its base."""
    precision: float | None = None
    """Go on until each interval is so narrow to either side, as a fraction of its ratio; None: until each verdict."""
    build: bool = False
    """Install each commit's package into an environment of its own."""
    phase: TimedPhase = TimedPhase.TRAIN
    budget_seconds: float = 600.0
    budget_option: BudgetOption = _BUDGET
    data_dir: Path | None = None
    cpus: tuple[int, ...] = ()
    worker: str = WORKER
    """The module that does the sides' timed batches."""
    rounds: int | None = None
    """Rounds of each process group; None: as many as narrow the intervals most (`bench.duel.allocation`)."""


@dataclass(frozen=True)
class Duel:
    """A duel that has ended."""

    specification: DuelSpecification
    result: DuelResult
    folder: Path
    """Where its files are to be kept."""


@dataclass(frozen=True)
class PreparedDuel:
    """What is duelled, with its sides ready to be measured as long as `prepared_duel` holds."""

    asked: Asked
    sides: tuple[PreparedSide, ...]
    data: Path | None
    """The verified data file of their task."""


def run_duel(settings: DuelSettings, reporter: DuelReporter) -> Duel:
    """Prepare all sides and measure them.

    Raises:
        KeyboardInterrupt: the user, SIGTERM or SIGHUP has interrupted; nothing of the duel is kept.
        SideFailedError: a side failed; the logs stay.
        UsageError: a side cannot be had or run here, or did not import its own code, or the budget is too short.
    """
    with prepared_duel(settings, reporter) as prepared:
        return measure_duel(prepared, settings, reporter)


@contextmanager
def prepared_duel(settings: DuelSettings, reporter: DuelReporter) -> Iterator[PreparedDuel]:
    """Unpack or build what the sides are named by, and remove that afterwards.

    Raises:
        KeyboardInterrupt: the user, SIGTERM or SIGHUP has interrupted.
        UsageError: a side cannot be had or run here.
    """
    what = asked(settings.names, settings.overrides, all_pairs=settings.all_pairs, phase=settings.phase)
    rounds = settings.rounds or first_rounds(what.contrasts)
    check_budget(settings.budget_seconds, len(what.cases), rounds, settings.budget_option)
    data = obtain(tasks.of(what.cases[0], "a duel"), data_dir=settings.data_dir, report=reporter.note)
    with refused(settings.folder / _LOGS):
        make_folder(settings.folder / _LOGS)
    with terminated_as_interrupted(), ScratchFolder("duel") as scratch:
        with removed_if_interrupted(settings.folder):
            sides = prepare_sides(
                what,
                scratch=scratch,
                cache=default_cache(),
                build=settings.build,
                worker=settings.worker,
                notify=reporter.note,
            )
        yield PreparedDuel(what, sides, data)


def measure_duel(prepared: PreparedDuel, settings: DuelSettings, reporter: DuelReporter) -> Duel:
    """Measure process groups of sides that are ready until every ratio is settled or the time is over.

    Args:
        prepared: the sides.
        settings: as they were prepared by.
        reporter: is given the progress, and sentences that a person should read.

    Raises:
        KeyboardInterrupt: the user has interrupted; nothing of the duel is kept.
        SideFailedError: a side failed; the logs stay.
        UsageError: a side did not import its own code, or the budget is too short.
    """
    what, sides = prepared.asked, prepared.sides
    machine = read_machine(settings.cpus)
    specification = DuelSpecification(
        kind=what.kind,
        sides=sides,
        anchor=anchor_side(sides[0].case),
        phase=settings.phase,
        question=Question(
            contrasts=what.contrasts,
            margins=settings.margins,
            budget_seconds=settings.budget_seconds,
            precision=settings.precision,
        ),
        machine=machine,
    )
    for remark in noise.remarks(noise.read_quiet(), machine):
        reporter.note(f"warning: {remark.text}: {remark.advice}")
    if reason := small_pages_reason():
        reporter.note(f"warning: {reason}: a process's speed will depend on where its memory happens to lie")
    try:
        with (
            removed_if_interrupted(settings.folder),
            machine_lock(reporter.note),
            InterleavedRunner(
                sides,
                anchor=specification.anchor,
                data=prepared.data,
                folder=settings.folder / _LOGS,
                phase=settings.phase,
                cpus=settings.cpus,
                check_code=functools.partial(check_own_code, sides, what.contrasts),
            ) as runner,
        ):
            reporter.duel_began(specification)
            result = measure_until_settled(
                runner,
                reporter,
                specification.question,
                rounds=settings.rounds,
                budget_option=settings.budget_option,
            )
    except SideFailedError as error:
        if what.kind is SideKind.COMMITS and not settings.build and "cannot be imported" in str(error):
            raise SideFailedError(
                f"{error}. A side imports from its commit alone, which has nothing that building makes (compiled "
                f"extensions, generated modules): --build installs each side's package."
            ) from None
        if what.kind is SideKind.ENVIRONMENTS:
            why = "an old Keras wants a backend of its time, as in 'keras==3.7.0 jax==0.4.38'"
            raise SideFailedError(f"{error}. If it is the release: {why}.") from None
        raise
    shutil.rmtree(settings.folder / _LOGS, ignore_errors=True)  # the verdict is reached, whatever becomes of them
    return Duel(specification, result, settings.folder)


@dataclass
class _Progress:
    """What has been measured so far."""

    groups: list[ProcessGroup] = field(default_factory=list)
    values: defaultdict[Contrast, list[GroupValue]] = field(default_factory=lambda: defaultdict(list))
    anchor_log_ratios: dict[int, list[float]] = field(default_factory=dict)
    discarded: int = 0
    since_change: int = 0
    """Groups since the sides that take part last changed: their orders are balanced over as many as there are sides."""

    def add(self, group: ProcessGroup, contrasts: Sequence[Contrast]) -> dict[Contrast, float]:
        """Take in a group, and give its log-ratios."""
        self.groups.append(group)
        self.since_change += 1
        ratios = {each: group_log_ratio(group.rounds, each.base, each.side, each.quantile) for each in contrasts}
        self.discarded += not (clean := {each: ratio for each, ratio in ratios.items() if ratio is not None})
        for contrast, ratio in clean.items():
            value = GroupValue.of(ratio, round_log_ratios(group.rounds, contrast.base, contrast.side))
            self.values[contrast].append(value)
        for side in group.metadata.keys() - {ANCHOR} if ANCHOR in group.metadata else ():
            to_anchor = group_log_ratio(group.rounds, ANCHOR, side)
            if to_anchor is not None:
                self.anchor_log_ratios.setdefault(side, []).append(to_anchor)
        return clean

    @property
    def cost(self) -> GroupCost:
        """What a group takes; there is one already."""
        return GroupCost.of(self.groups)


def measure_until_settled(
    runner: MeasuresGroups,
    reporter: GroupReporter,
    question: Question,
    *,
    rounds: int | None = None,
    budget_option: BudgetOption = _BUDGET,
    begun: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> DuelResult:
    """Measure fresh process groups until every ratio is settled, or the time is over.

    A side whose ratios are all settled takes no part any more, so that the time goes to the rest.

    Args:
        runner: measures a group.
        reporter: is given each group's ratios, and what follows from those so far.
        question: the ratios that are asked for, and the time that it may take.
        rounds: of each process group; None: as many as narrow the intervals most.
        budget_option: what sets the time, for the message that it is too short.
        begun: when the time began to run, by the clock; None: now.
        clock: seconds.

    Raises:
        UsageError: the budget is too short for a verdict.
        SideFailedError: a side failed.
    """
    begun = clock() if begun is None else begun
    progress, batching, judge = _Progress(), None, None
    unsettled = question.contrasts
    sides = taking_part(unsettled)
    decision: Decision | None = None
    judged: dict[int, GroupRatios] = {}
    of_next = rounds or first_rounds(question.contrasts)
    while decision is None or decision.stop is None:
        group = runner.measure(len(progress.groups), batching, sides, of_next, begun)
        if judge is None:
            check_group(group.seconds, clock() - begun, len(sides), question.budget_seconds, budget_option)
            batching, judge = group.batching, SequentialJudge(question)
        log_ratios = progress.add(group, unsettled)
        elapsed, cost = clock() - begun, progress.cost
        if rounds is None:
            of_next = next_rounds({each: progress.values[each] for each in unsettled}, cost)
        last = (
            elapsed + cost.seconds(len(sides), of_next) > question.budget_seconds
            or len(progress.groups) >= MOST_GROUPS + progress.discarded
            or 2 * progress.discarded > len(progress.groups) + _TOLERATED_DISCARDED
        )
        if not log_ratios and not last:
            reporter.group_ended(log_ratios, None, elapsed)
            continue
        balanced = progress.since_change % len(sides) == 0
        # groups that are short are over before the time is, and what may be spent goes by what is over
        spent = max(elapsed, question.budget_seconds * len(progress.groups) / (MOST_GROUPS + progress.discarded))
        ended = GroupRatios(log_ratios=log_ratios, elapsed_seconds=spent, balanced=balanced, last=last)
        judged[len(progress.groups) - 1] = ended
        decision = judge.group_ended(ended)
        reporter.group_ended(log_ratios, decision, elapsed)
        unsettled = tuple(each for each in unsettled if each not in decision.settled)
        if unsettled and sides != (left := taking_part(unsettled)):
            sides, progress.since_change = left, 0
    assert judge is not None
    assert batching is not None
    assert decision.stop is not None
    return DuelResult(
        analyses=decision.analyses,
        stop=decision.stop,
        analysed_at=judge.analysed_at,
        judged=judged,
        log_ratios={each: tuple(value.log_ratio for value in progress.values[each]) for each in question.contrasts},
        anchor_log_ratios={side: tuple(ratios) for side, ratios in sorted(progress.anchor_log_ratios.items())},
        discarded_groups=progress.discarded,
        rounds=tuple(each for group in progress.groups for each in group.rounds),
        metadata={side: value for group in progress.groups for side, value in group.metadata.items()},
        code={side: value for group in progress.groups for side, value in group.code.items()},
        device_use=in_all(group.device_use for group in progress.groups),
        batching=batching,
        seconds=clock() - begun,
        needed_seconds=_needed(decision, progress, question, of_next),
    )


def _needed(decision: Decision, progress: _Progress, question: Question, rounds: int) -> float | None:
    unsettled = [contrast for contrast in question.contrasts if contrast not in decision.settled]
    needed = [groups_needed(decision.analyses[contrast], question) for contrast in unsettled]
    groups = [number for number in needed if number is not None]
    if not groups or len(groups) < len(needed):
        return None
    return (max(groups) + progress.discarded) * progress.cost.seconds(len(taking_part(unsettled)), rounds)
