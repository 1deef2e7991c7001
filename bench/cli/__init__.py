"""The command line: a file a verb, and the only place that prints and exits."""

from __future__ import annotations

import errno
import logging
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated

import typer

import bench
from bench.cli import (
    cite,
    compact,
    compare,
    completion,
    data,
    duel,
    env,
    export,
    figure,
    gate,
    gpu_kit,
    history,
    kernels,
    listing,
    plan,
    report,
    run,
    show,
    slurm,
    start,
    table,
    verify,
)
from bench.cli.output import LogOutput, guard_streams, notify
from bench.core.errors import BenchError, ExitCode, UsageError, system_refusal

app = typer.Typer(
    name="bench",
    help="Compares recurrent cells in Keras: what each costs and how accurate it is, with the kernel that really ran.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bench {bench.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        start.show_first_steps(Path.cwd())


app.command("run")(run.run)
app.command("slurm")(slurm.slurm)
app.command("plan")(plan.plan)
app.command("table")(table.table)
app.command("report")(report.report)
app.command("figure")(figure.figure)
app.command("cite")(cite.cite)
app.command("verify")(verify.verify)
app.command("compare")(compare.compare)
app.command("gate")(gate.gate)
app.command("duel")(duel.duel)
app.command("history")(history.history)
app.command("export")(export.export)
app.command("env")(env.env)
app.command("show")(show.show)
app.command("cells")(listing.cells)
app.command("tasks")(listing.tasks)
app.command("kernels")(kernels.kernels)
app.command("suites")(listing.suites)
app.command("glossary")(listing.glossary)
app.command("compact")(compact.compact)
app.command("gpu-kit")(gpu_kit.gpu_kit)
app.add_typer(data.app, name="data", help="Get the data sets.")


def main() -> None:
    """The entry point `bench`: runs a command; an error that a user can cause becomes a message and an exit code."""
    guard_streams()
    completion.rejoin_words(os.environ)
    logging.getLogger("bench").handlers = [LogOutput()]
    try:
        app(prog_name="bench")
    except BenchError as error:
        notify(str(error))
        sys.exit(error.exit_code)
    except SystemExit as ended:
        # when the reader has seen enough (`bench plan | head`), typer ends with 1, which means a regression here
        if isinstance(ended.__context__, BrokenPipeError):
            sys.exit(ExitCode.OK)
        raise
    except Exception as error:
        if isinstance(error, OSError) and (refusal := _refusal(error)):
            notify(str(refusal))
            sys.exit(refusal.exit_code)
        # Python would end with 1, which a job in CI takes for a regression
        notify(_fault_sentence(error))
        sys.exit(ExitCode.FAULT)


def _refusal(error: OSError) -> BenchError | None:
    """The user's error for what the system refused where no command foresaw it; None for a fault of the program."""
    if error.errno == errno.ENOENT and str(error.filename).startswith(("/proc", "/sys")):
        return UsageError(
            f"cannot read {error.filename}, where bench reads what this machine is: mount /proc and /sys."
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        return None  # a path that the program made wrongly
    return system_refusal(error, f"cannot use {error.filename}" if error.filename else "the system refuses to go on")


def _fault_sentence(error: Exception) -> str:
    """What went wrong, and where the traceback is: in a log, or below where no log can be written."""
    details = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="bench-fault-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as log:
            print(f"bench {bench.__version__}, Python {sys.version}\n{sys.argv}\n\n{details}", file=log)
        where = f"the traceback is in {log.name}; please report it with the command"
    except OSError as refused:
        where = f"no log could be written ({refused.strerror}), so the traceback follows\n{details}"
    what = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".rstrip(": ")
    return f"a fault of bench itself ({what}): {where}"
