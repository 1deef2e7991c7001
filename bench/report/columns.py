"""The comparison table of a section: its columns, in an arrangement of one line a row and a narrow one of two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.analysis.rows import Row
from bench.analysis.stats import Estimate
from bench.analysis.summary import Section
from bench.catalog.cells import REFERENCE_CELL
from bench.core.case import written
from bench.core.metric import Metric, MetricKind
from bench.core.metrics import METRICS
from bench.report.document import Cell, Column, Table
from bench.report.values import broken, figure_in, ranged, together, whole

FIRST_ONLY = "†"
"""Marks a training time of first epochs alone."""
_RATIOED = "train_seconds"
"""The metric whose ratios to SimpleRNN and to the generic kernel stand behind it."""


@dataclass(frozen=True)
class _Part:
    """What a table shows of a row: a text, and what belongs to it (an interval), behind it or below it."""

    head: str
    lines: Callable[[Row], tuple[str, str]]
    left: bool = False
    joined: Callable[[str, str], str] = together
    """How the two stand in one line."""


_CELL = _Part("cell", lambda row: (row.cell, ""), left=True)
_PARAMETERS = _Part("parameters", lambda row: (whole(row.parameters), ""))
_KERNEL = _Part("kernel", lambda row: _kernel(row), left=True, joined=lambda asked, ran: f"{asked} {ran}".rstrip())
_RUNS = _Part("runs", lambda row: (f"{len(row.runs)}/{row.runs_tried}" if row.excluded else str(row.runs_tried), ""))
_SEEDS = _Part("seeds", lambda row: (str(row.seeds), ""))
_RATIO = _Part("ratio to SimpleRNN", lambda row: _ratio_to_reference(row))
_STEP = _Part("ms/step", lambda row: _step(row))
_GENERIC_RATIO = _Part(
    "ratio to generic", lambda row: _one_or(row.configuration.kernel == "generic", row.generic_ratio)
)


def comparison_table(section: Section) -> Table:
    """A row for each configuration; in the narrow arrangement of two lines, so that three cells fit 80 columns."""
    axes = [_axis(name, section) for name in _axes(section)]
    figures: list[_Part] = []
    for metric in shown_metrics(section):
        figures.append(_of(metric))
        if metric.name == _RATIOED:
            figures += [
                *([_STEP] if interleaved(section) else []),
                _RATIO,
                *([_GENERIC_RATIO] if against_generic(section) else []),
            ]
    parts = (_CELL, *axes, _PARAMETERS, *figures, _KERNEL, _RUNS, _SEEDS)
    return Table(
        columns=tuple(Column(part.head, left=part.left) for part in parts),
        rows=tuple(tuple(part.joined(*part.lines(row)) for part in parts) for row in section.rows),
        narrow=_narrow(section),
    )


def _narrow(section: Section) -> Table:
    """Two lines a row: a figure over its interval, or two figures; the axes stand above their rows."""
    shown = [metric for metric in shown_metrics(section) if metric.column and metric.column.narrow]
    columns: list[tuple[Column, Callable[[Row], Cell]]] = [_two(_CELL, _PARAMETERS, left=True)]
    for metric in shown:
        if has_interval(metric):
            columns.append(_over(_of(metric)))
            columns += [_over(_RATIO)] if metric.name == _RATIOED else []
            columns += [_over(_STEP)] if metric.name == _RATIOED and interleaved(section) else []
    halves = [_of(metric) for metric in shown if not has_interval(metric)]
    halves += [_GENERIC_RATIO] if against_generic(section) else []
    pairs = [halves[i : i + 2] for i in range(0, len(halves), 2)]
    columns += [_two(*pair) if len(pair) > 1 else _alone(*pair) for pair in pairs]
    columns += [(Column(("kernel", "→ ran")), _KERNEL.lines), _two(_RUNS, _SEEDS)]
    rows = [tuple(cell(row) for _, cell in columns) for row in section.rows]
    heads = tuple(column for column, _ in columns)
    names = _axes(section)
    if not names:
        return Table(heads, tuple(rows))
    groups = [" · ".join(f"{name} = {written(row.axes[name])}" for name in names) for row in section.rows]
    in_order = sorted(zip(groups, rows, strict=True), key=lambda pair: groups.index(pair[0]))
    return Table((Column("", group=True), *heads), tuple((group, *row) for group, row in in_order))


def _over(part: _Part) -> tuple[Column, Callable[[Row], Cell]]:
    return Column(broken(part.head), left=part.left), part.lines


def _two(upper: _Part, lower: _Part, *, left: bool = False) -> tuple[Column, Callable[[Row], Cell]]:
    return Column((upper.head, lower.head), left=left), lambda row: (upper.lines(row)[0], lower.lines(row)[0])


def _alone(part: _Part) -> tuple[Column, Callable[[Row], Cell]]:
    return Column(part.head, left=part.left), lambda row: part.lines(row)[0]


def _axes(section: Section) -> list[str]:
    """What differs in the section, without what every table shows."""
    return [name for name in section.axes if name != _KERNEL.head]


def _axis(name: str, section: Section) -> _Part:
    return _Part(name, lambda row: (written(row.axes[name]), ""), left=isinstance(section.rows[0].axes[name], str))


def shown_metrics(section: Section) -> list[Metric]:
    """The metrics that have a column, in the columns' order."""
    placed = [(metric.column.position, metric) for metric in METRICS.values() if metric.column and not metric.of_calls]
    return [
        metric
        for _, metric in sorted(placed, key=lambda pair: pair[0])
        if metric.column
        and (_means_something(metric, section) or any(metric.name in row.estimates for row in section.rows))
    ]


def _means_something(metric: Metric, section: Section) -> bool:
    """Whether a metric has its column although no row has it: no accuracy of numbers, and no loss of noise."""
    if metric.kind is not MetricKind.QUALITY:
        return metric.column is not None and metric.column.always
    return section.score is not None and metric in (section.score, METRICS["loss"])


def has_interval(metric: Metric) -> bool:
    """Whether its column shows an interval beside the value."""
    return metric.column is not None and metric.column.interval != "none"


def _of(metric: Metric) -> _Part:
    def lines(row: Row) -> tuple[str, str]:
        assert metric.column is not None
        value, interval = figure_in(row.estimates.get(metric.name), metric.column)
        return value + (FIRST_ONLY if metric.name == _RATIOED and row.first_epoch_only else ""), interval

    assert metric.column is not None
    return _Part(metric.column.heading, lines)


def _one_or(reference: bool, ratio: Estimate | None) -> tuple[str, str]:
    return ("1", "") if reference and ratio else ranged(ratio)


def _ratio_to_reference(row: Row) -> tuple[str, str]:
    """The ratio of interleaved steps where there is one; else that of seconds an epoch."""
    ratio = row.interleaved.ratio if row.interleaved and row.interleaved.ratio else row.ratio
    return _one_or(row.cell == REFERENCE_CELL, ratio)


def _step(row: Row) -> tuple[str, str]:
    return ranged(row.interleaved.step_seconds.scaled(1e3) if row.interleaved else None)


def interleaved(section: Section) -> bool:
    """Whether some row was measured interleaved."""
    return any(row.interleaved for row in section.rows)


def against_generic(section: Section) -> bool:
    """Whether some cell ran on its generic kernel and on another."""
    return any(row.generic_ratio and row.configuration.kernel != "generic" for row in section.rows)


def _kernel(row: Row) -> tuple[str, str]:
    """The kernel that was asked for, and the one that ran where that is another."""
    asked, ran = row.configuration.kernel, ", ".join(row.kernels_attested)
    return (asked, "") if not row.runs or ran == asked else (asked, f"→ {ran or '?'}")
