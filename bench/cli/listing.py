"""`bench cells`, `bench tasks`, `bench suites`, `bench glossary`: what there is, and what the words mean."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.output import put_text


def cells() -> None:
    """The cells that can be compared, and how to name one of your own."""
    from bench.catalog.cells import ENTRY_POINT_GROUP, registered
    from bench.report.document import Column, Document, Lines, Paragraph, Table

    columns = (Column("cell"), Column("what it is", wrap=True), Column("factory"))
    rows = tuple((cell.name, cell.title, cell.factory) for cell in registered().values())
    put_text(
        Document(
            (
                Table(columns, rows),
                Paragraph("A cell of your own is a factory that returns a Keras layer:"),
                Lines(("def factory(units, activation, return_sequences, name): ...",)),
                Paragraph(
                    "Name it as --set cells=my.module:factory, or register it under the entry point group "
                    f"{ENTRY_POINT_GROUP}."
                ),
            )
        )
    )


def tasks() -> None:
    """The tasks, and their data."""
    from bench.catalog.tasks import TASKS, aeon
    from bench.report.document import Column, Document, Notes, Table

    columns = (
        *(Column("task"), Column("what it is", wrap=True), Column("samples", left=False)),
        *(Column("steps × features", left=False), Column("target"), Column("sized by", wrap=True)),
    )
    rows = tuple(
        (
            *(task.name, task.title, f"{task.train_samples:,} + {task.test_samples:,}"),
            f"{task.steps} × {task.features}",
            task.target.name if task.scored else "",
            ", ".join(task.recipe.takes) if task.recipe else "",
        )
        for task in TASKS.values()
    )
    installed = ", ".join(aeon.names()) or "aeon isn't installed: pip install --no-deps aeon"
    more = (f"aeon:NAME: a data set inside the package aeon ({installed}).", "module:factory: data of your own.")
    credits = tuple(f"{task.name}: {task.credit}; {task.licence}." for task in TASKS.values())
    put_text(Document((Table(columns, rows), Notes((*more, *credits)))))


def suites(
    name: Annotated[str | None, typer.Argument(metavar="SUITE", help="Print this suite's TOML.")] = None,
) -> None:
    """The suites that come with the program; with a name, its TOML, to begin one of your own from."""
    from bench.plan import suite
    from bench.report.document import Column, Document, Paragraph, Table

    if name is not None:
        suite.load(name)  # an unknown or malformed one is an error that names it
        typer.echo(suite.find(name).read_text(encoding="utf-8"), nl=False)
        return
    known = [suite.load(each) for each in suite.built_in()]
    columns = (Column("suite"), Column("the question", wrap=True), Column("runs", left=False))
    rows = tuple((each.name, each.title, str(each.runs)) for each in known)
    advice = "Run one with bench run SUITE; bench suites SUITE prints its TOML, to begin one of your own from."
    put_text(Document((Table(columns, rows), Paragraph(advice))))


def glossary(
    term: Annotated[list[str] | None, typer.Argument(metavar="TERM", help="Explain this one alone.")] = None,
) -> None:
    """What the terms mean that tables, verdicts and reports use."""
    from bench.report.glossary import glossary_document

    put_text(glossary_document(" ".join(term) if term else None))
