"""Executes a `Plan`: one run after another, each in a process of its own, stored as soon as it has ended; resumes."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bench.core.case import Status
from bench.core.protocol import Event
from bench.plan.plan import Plan, ScheduledCase
from bench.run.device_watch import DeviceWatcher
from bench.run.execution import RunConditions, execute, forking_backends
from bench.run.lock import machine_lock
from bench.run.pool import WORKER, Workers
from bench.run.remaining_time import RemainingTime
from bench.run.server import Isolation
from bench.run.stopping import StoppingRule
from bench.run.trial_builds import check_users_factories
from bench.run.wall_time import WallTime, WallTimeMeter
from bench.store.campaign import block_lease, leased_blocks, owner_lease
from bench.store.files import keep, remove_stale
from bench.store.lease import SILENT_SECONDS, Leases
from bench.store.parts import Run, write_run
from bench.store.reader import finished

_WAIT_SECONDS = 1.0
"""Between two attempts of a campaign's owner at the blocks that others measure."""


class CampaignReporter(Protocol):
    """What `run_campaign` reports its progress to. All times are in seconds."""

    def campaign_started(self, plan: Plan) -> None:
        """Called before the first run of the plan."""

    def run_started(self, scheduled: ScheduledCase, index: int, total: int, left: float) -> None:
        """Called when a run begins: number `index`, from 1, of `total`; `left` is the estimate for it and the rest."""

    def event(self, event: Event) -> None:
        """Called with each event that the run reports."""

    def tick(self) -> None:
        """Called about once a second while nothing else happens."""

    def run_ended(self, scheduled: ScheduledCase, run: Run, seconds: float, left: float, log: Path | None) -> None:
        """Called when a run is stored; `left` is the estimate for all after it, `log` the log that was kept."""

    def note(self, text: str) -> None:
        """Called with a sentence that a person should read."""


@dataclass(frozen=True, kw_only=True)
class CampaignOutcome:
    """What one call of `bench run` did."""

    statuses: Mapping[Status, int]
    """Number of this campaign's runs by how they ended, those of earlier calls included."""
    done_now: int
    """Number of runs of this call."""
    wall_time: WallTime | None
    """All of this call's; None where several machines did the runs, each in its time."""

    @property
    def troubled(self) -> int:
        """Number of runs that failed, timed out or were invalid."""
        return sum(count for status, count in self.statuses.items() if status is not Status.OK)


@dataclass(frozen=True, kw_only=True)
class CampaignSettings:
    """All that the runs of a campaign share."""

    folder: Path
    """The store."""
    conditions: RunConditions
    leases: Leases
    """Those of this harness in the store; the owner's among them, unless the harness has joined another."""
    cpus: tuple[int, ...] = ()
    isolation: Isolation | None = None
    worker: str = WORKER
    ceilings: bool = False
    """Whether the ceilings of the machines that measure are wanted as well."""
    builds_first: bool = False
    """Whether what users' factories make is built before the campaign's first run (`bench.run.trial_builds`)."""
    lock: Path | None = None
    """The file of the machine-wide lock; None takes the one that all users of the machine share."""


def run_campaign(
    plan: Plan,
    settings: CampaignSettings,
    reporter: CampaignReporter,
    *,
    retry_failed: bool = False,
    budget_seconds: float = math.inf,
    stopping: StoppingRule | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> CampaignOutcome:
    """Run what the campaign hasn't finished yet, in the plan's order, and store each run when it ends.

    Whatever interrupts this call, what has been stored stays, and a later call goes on from there. Other harnesses, of
    this machine or of others that share the store, may work on the same campaign: each takes a block at a time, by its
    lease. The campaign's owner stays until all blocks are done, and takes over those whose holder has died; one that
    has joined leaves when no block is free, unless the owner has gone.

    Args:
        plan: the campaign's.
        settings: all that its runs share.
        reporter: is given the progress.
        retry_failed: whether to run again what failed, timed out or was invalid.
        budget_seconds: a block that would not end within so long a time from now, by the estimate, is left for a later
            call; the first one is begun in any case.
        stopping: leaves the blocks that are not needed; None needs them all.
        clock: seconds.
        now: the time that runs are stored with.

    Raises:
        UsageError: the store cannot be written to, or a factory of the user's makes nothing that can be built.
    """
    spent = WallTimeMeter(clock)
    remove_stale(settings.folder)
    attempts = _Attempts(settings, retry_failed)
    remaining = RemainingTime([scheduled for scheduled in plan.scheduled if attempts.due(scheduled) is not None])
    reporter.campaign_started(plan)
    with Workers(
        worker=settings.worker,
        isolation=settings.isolation,
        forking=forking_backends(settings.conditions),
        silence_seconds=plan.silence_seconds,
        devices=DeviceWatcher(),
        cpus=settings.cpus,
        on_event=reporter.event,
        on_tick=reporter.tick,
        clock=clock,
    ) as workers:
        if settings.builds_first and len(remaining.todo) == len(plan.scheduled):
            with spent.on("trial builds"):
                check_users_factories(
                    (scheduled.case for scheduled in plan.scheduled),
                    workers,
                    data=settings.conditions.data,
                    logs=settings.folder / "logs",
                    note=reporter.note,
                    lock=settings.lock,
                )
        deadline = clock() + budget_seconds
        harness = _Harness(settings, reporter, workers, attempts, remaining, spent, clock, now, deadline, stopping)
        harness.run_blocks()
    ended = finished(settings.folder, settings.conditions.campaign.id, warn=lambda text: None)
    statuses = [status for _, status in ended.values()]
    return CampaignOutcome(
        statuses={status: statuses.count(status) for status in Status},
        done_now=harness.done,
        wall_time=spent.read(),
    )


class _Harness:
    """This call of `bench run` among those that may work on its campaign."""

    def __init__(
        self,
        settings: CampaignSettings,
        reporter: CampaignReporter,
        workers: Workers,
        attempts: _Attempts,
        remaining: RemainingTime,
        spent: WallTimeMeter,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        deadline: float,
        stopping: StoppingRule | None,
    ) -> None:
        self._deadline, self._stopping = deadline, stopping
        self._settings, self._reporter, self._workers = settings, reporter, workers
        self._attempts, self._remaining, self._clock, self._now = attempts, remaining, clock, now
        self._spent = spent
        self._note_once = functools.cache(reporter.note)
        self._index = {scheduled: index for index, scheduled in enumerate(remaining.todo, start=1)}
        self.done = 0

    def run_blocks(self) -> None:
        """Run the blocks that nobody else does, until none is left."""
        leases, campaign = self._settings.leases, self._settings.conditions.campaign.id
        pending: dict[int, list[ScheduledCase]] = {}
        for scheduled in self._remaining.todo:
            pending.setdefault(scheduled.block, []).append(scheduled)
        # a block that is done may be leased: its harness is about to give that back, or was killed before it did
        for block in leased_blocks(leases.names(), campaign):
            pending.setdefault(block, [])
        while pending:
            progressed, late = False, 0
            for block in list(pending):
                if self._stopping:
                    self._remaining.blocks_needed = self._stopping.blocks_needed(campaign)
                if block >= self._remaining.blocks_needed:
                    return
                if self._is_late(pending[block]):
                    late += 1
                    continue
                lease = block_lease(campaign, block)
                holder = leases.take(lease)
                if holder is not None:
                    self._note_once(f"block {block + 1} is being measured by {holder}")
                    continue
                try:
                    if self._run_block(pending[block], lease):
                        del pending[block]
                finally:
                    leases.release(lease)
                progressed = True
            if late == len(pending) > 0:
                left = "1 block is" if late == 1 else f"{late} blocks are"
                self._reporter.note(f"{left} left for want of time: the same command goes on with what is left")
                return
            if pending and not progressed:
                owner = owner_lease(campaign)
                # an owner that has died or was interrupted has a successor in who had joined it
                if not leases.holds(owner) and leases.take(owner) is not None:
                    left = ", ".join(str(block + 1) for block in sorted(pending))
                    self._reporter.note(f"no block is free any more; by other harnesses are being measured: {left}")
                    return
                self._reporter.tick()
                time.sleep(_WAIT_SECONDS)

    def _is_late(self, cases: list[ScheduledCase]) -> bool:
        """Whether a block would not end in time; the first one is what its estimate is corrected by."""
        return self.done > 0 and self._clock() + self._remaining.expected(cases) > self._deadline

    def _run_block(self, cases: list[ScheduledCase], lease: str) -> bool:
        """Run what is due of a block; False where somebody else has taken it over meanwhile."""
        for scheduled in cases:
            with contextlib.ExitStack() as stack:
                with self._spent.on("lock"):
                    stack.enter_context(machine_lock(self._note_once, self._settings.lock))
                attempt = self._attempts.due(scheduled)
                if attempt is None:  # another harness has done it meanwhile
                    self._remaining.skip(scheduled)
                elif not self._run_case(scheduled, attempt, lease):
                    self._reporter.note(
                        f"block {scheduled.block + 1} was taken over, because this process was stopped, or did not "
                        f"reach {self._settings.folder}, for {SILENT_SECONDS:g} s or more; its last run is dropped"
                    )
                    return False
        return True

    def _run_case(self, scheduled: ScheduledCase, attempt: int, lease: str) -> bool:
        """Do one run and store it; False, and nothing is stored, where its block is somebody else's now."""
        settings, reporter, total = self._settings, self._reporter, self._remaining.total
        reporter.run_started(scheduled, self._index[scheduled], total, self._remaining.left())
        with self._spent.on("import"):
            self._workers.prepare(scheduled.case)
        execution = execute(
            self._workers,
            settings.conditions,
            scheduled,
            attempt,
            folder=settings.folder,
            started_at=self._now(),
            clock=self._clock,
        )
        if not settings.leases.holds(lease):
            if not self._attempts.failed(scheduled.case.id, attempt):  # whose log has the same name, and is kept
                execution.log.unlink(missing_ok=True)
            return False
        run, kept = execution.completed(), settings.folder / "logs" / execution.log.name
        keep(execution.log, kept)
        self._attempts.wrote(write_run(settings.folder, run))
        self.done += 1
        self._spent.add_run(execution.outcome.observations, execution.seconds)
        self._remaining.saw(scheduled, execution.seconds)
        reporter.run_ended(scheduled, run, execution.seconds, self._remaining.left(), kept if run.log else None)
        return True


class _Attempts:
    """The attempts that cases are due for. The store is read again only when somebody else has written to it."""

    def __init__(self, settings: CampaignSettings, retry_failed: bool) -> None:
        self._settings = settings
        self._names: frozenset[str] | None = None
        self._written: set[str] = set()
        self._last: Mapping[str, tuple[int, Status]] = {}
        # of what had failed before this call: a case is tried again once, whoever does it
        self._to_retry = {
            case: attempt
            for case, (attempt, status) in self._finished().items()
            if retry_failed and status is not Status.OK
        }

    def _finished(self) -> Mapping[str, tuple[int, Status]]:
        names = frozenset(path.name for path in (self._settings.folder / "runs").glob("*.parquet")) - self._written
        if names != self._names:
            # parts that cannot be read are reported when the campaign is opened, and with its table
            self._last = finished(self._settings.folder, self._settings.conditions.campaign.id, warn=lambda text: None)
            self._names = names
        return self._last

    def due(self, scheduled: ScheduledCase) -> int | None:
        """The number of the attempt to make: 1 for a case that has not run; None for a finished one."""
        case = scheduled.case.id
        attempt, _ = self._finished().get(case, (0, Status.FAILED))
        return attempt + 1 if attempt == self._to_retry.get(case, 0) else None

    def failed(self, case: str, attempt: int) -> bool:
        """Whether this attempt at a case is stored and failed; another harness may have made it meanwhile."""
        last, status = self._finished().get(case, (0, Status.OK))
        return last > attempt or (last == attempt and status is not Status.OK)

    def wrote(self, part: Path) -> None:
        """Note a part that this harness has stored itself."""
        self._written.add(part.name)
