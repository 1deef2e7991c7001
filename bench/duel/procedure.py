"""The procedure of a duel: fresh process pairs until an interim analysis is conclusive, or the time is spent."""

from __future__ import annotations

import functools
import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.analysis.verdict import Verdict
from bench.catalog import tasks
from bench.catalog.cache import default_cache, obtain
from bench.core.errors import UsageError
from bench.core.metric import Margins
from bench.core.observation import RunMetadata
from bench.core.protocol import TimedPhase
from bench.duel.code import check_own_code
from bench.duel.interleaved import ROUNDS, Batching, ImportedCode, InterleavedRunner, ProcessPair, SideFailedError
from bench.duel.rounds import Round, group_log_ratio
from bench.duel.sequential import (
    FEWEST_GROUPS,
    InterimAnalysis,
    Schedule,
    analyse,
    decide,
    pairs_needed,
)
from bench.duel.sides import WORKER, small_pages_reason
from bench.duel.specification import DuelSpecification, SideKind, cases_of, common_kind, prepare_sides
from bench.host import noise
from bench.host.hardware import read_machine
from bench.run.lock import machine_lock
from bench.run.session import terminated_as_interrupted
from bench.store.files import make_folder, refused

_SPARE_FRACTION = 0.08
"""The fraction of the time budget that is kept back: later pairs may take longer than the first, from which the
analyses are planned."""

MOST_PAIRS = 60
"""However short they are: with twice as many, the interval would be a third narrower, and a fresh bias as large."""

_TOLERATED_DISCARDED = 3
"""With so many more discarded pairs than good ones, this machine can't hold a duel now."""


class MeasuresPairs(Protocol):
    """What `measure_until_decided` needs of an `InterleavedRunner`."""

    def measure(self, number: int, batching: Batching | None, rounds: int = ROUNDS, begun: float = 0.0) -> ProcessPair:
        """See `InterleavedRunner.measure`."""


class PairReporter(Protocol):
    """What `measure_until_decided` reports its progress to."""

    def pair_ended(self, log_ratio: float | None, so_far: InterimAnalysis, schedule: Schedule, seconds: float) -> None:
        """Called when a pair has ended, `seconds` after the duel's beginning; its ratio is None if it is discarded."""


class DuelReporter(PairReporter, Protocol):
    """What `run_duel` reports its progress to."""

    def duel_began(self, specification: DuelSpecification) -> None:
        """Called when both sides are ready, before they import their backend."""

    def note(self, text: str) -> None:
        """Called with a sentence that a person should read."""


@dataclass(frozen=True, kw_only=True)
class DuelResult:
    """How a duel ended."""

    analysis: InterimAnalysis
    """The analysis that it stopped at."""
    schedule: Schedule
    log_ratios: tuple[float, ...]
    """B / A of each pair that counts, in their order."""
    discarded_pairs: int
    """Pairs that don't count, because too many of their rounds are contaminated."""
    rounds: tuple[Round, ...]
    """The rounds of all pairs, discarded ones included."""
    metadata: tuple[RunMetadata, RunMetadata]
    """The metadata of A and of B in the last pair."""
    code: tuple[ImportedCode, ImportedCode]
    """What A and B imported in the last pair."""
    batching: Batching
    seconds: float
    needed_seconds: float | None
    """About how long it would have to be in all to be conclusive, where it isn't; None where no time would do."""


@dataclass(frozen=True, kw_only=True)
class DuelSettings:
    """The arguments and options of one `bench duel`."""

    a: str
    """The base, as the user named it."""
    b: str
    """What is compared with it."""
    folder: Path
    """Where its files lie, and the logs meanwhile."""
    margins: Margins
    overrides: tuple[str, ...] = ()
    build: bool = False
    """Install each commit's package into an environment of its own."""
    phase: TimedPhase = TimedPhase.TRAIN
    budget_seconds: float = 600.0
    data_dir: Path | None = None
    cpus: tuple[int, ...] = ()
    worker: str = WORKER
    """The module that does the sides' timed batches."""
    rounds: int = ROUNDS
    """Rounds of a process pair."""


@dataclass(frozen=True)
class Duel:
    """A duel that has ended."""

    specification: DuelSpecification
    result: DuelResult
    folder: Path
    """Where its files are to be kept."""


def run_duel(settings: DuelSettings, reporter: DuelReporter) -> Duel:
    """Prepare both sides, and measure process pairs until an analysis is conclusive or the time is spent.

    Args:
        settings: what is duelled, and how.
        reporter: is given the progress, and sentences that a person should read.

    Raises:
        KeyboardInterrupt: the user, SIGTERM or SIGHUP has interrupted; nothing of the duel is kept.
        SideFailedError: a side failed; the logs stay.
        UsageError: a side cannot be had or run here, or did not import its own code, or the budget is too short.
    """
    kind = common_kind(settings.a, settings.b)
    cases = cases_of(settings.a, settings.b, kind, settings.overrides)
    data = obtain(tasks.of(cases[0], "a duel"), data_dir=settings.data_dir, report=reporter.note)
    machine = read_machine(settings.cpus)
    folder = settings.folder
    logs = folder / "logs"
    with refused(logs):
        make_folder(logs)
    try:
        with (
            terminated_as_interrupted(),
            tempfile.TemporaryDirectory(prefix="bench-duel-", ignore_cleanup_errors=True) as scratch,
        ):
            specification = DuelSpecification(
                sides=prepare_sides(
                    (settings.a, settings.b),
                    kind,
                    cases,
                    scratch=Path(scratch),
                    cache=default_cache(),
                    build=settings.build,
                    worker=settings.worker,
                    notify=reporter.note,
                ),
                phase=settings.phase,
                margins=settings.margins,
                budget_seconds=settings.budget_seconds,
                machine=machine,
            )
            for remark in noise.remarks(noise.read_quiet(), machine):
                reporter.note(f"warning: {remark.text}: {remark.advice}")
            if reason := small_pages_reason():
                reporter.note(f"warning: {reason}: a process's speed will depend on where its memory happens to lie")
            a, b = specification.sides
            with (
                machine_lock(reporter.note),
                InterleavedRunner(
                    a,
                    b,
                    data=data,
                    folder=logs,
                    phase=settings.phase,
                    cpus=settings.cpus,
                    check_code=functools.partial(check_own_code, a, b),
                ) as runner,
            ):
                reporter.duel_began(specification)
                runner.prepare()
                result = measure_until_decided(
                    runner,
                    reporter,
                    budget_seconds=settings.budget_seconds,
                    margins=settings.margins,
                    rounds=settings.rounds,
                )
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except SideFailedError as error:
        if kind is SideKind.COMMITS and not settings.build and "cannot be imported" in str(error):
            raise SideFailedError(
                f"{error}. A side imports from its commit alone, which has nothing that building makes (compiled "
                f"extensions, generated modules): --build installs each side's package."
            ) from None
        raise
    shutil.rmtree(logs, ignore_errors=True)  # the verdict is reached, whatever becomes of them
    return Duel(specification, result, folder)


@dataclass
class _Progress:
    """What has been measured so far."""

    log_ratios: list[float] = field(default_factory=list)
    discarded: int = 0
    pairs: list[ProcessPair] = field(default_factory=list)

    @property
    def pair_seconds(self) -> float:
        return statistics.mean(pair.seconds for pair in self.pairs)


def measure_until_decided(
    runner: MeasuresPairs,
    reporter: PairReporter,
    *,
    budget_seconds: float,
    margins: Margins,
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.monotonic,
) -> DuelResult:
    """Measure fresh process pairs until an interim analysis is conclusive, or the time is spent.

    Args:
        runner: measures a pair.
        reporter: is given each pair's ratio, and the analysis so far.
        budget_seconds: how long it may take.
        margins: equivalence margin and noise floor, as fractions of A's time.
        rounds: of a process pair.
        clock: seconds.

    Raises:
        UsageError: the budget is too short for a verdict.
        SideFailedError: a side failed.
    """
    begun = clock()
    progress, schedule, batching = _Progress(), Schedule.up_to(FEWEST_GROUPS), None
    while True:
        pair = runner.measure(len(progress.pairs), batching, rounds, begun)
        progress.pairs.append(pair)
        if batching is None:
            # the first pair's time decides how many there can be; its ratio has no part in it
            batching, schedule = pair.batching, _schedule(pair.seconds, budget_seconds)
        ratio = group_log_ratio(pair.rounds, 0, 1)
        if ratio is None:
            progress.discarded += 1
        else:
            progress.log_ratios.append(ratio)
        good = len(progress.log_ratios)
        so_far = analyse(progress.log_ratios, schedule.level(schedule.next_analysis(good)), margins)
        reporter.pair_ended(ratio, so_far, schedule, clock() - begun)
        is_scheduled = ratio is not None and good in schedule.sizes
        spent = (
            clock() - begun + progress.pair_seconds > budget_seconds or progress.discarded > good + _TOLERATED_DISCARDED
        )
        if (is_scheduled and so_far.verdict is not Verdict.INCONCLUSIVE) or good >= schedule.most or spent:
            break
    stopped = decide(progress.log_ratios, schedule, margins)
    return DuelResult(
        analysis=stopped,
        schedule=schedule,
        log_ratios=tuple(progress.log_ratios),
        discarded_pairs=progress.discarded,
        rounds=_rounds(progress.pairs),
        metadata=progress.pairs[-1].metadata,
        code=progress.pairs[-1].code,
        batching=batching,
        seconds=clock() - begun,
        needed_seconds=_needed(stopped, progress, margins),
    )


def _rounds(pairs: Sequence[ProcessPair]) -> tuple[Round, ...]:
    return tuple(each for pair in pairs for each in pair.rounds)


def _schedule(pair_seconds: float, budget_seconds: float) -> Schedule:
    most = math.floor(budget_seconds * (1 - _SPARE_FRACTION) / pair_seconds)
    if most < FEWEST_GROUPS:
        needed = FEWEST_GROUPS * pair_seconds / (1 - _SPARE_FRACTION)
        raise UsageError(
            f"--budget {budget_seconds / 60:g} (minutes) is too short: a process pair takes {pair_seconds:.0f} s "
            f"here, and there is no verdict on fewer than {FEWEST_GROUPS} pairs: "
            f"write --budget {math.ceil(needed / 6) / 10:g}."
        )
    return Schedule.up_to(min(most, MOST_PAIRS))


def _needed(stopped: InterimAnalysis, progress: _Progress, margins: Margins) -> float | None:
    if stopped.verdict is not Verdict.INCONCLUSIVE:
        return None
    pairs = pairs_needed(stopped, margins)
    return None if pairs is None else (pairs + progress.discarded) * progress.pair_seconds
