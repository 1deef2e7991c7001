"""What commands print, as text: the report modules' documents and data in each format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from bench.analysis.comparison import Comparison
from bench.analysis.history import Series
from bench.analysis.summary import Section
from bench.plan.gate import Gate
from bench.report.document import Document
from bench.report.jsonout import render_json
from bench.report.markdown import render_markdown
from bench.report.over_time import history_data, history_document
from bench.report.table import table_document
from bench.report.table_data import table_data
from bench.report.text import render_text
from bench.report.verdicts import verdicts_data, verdicts_document

Format = Literal["text", "md", "json"]


def rendered(document: Document, data: object, fmt: Format, width: int) -> str:
    if fmt == "json":
        return render_json(data)
    return render_markdown(document) if fmt == "md" else render_text(document, width)


def table_in(sections: Sequence[Section], fmt: Format, width: int = 80) -> str:
    return rendered(table_document(sections), table_data(sections), fmt, width)


def verdicts_in(comparison: Comparison, gate: Gate, fmt: Format, width: int = 80) -> str:
    return rendered(verdicts_document(comparison, gate), verdicts_data(comparison, gate), fmt, width)


def history_in(series: Sequence[Series], fmt: Format, width: int = 80) -> str:
    return rendered(history_document(series), history_data(series), fmt, width)
