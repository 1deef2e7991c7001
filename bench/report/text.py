"""A document as text for a terminal, as wide as it is asked to be."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from bench.report.document import (
    Block,
    Callout,
    Cell,
    Column,
    Details,
    Diagrams,
    Document,
    Either,
    Facts,
    Figure,
    Gallery,
    Heading,
    Lines,
    Notes,
    Paragraph,
    Table,
)
from bench.report.values import clean

_STYLES = {"plain": "", "soft": "dim", "good": "green", "warning": "yellow"}
_NARROWEST = 10
"""Columns that a folded column keeps: the longest name of a built-in cell."""
_KEPT = "\ue000"
"""Stands for a space at which no line may break, of the private use area: rich breaks at no-break spaces too."""


def render_text(document: Document, width: int = 80, *, styled: bool = False) -> str:
    """The document in lines of at most `width` columns; ends with a newline.

    Args:
        document: what to render.
        width: the columns of the terminal.
        styled: with the codes that make a terminal print bold and in colours.
    """
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        color_system="standard" if styled else None,
        force_terminal=styled,
        force_jupyter=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    title = (Heading(document.title, level=1),) if document.title else ()
    _print(console, (*title, *document.blocks))
    text = out.getvalue().replace(_KEPT, " ")
    return text if styled else "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _print(console: Console, blocks: Sequence[Block]) -> None:
    before: Block | None = None
    for block in _flat(blocks):
        if before is not None and not _adjacent(before, block):
            console.print()
        console.print(_renderable(block, console))
        before = block


def _flat(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        if isinstance(block, Either):
            yield from _flat(block.terminal)
        elif isinstance(block, Details):
            yield from _flat(block.blocks)
        elif isinstance(block, Diagrams):
            yield from (table for _, table in block.drawings)
        elif not (isinstance(block, Notes | Lines) and not any(block.texts)):
            yield block


def _adjacent(before: Block, block: Block) -> bool:
    """Whether no empty line stands between them: below a heading, and between paragraphs."""
    return isinstance(before, Heading) or (isinstance(before, Paragraph) and isinstance(block, Paragraph))


def _renderable(block: Block, console: Console) -> RenderableType:
    match block:
        case Heading():
            return _text(block.text, "bold")
        case Paragraph():
            return _paragraph(block, console)
        case Lines():
            return Group(*(_text(text) for text in block.texts if text))
        case Notes():
            return _listed([(block.bullet, text) for text in block.texts])
        case Callout():
            return _listed([("·", text) for text in (*block.texts, *block.steps)])
        case Facts():
            return _facts(block)
        case Table():
            return _table(block, console)
        case Gallery():
            return _listed(
                [("·", figure.caption if isinstance(figure, Figure) else figure.reason) for figure in block.figures]
            )
        case _:
            raise TypeError(f"no terminal shows a {type(block).__name__}")


def _text(text: str, style: str = "") -> Text:
    # a command between backticks is there to be copied: it stays on one line
    kept = re.sub(r"`[^`]{1,60}`", lambda command: command[0].replace(" ", _KEPT), clean(text))
    return Text(kept, style=style, overflow="fold")


def _paragraph(paragraph: Paragraph, console: Console) -> RenderableType:
    """An indented one hangs: its further lines stand a step to the right, so that several are distinguished."""
    text = _text(paragraph.text, _STYLES[paragraph.tone])
    if not paragraph.indent:
        return text
    margin = 2 * paragraph.indent
    first, *rest = text.wrap(console, console.width - margin - 2, overflow="fold")
    return Group(Padding(first, (0, 0, 0, margin)), *(Padding(line, (0, 0, 0, margin + 2)) for line in rest))


def _listed(items: Sequence[tuple[str, str]]) -> RenderableType:
    """(mark, text) each, the text folded beside its mark."""
    grid = RichTable.grid(padding=(0, 1, 0, 0))
    if any(mark for mark, _ in items):
        grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for mark, text in items:
        grid.add_row(*([Text(clean(mark))] if len(grid.columns) > 1 else []), _text(text))
    return grid


def _facts(facts: Facts) -> RenderableType:
    grid = RichTable.grid(padding=(0, 2 if facts.heading else 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.pairs:
        grid.add_row(_text(name, "dim" if facts.heading else ""), _cell(value))
    if not facts.heading:
        return grid
    body: RenderableType = grid if facts.pairs else Text(facts.empty)
    return Group(_text(facts.heading, "bold"), Padding(body, (0, 0, 0, 2), expand=False))


# --- tables ---


def _table(table: Table, console: Console) -> RenderableType:
    """The first arrangement that fits the width; where none does, the last one with its texts folded.

    Where that is still too wide, its rows are records, a line for each column: a figure is never cut.
    """
    if not table.rows:
        return _text(f"{table.caption}: {table.empty}" if table.caption else table.empty)
    arrangements = [arranged for each in (table, table.narrow) if each for arranged in _arrangements(each)]
    for columns, groups in arrangements:
        widths = _widths(columns, groups)
        if sum(widths) + 2 * (len(widths) - 1) <= console.width:
            return _laid_out(columns, groups, widths, gap=2)
    columns, groups = arrangements[-1]
    widths = _widths(columns, groups)
    gaps = len(widths) - 1
    whole_by_one = sum(widths) + gaps <= console.width and not any(column.wrap for column in columns)
    gap = 2 if sum(widths) - _spare(columns, widths) + 2 * gaps <= console.width and not whole_by_one else 1
    available = console.width - gap * gaps
    narrowed = _narrowed(columns, widths, available)
    return _records(columns, groups) if sum(narrowed) > available else _laid_out(columns, groups, narrowed, gap)


_Rows = Sequence[Sequence[Cell]]
_Groups = Sequence[tuple[str, _Rows]]
"""Each with the text that stands above its rows, if any."""


def _arrangements(table: Table) -> Iterator[tuple[Sequence[Column], _Groups]]:
    """A table as it is, and with the texts of its group column above the rows that have them."""
    if not table.columns[0].group:
        yield table.columns, [("", table.rows)]
        return
    together = [(name, list(rows)) for name, rows in itertools.groupby(table.rows, key=lambda row: row[0])]
    yield (
        table.columns,
        [("", [row if number == 0 else ("", *row[1:]) for _, rows in together for number, row in enumerate(rows)])],
    )
    yield table.columns[1:], [(_lines(name)[0], [row[1:] for row in rows]) for name, rows in together]


def _lines(cell: Cell) -> tuple[str, ...]:
    return tuple(map(clean, (cell,) if isinstance(cell, str) else cell))


def _widths(columns: Sequence[Column], groups: _Groups) -> list[int]:
    cells = [[column.head for column in columns], *(row for _, rows in groups for row in rows)]
    return [max(cell_len(line) for row in cells for line in _lines(row[i])) for i in range(len(columns))]


def _giving(columns: Sequence[Column]) -> list[int]:
    """The columns that give way where a table is too wide: those that may be broken, else the first."""
    return [i for i, column in enumerate(columns) if column.wrap] or [0]


def _spare(columns: Sequence[Column], widths: Sequence[int]) -> int:
    return sum(max(0, widths[i] - _NARROWEST) for i in _giving(columns))


def _narrowed(columns: Sequence[Column], widths: Sequence[int], available: int) -> list[int]:
    """The widths with what is too much taken from the widest of the columns that give way, again and again."""
    narrowed = list(widths)
    giving = _giving(columns)
    while sum(narrowed) > available:
        widest = max(giving, key=lambda i: narrowed[i])
        if narrowed[widest] <= _NARROWEST:
            break
        narrowed[widest] -= 1
    return narrowed


def _laid_out(columns: Sequence[Column], groups: _Groups, widths: Sequence[int], gap: int) -> RenderableType:
    stacked = any(len(_lines(cell)) > 1 for _, rows in groups for row in rows for cell in row)
    headed = any(any(_lines(column.head)) for column in columns)
    parts: list[RenderableType] = []
    for number, (name, rows) in enumerate(groups):
        grid = RichTable(
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, gap - 1, 0, 0),
            leading=int(stacked),
            show_header=headed and number == 0,
        )
        for column, width in zip(columns, widths, strict=True):
            grid.add_column(
                _cell(column.head), justify="left" if column.left else "right", overflow="fold", width=width
            )
        for row in rows:
            grid.add_row(*map(_cell, row))
        parts += [""] if stacked and number else []
        parts += [_text(name)] if name else []
        parts.append(grid)
    return Group(*parts)


def _records(columns: Sequence[Column], groups: _Groups) -> RenderableType:
    """Each row below the one before, as the heads of the columns with its values beside them."""
    records: list[RenderableType] = []
    for name, rows in groups:
        for number, row in enumerate(rows):
            grid = RichTable.grid(padding=(0, 2, 0, 0))
            grid.add_column(no_wrap=True)
            grid.add_column(overflow="fold")
            for column, cell in zip(columns, row, strict=True):
                grid.add_row(_cell(column.head), _cell(cell))
            records += [""] if records else []
            records += [_text(name)] if name and not number else []
            records.append(grid)
    return Group(*records)


def _cell(cell: Cell) -> Text:
    return Text("\n").join([_text(line) for line in _lines(cell)])
