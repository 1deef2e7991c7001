"""Executes a Plan: one run after another, each in a process of its own, stored as soon as it has ended; resumes."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bench.core.case import Status
from bench.core.metrics import Observation, RunMetadata
from bench.core.protocol import Event, Request
from bench.host.hardware import Machine
from bench.host.software import Software
from bench.host.state import read_host
from bench.plan.plan import Plan, Planned, estimate_seconds
from bench.run.isolation import WORKER, Ended, Isolation, Workers, machine_lock
from bench.store import parts as store
from bench.store.campaign import Campaign, refused

MEASURED_PHASES = frozenset({"build", "compile", "train", "validate", "evaluate", "predict"})
"""What counts as measured in "measured x % of the wall time"."""


class Reporter(Protocol):
    """Who is told how a campaign goes on. All times are in seconds."""

    def run_started(self, planned: Planned, index: int, total: int, left: float) -> None:
        """A run begins: the `index`-th (from 1) of `total`; `left` is the estimate for it and all after it."""

    def event(self, event: Event) -> None:
        """The run reports a phase or an observation."""

    def tick(self) -> None:
        """About once a second, while nothing else happens."""

    def run_ended(self, planned: Planned, run: store.Run, seconds: float, left: float, log: Path | None) -> None:
        """A run has ended and is stored; `left` is the estimate for all after it, `log` the log that was kept."""

    def note(self, text: str) -> None:
        """Something a person should know."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one call of `bench run` did."""

    statuses: Mapping[Status, int]
    """How this campaign's runs ended, those of earlier calls included."""
    done_now: int
    wall_seconds: float
    measured_seconds: float

    @property
    def measured_fraction(self) -> float | None:
        """The share of this call's wall time that was measuring; None where nothing ran."""
        return self.measured_seconds / self.wall_seconds if self.done_now else None

    @property
    def troubled(self) -> int:
        """Runs that failed, timed out or were invalid."""
        return sum(count for status, count in self.statuses.items() if status is not Status.OK)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """All that a campaign's runs share."""

    folder: Path
    """The store."""
    campaign: Campaign
    machine: Machine
    software: Mapping[str, Software]
    """By backend."""
    data: Mapping[str, Path]
    """The verified data file of each task."""
    cpus: tuple[int, ...] = ()
    isolation: Isolation | None = None
    worker: str = WORKER
    lock: Path | None = None
    """The file of the machine-wide lock; None takes the one that all users of the machine share."""


def run_campaign(
    plan: Plan,
    setting: Setting,
    reporter: Reporter,
    *,
    retry_failed: bool = False,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Outcome:
    """Run what the campaign hasn't finished yet, in the plan's order, and store each run when it ends.

    Whatever interrupts this call, what has been stored stays, and a later call goes on from there. Another harness may
    work on the same campaign: each run is looked up again once the machine's lock is held.
    """
    started = clock()
    store.remove_stale(setting.folder)
    waiting = functools.cache(reporter.note)  # said once, not before each run
    book = _Book(setting, retry_failed)
    pace = _Pace([planned for planned in plan.planned if book.attempt(planned) is not None])
    measured, done = 0.0, 0
    with Workers(
        worker=setting.worker,
        isolation=setting.isolation,
        silence_seconds=plan.silence_seconds,
        cpus=setting.cpus,
        on_event=reporter.event,
        on_tick=reporter.tick,
        clock=clock,
    ) as workers:
        for index, planned in enumerate(pace.todo, start=1):
            with machine_lock(waiting, setting.lock):
                attempt = book.attempt(planned)
                if attempt is None:  # another harness has done it meanwhile
                    pace.skip(planned)
                    continue
                reporter.run_started(planned, index, len(pace.todo), pace.left())
                workers.prepare(planned.case)
                draft = _draft(setting, planned, attempt, now())
                log = _fresh_log(setting.folder, draft)
                begun = clock()
                ended = workers.run(Request(case=planned.case, data=setting.data[planned.case.task], log=log))
                seconds = clock() - begun
                if ended.status is Status.OK:  # before it is stored: a kill in between leaves no log behind
                    log.unlink(missing_ok=True)
                run = _completed(draft, ended, log, seconds)
                book.wrote(store.write_run(setting.folder, run))
            done += 1
            measured += sum(o.seconds or 0.0 for o in ended.observations if o.phase in MEASURED_PHASES)
            pace.saw(planned, seconds)
            reporter.run_ended(planned, run, seconds, pace.left(), setting.folder / run.log if run.log else None)
    done_ever = store.finished(setting.folder, setting.campaign.id, say=lambda text: None)
    statuses = [status for _, status in done_ever.values()]
    return Outcome(
        statuses={status: statuses.count(status) for status in Status},
        done_now=done,
        wall_seconds=clock() - started,
        measured_seconds=measured,
    )


class _Book:
    """Which attempt each case is due for. The store is read again only when somebody else has written to it."""

    def __init__(self, setting: Setting, retry_failed: bool) -> None:
        self._setting = setting
        self._names: frozenset[str] | None = None
        self._own: set[str] = set()
        self._last: Mapping[str, tuple[int, Status]] = {}
        # of what had failed before this call: a case is tried again once, whoever does it
        self._to_retry = {
            case: attempt
            for case, (attempt, status) in self._look().items()
            if retry_failed and status is not Status.OK
        }

    def _look(self) -> Mapping[str, tuple[int, Status]]:
        names = frozenset(path.name for path in (self._setting.folder / "runs").glob("*.parquet")) - self._own
        if names != self._names:
            # parts that cannot be read are spoken of when the campaign is opened, and with its table
            self._last = store.finished(self._setting.folder, self._setting.campaign.id, say=lambda text: None)
            self._names = names
        return self._last

    def attempt(self, planned: Planned) -> int | None:
        """1 if the case has not run, the next number if it is to be tried again, None if it is finished."""
        case = planned.case.id
        attempt, _ = self._look().get(case, (0, Status.FAILED))
        return attempt + 1 if attempt == self._to_retry.get(case, 0) else None

    def wrote(self, part: Path) -> None:
        """This harness has stored a run itself."""
        self._own.add(part.name)


def _draft(setting: Setting, planned: Planned, attempt: int, started_at: datetime) -> store.Run:
    software = setting.software[planned.case.backend]
    return store.Run(
        campaign=setting.campaign,
        case=planned.case,
        block=planned.block,
        position=planned.position,
        attempt=attempt,
        status=Status.FAILED,
        error=None,
        log=None,
        started_at=started_at,
        isolation="",
        machine_json=setting.machine.to_json(),
        machine_fingerprint=setting.machine.fingerprint,
        software_json=software.to_json(),
        software_fingerprint=software.fingerprint,
        host_json=read_host().to_json(),
        facts=RunMetadata(),
        observations=(),
    )


def _fresh_log(folder: Path, draft: store.Run) -> Path:
    """Where the run's process writes; what a killed harness left there is removed.

    Raises:
        UsageError: the store cannot be written to.
    """
    logs = folder / "logs"
    with refused(logs):
        logs.mkdir(parents=True, exist_ok=True)
        log = (logs / f"{draft.id}.log").absolute()
        log.unlink(missing_ok=True)
    return log


def _completed(draft: store.Run, ended: Ended, log: Path, seconds: float) -> store.Run:
    whole = Observation(phase="run", seconds=seconds, cpu_seconds=ended.cpu_seconds)
    return replace(
        draft,
        status=ended.status,
        error=ended.error,
        log=f"logs/{log.name}" if log.exists() else None,
        isolation=ended.isolation.value,
        facts=ended.facts,
        observations=(*ended.observations, whole),
    )


class _Pace:
    """How long the rest will take: the plan's estimates, corrected by how the runs so far compared with theirs."""

    def __init__(self, todo: list[Planned]) -> None:
        self.todo = todo
        self._left = sum(estimate_seconds(planned.case) for planned in todo)
        self._estimated = self._seen = 0.0

    def saw(self, planned: Planned, seconds: float) -> None:
        """A run has taken so long."""
        self._estimated += estimate_seconds(planned.case)
        self._seen += seconds
        self.skip(planned)

    def skip(self, planned: Planned) -> None:
        """This run needs no time of ours any more."""
        self._left -= estimate_seconds(planned.case)

    def left(self) -> float:
        """Seconds."""
        return max(0.0, self._left) * (self._seen / self._estimated if self._estimated else 1.0)
