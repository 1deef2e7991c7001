"""A metric over commits or dates: a table and its change points, or a plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench.analysis.history import SEGMENT, Change, Point, Series
from bench.core.axes import varying
from bench.report.document import Block, Column, Details, Document, Heading, Lines, Notes, Table
from bench.report.values import case_label, commit_words, count, machine_words, measured_value, software_words

_COLUMNS = (
    Column("date"),
    Column("commit"),
    Column("value", left=False),
    Column("runs", left=False),
    Column("level", wrap=True),
)


def history_document(all_series: Sequence[Series]) -> Document:
    """Each series as a table, folded on a page, and its change points in words."""
    among = varying(series.configuration for series in all_series)
    return Document(tuple(block for series in all_series for block in _blocks(series, among)))


def _blocks(series: Series, among: Sequence[str]) -> Iterator[Block]:
    yield Heading(title(series, among))
    yield Lines((machine_words(series.machine), software_words(series.software)))
    yield Details(count(len(series.points), "point"), (Table(_COLUMNS, tuple(_rows(series))),))
    yield Notes(tuple(_changes(series)))


def title(series: Series, among: Sequence[str]) -> str:
    """What a series shows."""
    return " · ".join(filter(None, [case_label(series.configuration, among), series.metric.title, series.detail]))


def _rows(series: Series) -> Iterator[tuple[str, ...]]:
    starts = {change.index: change for change in series.changes}
    for index, point in enumerate(series.points):
        yield (
            f"{point.began:%Y-%m-%d %H:%M}",
            commit_words(point.commit),
            measured_value(series.metric, point.value),
            str(point.n),
            _moved(series, starts[index]) if index in starts else "",
        )


def _moved(series: Series, change: Change) -> str:
    metric = series.metric
    size = f"× {change.ratio:.3f}" if metric.as_ratio else f"{100 * (change.new - change.old):+.2f} points"
    levels = f"{measured_value(metric, change.old)} → {measured_value(metric, change.new)}"
    return f"{'worse' if series.worse(change) else 'better'}: {levels} ({size})"


def _changes(series: Series) -> list[str]:
    few = len(series.points) < 2 * SEGMENT
    if not series.changes:
        number = len(series.points)
        return [f"{count(number, 'point')}: too few for a change, which takes {2 * SEGMENT}"] if few else ["no change"]
    return [
        f"{_moved(series, change)}, between {_where(change.before)} and {_where(change.after)}"
        for change in series.changes
    ]


def _where(point: Point) -> str:
    return f"{commit_words(point.commit)} ({point.began:%Y-%m-%d})"


def history_data(all_series: Sequence[Series]) -> dict[str, Any]:
    """The same JSON-able, in SI units and full precision."""
    listed = [
        {
            "configuration": vars(series.configuration),
            "metric": series.metric.name,
            "detail": series.detail or None,
            "machine": dict(series.machine),
            "software": dict(series.software),
            "points": [
                {"began": p.began.isoformat(), "commit": p.commit, "value": p.value, "n": p.n} for p in series.points
            ],
            "changes": [
                {
                    "index": change.index,
                    "after_commit": change.before.commit,
                    "up_to_commit": change.after.commit,
                    "old": change.old,
                    "new": change.new,
                    "worse": series.worse(change),
                }
                for change in series.changes
            ],
        }
        for series in all_series
    ]
    return {"series": listed}
