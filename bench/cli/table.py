"""`bench table`: the comparison table."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.layout import say
from bench.cli.options import Format, FormatOption, ResultsArgument, measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.analysis.summary import Section


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
    from bench.report.measured import read_sections
    from bench.report.table import render, write_between_markers

    sections = read_sections(measured(results), suite=suite, say=say)
    if write is None:
        print_table(sections, fmt)
        return
    changed = write_between_markers(write, render(sections, "md"))
    typer.echo(f"{write}: {'the table is new' if changed else 'the table was up to date'}", err=True)


def print_table(sections: Sequence[Section], fmt: Format) -> None:
    """Print the table, as wide as the terminal is."""
    from bench.report.table import render

    typer.echo(render(sections, fmt.value, width=shutil.get_terminal_size((100, 24)).columns))
