"""One call of `bench run`, from a prepared suite to the outcome of its campaign: data, campaign, ceilings, runs."""

from __future__ import annotations

import functools
import hashlib
import math
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Protocol

import bench
from bench.catalog import networks, tasks, variables
from bench.catalog.cache import DataUnavailableError, obtain
from bench.catalog.cells import users_factories
from bench.catalog.factories import sources_digest
from bench.core.case import Status, digest
from bench.core.code import ImportedModule
from bench.core.errors import NoVerdictError, UsageError
from bench.host import noise
from bench.host.checkout import commit_of, commit_problem, program_commit
from bench.host.gpu_remarks import gpu_remarks
from bench.host.software import Software, SoftwareKey, read_software
from bench.plan.plan import Plan
from bench.plan.prepare import PreparedSuite, excluded_by_reason
from bench.run.ceiling_runs import measure_ceilings
from bench.run.execution import RunConditions
from bench.run.pool import WORKER
from bench.run.runner import CampaignOutcome, CampaignReporter, CampaignSettings, run_campaign
from bench.run.server import Isolation
from bench.run.stopping import StoppingRule
from bench.store.campaign import Campaign, open_campaign, opening_lease, owner_lease
from bench.store.files import locked
from bench.store.lease import SILENT_SECONDS, Leases
from bench.store.reader import attempts, imported_code

_WATCH_SECONDS = 0.5
"""Between two inspections of the lease of a campaign's owner."""


class Engine(Protocol):
    """What does the runs of a campaign elsewhere than on this machine alone (`bench.cluster`)."""

    @property
    def machine_fingerprint(self) -> str:
        """What stands for a machine in the campaign's identity: whoever resumes it may be on another one."""

    def run_campaign(self, plan: Plan, settings: CampaignSettings, session: SessionSettings) -> CampaignOutcome:
        """Run what the campaign hasn't finished yet, as `bench.run.runner.run_campaign` does here.

        Args:
            plan: the campaign's.
            settings: what its runs share, as it is here.
            session: the options that it was called with.
        """


class SessionReporter(CampaignReporter, Protocol):
    """What `run_session` reports its progress to."""

    def campaign_opened(self, plan: Plan, campaign: Campaign, results: Path, resumed: bool) -> None:
        """Called when it is known which campaign of the store `results` is begun or resumed."""


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """The options of one `bench run`."""

    results: Path
    """The store."""
    command: str
    """The command that makes the campaign again; kept in its manifest."""
    data_dir: Path | None = None
    """Where the user keeps data sets; None: only the usual places."""
    cpus: tuple[int, ...] = ()
    """Logical processors to run on; empty: all that the harness may use."""
    isolation: Isolation | None = None
    new: bool = False
    """Never resume."""
    join: bool = False
    """Take blocks of a campaign that another harness owns, instead of being refused."""
    retry_failed: bool = False
    """Run again what failed, timed out or was invalid."""
    budget_seconds: float = math.inf
    """Begin no block that would not end within so long a time, by the estimate; but for the first."""
    stopping: StoppingRule | None = None
    """Leaves blocks of the plan that are not needed; None needs them all."""
    worker: str = WORKER
    """The module that does a run."""
    engine: Engine | None = None
    """What does the runs; None does them on this machine."""


@dataclass(frozen=True)
class SessionOutcome:
    """What one `bench run` came to."""

    campaign: Campaign
    runs: CampaignOutcome
    plan: Plan
    software: Mapping[SoftwareKey, Software]
    """That of all its runs."""
    data: Mapping[str, Path | None]
    """The verified data file of each task."""


def run_session(prepared: PreparedSuite, settings: SessionSettings, reporter: SessionReporter) -> SessionOutcome:
    """Obtain the data, open the campaign, measure its ceilings where the suite asks for them, and do its runs.

    Args:
        prepared: the suite, and the machine that it is planned for.
        settings: the options.
        reporter: is given the progress, and sentences that a person should read.

    Raises:
        DataUnavailableError: a task's data can't be had, and the suite names no other task.
        KeyboardInterrupt: the user, SIGTERM or SIGHUP has interrupted; all that is finished is stored.
        NoVerdictError: nothing of the suite can run here.
        UsageError: the store cannot be written to, another harness measures the campaign, or a cell or its settings
            cannot be used.
    """
    data, substitutes = _obtain_data(prepared, settings.data_dir, reporter)
    plan = prepared.plan(substitutes)
    if not plan.scheduled:
        reasons = [f"{names}: {reason}" for reason, names in excluded_by_reason(plan)]
        raise NoVerdictError("\n  ".join(["nothing of this suite can run here:", *reasons]))
    software = software_of(plan)
    engine = settings.engine
    fingerprint = prepared.machine.fingerprint if engine is None else engine.machine_fingerprint
    wanted = campaign_of(plan, fingerprint, software)
    with locked(settings.results):  # before a campaign begins: the folder may be unwritable, or a newer bench's
        left_out: list[str] = []
        tried = attempts(settings.results, warn=left_out.append)
    for text in left_out:
        reporter.note(text)

    def finished(campaign_id: str) -> list[str]:
        ended = tried.get(campaign_id, {})
        return [case for case, (_, status) in ended.items() if status is Status.OK or not settings.retry_failed]

    def is_unedited(campaign: Campaign) -> bool:
        """Whether what its runs imported is still what would be imported: a campaign is of one program."""
        edited = edited_files(imported_code(settings.results, campaign.id))
        if edited:
            reporter.note(
                f"a new campaign begins, because {edited[0]} has changed since the unfinished campaign {campaign.id} "
                f"imported it"
            )
        return not edited

    with terminated_as_interrupted(), Leases(settings.results) as leases:
        leases.sweep("campaigns", "runs")
        content = {"command": settings.command, **plan.to_data()}
        if settings.stopping:
            promised = [case for case in content["cases"] if case["block"] < settings.stopping.fewest_blocks]
            content |= {"cases": promised, "precision": settings.stopping.to_data()}
        with leases.exclusively(opening_lease(wanted)):
            campaign, resumed = open_campaign(
                settings.results,
                wanted,
                content,
                finished,
                new=settings.new,
                # what was promised may be done, and more be needed
                join=settings.join or settings.stopping is not None,
                resumable=is_unedited,
                warn=reporter.note,
            )
        if resumed and left_out:
            reporter.note("what was left out of this campaign is not done: it is measured again")
        if settings.join and not resumed:
            reporter.note("nothing to join: no campaign there has this plan, machine, software and code")
        is_owner = _own(campaign, leases, settings.join, reporter)
        reporter.campaign_opened(plan, campaign, settings.results, resumed)
        if problem := commit_problem(Path.cwd()):
            reporter.note(f"warning: results are kept without the commit of this checkout ({problem})")
        campaign_settings = CampaignSettings(
            folder=settings.results,
            conditions=RunConditions(campaign=campaign, machine=prepared.machine, software=software, data=data),
            leases=leases,
            cpus=settings.cpus,
            isolation=settings.isolation,
            worker=settings.worker,
            builds_first=True,
        )
        if prepared.suite.settings.bounds:
            campaign_settings = replace(campaign_settings, ceilings=True)
        if engine is not None:
            return SessionOutcome(
                campaign, engine.run_campaign(plan, campaign_settings, settings), plan, software, data
            )
        cards = {scheduled.case.device for scheduled in plan.scheduled}
        for remark in (*noise.remarks(noise.read_quiet(), prepared.machine), *gpu_remarks(sorted(cards))):
            reporter.note(f"warning: {remark.text}: {remark.advice}")
        if is_owner and campaign_settings.ceilings:
            measure_ceilings(
                plan,
                settings.results,
                machine=prepared.machine,
                software=software,
                again=False,
                cpus=settings.cpus,
                isolation=settings.isolation,
                report=reporter.note,
            )
        outcome = run_campaign(
            plan,
            campaign_settings,
            reporter,
            retry_failed=settings.retry_failed,
            budget_seconds=settings.budget_seconds,
            stopping=settings.stopping,
        )
    return SessionOutcome(campaign, outcome, plan, software, data)


def _own(campaign: Campaign, leases: Leases, join: bool, reporter: SessionReporter) -> bool:
    """Become the owner of a campaign; False where another harness is, and is joined.

    Raises:
        UsageError: another harness is its owner, and isn't to be joined.
    """
    watching = functools.cache(reporter.note)
    while (owner := leases.take(owner_lease(campaign.id))) is not None:
        if owner.seen_alive and join:
            reporter.note(f"joining {owner}, which owns the campaign")
            return False
        if owner.seen_alive:
            raise UsageError(
                f"the campaign {campaign.id} is being measured by {owner}: wait for it, measure blocks of it too with "
                f"--join, begin another one with --new, or name another folder with --results."
            )
        watching(
            f"the campaign {campaign.id} was being measured by {owner}: waiting for a sign of life, for "
            f"{SILENT_SECONDS:g} s at most"
        )
        time.sleep(_WATCH_SECONDS)
    return True


def _obtain_data(
    prepared: PreparedSuite, data_dir: Path | None, reporter: CampaignReporter
) -> tuple[dict[str, Path | None], dict[str, str]]:
    """The data file of each task, and the tasks that stand in for others whose data can't be had."""
    origin, fallback = f"the suite {prepared.suite.name}", prepared.suite.settings.fallback_task
    data: dict[str, Path | None] = {}
    substitutes: dict[str, str] = {}
    for name in prepared.suite.values("tasks"):
        try:
            data[name] = obtain(tasks.find(name, origin), data_dir=data_dir, report=reporter.note)
        except DataUnavailableError as error:
            if not fallback or fallback == name:
                raise
            reporter.note(str(error))
            reporter.note(f"RUNNING THE TASK {fallback} INSTEAD: the same protocol on other data.")
            reporter.note(f"Every result is labelled {fallback}.")
            data[fallback] = obtain(tasks.find(fallback, origin), data_dir=None, report=reporter.note)
            substitutes[name] = fallback
    return data, substitutes


def edited_files(modules: Iterable[ImportedModule]) -> list[Path]:
    """The files of imported modules whose content is no longer what was imported, in order."""
    edited = set()
    for module in modules:
        file = Path(module.file)
        try:
            content = file.read_bytes()
        except OSError:
            content = b""
        if hashlib.sha256(content).hexdigest() != module.sha256:
            edited.add(file)
    return sorted(edited)


def software_of(plan: Plan) -> dict[SoftwareKey, Software]:
    """The software that the runs of a plan would use here, by what it depends on."""
    return {
        key: read_software(key.backend, variables=variables.find(key.env))
        for key in sorted({SoftwareKey.of(p.case) for p in plan.scheduled})
    }


def campaign_of(plan: Plan, machine_fingerprint: str, software: Mapping[SoftwareKey, Software]) -> Campaign:
    """The campaign of a plan that would begin now.

    Args:
        plan: what is to be run.
        machine_fingerprint: of this machine, as the workers see it; of an engine, where one spreads the runs.
        software: of all runs of the plan.
    """
    return Campaign(
        suite=plan.suite,
        plan_hash=plan.hash,
        order_seed=plan.order_seed,
        machine_fingerprint=machine_fingerprint,
        software_fingerprint=digest(" ".join(used.fingerprint for used in software.values())),
        program_version=bench.__version__,
        program_commit=program_commit(),
        project_commit=commit_of(Path.cwd()),
        cells_digest=sources_digest(
            [
                *users_factories({p.case.cell for p in plan.scheduled}),
                *filter(None, (networks.find(name).factory for name in {p.case.network for p in plan.scheduled})),
            ]
        ),
        started_at=datetime.now(UTC).isoformat(timespec="microseconds"),
    )


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a run as Ctrl-C does: the child is killed, and what is finished is kept."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    caught = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]  # nohup ignores
    before = {number: signal.signal(number, interrupt) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
