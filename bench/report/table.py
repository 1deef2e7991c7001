"""The comparison table: a row for each configuration, its notes, and the claims judged by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.analysis.summary import Section
from bench.report.across_machines import machine_blocks
from bench.report.apart import why_apart
from bench.report.claims_table import claims_by_verdict, claims_table
from bench.report.columns import comparison_table
from bench.report.document import Block, Callout, Document, Either, Facts, Heading, Lines, Notes, Paragraph
from bench.report.inference_table import inference_table, streaming_table
from bench.report.recommendation import recommendation
from bench.report.roofline import roofline_table
from bench.report.section_notes import heading, notes, subheadings


def table_document(sections: Sequence[Section]) -> Document:
    """The comparison table of each section, its notes and its claims; then what several machines show together."""
    if not sections:
        return Document((Paragraph("Nothing was measured yet."),))
    each = [block for place in range(len(sections)) for block in _blocks(sections, place)]
    return Document((*each, *machine_blocks(sections)))


def brief_document(sections: Sequence[Section]) -> Document:
    """The comparison table of each section alone."""
    return Document(
        tuple(block for section in sections for block in (Heading(heading(section)), comparison_table(section)))
    )


def _blocks(sections: Sequence[Section], place: int) -> Iterator[Block]:
    section = sections[place]
    yield Heading(heading(section))
    yield Lines((*subheadings(section), why_apart(section, sections[:place])))
    if section.joined:
        yield Callout(recommendation(section))
    yield comparison_table(section)
    tables = (inference_table(section), streaming_table(section), roofline_table(section))
    yield from (table for table in tables if table.rows)
    yield Notes(tuple(notes(section)))
    claims = claims_table(section)
    if claims.rows:
        yield Either(terminal=(Facts(claims_by_verdict(section)),), page=(claims,))
