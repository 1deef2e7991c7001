"""`bench run`: plan, run, store, and the table of what was measured; resumes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

import bench
from bench.cli.layout import say
from bench.cli.options import (
    LOCAL_RESULTS,
    CpusOption,
    DataDirOption,
    Format,
    FormatOption,
    OrderOption,
    ResultsOption,
    SetOption,
    SuiteArgument,
)
from bench.cli.plan import left_out, show_plan
from bench.core.case import Status, digest
from bench.core.errors import ExitCode, NothingSureError
from bench.report.values import count, duration
from bench.run.isolation import WORKER, Isolation

if TYPE_CHECKING:
    from bench.host.hardware import Machine
    from bench.host.software import Software
    from bench.plan.plan import Plan
    from bench.plan.prepare import PreparedSuite
    from bench.run.runner import Outcome, Setting
    from bench.store.campaign import Campaign


def run(
    suite: SuiteArgument = "mnist_rows",
    overrides: SetOption = None,
    results: ResultsOption = LOCAL_RESULTS,
    data_dir: DataDirOption = None,
    order_seed: OrderOption = 0,
    cpus: CpusOption = None,
    isolation: Annotated[
        Isolation | None,
        typer.Option("--isolation", help="How a run gets its process; fork is the default on a CPU under Linux."),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Begin a new campaign, even where one is unfinished.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run again what failed, timed out or was invalid.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    fmt: FormatOption = Format.TEXT,
) -> None:
    """Plan, run, store, and show the table. Interrupted, it goes on where it was when it is called again.

    Examples:

      bench run quick

      bench run --set cells=lstm,gru --set seeds=0..9 --set epochs=1

      bench run --set units=64,256 --set batch_size=128
    """
    from bench.host.hardware import parse_cpus
    from bench.plan.prepare import prepare

    pinned = parse_cpus(cpus)
    prepared = prepare(suite, overrides, order_seed, pinned)
    if dry_run:
        show_plan(prepared.plan(), as_json=fmt is Format.JSON, every=False)
        return
    execute(
        prepared,
        results=results,
        data_dir=data_dir,
        cpus=pinned,
        isolation=isolation,
        new=new,
        retry_failed=retry_failed,
        fmt=fmt,
    )


def execute(
    prepared: PreparedSuite,
    *,
    results: Path,
    data_dir: Path | None,
    cpus: tuple[int, ...],
    isolation: Isolation | None,
    new: bool,
    retry_failed: bool,
    fmt: Format,
    worker: str = WORKER,
) -> None:
    """`bench run` behind its options. `worker` is the module that does a run; tests name another."""
    from bench.cli.progress import Progress
    from bench.run.runner import Setting, run_campaign
    from bench.store import parts as store
    from bench.store.campaign import locked, open_campaign

    data, substitutes = _data(prepared, data_dir, say)
    plan = prepared.plan(substitutes)
    if not plan.planned:
        reasons = [f"{names}: {reason}" for reason, names in left_out(plan)]
        raise NothingSureError("\n  ".join(["nothing of this suite can run here:", *reasons]))
    software = software_of(plan)
    wanted = campaign_of(plan, prepared.machine, software)

    with locked(results):  # before a campaign begins: the folder may be unwritable, or a newer bench's
        attempts = store.attempts(results, say=say)

    def finished(campaign_id: str) -> list[str]:
        done = attempts.get(campaign_id, {})
        return [case for case, (_, status) in done.items() if status is Status.OK or not retry_failed]

    with terminated_as_interrupted():
        content = {"command": _command(sys.argv[1:]), **plan.to_data()}
        campaign, resumed = open_campaign(results, wanted, content, finished, new=new, say=say)
        _begin(plan, campaign, resumed, results, prepared.machine)
        setting = Setting(
            folder=results,
            campaign=campaign,
            machine=prepared.machine,
            software=software,
            data=data,
            cpus=cpus,
            isolation=isolation,
            worker=worker,
        )
        try:
            if prepared.suite.settings.bounds:
                _bounds(plan, setting)
            with Progress(plan, sys.stderr) as progress:
                outcome = run_campaign(plan, setting, progress, retry_failed=retry_failed)
        except BrokenPipeError:
            raise typer.Exit(ExitCode.INTERRUPTED) from None  # whoever read the progress has gone away
        except KeyboardInterrupt:
            say("interrupted; everything finished is kept, and the same command goes on from here.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    _end(outcome, campaign, results, fmt)


def _data(
    prepared: PreparedSuite, data_dir: Path | None, say: Callable[[str], None]
) -> tuple[dict[str, Path], dict[str, str]]:
    """The data file of each task, and which task stands in for another whose data can't be had."""
    from bench.catalog import tasks
    from bench.catalog.fetch import DataUnavailableError, obtain

    origin, fallback = f"the suite {prepared.suite.name}", prepared.suite.settings.fallback_task
    data: dict[str, Path] = {}
    substitutes: dict[str, str] = {}
    for name in prepared.suite.axes.tasks:
        try:
            data[name] = obtain(tasks.find(name, origin), data_dir=data_dir, say=say)
        except DataUnavailableError as error:
            if not fallback or fallback == name:
                raise
            say(str(error))
            say(f"RUNNING THE TASK {fallback} INSTEAD: the same protocol on other data.")
            say(f"Every result is labelled {fallback}.")
            data[fallback] = obtain(tasks.find(fallback, origin), data_dir=None, say=say)
            substitutes[name] = fallback
    return data, substitutes


def software_of(plan: Plan) -> dict[str, Software]:
    """The software that each backend of a plan would use, by backend."""
    from bench.host.software import read_software

    return {backend: read_software(backend) for backend in sorted({p.case.backend for p in plan.planned})}


def campaign_of(plan: Plan, machine: Machine, software: dict[str, Software]) -> Campaign:
    """The campaign that would begin now."""
    from bench.catalog.cells import sources_digest
    from bench.store.campaign import Campaign, commit_of

    return Campaign(
        suite=plan.suite,
        plan_hash=plan.hash,
        order_seed=plan.order_seed,
        machine_fingerprint=machine.fingerprint,
        software_fingerprint=digest(" ".join(one.fingerprint for one in software.values())),
        program_version=bench.__version__,
        program_commit=commit_of(Path(bench.__file__).parent),
        project_commit=commit_of(Path.cwd()),
        cells_digest=sources_digest({p.case.cell for p in plan.planned}),
        started_at=datetime.now(UTC).isoformat(timespec="microseconds"),
    )


def _begin(plan: Plan, campaign: Campaign, resumed: bool, results: Path, machine: Machine) -> None:
    from bench.host.noise import read_quiet, remarks

    say(f"{'resuming' if resumed else 'beginning'} the campaign {campaign.id}: {plan.title or plan.suite}")
    say(f"{count(len(plan.planned), 'run')} in {count(plan.blocks, 'block')}, results in {results}")
    for reason, names in left_out(plan):
        say(f"left out: {names}: {reason}")
    for remark in remarks(read_quiet(), machine):
        say(f"warning: {remark.text}: {remark.advice}")


def _bounds(plan: Plan, setting: Setting) -> None:
    from bench.run.ceiling_runs import measure_bounds

    measure_bounds(
        plan,
        setting.folder,
        machine=setting.machine,
        software=setting.software,
        again=False,
        cpus=setting.cpus,
        isolation=setting.isolation,
        say=say,
    )


def _end(outcome: Outcome, campaign: Campaign, results: Path, fmt: Format) -> None:
    from bench.cli.table import print_table
    from bench.report.measured import read_sections

    print_table(read_sections([results], campaign=campaign.id, say=say), fmt)
    if outcome.measured_fraction is not None:
        say(
            f"{outcome.done_now} runs in {duration(outcome.wall_seconds)}; "
            f"measured {100 * outcome.measured_fraction:.0f} % of the wall time (build to evaluate)"
        )
    say(f"observations: {results / 'runs'} (parquet); `bench table {results}` makes this table again")
    if outcome.troubled:
        say(f"{outcome.troubled} runs failed, timed out or were invalid; their logs are in {results / 'logs'}")
        raise typer.Exit(ExitCode.RUNS_FAILED)


def _command(arguments: Sequence[str]) -> str:
    """What makes the campaign again; where its results are kept is no part of that."""
    import shlex

    kept = [
        one
        for before, one in zip(["", *arguments], arguments, strict=False)
        if "--results" not in (before, one) and not one.startswith("--results=")
    ]
    return shlex.join(["bench", *kept])


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM and SIGHUP end a run as Ctrl-C does: the child is killed, and what is finished is kept."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    caught = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]  # nohup ignores
    before = {number: signal.signal(number, interrupt) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
