"""`bench cells`, `bench tasks`, `bench suites`: what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.layout import paragraph, table


def cells() -> None:
    """The cells that can be compared, and how to name one of your own."""
    from bench.catalog.cells import ENTRY_POINT_GROUP, registered

    known = registered().values()
    table(("cell", "what it is", "factory"), [(cell.name, cell.title, cell.factory) for cell in known], wrap=1)
    typer.echo()
    paragraph("A cell of your own is a factory that returns a Keras layer:")
    typer.echo("  def factory(units, activation, return_sequences, name): ...")
    paragraph(
        f"Name it as --set cells=my.module:factory, or register it under the entry point group {ENTRY_POINT_GROUP}."
    )


def tasks() -> None:
    """The tasks, and their data."""
    from bench.catalog.tasks import TASKS

    rows = [
        (task.name, task.title, f"{task.train_samples:,}", f"{task.test_samples:,}", f"{task.steps} × {task.features}")
        for task in TASKS.values()
    ]
    table(("task", "what it is", "train", "test", "steps × features"), rows, wrap=1, right=(2, 3))
    typer.echo()
    for task in TASKS.values():
        paragraph(f"{task.name}: {task.credit}; {task.licence}.")


def suites(
    name: Annotated[str | None, typer.Argument(metavar="SUITE", help="Print this suite's TOML.")] = None,
) -> None:
    """The suites that come with the program; with a name, its TOML, to begin one of your own from."""
    from bench.plan import suite

    if name is not None:
        suite.load(name)  # an unknown or malformed one is an error that says how
        typer.echo(suite.find(name).read_text(encoding="utf-8"), nl=False)
        return
    known = [suite.load(each) for each in suite.built_in()]
    rows = [(one.name, one.title, str(one.configurations * one.runs_each)) for one in known]
    table(("suite", "the question it answers", "runs"), rows, wrap=1, right=(2,))
    typer.echo()
    paragraph("Run one with `bench run SUITE`; `bench suites SUITE` prints its TOML, to begin one of your own from.")
