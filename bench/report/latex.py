"""A document's tables as LaTeX for a paper: a float with booktabs' rules for each, all texts escaped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from bench.report.document import Block, Callout, Cell, Document, Either, Facts, Heading, Lines, Notes, Paragraph, Table
from bench.report.values import clean

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "`": r"\`{}",
    "[": "{[}", "]": "{]}",
    "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "→": r"$\rightarrow$", "−": "$-$", "–": "--", "—": "---",
    "…": r"\ldots{}", "µ": r"$\mu$", "†": r"$\dagger$", "²": "$^2$", "⁶": "$^6$", "≥": r"$\geq$", "≤": r"$\leq$",
    "’": "'", "°": r"$^\circ$",
}  # fmt: skip
_TRANSLATION = str.maketrans(_SPECIAL)


def render_latex(document: Document) -> str:
    """The tables of a document, each a float whose caption is the heading above it; ends with a newline.

    What stands around the tables, the setting and the notes, is in comments, for a paper to put into words.
    """
    lines = ["% \\usepackage{booktabs}", *_lines_of(document.blocks)]
    return "\n".join(lines).rstrip("\n") + "\n"


def escaped(text: str) -> str:
    """A text as LaTeX prints it: nothing in it is a command, and signs beyond ASCII that figures have are LaTeX's."""
    return clean(text).translate(_TRANSLATION)


def _lines_of(blocks: Sequence[Block]) -> Iterator[str]:
    title, used = "", Counter[str]()
    for block in blocks:
        match block:
            case Heading():
                title = block.text
                yield ""
            case Table() | Either():
                for table in (block,) if isinstance(block, Table) else block.page:
                    if isinstance(table, Table) and table.rows:
                        used[title] += 1
                        yield from _table(table, title if used[title] == 1 else f"{title} ({used[title]})")
            case Lines() | Notes() | Callout():
                yield from (f"% {clean(text)}" for text in block.texts if text)
            case Paragraph():
                yield f"% {clean(block.text)}"
            case Facts():
                yield from (f"% {clean(name)}: {clean(_joined(value))}" for name, value in block.pairs)


def _table(table: Table, title: str) -> Iterator[str]:
    label = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    yield "\\begin{table}"
    yield "\\centering\\small"
    yield f"\\caption{{{escaped(title)}}}"
    yield f"\\label{{tab:{label}}}"
    yield f"\\begin{{tabular}}{{{''.join('l' if column.left else 'r' for column in table.columns)}}}"
    yield "\\toprule"
    yield _row([column.head for column in table.columns])
    yield "\\midrule"
    yield from map(_row, table.rows)
    yield "\\bottomrule"
    yield "\\end{tabular}"
    yield "\\end{table}"


def _row(cells: Sequence[Cell]) -> str:
    return f"{' & '.join(escaped(_joined(cell)) for cell in cells)} \\\\"


def _joined(cell: Cell) -> str:
    return cell if isinstance(cell, str) else " ".join(cell)
