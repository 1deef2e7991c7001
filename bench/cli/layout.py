"""How commands lay out what they print: facts with their units, paragraphs and tables, as wide as the terminal."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer

UNKNOWN = "–"


def width() -> int:
    """The columns to fill: the terminal's, or 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


def say(line: str) -> None:
    """A line about what goes on, beside the output."""
    typer.echo(f"bench: {line}", err=True)


def section(heading: str, facts: Mapping[str, Any]) -> None:
    """Print the known facts below a heading, a line each: the name without its unit, the value with it."""
    typer.secho(heading, bold=True)
    lines = [worded(name, value) for name, value in facts.items() if not _unknown(value)]
    if not lines:
        typer.echo(f"  {UNKNOWN}")
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


def worded(name: str, value: Any) -> tuple[str, str]:
    """A fact as a reader calls it: `uptime_seconds`, 2179.67 becomes `uptime`, 36 min."""
    for suffix, words, shown in _UNITS:
        if name.endswith(suffix) and isinstance(value, int | float):
            return name.removesuffix(suffix).replace("_", " ") + words, shown(value)
    return name.replace("_", " "), in_words(value)


def in_words(value: Any) -> str:
    """A value without a unit; a mapping as its pairs, a list as its items, and a dash for what is not known."""
    if _unknown(value):
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {in_words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        pairs = all(isinstance(item, list | tuple) and len(item) == 2 for item in value)
        return in_words(dict(value)) if pairs else ", ".join(map(in_words, value))
    return str(value)


def _unknown(value: Any) -> bool:
    return value is None or value in ("", (), [], {})


def duration(seconds: float) -> str:
    """A time that a person waits: 40 s, 12 min, 3 h 20 min, 11 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours = round(minutes / 60)
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{round(hours / 24)} days"


def count(number: int, noun: str) -> str:
    """1 run, 2 runs, 10,000 runs."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def memory(size_bytes: float) -> str:
    """Memory in the unit that suits it: 412 MiB, 23.5 GiB."""
    mib = size_bytes / 1024**2
    return f"{mib:.0f} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"


def measured(seconds: float) -> str:
    """A measured time, to the digits that mean something: 1.23 s, 45.6 ms."""
    if seconds >= 1000:
        return duration(seconds)
    value, unit = (seconds, "s") if seconds >= 0.1 else (seconds * 1000, "ms")
    return f"{f'{value:#.3g}'.rstrip('.')} {unit}"


_UNITS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("_bytes", "", memory),
    ("_gib", "", lambda size: f"{size:g} GiB"),
    ("_seconds", "", measured),
    ("seconds", "time", measured),
    ("_fraction", "", lambda share: f"{100 * share:.1f} %"),
    ("_fraction_start", " at the start", lambda share: f"{100 * share:.1f} %"),
    ("_1m", " (1 min)", lambda load: f"{load:.2f}"),
    ("_5m", " (5 min)", lambda load: f"{load:.2f}"),
    ("_15m", " (15 min)", lambda load: f"{load:.2f}"),
    ("_flops_per_sample", "", lambda flops: f"{flops / 1e6:.4g} MFLOP a sample"),
    ("parameters", "parameters", lambda number: f"{number:,.0f}"),
    ("samples", "samples", lambda number: f"{number:,.0f}"),
    ("accuracy", "accuracy", lambda share: f"{100 * share:.2f} %"),
    ("loss", "loss", lambda loss: f"{loss:.4f}"),
)
"""By the end of a fact's name: what stands there instead, and how its value is written."""


def _wrapped(text: str, columns: int) -> list[str]:
    # a command between backticks is there to be copied: it stays on one line
    kept = re.sub(r"`[^`]+`", lambda command: command[0].replace(" ", "\u00a0"), printable(text))
    lines = textwrap.wrap(kept, max(columns, 20), break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in lines] or [""]


def printable(text: str) -> str:
    """Without control characters: what users name, and what their cells raise, is printed to a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
