"""A metric over commits or dates: a table and its change points, or a plot."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from bench.analysis.change_points import SEGMENT
from bench.analysis.commit_order import PlacedBy
from bench.analysis.history import By, Change, Conclusion, Point, Series
from bench.core.axes import varying
from bench.core.units import significant
from bench.report.document import Block, Column, Details, Document, Heading, Lines, Notes, Table
from bench.report.values import (
    NONE,
    case_label,
    clean,
    commit_words,
    count,
    machine_words,
    measured_value,
    software_words,
)

_COLUMNS = (
    Column("measured"),
    Column("commit"),
    Column("subject", wrap=True),
    Column("committed"),
    Column("value", left=False),
    Column("runs", left=False),
    Column("level", wrap=True),
)


def history_document(all_series: Sequence[Series], subjects: Mapping[str, str] = MappingProxyType({})) -> Document:
    """Each series as a table, folded on a page, and its change points in words.

    Args:
        all_series: what is shown.
        subjects: the first lines of the messages of commits, where they are known.
    """
    among = varying(series.configuration for series in all_series)
    return Document(tuple(block for series in all_series for block in _blocks(series, among, subjects)))


def _blocks(series: Series, among: Sequence[str], subjects: Mapping[str, str]) -> Iterator[Block]:
    yield Heading(title(series, among))
    yield Lines((machine_words(series.machine), software_words(series.software), order_words(series)))
    yield Details(count(len(series.points), "point"), (_points(series, subjects),))
    yield Notes(tuple(conclusions(series, subjects)))


def title(series: Series, among: Sequence[str]) -> str:
    """What a series shows."""
    return " · ".join(filter(None, [case_label(series.configuration, among), series.metric.title, series.detail]))


_ORDERS = {
    PlacedBy.ANCESTRY: "ancestry (first parents, as the repository has them)",
    PlacedBy.COMMIT_DATE: "the commits' dates",
    PlacedBy.MEASUREMENT: "when they were measured, their commits' dates being unknown",
}


def order_words(series: Series) -> str:
    """What the points of a series are ordered by, in words."""
    if series.by is By.DATE:
        return "order: when the campaigns began"
    numbers = Counter(point.placed_by for point in series.points)
    (most, _), *rest = numbers.most_common()
    exceptions = [f"{count(number, 'point')} by {_ORDERS[placed_by]}" for placed_by, number in rest]
    return "; ".join([f"order: {_ORDERS[most]}", *exceptions])


def _points(series: Series, subjects: Mapping[str, str]) -> Table:
    """A row for each point; without the column of subjects where none is known."""
    rows = tuple(_rows(series, subjects))
    shown = [column.head != "subject" or any(row[place] for row in rows) for place, column in enumerate(_COLUMNS)]
    return Table(
        tuple(itertools.compress(_COLUMNS, shown)), tuple(tuple(itertools.compress(row, shown)) for row in rows)
    )


def _rows(series: Series, subjects: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    starts = {change.index: change for change in series.changes}
    for index, point in enumerate(series.points):
        yield (
            f"{point.began:%Y-%m-%d %H:%M}",
            commit_words(point.commit),
            clean(subjects.get(point.commit or "", "")),
            f"{point.committed_at:%Y-%m-%d}" if point.committed_at else NONE,
            measured_value(series.metric, point.value),
            str(point.n),
            _moved(series, starts[index]) if index in starts else "",
        )


def _moved(series: Series, change: Change) -> str:
    metric = series.metric
    size = f"× {change.ratio:.3f}" if metric.as_ratio else f"{100 * (change.new - change.old):+.2f} points"
    levels = f"{measured_value(metric, change.old)} → {measured_value(metric, change.new)}"
    return f"{'worse' if series.worse(change) else 'better'}: {levels} ({size})"


def conclusions(series: Series, subjects: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Each change of a series, or why there is none, and which would have been seen.

    Args:
        series: what is shown.
        subjects: the first lines of the messages of commits, where they are known.
    """
    detectable = _size(series)
    match series.conclusion:
        case Conclusion.TOO_FEW:
            return [f"{count(len(series.points), 'point')}: too few for a change, which takes {2 * SEGMENT}"]
        case Conclusion.UNDECIDED:
            return [f"can't tell: only changes above {detectable} would have been seen"]
        case Conclusion.UNCHANGED:
            return [f"no change: one above {detectable} would have been seen"]
    further = f"a further change above {detectable} would have been seen in the longest level"
    return [
        *(
            f"{_moved(series, change)}, between {_where(change.before, subjects)} and {_where(change.after, subjects)}"
            for change in series.changes
        ),
        *([further] if math.isfinite(series.detectable) else []),
    ]


def _size(series: Series) -> str:
    """The smallest change that would have been seen."""
    size = significant(100 * series.detectable)
    return f"{size} %" if series.metric.as_ratio else f"{size} points"


def _where(point: Point, subjects: Mapping[str, str]) -> str:
    subject = subjects.get(point.commit or "")
    quoted = f" “{clean(subject)}”" if subject else ""
    return f"{commit_words(point.commit)}{quoted} ({point.committed_at or point.began:%Y-%m-%d})"


def history_data(all_series: Sequence[Series], subjects: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """The same JSON-able, in SI units and full precision."""
    listed = [
        {
            "configuration": asdict(series.configuration),
            "metric": series.metric.name,
            "detail": series.detail or None,
            "machine": dict(series.machine),
            "software": dict(series.software),
            "order": sorted({p.placed_by.value for p in series.points}),
            "points": [
                {
                    "began": p.began.isoformat(),
                    "commit": p.commit,
                    "subject": subjects.get(p.commit or ""),
                    "committed_at": p.committed_at.isoformat() if p.committed_at else None,
                    "placed_by": p.placed_by.value,
                    "value": p.value,
                    "n": p.n,
                }
                for p in series.points
            ],
            "conclusion": series.conclusion.value,
            "detectable_change": series.detectable,
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
