"""`bench table`: the comparison table."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import Format, FormatOption, ResultsArgument, measured
from bench.errors import NothingSureError

if TYPE_CHECKING:
    import pandas as pd

    from bench.summary import Bounds


def table(
    results: ResultsArgument = None,
    fmt: FormatOption = Format.TEXT,
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE", help="Put the markdown table between this file's markers instead."),
    ] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="Only what this suite measured.")] = None,
) -> None:
    """The comparison table of what has been measured, with the notebook's claims judged by it."""
    from bench.bounds import load as load_bounds
    from bench.report.table import render, write_between_markers
    from bench.store import load
    from bench.summary import NEEDED, summarise

    frame = load(measured(results), columns=NEEDED, say=lambda line: typer.echo(f"bench: {line}", err=True))
    bounds = load_bounds(measured(results), say=lambda line: typer.echo(f"bench: {line}", err=True))
    if suite is not None:
        there = ", ".join(sorted(map(str, frame["suite"].unique())))
        frame = frame[frame["suite"] == suite]
        if frame.empty:
            raise NothingSureError(f"nothing of the suite {suite!r} is in these results; measured: {there}.")
    if write is None:
        print_table(frame, fmt, bounds)
        return
    changed = write_between_markers(write, render(summarise(frame, bounds=bounds), "md"))
    typer.echo(f"{write}: {'the table is new' if changed else 'the table was up to date'}", err=True)


def print_table(frame: pd.DataFrame, fmt: Format, bounds: Bounds) -> None:
    """Print the table of these observations, as wide as the terminal is."""
    from bench.report.table import render
    from bench.summary import summarise

    typer.echo(render(summarise(frame, bounds=bounds), fmt.value, width=shutil.get_terminal_size((100, 24)).columns))
