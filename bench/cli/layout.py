"""How commands lay out what they print: facts with their units, paragraphs and tables, as wide as the terminal."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from bench.report.values import NONE, is_unknown, worded


def width() -> int:
    """The columns to fill: the terminal's, or 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


def say(line: str) -> None:
    """A line about what goes on, beside the output."""
    typer.echo(f"bench: {line}", err=True)


def section(heading: str, facts: Mapping[str, Any]) -> None:
    """Print the known facts below a heading, a line each: the name without its unit, the value with it."""
    typer.secho(heading, bold=True)
    lines = [worded(name, value) for name, value in facts.items() if not is_unknown(value)]
    if not lines:
        typer.echo(f"  {NONE}")
    names = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        for row, part in enumerate(_wrapped(value, width() - names - 4)):
            typer.echo("  " + typer.style(f"{'' if row else name:{names}}", dim=True) + "  " + part)


def paragraph(text: str, indent: str = "", **style: Any) -> None:
    """Print a text, wrapped; what follows its first line is indented a little more."""
    for row, line in enumerate(_wrapped(text, width() - len(indent) - 2 * bool(indent))):
        typer.secho(f"{indent}{'  ' if row and indent else ''}{line}", **style)


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, wrap: int, right: Sequence[int] = (), indent: str = ""
) -> None:
    """Print rows below headings; the column `wrap` is narrowed until all fits, those in `right` are right-aligned."""
    cleaned = [[printable(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*cleaned, strict=True)]
    others = sum(widths) - widths[wrap] + 2 * (len(widths) - 1)
    widths[wrap] = max(len(headings[wrap]), min(widths[wrap], width() - others - len(indent)))
    for number, row in enumerate(cleaned):
        lines = [_wrapped(cell, size) for cell, size in zip(row, widths, strict=True)]
        for line in range(max(map(len, lines))):
            cells = [part[line] if line < len(part) else "" for part in lines]
            text = "  ".join(
                cell.rjust(size) if column in right else cell.ljust(size)
                for column, (cell, size) in enumerate(zip(cells, widths, strict=True))
            )
            typer.secho(indent + text.rstrip(), bold=number == 0)


def _wrapped(text: str, columns: int) -> list[str]:
    # a command between backticks is there to be copied: it stays on one line
    kept = re.sub(r"`[^`]+`", lambda command: command[0].replace(" ", "\u00a0"), printable(text))
    lines = textwrap.wrap(kept, max(columns, 20), break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in lines] or [""]


def printable(text: str) -> str:
    """Without control characters: what users name, and what their cells raise, is printed to a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
