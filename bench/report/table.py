"""The comparison table: a row for each configuration, its notes, and the claims judged by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.analysis.summary import Section
from bench.report.claims_table import claims_by_verdict, claims_table
from bench.report.columns import comparison_table
from bench.report.document import Block, Document, Either, Facts, Heading, Lines, Notes, Paragraph
from bench.report.inference_table import inference_table
from bench.report.roofline import roofline_table
from bench.report.section_notes import heading, notes, subheadings


def table_document(sections: Sequence[Section]) -> Document:
    """The comparison table of each section, its notes and its claims."""
    if not sections:
        return Document((Paragraph("Nothing was measured yet."),))
    return Document(tuple(block for section in sections for block in _blocks(section)))


def _blocks(section: Section) -> Iterator[Block]:
    yield Heading(heading(section))
    yield Lines(subheadings(section))
    yield comparison_table(section)
    yield from (table for table in (inference_table(section), roofline_table(section)) if table.rows)
    yield Notes(tuple(notes(section)))
    yield Either(terminal=(Facts(claims_by_verdict(section)),), page=(claims_table(section),))
