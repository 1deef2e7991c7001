"""How commands write: their result to standard output in the format that was asked for, and what goes on beside it."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from bench.cli.options import DataFormat, Format
    from bench.report.document import Document


def width() -> int:
    """The columns to fill: the terminal's, or 100 where there is none."""
    return shutil.get_terminal_size((100, 24)).columns


def notify(line: str) -> None:
    """Write a line about what goes on to standard error, beside the output."""
    typer.echo(f"bench: {line}", err=True)


class LogOutput(logging.Handler):
    """Writes what the library logs as `notify` does."""

    def emit(self, record: logging.LogRecord) -> None:
        notify(record.getMessage())


def put(fmt: Format | DataFormat, document: Callable[[], Document], data: Callable[[], object]) -> None:
    """Write a result in the format that was asked for; only that one is made.

    Args:
        fmt: the format.
        document: what a person reads.
        data: the same for programs, JSON-able, in SI units.
    """
    match fmt.value:
        case "json":
            put_json(data())
        case "md":
            from bench.report.markdown import render_markdown

            typer.echo(render_markdown(document()), nl=False)
        case _:
            put_text(document())


def put_text(document: Document) -> None:
    """Write a document as text, as wide as the terminal, and with colours where it is one."""
    from bench.report.text import render_text

    styled = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    typer.echo(render_text(document, width(), styled=styled), nl=False)


def put_json(value: object) -> None:
    """Write a JSON-able object."""
    from bench.report.jsonout import render_json

    typer.echo(render_json(value), nl=False)
