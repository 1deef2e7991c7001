"""The matrix of cells × kernels × backends × devices (`bench.catalog.matrix`) as a document, and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.catalog.matrix import MatrixEntry
from bench.report.document import Block, Column, Document, Heading, Notes, Paragraph, Table

MATRIX_FIELDS = ("backend", "device", "network", "dtype", "threads")
"""The fields of a case whose values have a matrix each."""

_PROBED = "✓"
_Rows = Mapping[str, Mapping[str, MatrixEntry]]
"""cell → kernel → entry."""


def matrix_document(entries: Sequence[MatrixEntry]) -> Document:
    """A table of cells × kernels for each backend, device, network, dtype and number of threads.

    The reasons why something can't be had stand below the tables, numbered in the order in which they are met.
    """
    reasons = _Reasons(entries)
    blocks: list[Block] = []
    for group, rows in _grouped(entries).items():
        blocks.append(Heading(_heading(group)))
        if problem := _common_reason(rows):
            blocks.append(Paragraph(problem, indent=1))
        else:
            blocks.append(_table(rows, reasons))
    if lines := reasons.lines():
        blocks.append(Notes(lines, bullet=""))
    blocks.append(Notes(_legend(entries)))
    return Document(tuple(blocks))


def matrix_data(entries: Sequence[MatrixEntry]) -> dict[str, Any]:
    """The entries, JSON-able."""
    return {
        "entries": [
            {
                **{name: getattr(entry.case, name) for name in ("cell", "kernel", *MATRIX_FIELDS)},
                "runs": entry.runs,
                "comes_to": entry.kernel,
                "reason": entry.reason,
                "basis": "probed" if entry.probed_at else "assumed",
                "probed_at": entry.probed_at,
                "surprise": entry.surprise,
            }
            for entry in entries
        ]
    }


class _Reasons:
    """Why what can't be had; numbered in the order in which they are first met."""

    def __init__(self, entries: Sequence[MatrixEntry]) -> None:
        self._refused = [entry for entry in entries if entry.reason]
        self._values = {
            name: {getattr(entry.case, name) for entry in entries} for name in ("cell", "kernel", *MATRIX_FIELDS)
        }
        self._texts: list[str] = []

    def number(self, text: str) -> int:
        if text not in self._texts:
            self._texts.append(text)
        return self._texts.index(text) + 1

    def lines(self) -> tuple[str, ...]:
        """Each reason behind what it is about: `(4) gru × cudnn × jax: Keras's JAX backend has no cuDNN GRU`."""
        lines = []
        for number, text in enumerate(self._texts, start=1):
            cases = [entry.case for entry in self._refused if entry.reason == text]
            names = []
            for name, everywhere in self._values.items():
                here = list(dict.fromkeys(getattr(case, name) for case in cases))
                names += [", ".join(map(str, here))] if len(here) < len(everywhere) else []
            lines.append(f"({number}) {' × '.join(names) or 'all'}: {' '.join(text.split())}")
        return tuple(lines)


def _grouped(entries: Sequence[MatrixEntry]) -> dict[tuple[Any, ...], _Rows]:
    """The values of `MATRIX_FIELDS` → cell → kernel → entry."""
    groups: dict[tuple[Any, ...], dict[str, dict[str, MatrixEntry]]] = {}
    for entry in entries:
        rows = groups.setdefault(tuple(getattr(entry.case, name) for name in MATRIX_FIELDS), {})
        rows.setdefault(entry.case.cell, {})[entry.case.kernel] = entry
    return dict(groups)


def _heading(group: tuple[Any, ...]) -> str:
    backend, device, network, dtype, threads = group
    words = [backend, device, f"{network} network", *([dtype] if dtype != "float32" else [])]
    return " · ".join([*words, *([f"{threads} threads"] if threads else [])])


def _common_reason(rows: _Rows) -> str | None:
    """The reason why nothing of a matrix can be had: its backend or its device isn't there."""
    reasons = {entry.reason for row in rows.values() for entry in row.values()}
    return reasons.pop() if len(reasons) == 1 else None


def _table(rows: _Rows, reasons: _Reasons) -> Table:
    kernels = list(dict.fromkeys(kernel for row in rows.values() for kernel in row))
    heads = ["cell", *("auto (default)" if name == "auto" else name for name in kernels)]
    return Table(
        tuple(Column(head) for head in heads),
        tuple((cell, *(_cell(row[name], reasons) for name in kernels)) for cell, row in rows.items()),
    )


def _cell(entry: MatrixEntry, reasons: _Reasons) -> str:
    runs = f"→ {entry.kernel or '?'}" if entry.case.kernel == "auto" else "runs"
    mark = f" {_PROBED}{'!' if entry.surprise else ''}" if entry.probed_at else ""
    return f"{runs if entry.runs else 'no'}{mark}{f' ({reasons.number(entry.reason)})' if entry.reason else ''}"


def _legend(entries: Sequence[MatrixEntry]) -> tuple[str, ...]:
    probed = sorted(entry.probed_at[:10] for entry in entries if entry.probed_at)
    lines = ["auto: what Keras picks by itself, which is what people get; generic everywhere is the fair comparison."]
    if len(probed) < len(entries):
        lines.append("Without a mark: assumed, from Keras's rules.")
    if probed:
        dates = probed[0] if probed[0] == probed[-1] else f"{probed[0]} to {probed[-1]}"
        lines.append(f"{_PROBED}: probed ({dates}), run for a step on this machine, its program read.")
    else:
        lines.append("bench kernels --probe runs each for a step and reads its program.")
    if any(entry.surprise for entry in entries):
        lines.append(f"{_PROBED}!: the probe contradicts Keras's rules as this program knows them.")
    return tuple(lines)
