"""A document as one self-contained page: it asks for nothing else, and the same document gives the same bytes."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from bench.report.document import FIGURE_GRID, FIGURE_INK, Block, Document, Figure, Heading, Table
from bench.report.values import NONE, clean


def render_html(document: Document) -> str:
    """The page; every text on it is cleaned and escaped."""
    headings = [block for block in document.walk() if isinstance(block, Heading)]
    page: str = (
        _environment()
        .get_template("page.html.j2")
        .render(
            document=document,
            contents=[heading for heading in headings if heading.anchor],
            sections=_sections(document.blocks),
        )
    )
    return page


def render_fragment(document: Document) -> str:
    """The blocks of a document as HTML to be put into another page or a notebook: no style and no script."""
    return f"{_environment().get_template('blocks.html.j2').module.show(document.blocks)}"


@functools.cache
def _environment() -> Any:
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if isinstance(value, markupsafe.Markup) else clean(str(value)),
    )
    environment.globals.update(
        kind=lambda block: type(block).__name__,
        inline=_inline,
        sort_key=_sort_key,
        lines=lambda cell: (cell,) if isinstance(cell, str) else cell,
    )
    return environment


def _sections(blocks: Sequence[Block]) -> list[list[Block]]:
    """The blocks before the first heading of level 2, and those from each such heading to the next."""
    sections: list[list[Block]] = [[]]
    for block in blocks:
        if isinstance(block, Heading) and block.level <= 2:
            sections.append([])
        sections[-1].append(block)
    return sections


def _inline(figure: Figure, prefix: str) -> Any:
    """The SVG for a place in the page: ids of its own, the page's ground, ink and grid, a text for who can't see it."""
    import markupsafe

    svg = figure.svg[figure.svg.index("<svg") :]
    name = f"{prefix}{figure.name}-"
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}\1"', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}", svg)
    for fixed, page_colour in (("#ffffff", "none"), (FIGURE_INK, "currentColor"), (FIGURE_GRID, "var(--grid)")):
        svg = svg.replace(fixed, page_colour)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # the size in points would not shrink with a narrow screen
    head, rest = svg.split(">", 1)
    svg = re.sub(r' (?:width|height)="[^"]*"', "", head) + ">" + rest
    role = "group" if 'class="value"' in svg else "img"  # an image has no parts that can have the focus
    described = f'<svg role="{role}" aria-label="{escape(clean(figure.alt))}" '
    return markupsafe.Markup(svg.replace("<svg ", described, 1))


_NUMBER = re.compile(r"[<≥→× ]*([+\-−]?\d[\d,]*(?:\.\d+)?)")
_UNIT_FACTOR = {"GB": 1000.0, "s": 1000.0}
"""How many of the smaller unit that stands in the same column: MB, ms."""


def _sort_key(table: Table, row: int, column: int) -> str:
    """What a cell is sorted by: its leading number where it has one, else its text."""
    cell = table.rows[row][column]
    text = cell if isinstance(cell, str) else " ".join(cell)
    match = _NUMBER.match(text)
    if match is None:
        return "" if text == NONE else text.lower()
    value = float(match[1].replace(",", "").replace("−", "-"))
    unit = text[match.end() :].split()
    return repr(value * (_UNIT_FACTOR.get(unit[0], 1.0) if unit else 1.0))
