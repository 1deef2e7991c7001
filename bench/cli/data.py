"""`bench data fetch`: get the data sets."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.options import DataDirOption

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Get the data sets."""


@app.command()
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="TASK", help="Whose data; all of them if none is named.")
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Get and verify the data of the tasks, so that a later run needs no network."""
    from bench.catalog import tasks
    from bench.catalog.cache import obtain

    for task in [tasks.find(name, "on the command line") for name in names] if names else tasks.TASKS.values():
        path = obtain(task, data_dir=data_dir, report=lambda line: typer.echo(line, err=True))
        if path is None:
            typer.echo(f"{task.name}: generated in each run, from a fixed seed")
        elif task.recipe:
            typer.echo(f"{task.name}: made in each run, of {path}")
        else:
            typer.echo(f"{task.name}: {path} (sha256 of its content {task.digest[:12]}…)")
