"""`bench figure`: one figure of the report as a file for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import JoinOption, ResultsArgument, measured
from bench.cli.output import notify
from bench.core.errors import NoVerdictError, UsageError, unknown

_KINDS = ("pdf", "svg", "png")
_WIDTHS = {"column": 3.35, "page": 7.0}
"""Inches: a column of a paper in two columns, and both."""


def figure(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The figure's name: accuracy_against_time, memory, ...")],
    results: ResultsArgument = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="A file that ends in .pdf, .svg or .png; NAME.pdf if none."),
    ] = None,
    width: Annotated[str, typer.Option("--width", metavar="column|page|INCHES", help="How wide it is.")] = "column",
    section: Annotated[
        int, typer.Option("--section", metavar="N", min=1, help="Which table of `bench table` it is of, from 1.")
    ] = 1,
    suite: Annotated[str | None, typer.Option("--suite", help="Only what this suite measured.")] = None,
    join: JoinOption = "",
) -> None:
    """Write one figure of the report for a paper, fonts embedded, without a title, and print its caption.

    Examples:

      bench figure accuracy_against_time results/reference/mnist_rows --out accuracy.pdf
    """
    file, inches = out or Path(f"{name}.pdf"), _inches(width)
    kind = file.suffix.lower().removeprefix(".")
    if kind not in _KINDS:  # before matplotlib is imported
        raise UsageError(f"--out {file}: a figure is written as {', '.join(_KINDS)}; name a file that ends so.")

    from bench.analysis.joining import read_join
    from bench.report.figures import FIGURES, write_for_paper
    from bench.report.measured import read

    if name not in FIGURES:
        raise unknown("figure", name, FIGURES, "NAME")
    everything = read(measured(results), suite=suite, join=read_join(join), warn=notify)
    if section > len(everything.sections):
        raise NoVerdictError(f"--section {section}: these results have {len(everything.sections)} (see `bench table`).")
    typer.echo(write_for_paper(name, everything, everything.sections[section - 1], file, inches))
    notify(f"{file}: {inches:g} inches wide")


def _inches(text: str) -> float:
    try:
        inches = _WIDTHS[text] if text in _WIDTHS else float(text)
    except ValueError:
        inches = 0.0
    if not 1.5 <= inches <= 20:
        raise UsageError(f"--width {text}: write column, page, or inches from 1.5 to 20.")
    return inches
