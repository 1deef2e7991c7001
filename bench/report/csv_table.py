"""Tables as CSV: a row for each configuration, numbers as numbers, and the ends of intervals in columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.analysis.summary import Section
from bench.core.axes import SETTING_FIELDS
from bench.core.metrics import METRICS
from bench.report.table_data import row_object
from bench.report.values import clean, machine_words, software_words


def table_records(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """A record for each configuration of all sections, flat: what it is, its figures in SI units, and how they came.

    A figure has four fields: its value, `_low` and `_high` (the ends of its 95 % interval) and `_n`; None where there
    is none.
    """
    return [_record(section, number, row) for number, section in enumerate(sections) for row in section.rows]


def render_csv(records: Iterable[Mapping[str, Any]]) -> str:
    """Records that have the same fields as CSV (RFC 4180, but for its line ends); what is None is empty.

    No text of a user is a formula to a spreadsheet: one that begins like one has an apostrophe before it.
    """
    rows = list(records)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _inert(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _record(section: Section, number: int, row: Any) -> dict[str, Any]:
    values = row_object(row)
    keys = [metric.json_key for metric in METRICS.values() if metric.once_a_run]
    estimates = {
        f"{key}{suffix}": (values[key] or {}).get(part)
        for key in (*keys, "ratio_to_simple_rnn", "ratio_to_generic")
        for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high"), ("_n", "n"))
    }
    return {
        "section": number,
        "cell": row.cell,
        **{name: getattr(row.configuration, name) for name in SETTING_FIELDS},
        "parameters": row.parameters,
        **estimates,
        "kernels_attested": " ".join(row.kernels_attested),
        "runs_ok": len(row.runs),
        "runs_tried": row.runs_tried,
        "seeds": row.seeds,
        "machine": machine_words(section.machine),
        "software": software_words(section.software),
        "machine_fingerprint": section.machine_fingerprint,
        "software_fingerprint": section.software_fingerprint,
        "data_digest": section.data_digest,
        "code_digest": section.code_digest or None,
    }


def _inert(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = clean(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
