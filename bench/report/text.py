"""How figures and names become text: what the table and the verdicts share.

Names and messages that come from users are cleaned of control characters, and in markdown escaped, so that they can
neither break a table nor run as HTML.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from bench.analysis.stats import Estimate
from bench.core.units import significant as significant

NONE = "–"


@dataclass(frozen=True)
class Grid:
    """Headings, each with whether its column is left-aligned, and rows of text; a line break stacks two in a cell."""

    heads: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, ...], ...]


def decimals_of(shown: str) -> int:
    """How many digits stand after the point of a number as it is shown."""
    return len(shown.partition(".")[2])


def ranged(estimate: Estimate | None) -> tuple[str, str]:
    """A positive figure, and its interval as low–high, or nothing where it has none."""
    if estimate is None:
        return NONE, ""
    value = significant(estimate.value)
    if estimate.interval is None:
        return value, ""
    low, high = (significant(x, decimals_of(value)) for x in (estimate.interval.low, estimate.interval.high))
    return value, f"{low}–{high}"


def clean(text: str) -> str:
    """One line without control characters: a cell's name or an error may hold anything."""
    spaced = (" " if c.isspace() else c for c in text)
    return " ".join("".join(c for c in spaced if c.isprintable()).split())


def machine_words(machine: Mapping[str, Any]) -> str:
    """A machine in a line."""
    cores, quota, memory = (machine.get(name) for name in ("usable_cores", "cpu_quota", "memory_class_gib"))
    words = [
        machine.get("cpu_model") or "unknown processor",
        *([f"{cores} core{'s' if cores != 1 else ''}"] if cores else []),
        *([f"quota of {quota:g}"] if quota else []),
        *([f"{memory:g} GiB"] if memory else []),
        *(machine.get("gpus") or ()),
    ]
    return clean(" · ".join(map(str, words)))


def software_words(software: Mapping[str, Any]) -> str:
    """The software in a line."""
    versions = [(name, software.get(name)) for name in ("python", "keras", "numpy")]
    versions.insert(2, (str(software.get("backend")), software.get("backend_version")))
    words = [f"{name} {version}" for name, version in versions if version]
    words += [f"{name}={value}" for name, value in software.get("settings") or ()]
    return clean(" · ".join(words)) or "unknown software"


def listed(items: Sequence[tuple[str, str]]) -> Table:
    """For the console: (mark, text) each, the text folded beside its mark."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for mark, text in items:
        grid.add_row(Text(mark), Text(text))
    return grid


def grid(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: Collection[str],
    widths: Sequence[int] = (),
    head: bool = True,
) -> Table:
    """For the console: rows below headings and a line; those in `left` are left-aligned, `widths` fixes the columns."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), show_header=head)
    for i, name in enumerate(heads):
        width = widths[i] if widths else None
        table.add_column(Text(name), justify="left" if name in left else "right", overflow="fold", width=width)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "`": "&#96;"})


def escaped(text: str) -> str:
    """Text as markdown shows it: no HTML, no code, no emphasis, no link, no end of a table's cell."""
    # An underscore inside a word (simple_rnn) marks nothing, and reads better bare.
    bare = re.sub(r"([\\*\[\]~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", clean(text))
    return bare.translate(_HTML)


def markdown_table(heads: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, given (heading, whether its column is left-aligned) and the rows; all is escaped."""
    cells = [[head for head, _ in heads], *rows]
    lines = [f"| {' | '.join(map(escaped, row))} |" for row in cells]
    rule = "|".join("---" if left else "--:" for _, left in heads)
    return [lines[0], f"|{rule}|", *lines[1:]]


def without_nan(value: Any) -> Any:
    """For JSON, which has no NaN: the same with None for every number that is not finite."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
