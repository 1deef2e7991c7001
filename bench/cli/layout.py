"""How commands lay out what they print: facts with their units, paragraphs and tables, as wide as the terminal."""

from __future__ import annotations

import re
import shutil
import textwrap
from typing import Any

import typer


def width() -> int:
    """The columns to fill: the terminal's, or 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


def say(line: str) -> None:
    """A line about what goes on, beside the output."""
    typer.echo(f"bench: {line}", err=True)


def paragraph(text: str, indent: str = "", **style: Any) -> None:
    """Print a text, wrapped; what follows its first line is indented a little more."""
    for row, line in enumerate(_wrapped(text, width() - len(indent) - 2 * bool(indent))):
        typer.secho(f"{indent}{'  ' if row and indent else ''}{line}", **style)


def _wrapped(text: str, columns: int) -> list[str]:
    # a command between backticks is there to be copied: it stays on one line
    kept = re.sub(r"`[^`]+`", lambda command: command[0].replace(" ", "\u00a0"), printable(text))
    lines = textwrap.wrap(kept, max(columns, 20), break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in lines] or [""]


def printable(text: str) -> str:
    """Without control characters: what users name, and what their cells raise, is printed to a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
