"""A metric over commits or dates → series with their change points. Pure.

A point of a series is what was measured at one commit (or in one campaign): the median over runs, for accuracy and loss
the mean over seeds. A change point lies where the level moves and stays for at least 5 points; a spike of one or two
points is none. It is found by PELT (Killick, Fearnhead & Eckley, 2012) with a squared-error cost, on values that are
cleaned of spikes and scaled by their own noise.

How often it cries wolf was measured on series without a change (`tests/test_history.py` repeats it): in 4 of 100 series
of 10 points, in 1 of 100 of 30 points; with skewed noise in 4 and 2 of 100. That is for points that are independent:
a machine that drifts moves its level, and that is a change of level too.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.analysis.records import RunRecord
from bench.analysis.rows import Row
from bench.analysis.samples import centre, readings
from bench.analysis.summary import Section, summarise
from bench.core.case import Case
from bench.core.metrics import COMPARED, Metric

SEGMENT = 5
"""Points that a level must hold for, before and after a change."""

_PENALTY = 6.0
"""Times log n: what a change point must save in squares of the noise. 2 log n would be the Bayesian criterion's, for a
noise that is known; ours comes from the same few points, and 6 makes up for that (see above)."""

_SPIKE = 3.0
"""So many standard deviations from the median of its neighbours a point is a spike (Hampel's filter, width 5)."""

Floats = npt.NDArray[np.float64]


class By(StrEnum):
    """What makes a point."""

    COMMIT = "commit"
    DATE = "date"


@dataclass(frozen=True, kw_only=True)
class Point:
    """What was measured at one commit, or in one campaign."""

    began: pd.Timestamp
    """When the first run of it began."""
    commit: str | None
    """Of the project, or of the program where the project has none."""
    value: float
    n: int
    """Runs; for accuracy and loss seeds."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A level that moved: between the last point of the old level and the first of the new one."""

    before: Point
    after: Point
    index: int
    """Of `after` in the series."""
    old: float
    """The median of the level before."""
    new: float

    @property
    def ratio(self) -> float:
        return self.new / self.old if self.old else math.nan


@dataclass(frozen=True, kw_only=True)
class Series:
    """One metric of one configuration, on one machine, with one software, in the order of time."""

    configuration: Case
    metric: Metric
    detail: str
    machine: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, Any] = field(default_factory=dict)
    points: tuple[Point, ...]
    changes: tuple[Change, ...]

    def worse(self, change: Change) -> bool:
        return (change.new > change.old) == self.metric.lower_is_better


def series(frame: pd.DataFrame, metric: Metric, by: By = By.COMMIT) -> tuple[Series, ...]:
    """The series of a metric in a frame of observations; none where it was not measured."""
    origins = _origins(frame, by)
    rows: dict[tuple[Case, str | None, str | None, str | None], list[tuple[Section, Row]]] = defaultdict(list)
    for section in summarise(frame):  # a users' cell is one series, whatever the versions of its source
        for row in section.rows:
            environment = section.machine_fingerprint, section.software_fingerprint, section.data_digest
            rows[row.configuration, *environment].append((section, row))
    found = []
    for (case, *_), own in rows.items():
        groups: dict[str, list[RunRecord]] = defaultdict(list)
        for _, row in own:
            for run in row.runs:
                groups[origins[run.run_id].key].append(run)
        section = own[0][0]
        for detail, points in sorted(_points(groups, origins, metric).items()):
            found.append(
                Series(
                    configuration=case,
                    metric=metric,
                    detail=detail,
                    machine=section.machine,
                    software=section.software,
                    points=tuple(points),
                    changes=_changes(points, metric),
                )
            )
    return tuple(found)


def change_points(values: Sequence[float], least: float = 0.0) -> tuple[int, ...]:
    """Where the level of a series moves: indices of the first values of new levels.

    Args:
        values: in the order of time.
        least: a standard deviation that noise has at least; smaller steps are then no changes.
    """
    import ruptures  # a second to import

    measured = np.asarray(values, dtype=np.float64)
    if len(measured) < 2 * SEGMENT or not np.isfinite(measured).all():
        return ()
    spread = max(_noise(measured), least)
    if not spread > 0:
        spread = float(np.ptp(measured)) / len(measured) or 1.0  # a step between values that are otherwise equal
    signal = _without_spikes(measured, spread) / spread
    found = ruptures.Pelt(model="l2", min_size=SEGMENT, jump=1).fit(signal.reshape(-1, 1))
    return tuple(found.predict(pen=_PENALTY * math.log(len(signal)))[:-1])


def _noise(values: Floats) -> float:
    """The standard deviation of the noise, from differences of neighbours: a step spoils one of them only."""
    steps = np.diff(values)
    return float(np.median(np.abs(steps - np.median(steps))) / 0.6745 / math.sqrt(2))


def _without_spikes(values: Floats, spread: float) -> Floats:
    cleaned = values.copy()
    for i, value in enumerate(values):
        start = min(max(0, i - 2), len(values) - 5)  # at the ends the nearest five
        around = np.median(values[start : start + 5])
        if abs(value - around) > _SPIKE * spread:
            cleaned[i] = around
    return cleaned


def _changes(points: Sequence[Point], metric: Metric) -> tuple[Change, ...]:
    """On logarithms where a metric is compared by ratios; its floor is the least that noise is taken to be."""
    values = np.array([point.value for point in points])
    margins = COMPARED[metric.name]
    if metric.as_ratio:
        values, margins = np.log(values), margins.of_logarithm
    starts = change_points(list(values), margins.floor)
    edges = [0, *starts, len(points)]
    return tuple(
        Change(
            before=points[start - 1],
            after=points[start],
            index=start,
            old=float(np.median([point.value for point in points[edges[i] : start]])),
            new=float(np.median([point.value for point in points[start : edges[i + 2]]])),
        )
        for i, start in enumerate(starts)
    )


# --- points ---


@dataclass(frozen=True)
class _Origin:
    """The point that a run belongs to."""

    key: str
    began: pd.Timestamp
    commit: str | None


def _origins(frame: pd.DataFrame, by: By) -> dict[str, _Origin]:
    """By run id."""
    runs = frame.drop_duplicates("run_id")
    commits = runs["project_commit"].astype(object).where(runs["project_commit"].notna(), runs["program_commit"])
    found = {}
    for run_id, campaign, began, commit in zip(
        runs["run_id"].astype(str), runs["campaign_id"].astype(str), runs["started_at"], commits, strict=True
    ):
        known = str(commit) if isinstance(commit, str) else None
        # what was measured at no known commit is a point for each campaign, since nothing says that it was the same
        key = known if known and by is By.COMMIT else campaign
        found[run_id] = _Origin(key, began, known)
    return found


def _points(
    groups: Mapping[str, Sequence[RunRecord]], origins: Mapping[str, _Origin], metric: Metric
) -> dict[str, list[Point]]:
    """By detail of the metric (inference: entry and batch)."""
    found: dict[str, list[Point]] = defaultdict(list)
    for runs in groups.values():
        origin = min((origins[run.run_id] for run in runs), key=lambda one: one.began)
        for (measured, detail), own in readings(runs).items():
            if measured is metric:
                values = [value for _, value in own]
                point = Point(began=origin.began, commit=origin.commit, value=centre(metric, values), n=len(values))
                found[detail].append(point)
    for points in found.values():
        points.sort(key=lambda point: point.began)
    return found
