"""The document model: what a report states, before it is text in a terminal, markdown, or a page.

A report module makes a `Document` of records; `text`, `markdown` and `html` render it, each in its own way. All texts
are raw: cleaning them of control characters, escaping and wrapping are the renderers' work, so that no name or message
of a user can break a table or run as HTML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Tone = Literal["plain", "soft", "good", "warning"]
"""How loud a paragraph is: `soft` stands back, `good` and `warning` are coloured where there are colours."""

FIGURE_INK = "#1c1c1e"
FIGURE_GRID = "#d9d9dc"
"""The colours of a figure's lines and grid, which a page replaces by its own, so that both are readable on dark."""

Cell: TypeAlias = "str | tuple[str, ...]"
"""A table's cell: a text, or several that stand below each other."""


@dataclass(frozen=True)
class Column:
    """A table's column: its heading and how it is laid out."""

    head: Cell
    left: bool = True
    """Texts are left-aligned, figures right-aligned."""
    wrap: bool = False
    """Whether a terminal may break its texts over lines; figures stay whole as long as another column can give way."""
    group: bool = False
    """First column only: rows with equal texts belong together. A terminal shows the text once, in the first of the
    rows, or above them where the table would not fit otherwise."""


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title of a page."""

    text: str
    level: int = 3
    anchor: str = ""
    """A page's contents lists the headings that have one."""


@dataclass(frozen=True)
class Paragraph:
    """One or more sentences."""

    text: str
    tone: Tone = "plain"
    indent: int = 0
    """Steps that a terminal indents it by."""


@dataclass(frozen=True)
class Lines:
    """Short texts below each other: a setting, a machine, its software. Empty ones are left out."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Notes:
    """A list of remarks."""

    texts: tuple[str, ...]
    bullet: str = "·"
    """What a terminal puts before each; nothing where each begins with a mark of its own."""


@dataclass(frozen=True)
class Facts:
    """Names and their values, below a heading where there is one."""

    pairs: tuple[tuple[str, Cell], ...]
    heading: str = ""
    empty: str = "–"


@dataclass(frozen=True)
class Table:
    """Rows of texts below headings; without any heading where all are empty."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    empty: str = ""
    """What stands there instead where there are no rows."""
    sortable: bool = False
    narrow: Table | None = None
    """The same in fewer columns, for a terminal that this one does not fit."""


@dataclass(frozen=True)
class Details:
    """Blocks that a reader unfolds; a terminal shows them without the summary."""

    summary: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Callout:
    """What most readers came for: sentences, then the steps that belong to them, in a box."""

    texts: tuple[str, ...]
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawn figure."""

    name: str
    title: str
    """The finding."""
    caption: str
    """What is shown, with n and the interval."""
    alt: str
    """What somebody who can't see it should know."""
    svg: str = field(repr=False)
    png: bytes = field(repr=False)
    data: tuple[Mapping[str, Any], ...] = field(repr=False)
    """What was drawn, as records."""

    def _repr_svg_(self) -> str:
        """How a notebook shows it."""
        return self.svg


@dataclass(frozen=True, kw_only=True)
class FigureNotDrawn:
    """A figure that has nothing to show, and why."""

    name: str
    title: str
    reason: str


@dataclass(frozen=True)
class Gallery:
    """Figures beside each other."""

    figures: tuple[Figure | FigureNotDrawn, ...]
    prefix: str = ""
    """What keeps their names apart from those of another gallery of the document."""


@dataclass(frozen=True)
class Diagrams:
    """Small drawings beside each other, each with the table that it is drawn from: a page shows the drawing (SVG), the
    other renderers the table."""

    drawings: tuple[tuple[str, Table], ...]


@dataclass(frozen=True)
class Either:
    """The same in two arrangements, where a terminal needs one of its own."""

    terminal: tuple[Block, ...]
    page: tuple[Block, ...]


Block: TypeAlias = Heading | Paragraph | Lines | Notes | Facts | Table | Details | Callout | Gallery | Diagrams | Either


@dataclass(frozen=True)
class Document:
    """A title, which may be empty, and blocks in reading order."""

    blocks: tuple[Block, ...]
    title: str = ""

    def walk(self) -> Iterator[Block]:
        """All blocks as a page has them, those inside folded parts too."""
        return _walk(self.blocks)

    def table(self, caption: str) -> Table:
        """The table whose caption begins so.

        Raises:
            LookupError: there is none.
        """
        tables = [block for block in self.walk() if isinstance(block, Table)]
        for table in tables:
            if table.caption.startswith(caption):
                return table
        raise LookupError(f"no table {caption!r}: there are {[table.caption for table in tables]}")


def _walk(blocks: tuple[Block, ...]) -> Iterator[Block]:
    for block in blocks:
        if isinstance(block, Details):
            yield from _walk(block.blocks)
        elif isinstance(block, Either):
            yield from _walk(block.page)
        else:
            yield block
