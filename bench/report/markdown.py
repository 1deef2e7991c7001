"""A document as markdown for repositories, pull requests and job summaries: texts escaped, no HTML but folds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bench.report.document import (
    Block,
    Callout,
    Cell,
    Details,
    Diagrams,
    Document,
    Either,
    Facts,
    Figure,
    FigureNotDrawn,
    Gallery,
    Heading,
    Lines,
    Notes,
    Paragraph,
    Table,
)
from bench.report.values import clean

_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "`": "&#96;"})


def render_markdown(document: Document) -> str:
    """The document; ends with a newline. Figures are named relative to it, in the folder `figures`."""
    title = (Heading(document.title, level=1),) if document.title else ()
    return "\n".join(_lines_of((*title, *document.blocks))).rstrip("\n") + "\n"


_COMMAND = re.compile(r"(`(?:bench|--\w)[\w .,:=/-]*`)")
"""What may stand as code: a command of this program or an option, without a character that means anything."""


def escaped(text: str) -> str:
    """A text as markdown shows it: no HTML, no code but commands, no emphasis, no link, no end of a table's cell."""
    parts = _COMMAND.split(clean(text))
    return "".join(part if number % 2 else _escaped(part) for number, part in enumerate(parts))


def _escaped(text: str) -> str:
    # An underscore inside a word (simple_rnn) marks nothing, and reads better bare.
    bare = re.sub(r"([\\*\[\]~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)
    return bare.translate(_HTML)


def _lines_of(blocks: Sequence[Block]) -> list[str]:
    """The lines of blocks, an empty one after each."""
    return [line for block in blocks for line in _block(block)]


def _block(block: Block) -> list[str]:
    match block:
        case Heading():
            return [f"{'#' * block.level} {escaped(block.text)}", ""]
        case Paragraph():
            return [escaped(block.text), ""]
        case Lines():
            return _broken(escaped(text) for text in block.texts if text)
        case Notes():
            return _bullets(block.texts)
        case Callout():
            return _bullets((*block.texts, *block.steps))
        case Facts():
            heading = [f"**{escaped(block.heading)}**", ""] if block.heading else []
            return [*heading, *_broken(f"{escaped(name)}: {_cell(value)}" for name, value in block.pairs)]
        case Table():
            return _captioned(block)
        case Details():
            # a table inside <details> is read only after an empty line
            summary = f"<details><summary>{escaped(block.summary)}</summary>"
            return [summary, "", *_lines_of(block.blocks), "</details>", ""]
        case Gallery():
            return [line for figure in block.figures for line in _figure(figure, block.prefix)]
        case Diagrams():
            return [line for _, table in block.drawings for line in _captioned(table)]
        case Either():
            return _lines_of(block.page)


def _figure(figure: Figure | FigureNotDrawn, prefix: str) -> list[str]:
    if isinstance(figure, FigureNotDrawn):
        return [f"**{escaped(figure.title)}**: not drawn, because {escaped(figure.reason)}.", ""]
    return [f"![{escaped(figure.alt)}](figures/{prefix}{figure.name}.svg)", "", escaped(figure.caption), ""]


def _broken(lines: Iterable[str]) -> list[str]:
    """Lines of one paragraph, each on its own."""
    text = "  \n".join(lines)
    return [text, ""] if text else []


def _bullets(texts: Iterable[str]) -> list[str]:
    lines = [f"- {escaped(text)}" for text in texts if text]
    return [*lines, ""] if lines else []


def _captioned(table: Table) -> list[str]:
    if not table.rows:
        return [escaped(f"{table.caption}: {table.empty}" if table.caption else table.empty), ""]
    caption = [f"**{escaped(table.caption)}**", ""] if table.caption else []
    return [*caption, *_table(table), ""]


def _table(table: Table) -> list[str]:
    cells = [[column.head for column in table.columns], *table.rows]
    head, *rows = (f"| {' | '.join(map(_cell, row))} |" for row in cells)
    rule = "|".join("---" if column.left else "--:" for column in table.columns)
    return [head, f"|{rule}|", *rows]


def _cell(cell: Cell) -> str:
    return escaped(cell if isinstance(cell, str) else " ".join(cell))
