"""One run, from before its process starts to the record that is stored; on this machine, or on a node of a cluster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import bench
from bench.core.case import Status
from bench.core.observation import Observation, RunMetadata
from bench.core.phases import WHOLE_RUN
from bench.core.protocol import Request
from bench.host.checkout import CommitOrigin, commit_of_files, origin_of
from bench.host.hardware import Machine
from bench.host.software import Software, SoftwareKey
from bench.host.state import read_host
from bench.plan.plan import ScheduledCase
from bench.run import forking
from bench.run.pool import RunOutcome, Workers
from bench.store.campaign import Campaign
from bench.store.files import local_file, make_folder, refused
from bench.store.parts import Run


@dataclass(frozen=True, kw_only=True)
class RunConditions:
    """What the runs of a campaign on one machine share."""

    campaign: Campaign
    machine: Machine
    software: Mapping[SoftwareKey, Software]
    """Software by backend."""
    data: Mapping[str, Path | None]
    """The verified data file of each task; None where its data are generated."""


@dataclass(frozen=True, kw_only=True)
class RunExecution:
    """A run whose process has ended, and of which nothing is stored yet."""

    draft: Run
    outcome: RunOutcome
    log: Path
    """What the run's process wrote; removed by `completed` where the run is well."""
    seconds: float
    """Wall time from the request to the end."""

    def completed(self) -> Run:
        """The record to store. The log of a run that is well goes first: a kill in between leaves none behind."""
        if self.outcome.status is Status.OK:
            with contextlib.suppress(OSError):  # the run counts, with its log
                self.log.unlink(missing_ok=True)
        return completed_run(self.draft, self.outcome, self.log, self.seconds)


def forking_backends(conditions: RunConditions) -> frozenset[str]:
    """The backends whose runs on this machine's GPUs may fork, as far as has been tested (`bench.run.forking`)."""
    return frozenset(
        key.backend for key, used in conditions.software.items() if forking.works(conditions.machine, used)
    )


def execute(
    workers: Workers,
    conditions: RunConditions,
    scheduled: ScheduledCase,
    attempt: int,
    *,
    folder: Path,
    started_at: datetime,
    clock: Callable[[], float] = time.monotonic,
) -> RunExecution:
    """Do one run in a process of its own; what it imports is imported already (`Workers.prepare`).

    Args:
        workers: give the run its process.
        conditions: what it shares with the others.
        scheduled: its case.
        attempt: number of the attempt at the case, from 1.
        folder: the log is written to `logs` in it.
        started_at: when the run begins, UTC.
        clock: seconds.

    Raises:
        UsageError: the folder cannot be written to.
    """
    software = conditions.software[SoftwareKey.of(scheduled.case)]
    draft = draft_run(conditions.campaign, conditions.machine, software, scheduled, attempt, started_at)
    log = fresh_log(folder, draft)
    begun = clock()
    outcome = workers.run(Request(case=scheduled.case, data=conditions.data[scheduled.case.task], log=log))
    return RunExecution(draft=draft, outcome=outcome, log=log, seconds=clock() - begun)


def draft_run(
    campaign: Campaign,
    machine: Machine,
    software: Software,
    scheduled: ScheduledCase,
    attempt: int,
    started_at: datetime,
) -> Run:
    """A run that begins now, as far as it is known before it has ended (`completed_run`)."""
    return Run(
        campaign=campaign,
        case=scheduled.case,
        block=scheduled.block,
        position=scheduled.position,
        attempt=attempt,
        status=Status.FAILED,
        error=None,
        log=None,
        started_at=started_at,
        isolation="",
        machine_json=machine.to_json(),
        machine_fingerprint=machine.fingerprint,
        software_json=software.to_json(),
        software_fingerprint=software.fingerprint,
        host_json=read_host().to_json(),
        metadata=RunMetadata(),
        observations=(),
    )


def fresh_log(folder: Path, draft: Run) -> Path:
    """The file that the run's process writes to; what a killed harness left there is removed.

    Raises:
        UsageError: the store cannot be written to.
    """
    log = local_file(folder / "logs" / f"{draft.id}.log")
    with refused(log.parent):
        make_folder(log.parent)
        log.unlink(missing_ok=True)
    return log


def completed_run(draft: Run, outcome: RunOutcome, log: Path, seconds: float) -> Run:
    """The run with what it came to, and with the commit that its code was at.

    Args:
        draft: what `draft_run` gave.
        outcome: how its process ended.
        log: what `fresh_log` gave; it is kept where it is still there.
        seconds: from the request to its end.
    """
    whole = Observation(phase=WHOLE_RUN, seconds=seconds, cpu_seconds=outcome.cpu_seconds)
    run = replace(
        draft,
        status=outcome.status,
        error=outcome.error,
        log=f"logs/{log.name}" if log.exists() else None,
        isolation=outcome.isolation.value,
        metadata=outcome.metadata,
        observations=(*outcome.observations, whole),
    )
    run = replace(run, code_commit=commit_of_files(run.imported_files))
    origin = _commit_origin(run)
    return replace(run, committed_at=origin.committed_at, parent_commit=origin.parent) if origin else run


def _commit_origin(run: Run) -> CommitOrigin | None:
    """The date and parent of the commit that the run's results are at; the program's stands for its own cells alone."""
    if run.imported_files:
        return origin_of(run.imported_files[0].parent, run.code_commit or "")
    if (commit := run.campaign.project_commit) is not None:
        return origin_of(Path.cwd(), commit)
    return origin_of(Path(bench.__file__).parent, run.campaign.program_commit or "")
