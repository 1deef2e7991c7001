"""`bench table`: the comparison table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import ClaimOption, Format, JoinOption, ResultsArgument, TableFormat, measured
from bench.cli.output import notify, put
from bench.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.analysis.summary import Section


def table(
    results: ResultsArgument = None,
    fmt: Annotated[TableFormat, typer.Option("--format", help="How to write it.")] = TableFormat.TEXT,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Every row against every other, with intervals that hold together.")
    ] = False,
    simultaneous: Annotated[
        bool,
        typer.Option("--simultaneous", help="Widen the intervals of each table so that all hold together with 95 %."),
    ] = False,
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

      bench table --pairs --format latex > pairs.tex

      bench table --simultaneous
    """
    from bench.analysis.joining import read_join
    from bench.core.claim import read_claims
    from bench.report.measured import read_sections

    declared = read_claims(claims or (), "--claim")
    if pairs and simultaneous:
        raise UsageError("--pairs has intervals that hold together already: leave --simultaneous out.")
    sections = read_sections(
        measured(results),
        suite=suite,
        join=read_join(join),
        claims=declared,
        simultaneous=simultaneous,
        warn=notify,
    )
    if write is not None:
        _write(write, sections, pairs=pairs)
    elif pairs:
        _print_pairs(sections, fmt)
    else:
        print_table(sections, fmt)


def print_table(sections: Sequence[Section], fmt: Format | TableFormat) -> None:
    """Print the table in a format."""
    from bench.report.table import table_document
    from bench.report.table_data import table_data

    if fmt.value == "csv":
        from bench.report.csv_table import render_csv, table_records

        typer.echo(render_csv(table_records(sections)), nl=False)
        return
    put(fmt, lambda: table_document(sections), lambda: table_data(sections))


def _print_pairs(sections: Sequence[Section], fmt: TableFormat) -> None:
    from bench.report.csv_table import render_csv
    from bench.report.pair_table import pair_records, pairs_document

    if fmt is TableFormat.CSV:
        typer.echo(render_csv(pair_records(sections)), nl=False)
        return
    put(fmt, lambda: pairs_document(sections), lambda: {"pairs": pair_records(sections)})


def _write(file: Path, sections: Sequence[Section], *, pairs: bool) -> None:
    from bench.report.markdown import render_markdown
    from bench.report.markers import write_between_markers
    from bench.report.pair_table import pairs_document
    from bench.report.table import table_document

    document = pairs_document(sections) if pairs else table_document(sections)
    changed = write_between_markers(file, render_markdown(document))
    typer.echo(f"{file}: {'the table is new' if changed else 'the table was up to date'}", err=True)
