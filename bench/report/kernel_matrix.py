"""The matrix of cells × kernels × backends × devices (`bench.catalog.matrix`) as a document, and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.catalog.matrix import Availability
from bench.report.document import Block, Column, Document, Heading, Notes, Paragraph, Table

MATRIX_FIELDS = ("backend", "device", "network", "dtype", "threads")
"""The fields of a case whose values have a matrix each."""

PROBED = "✓"
_Rows = Mapping[str, Mapping[str, Availability]]
"""cell → kernel → its availability."""


def matrix_document(matrix: Sequence[Availability]) -> Document:
    """A table of cells × kernels for each backend, device, network, dtype and number of threads.

    The reasons why something can't be had stand below the tables, numbered in the order in which they are met.
    """
    reasons = Reasons(matrix, ("cell", "kernel", *MATRIX_FIELDS))
    blocks: list[Block] = []
    for group, rows in _grouped(matrix).items():
        blocks.append(Heading(group_heading(group)))
        blocks += [Paragraph(text, indent=1) for text in absence(next(iter(next(iter(rows.values())).values())))]
        if problem := _common_reason(rows):
            blocks.append(Paragraph(problem, indent=1))
        else:
            blocks.append(_table(rows, reasons))
    if lines := reasons.lines():
        blocks.append(Notes(lines, bullet=""))
    blocks.append(Notes(legend(matrix)))
    return Document(tuple(blocks))


def matrix_data(matrix: Sequence[Availability]) -> dict[str, Any]:
    """The matrix, JSON-able."""
    return {
        "entries": [
            {
                **{name: getattr(availability.case, name) for name in ("cell", "kernel", *MATRIX_FIELDS)},
                "runs": availability.runs,
                "comes_to": availability.kernel,
                "reason": availability.reason,
                "basis": "probed" if availability.probed_at else "assumed",
                "probed_at": availability.probed_at,
                "surprise": availability.surprise,
                "absent": availability.absent,
            }
            for availability in matrix
        ]
    }


class Reasons:
    """Why what can't be had; numbered in the order in which they are first met."""

    def __init__(self, matrix: Sequence[Availability], names: Sequence[str]) -> None:
        self._matrix = matrix
        self._values = {name: {getattr(availability.case, name) for availability in matrix} for name in names}
        self._texts: list[str] = []

    def number(self, text: str) -> int:
        """The number that a reason has from now on."""
        if text not in self._texts:
            self._texts.append(text)
        return self._texts.index(text) + 1

    def lines(self) -> tuple[str, ...]:
        """Each reason behind what it is about: `(4) gru × cudnn × jax: Keras's JAX backend has no cuDNN GRU`."""
        lines = []
        for number, text in enumerate(self._texts, start=1):
            cases = [each.case for each in self._matrix if text in (each.reason, each.not_cudnn)]
            names = []
            for name, everywhere in self._values.items():
                here = list(dict.fromkeys(getattr(case, name) for case in cases))
                names += [", ".join(map(str, here))] if len(here) < len(everywhere) else []
            lines.append(f"({number}) {' × '.join(names) or 'all'}: {' '.join(text.split())}")
        return tuple(lines)


def _grouped(matrix: Sequence[Availability]) -> dict[tuple[Any, ...], _Rows]:
    """The values of `MATRIX_FIELDS` → cell → kernel → its availability."""
    groups: dict[tuple[Any, ...], dict[str, dict[str, Availability]]] = {}
    for availability in matrix:
        rows = groups.setdefault(tuple(getattr(availability.case, name) for name in MATRIX_FIELDS), {})
        rows.setdefault(availability.case.cell, {})[availability.case.kernel] = availability
    return dict(groups)


def group_heading(group: tuple[Any, ...]) -> str:
    """The heading of a matrix: the values of `MATRIX_FIELDS` that it is of."""
    backend, device, network, dtype, threads = group
    words = [backend, device, f"{network} network", *([dtype] if dtype != "float32" else [])]
    return " · ".join([*words, *([f"{threads} threads"] if threads else [])])


def _common_reason(rows: _Rows) -> str | None:
    """The reason why nothing of a matrix can be had: its backend or its device isn't there."""
    reasons = {availability.reason for row in rows.values() for availability in row.values()}
    return reasons.pop() if len(reasons) == 1 else None


def _table(rows: _Rows, reasons: Reasons) -> Table:
    kernels = list(dict.fromkeys(kernel for row in rows.values() for kernel in row))
    heads = ["cell", *("auto (default)" if name == "auto" else name for name in kernels)]
    return Table(
        tuple(Column(head) for head in heads),
        tuple((cell, *(_cell(row[name], reasons) for name in kernels)) for cell, row in rows.items()),
    )


def _cell(availability: Availability, reasons: Reasons) -> str:
    runs = f"→ {availability.kernel or '?'}" if availability.case.kernel == "auto" else "runs"
    mark = f" {PROBED}{'!' if availability.surprise else ''}" if availability.probed_at else ""
    reason = f" ({reasons.number(availability.reason)})" if availability.reason else ""
    return f"{runs if availability.runs else 'no'}{mark}{reason}"


def absence(availability: Availability) -> tuple[str, ...]:
    """What stands above a matrix of what this machine lacks."""
    return (f"not on this machine, and so assumed: {availability.absent}",) if availability.absent else ()


def legend(matrix: Sequence[Availability]) -> tuple[str, ...]:
    """What the marks of a matrix mean."""
    probed = sorted(availability.probed_at[:10] for availability in matrix if availability.probed_at)
    lines = ["auto: what Keras picks by itself, which is what people get; generic everywhere is the fair comparison."]
    if len(probed) < len(matrix):
        lines.append("Without a mark: assumed, from Keras's rules.")
    if probed:
        dates = probed[0] if probed[0] == probed[-1] else f"{probed[0]} to {probed[-1]}"
        lines.append(f"{PROBED}: probed ({dates}), run for a step on this machine, its program read.")
    else:
        lines.append("bench kernels --probe runs each for a step and reads its program.")
    if any(availability.surprise for availability in matrix):
        lines.append(f"{PROBED}!: the probe contradicts Keras's rules as this program knows them.")
    return tuple(lines)
