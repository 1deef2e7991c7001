"""A metric over commits or dates → series with their change points. Pure.

A point of a series is what was measured at one commit (or in one campaign): the median over runs, for accuracy and loss
the mean over seeds. A change point lies where the level moves and stays for at least 5 points; a spike of one or two
points is none. It is found by PELT (Killick, Fearnhead & Eckley, 2012) with a squared-error cost, on values that are
cleaned of spikes and scaled by their own noise.

Its false positives were counted on series without a change (`tests/analysis/test_history.py` repeats it): 4 of 100
series of 10 points, 1 of 100 of 30 points; with skewed noise 4 and 2 of 100. That is for points that are independent: a
machine that drifts moves its level, and that is a change of level too.
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
from bench.analysis.sections import SectionKey, code_digests
from bench.analysis.summary import Section, summarise
from bench.core.case import Case
from bench.core.metric import Metric
from bench.core.metrics import COMPARED

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
    """The project's commit, or the program's where the project has none."""
    value: float
    """The median over runs, or the mean over seeds, in the metric's unit."""
    n: int
    """The number of runs; for accuracy and loss of seeds."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A level that moved: between the last point of the old level and the first of the new one."""

    before: Point
    after: Point
    index: int
    """The place of `after` in the series."""
    old: float
    """The median of the level before, in the metric's unit."""
    new: float
    """The median of the level after."""

    @property
    def ratio(self) -> float:
        """The new level over the old one; NaN where that is 0."""
        return self.new / self.old if self.old else math.nan


@dataclass(frozen=True, kw_only=True)
class Series:
    """One metric of one configuration, on one machine, with one software, in the order of time."""

    configuration: Case
    metric: Metric
    detail: str
    """For inference: the call path and the batch."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, Any] = field(default_factory=dict)
    points: tuple[Point, ...]
    changes: tuple[Change, ...]

    def worse(self, change: Change) -> bool:
        """Whether a change of this series is one for the worse."""
        return (change.new > change.old) == self.metric.lower_is_better


def series(frame: pd.DataFrame, metric: Metric, by: By = By.COMMIT) -> tuple[Series, ...]:
    """The series of a metric in a frame of observations; none where it was not measured.

    Args:
        frame: observations with the columns `bench.analysis.records.NEEDED`, a row each.
        metric: one that is compared.
        by: whether a commit or a campaign makes a point.

    Raises:
        KeyError: a column is missing.
    """
    origins = _origins(frame, by)
    rows: dict[tuple[Case, SectionKey], list[tuple[Section, Row]]] = defaultdict(list)
    for section in summarise(frame):  # a users' cell is one series, whatever the versions of its source
        for row in section.rows:
            rows[row.configuration, section.key._replace(code_digest="")].append((section, row))
    of_metric = []
    for (case, _), versions in rows.items():
        groups: dict[str, list[RunRecord]] = defaultdict(list)
        for _, row in versions:
            for run in row.runs:
                groups[origins[run.run_id].key].append(run)
        section = versions[0][0]
        for detail, points in sorted(_points(groups, origins, metric).items()):
            of_metric.append(
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
    return tuple(of_metric)


def change_points(values: Sequence[float], least: float = 0.0) -> tuple[int, ...]:
    """Where the level of a series moves: indices of the first values of new levels, ascending.

    PELT (Killick, Fearnhead & Eckley, 2012, *JASA* 107, 1590) with a squared-error cost, on values scaled by their
    noise.

    Args:
        values: n_points values in the order of time; none is found in fewer than two segments' worth, or where a value
            is not finite.
        least: the least standard deviation of noise, in the values' unit; smaller steps are then no changes.
    """
    import ruptures  # a second to import

    measured = np.asarray(values, dtype=np.float64)
    if len(measured) < 2 * SEGMENT or not np.isfinite(measured).all():
        return ()
    spread = max(_noise(measured), least)
    if not spread > 0:
        spread = float(np.ptp(measured)) / len(measured) or 1.0  # a step between values that are otherwise equal
    signal = _without_spikes(measured, spread) / spread
    search = ruptures.Pelt(model="l2", min_size=SEGMENT, jump=1).fit(signal.reshape(-1, 1))
    return tuple(search.predict(pen=_PENALTY * math.log(len(signal)))[:-1])


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
    # the program's own commit stands for code of the program's own: users' code is at a commit of theirs, or at none
    known_commit = runs["project_commit"].notna() | (np.array(code_digests(runs)) != "")
    commits = runs["project_commit"].astype(object).where(known_commit, runs["program_commit"])
    origins = {}
    for run_id, campaign, began, commit in zip(
        runs["run_id"].astype(str), runs["campaign_id"].astype(str), runs["started_at"], commits, strict=True
    ):
        known = str(commit) if isinstance(commit, str) else None
        # what was measured at no known commit is a point for each campaign, since nothing shows that it was the same
        key = known if known and by is By.COMMIT else campaign
        origins[run_id] = _Origin(key, began, known)
    return origins


def _points(
    groups: Mapping[str, Sequence[RunRecord]], origins: Mapping[str, _Origin], metric: Metric
) -> dict[str, list[Point]]:
    """By detail of the metric (for inference the call path and the batch)."""
    by_detail: dict[str, list[Point]] = defaultdict(list)
    for runs in groups.values():
        origin = min((origins[run.run_id] for run in runs), key=lambda origin: origin.began)
        for (measured, detail), paired in readings(runs).items():
            if measured is metric:
                values = [reading.value for reading in paired]
                point = Point(began=origin.began, commit=origin.commit, value=centre(metric, values), n=len(values))
                by_detail[detail].append(point)
    for points in by_detail.values():
        points.sort(key=lambda point: point.began)
    return by_detail
