"""The matrix of options of layers × cells (`bench.catalog.matrix`) as a document, and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.catalog.matrix import PHASES, Availability, option_of
from bench.report.document import Block, Column, Document, Heading, Notes, Paragraph, Table
from bench.report.kernel_matrix import MATRIX_FIELDS, PROBED, Reasons, absence, group_heading, legend

_NO_OPTION = "none"


def option_document(matrix: Sequence[Availability]) -> Document:
    """A table of options × cells for each backend, device, network, dtype and number of threads.

    A cell of it gives the kernel that Keras picks, in training, evaluation and prediction where these differ, and the
    number of the reason why it isn't cuDNN, or nothing at all. The reasons stand below.
    """
    reasons = Reasons(matrix, ("cell", *MATRIX_FIELDS))
    groups: dict[tuple[Any, ...], dict[str, dict[str, Availability]]] = {}
    for availability in matrix:
        rows = groups.setdefault(tuple(getattr(availability.case, name) for name in MATRIX_FIELDS), {})
        rows.setdefault(option_of(availability.case) or _NO_OPTION, {})[availability.case.cell] = availability
    blocks: list[Block] = []
    for group, rows in groups.items():
        blocks.append(Heading(group_heading(group)))
        blocks += [Paragraph(text, indent=1) for text in absence(next(iter(next(iter(rows.values())).values())))]
        cells = list(dict.fromkeys(cell for row in rows.values() for cell in row))
        blocks.append(
            Table(
                (Column("option"), *(Column(cell) for cell in cells)),
                tuple((option, *(_cell(row[cell], reasons) for cell in cells)) for option, row in rows.items()),
            )
        )
    if lines := reasons.lines():
        blocks.append(Notes(lines, bullet=""))
    return Document((*blocks, Notes(("What auto comes to, with each option by itself.", *legend(matrix)))))


def option_data(matrix: Sequence[Availability]) -> dict[str, Any]:
    """The matrix, JSON-able."""
    return {
        "entries": [
            {
                **{name: getattr(each.case, name) for name in ("cell", "kernel", *MATRIX_FIELDS)},
                "option": option_of(each.case) or None,
                "runs": each.runs,
                "comes_to": each.kernel,
                "phases": {phase: each.phases.get(phase) for phase in PHASES} if each.phases else None,
                "reason": each.reason,
                "not_cudnn": each.not_cudnn,
                "basis": "probed" if each.probed_at else "assumed",
                "probed_at": each.probed_at,
                "surprise": each.surprise,
                "absent": each.absent,
            }
            for each in matrix
        ]
    }


def _cell(availability: Availability, reasons: Reasons) -> str:
    mark = f" {PROBED}{'!' if availability.surprise else ''}" if availability.probed_at else ""
    if not availability.runs:
        return f"no{mark} ({reasons.number(availability.reason or '')})"
    by_phase = [availability.phases[phase] for phase in PHASES if phase in availability.phases]
    kernel = " / ".join(by_phase) if len(set(by_phase)) > 1 else availability.kernel or "?"
    why = availability.not_cudnn
    return f"{kernel}{mark}{f' ({reasons.number(why)})' if why else ''}"
