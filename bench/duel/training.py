"""The runs of a gate between commits: each trains the same cases over the same seeds, in its own code tree.

A block is a seed. In it each case is trained by every commit, by one right after the other, and which of them is first
alternates from block to block: what drifts meanwhile affects all alike, and pairs of runs are of one seed. How many
seeds there are is decided by how long the first block took, and never by what was measured.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import bench
from bench.analysis.findings import MIN_SEEDS
from bench.catalog import tasks
from bench.core import code
from bench.core.case import Case, Status, digest
from bench.core.errors import UsageError
from bench.core.protocol import Request
from bench.duel.code import foreign_code_sentence, foreign_modules
from bench.duel.sides import PreparedSide, UnpackedCommit
from bench.host.checkout import origin_of, program_commit
from bench.host.hardware import Machine
from bench.host.software import Software, SoftwareKey
from bench.plan.estimate import estimate_all
from bench.plan.plan import Plan, ScheduledCase
from bench.plan.suite import Settings
from bench.run.device_watch import DeviceWatcher
from bench.run.execution import completed_run, draft_run, fresh_log
from bench.run.lock import machine_lock
from bench.run.pool import WORKER, Workers
from bench.run.session import software_of
from bench.store.campaign import Campaign, open_campaign, owner_lease
from bench.store.lease import Leases
from bench.store.parts import Run, write_run

MOST_SEEDS = 10
"""The seeds that are trained where the user names none and there is time: what more of them give costs more than it is
worth to a pull request."""

_SUITE = "gate"


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What the runs of all commits share."""

    results: Path
    command: str
    """The command that measured them; kept in the manifests."""
    machine: Machine
    data: Path | None
    """The verified data file of their task."""
    seconds: float
    """The time that there is for them: it decides how many seeds there are, where none are named."""
    seeds: tuple[int, ...] = ()
    """Those that the user named; empty for as many as there is time for, from 0 on."""
    cpus: tuple[int, ...] = ()
    worker: str = WORKER
    """The module that does a run."""


class TrainingReporter(Protocol):
    """What `train_commits` reports its progress to."""

    def training_began(self, cases: Sequence[Case], seeds: int, seconds: float) -> None:
        """Called when it is known how many seeds there are, and about how long they take in all: a guess at first."""

    def case_trained(self, runs: Sequence[Run], seconds_left: float) -> None:
        """Called when every commit has trained a case: with their runs, in the order of the commits."""

    def note(self, text: str) -> None:
        """Called with a sentence that a person should read."""


def train_commits(
    commits: Sequence[PreparedSide],
    cases: Sequence[Case],
    settings: TrainingSettings,
    reporter: TrainingReporter,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Campaign, ...]:
    """Train all cases with the code of each commit, and store each run as soon as it has ended.

    Args:
        commits: a side of each commit; what its case is does not matter.
        cases: the configurations that each trains.
        settings: what they share.
        reporter: is given the progress.
        clock: seconds.

    Returns:
        the campaign of each commit's runs, in their order.

    Raises:
        KeyboardInterrupt: the user has interrupted; all that is finished is stored.
        UsageError: the store cannot be written to, or a run did not import its commit's code.
    """
    blocks = _blocks(cases, settings.seeds or tuple(range(MOST_SEEDS)))
    plan = _plan(blocks)
    software = software_of(plan)
    with contextlib.ExitStack() as stack:
        stack.enter_context(machine_lock(reporter.note))
        leases = stack.enter_context(Leases(settings.results))
        trainers = [
            _Trainer(commit, _opened(commit, plan, software, settings, leases), software, settings, stack)
            for commit in commits
        ]
        _train(blocks, trainers, settings, reporter, clock)
    return tuple(trainer.campaign for trainer in trainers)


def _train(
    blocks: Sequence[Sequence[ScheduledCase]],
    trainers: Sequence[_Trainer],
    settings: TrainingSettings,
    reporter: TrainingReporter,
    clock: Callable[[], float],
) -> None:
    cases = [scheduled.case for scheduled in blocks[0]]
    seeds = len(blocks)
    expected = len(trainers) * estimate_all(cases)
    if not settings.seeds:
        seeds = _seeds_in(settings.seconds, expected)
    reporter.training_began(cases, seeds, seeds * expected)
    for trainer in trainers:
        trainer.prepare(cases)
    begun = clock()
    for number, block in enumerate(blocks):
        if number == 1:
            expected = clock() - begun
            if not settings.seeds:
                seeds = 1 + _seeds_in(settings.seconds - expected, expected, fewest=MIN_SEEDS - 1, most=MOST_SEEDS - 1)
            reporter.training_began(cases, seeds, seeds * expected)
        if number == seeds:
            return
        for place, scheduled in enumerate(block):
            order = trainers if number % 2 == 0 else trainers[::-1]
            runs = {trainer: trainer.run(scheduled, clock) for trainer in order}
            left = expected * (seeds - number - (place + 1) / len(block))
            reporter.case_trained([runs[trainer] for trainer in trainers], left)


def _seeds_in(seconds: float, of_each: float, fewest: int = MIN_SEEDS, most: int = MOST_SEEDS) -> int:
    return max(fewest, min(most, int(seconds / of_each)))


def _blocks(cases: Sequence[Case], seeds: Sequence[int]) -> list[list[ScheduledCase]]:
    blocks = []
    for block, seed in enumerate(seeds):
        order = [replace(case, seed=seed) for case in cases]
        random.Random(f"0/{block}").shuffle(order)
        positions = range(block * len(order), (block + 1) * len(order))
        blocks.append([ScheduledCase(case, block, place) for case, place in zip(order, positions, strict=True)])
    return blocks


def _plan(blocks: Sequence[Sequence[ScheduledCase]]) -> Plan:
    task = tasks.find(blocks[0][0].case.task)
    return Plan(
        suite=_SUITE,
        title="a commit's part of a gate between two",
        order_seed=0,
        silence_seconds=Settings().silence_seconds,
        scheduled=tuple(scheduled for block in blocks for scheduled in block),
        excluded=(),
        data={task.name: task.digest} if task.file else {},
    )


def _opened(
    commit: PreparedSide,
    plan: Plan,
    software: dict[SoftwareKey, Software],
    settings: TrainingSettings,
    leases: Leases,
) -> Campaign:
    """Begin the campaign of a commit; it promises the fewest runs that there will be, and is never resumed."""
    unpacked = _unpacked(commit)
    campaign = Campaign(
        suite=plan.suite,
        plan_hash=plan.hash,
        order_seed=plan.order_seed,
        machine_fingerprint=settings.machine.fingerprint,
        software_fingerprint=digest(" ".join(used.fingerprint for used in software.values())),
        program_version=bench.__version__,
        program_commit=unpacked.name if bench.__name__ in unpacked.packages else program_commit(),
        project_commit=unpacked.name,
        cells_digest="",
        started_at=datetime.now(UTC).isoformat(timespec="microseconds"),
    )
    content = {"command": settings.command, **plan.to_data()}
    if not settings.seeds:
        content["cases"] = [case for case in content["cases"] if case["block"] < MIN_SEEDS]
    opened, _ = open_campaign(settings.results, campaign, content, lambda campaign_id: (), new=True)
    leases.take(owner_lease(opened.id))
    return opened


def _unpacked(commit: PreparedSide) -> UnpackedCommit:
    assert commit.commit is not None
    return commit.commit


class _Trainer:
    """The worker servers of a commit, in its own code tree, and the campaign that its runs belong to."""

    def __init__(
        self,
        commit: PreparedSide,
        campaign: Campaign,
        software: dict[SoftwareKey, Software],
        settings: TrainingSettings,
        stack: contextlib.ExitStack,
    ) -> None:
        self._commit, self.campaign, self._software, self._settings = commit, campaign, software, settings
        self._workers = stack.enter_context(
            Workers(
                worker=settings.worker,
                silence_seconds=Settings().silence_seconds,
                devices=DeviceWatcher(),
                cpus=settings.cpus,
                # without what a duel sets for its times alone
                environment=replace(commit.environment, variables={}),
            )
        )

    def prepare(self, cases: Sequence[Case]) -> None:
        """Wait until the backends of all cases are imported."""
        for case in cases:
            self._workers.prepare(case)

    def run(self, scheduled: ScheduledCase, clock: Callable[[], float]) -> Run:
        """Do one run and store it."""
        settings, unpacked = self._settings, _unpacked(self._commit)
        self._workers.prepare(scheduled.case)
        software = self._software[SoftwareKey.of(scheduled.case)]
        draft = draft_run(self.campaign, settings.machine, software, scheduled, 1, datetime.now(UTC))
        log = fresh_log(settings.results, draft)
        begun = clock()
        outcome = self._workers.run(Request(case=scheduled.case, data=settings.data, log=log))
        imported = set(code.from_json(outcome.metadata.code_json))
        # the data are the same for all commits: the code of the working tree has made them, once
        imported -= set(code.from_json(tasks.find(scheduled.case.task).code_json))
        if foreign := foreign_modules(sorted(imported), unpacked):
            raise UsageError(foreign_code_sentence(self._commit.title, foreign))
        if outcome.status is Status.OK:
            with contextlib.suppress(OSError):  # the run counts, with its log
                log.unlink(missing_ok=True)
        run = completed_run(draft, outcome, log, clock() - begun)
        # the files that it imported lie in no checkout
        origin = origin_of(Path.cwd(), unpacked.name or "")
        run = replace(
            run,
            code_commit=unpacked.name,
            committed_at=origin.committed_at if origin else None,
            parent_commit=origin.parent if origin else None,
        )
        write_run(settings.results, run)
        return run
