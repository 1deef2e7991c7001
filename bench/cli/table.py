"""`bench table`: the comparison table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import ClaimOption, Format, FormatOption, JoinOption, ResultsArgument, measured
from bench.cli.output import notify, put

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
    join: JoinOption = "",
    claims: ClaimOption = None,
) -> None:
    """The comparison table of what has been measured, with claims judged by it: the notebook's, and your own.

    Examples:

      bench table --join units --claim "accuracy: gru > lstm"

      bench table results/local --join backend
    """
    from bench.analysis.joining import read_join
    from bench.core.claim import read_claims
    from bench.report.markdown import render_markdown
    from bench.report.markers import write_between_markers
    from bench.report.measured import read_sections
    from bench.report.table import table_document

    declared = read_claims(claims or (), "--claim")
    sections = read_sections(measured(results), suite=suite, join=read_join(join), claims=declared, warn=notify)
    if write is None:
        print_table(sections, fmt)
        return
    changed = write_between_markers(write, render_markdown(table_document(sections)))
    typer.echo(f"{write}: {'the table is new' if changed else 'the table was up to date'}", err=True)


def print_table(sections: Sequence[Section], fmt: Format) -> None:
    """Print the table in a format."""
    from bench.report.table import table_document
    from bench.report.table_data import table_data

    put(fmt, lambda: table_document(sections), lambda: table_data(sections))
