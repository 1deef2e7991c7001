"""`bench run`: plan, run, store, and the table of what was measured; resumes."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import (
    LOCAL_RESULTS,
    AddressOption,
    CpusOption,
    DataDirOption,
    Format,
    FormatOption,
    OnOption,
    OrderOption,
    ResultsOption,
    SetOption,
    SlotOption,
    SuiteArgument,
    check_cluster_options,
)
from bench.cli.output import notify
from bench.cli.plan import show_plan
from bench.cli.precision import OVERRIDES, PrecisionRule, check_overrides, read_targets
from bench.cluster.slot import Slot
from bench.core.errors import ExitCode, UsageError
from bench.report.values import count, duration
from bench.run.server import Isolation

if TYPE_CHECKING:
    from bench.cli.progress import CampaignProgress
    from bench.cluster.engine import RayEngine
    from bench.run.session import SessionOutcome, SessionSettings

_SHOWN_FRACTION = 0.005
"""The smallest part of the wall time that is named."""


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
    join: Annotated[
        bool, typer.Option("--join", help="Measure blocks of the campaign too, where another harness measures it.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run again what failed, timed out or was invalid.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", "--budget", metavar="N", help="Begin no block that would not end within so many minutes."
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="METRIC=WIDTH,…",
            help="Add seeds, block by block, until half of each interval is as narrow: accuracy=0.2%,train_seconds=3%. "
            "At least 10 blocks, at most 200, or as many as --budget has time for.",
        ),
    ] = None,
    interleave: Annotated[
        float,
        typer.Option(
            "--interleave",
            metavar="MINUTES",
            help="End with the cells measured interleaved, for at most so long: surer ratios. 0 leaves it out.",
        ),
    ] = 0.0,
    on: OnOption = None,
    address: AddressOption = None,
    slot: SlotOption = Slot.MACHINE,
    provision: Annotated[
        bool,
        typer.Option(
            "--provision", help="Build this Python environment on each node of --on, with uv, once; measure in it."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    fmt: FormatOption = Format.TEXT,
) -> None:
    """Plan, run, store, and show the table. Interrupted, it goes on where it was when it is called again.

    Examples:

      bench run quick

      bench run --set cells=lstm,gru --set seeds=0..9 --set epochs=1

      bench run --set units=64,256 --set batch_size=128

      bench run quick --precision accuracy=0.2%,train_seconds=3% --budget 30

      bench run mnist_rows --on ray --address 10.0.0.1:6379
    """
    from bench.host.hardware import parse_cpus
    from bench.plan.prepare import prepare

    if new and join:
        raise UsageError("--new and --join exclude each other: a new campaign has nobody to join.")
    if minutes is not None and not 0 < minutes < math.inf:
        raise UsageError(f"--minutes {minutes:g} is no time: write minutes, as in --minutes 8.")
    if not 0 <= interleave < math.inf:
        raise UsageError(f"--interleave {interleave:g} is no time: write minutes, as in --interleave 10.")
    check_cluster_options(on, address, {"--cpus": cpus, "--join": join, "--interleave": interleave}, slot)
    if provision and on is None:
        raise UsageError("--provision equips the nodes of a cluster, and none is named: add --on ray.")
    pinned = parse_cpus(cpus)
    targets = read_targets(precision) if precision is not None else ()
    if targets:
        check_overrides(overrides or ())
        overrides = [*(overrides or ()), *OVERRIDES]
    prepared = prepare(suite, overrides, order_seed, pinned)
    if on is not None:
        from bench.cluster.engine import ClusterAddress

        prepared = ClusterAddress.parse(on, address, slot).planned(prepared)
    if dry_run:
        show_plan(prepared, results, fmt, every=False, on=on, address=address, slot=slot, data_dir=data_dir)
        return

    from bench.run import session

    stopping = PrecisionRule(targets, results, notify) if targets else None
    progress, engine = _reporter_and_engine(on, address, slot, provision)
    settings = session.SessionSettings(
        results=results,
        command=_command(sys.argv[1:]),
        data_dir=data_dir,
        cpus=pinned,
        isolation=isolation,
        new=new,
        join=join,
        retry_failed=retry_failed,
        budget_seconds=math.inf if minutes is None else 60 * minutes,
        stopping=stopping,
        engine=engine,
    )
    try:
        with progress:
            if stopping:
                stopping.note = progress.note
            outcome = session.run_session(prepared, settings, progress)
        if interleave and outcome.runs.done_now:
            _show_so_far(outcome, results)
            _interleave(outcome, settings, 60 * interleave)
    except BrokenPipeError:
        raise typer.Exit(ExitCode.INTERRUPTED) from None  # whoever read the progress has gone away
    except KeyboardInterrupt:
        notify("interrupted; everything finished is kept, and the same command goes on from here.")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if stopping:
        stopping.note = notify
        stopping.conclude(outcome.campaign.id)
    _show(outcome, results, fmt)


def _reporter_and_engine(
    on: str | None, address: str | None, slot: Slot, provision: bool
) -> tuple[CampaignProgress, RayEngine | None]:
    """What reports the progress, and what does the runs; no engine where that is this machine."""
    if on is None:
        from bench.cli.progress import CampaignProgress

        return CampaignProgress(sys.stderr), None
    from bench.cli.cluster_progress import ClusterProgress
    from bench.cluster.engine import ClusterAddress, RayEngine
    from bench.cluster.provision import provision_of_driver

    progress = ClusterProgress(sys.stderr)
    cluster = ClusterAddress.parse(on, address, slot)
    return progress, RayEngine(cluster, progress, provision_of_driver(notify) if provision else None)


def _show_so_far(outcome: SessionOutcome, results: Path) -> None:
    """Print on standard error what the runs have shown, for who need not wait for surer ratios."""
    from bench.cli.output import text_of
    from bench.report.measured import read_sections
    from bench.report.table import brief_document

    sections = read_sections([results], campaign=outcome.campaign.id, warn=lambda text: None)
    typer.echo(text_of(brief_document(sections), sys.stderr), err=True)


def _interleave(outcome: SessionOutcome, settings: SessionSettings, budget_seconds: float) -> None:
    """Measure the campaign's cells against each other, once its runs are done."""
    from bench.cli.progress import DuelProgress
    from bench.duel import interleaved_cells
    from bench.host.hardware import read_machine

    interleaved_cells.interleave(
        outcome.plan,
        interleaved_cells.InterleavedSettings(
            results=settings.results,
            campaign_id=outcome.campaign.id,
            machine=read_machine(settings.cpus),
            software=outcome.software,
            data=outcome.data,
            budget_seconds=budget_seconds,
            cpus=settings.cpus,
        ),
        DuelProgress(sys.stderr, budget_seconds),
    )


def _show(outcome: SessionOutcome, results: Path, fmt: Format) -> None:
    """Print the campaign's table and where everything lies; leaves with the code 4 where runs failed."""
    from bench.cli.table import print_table
    from bench.report.measured import read_sections

    runs = outcome.runs
    print_table(read_sections([results], campaign=outcome.campaign.id, warn=notify), fmt)
    if runs.done_now and runs.wall_time is not None:
        parts = runs.wall_time.other_fractions.items()
        rest = ", ".join(f"{name} {100 * part:.0f} %" for name, part in parts if part >= _SHOWN_FRACTION) or "nothing"
        notify(
            f"{count(runs.done_now, 'run')} in {duration(runs.wall_time.total_seconds)}; "
            f"measured {100 * runs.wall_time.measured_fraction:.0f} % of the wall time; the rest: {rest}"
        )
    notify(f"observations: {results / 'runs'} (parquet); `bench table {results}` makes this table again")
    if runs.troubled:
        notify(f"{count(runs.troubled, 'run')} failed, timed out or invalid; the logs are in {results / 'logs'}")
        raise typer.Exit(ExitCode.RUNS_FAILED)


def _command(arguments: Sequence[str]) -> str:
    """The command that makes the campaign again; where its results are kept is no part of it."""
    kept = [
        argument
        for before, argument in zip(["", *arguments], arguments, strict=False)
        if "--results" not in (before, argument) and not argument.startswith("--results=")
    ]
    return shlex.join(["bench", *kept])
