"""`bench cite`: sentences for a paper, and BibTeX of the program and of results."""

from __future__ import annotations

import typer

from bench.cli.options import JoinOption, ResultsArgument
from bench.cli.output import notify
from bench.report.values import printable_lines


def cite(results: ResultsArgument = None, join: JoinOption = "") -> None:
    """Print sentences for a paper, and BibTeX of the program and of results; without results, of the program alone.

    The sentences stand before the entries, each after a %, which BibTeX passes over. The digest is of the
    observations, in whatever files they are: who has the same digest has the same measurements.

    Examples:

      bench cite

      bench cite results/reference/mnist_rows >> references.bib
    """
    from bench.report.cite import bibtex, sentences

    if not results:
        typer.echo(bibtex(None, ()), nl=False)
        return

    from bench.analysis.joining import read_join
    from bench.analysis.summary import summarise
    from bench.store import load

    frame = load(results, warn=notify)
    sections = summarise(frame, join=read_join(join))
    for section in sections:
        typer.echo(printable_lines("\n".join(f"% {sentence}" for sentence in sentences(section))) + "\n")
    typer.echo(bibtex(frame, sections), nl=False)
