"""The matrix of options of layers × cells (`bench.catalog.matrix`) as a document, and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.catalog.matrix import PHASES, Availability, option_of
from bench.core.case import Case
from bench.core.units import significant
from bench.report.document import Block, Column, Document, Heading, Notes, Paragraph, Table
from bench.report.jsonout import estimate_object
from bench.report.kernel_matrix import MATRIX_FIELDS, PROBED, Reasons, absence, group_heading, legend
from bench.report.values import NONE, count, ranged, together

if TYPE_CHECKING:
    from bench.analysis.option_costs import OptionCost

_NO_OPTION = "none"
_TIMES = "Training time of an epoch: without an option, and with each as a ratio to it (95 % interval)."
_Rows = Mapping[str, Mapping[str, Availability]]
"""option → cell → its availability."""


def option_document(matrix: Sequence[Availability], costs: Mapping[Case, OptionCost]) -> Document:
    """A table of options × cells for each backend, device, network, dtype and number of threads.

    A cell of it gives the kernel that Keras picks, in training, evaluation and prediction where these differ, and the
    number of the reason why it isn't cuDNN, or nothing at all. The reasons stand below. Where options were timed, a
    second table gives what they cost.

    Args:
        matrix: its cells.
        costs: by configuration; empty where none was timed.
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
        if any(each.case in costs for row in rows.values() for each in row.values()):
            blocks += [Paragraph(_TIMES), _times_table(rows, cells, costs)]
    if lines := reasons.lines():
        blocks.append(Notes(lines, bullet=""))
    notes = ["What auto comes to, with each option by itself.", *legend(matrix)]
    return Document((*blocks, Notes((*notes, *_timed_on(costs)))))


def option_data(matrix: Sequence[Availability], costs: Mapping[Case, OptionCost]) -> dict[str, Any]:
    """The matrix, JSON-able, times in seconds.

    Args:
        matrix: its cells.
        costs: by configuration; empty where none was timed.
    """
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
                "timed": _timed(costs[each.case]) if each.case in costs else None,
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


def _times_table(rows: _Rows, cells: Sequence[str], costs: Mapping[Case, OptionCost]) -> Table:
    """Seconds an epoch of the plain layers, and ratios to these."""

    def shown(case: Case) -> str:
        if (cost := costs.get(case)) is None:
            return NONE
        if cost.over_plain is None:
            return f"{significant(cost.train_seconds.value)} s"
        value, interval = ranged(cost.over_plain)
        return f"× {together(value, interval)}"

    return Table(
        (Column("option"), *(Column(cell, left=False) for cell in cells)),
        tuple((option, *(shown(row[cell].case) for cell in cells)) for option, row in rows.items()),
    )


def _timed_on(costs: Mapping[Case, OptionCost]) -> tuple[str, ...]:
    if not costs:
        return ()
    case, cost = next(iter(costs.items()))
    return (
        f"Timed on {case.train_samples:,} samples of {case.task}, {case.units} units, batch {case.batch_size}, "
        f"{count(cost.train_seconds.n, 'run')} each: ratios are paired by block, their intervals Student's t on the "
        "logarithms. More blocks narrow them (--set seeds=0..9); for a ratio to one per cent: bench duel --set.",
    )


def _timed(cost: OptionCost) -> dict[str, Any]:
    return {
        "train_seconds": estimate_object(cost.train_seconds),
        "over_plain": estimate_object(cost.over_plain),
        "kernels_attested": list(cost.kernels_attested),
    }
