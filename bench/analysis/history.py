"""A metric over commits or dates → series with their change points. Pure.

A point of a series is what was measured at one commit (or in one campaign): the median over runs, for accuracy and loss
the mean over seeds. Commits are in the order of `bench.analysis.commit_order`, campaigns in that of their beginning. A
change point lies where the level moves and stays (`bench.analysis.change_points`); where none was found, a series also
has the smallest change that it would have shown.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.change_points import SEGMENT, change_points, smallest_detectable
from bench.analysis.commit_order import MeasuredCommit, PlacedBy, Placement, placements
from bench.analysis.interleaved_figures import InterleavedFigures, KnownInterleaved, of_campaigns
from bench.analysis.records import RunRecord
from bench.analysis.rows import Row
from bench.analysis.samples import centre, readings
from bench.analysis.sections import SectionKey, code_digests
from bench.analysis.summary import Section, summarise
from bench.core.case import Case
from bench.core.metric import Metric
from bench.core.metrics import COMPARED
from bench.host.checkout import DIRTY


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
    committed_at: datetime | None
    """The commit's date; None where it is not known."""
    placed_by: PlacedBy
    """What it has its place in the series by."""
    value: float
    """The median over runs, or the mean over seeds, in the metric's unit."""
    n: int
    """The number of runs; for accuracy and loss of seeds, for a time over the anchor's of process groups."""


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


class Conclusion(StrEnum):
    """What a series shows."""

    CHANGED = "change"
    UNCHANGED = "no change"
    """It would have shown one as large as the metric's equivalence margin."""
    UNDECIDED = "can't tell"
    """None was found, and one larger than the equivalence margin may be there."""
    TOO_FEW = "too few points"


@dataclass(frozen=True, kw_only=True)
class Series:
    """One metric of one configuration, on one machine, with one software, oldest commit (or campaign) first."""

    configuration: Case
    metric: Metric
    detail: str
    """For inference: the call path and the batch; for a time over the anchor's what the anchor was."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, Any] = field(default_factory=dict)
    by: By
    points: tuple[Point, ...]
    changes: tuple[Change, ...]
    detectable: float
    """The smallest change that it would have shown (beside `changes`): a fraction of the old level where the metric is
    compared by ratios, else in its unit. Infinite where no level has the points for a change in it."""

    @property
    def conclusion(self) -> Conclusion:
        """What the series shows."""
        if self.changes:
            return Conclusion.CHANGED
        if len(self.points) < 2 * SEGMENT:
            return Conclusion.TOO_FEW
        seen = self.detectable <= COMPARED[self.metric.name].tolerance
        return Conclusion.UNCHANGED if seen else Conclusion.UNDECIDED

    def worse(self, change: Change) -> bool:
        """Whether a change of this series is one for the worse."""
        return (change.new > change.old) == self.metric.lower_is_better


def series(
    frame: pd.DataFrame,
    metric: Metric,
    by: By = By.COMMIT,
    ancestry: Mapping[str, datetime] = MappingProxyType({}),
    interleaved: KnownInterleaved = MappingProxyType({}),
) -> tuple[Series, ...]:
    """The series of a metric in a frame of observations; none where it was not measured.

    Args:
        frame: observations with the columns `bench.analysis.records.NEEDED`, a row each.
        metric: one that is compared.
        by: whether a commit or a campaign makes a point.
        ancestry: the commits that a repository has, ancestors first, each with its date
            (`bench.host.checkout.first_parent_order` of `measured_commits`).
        interleaved: the figures of the interleaved measurements that its campaigns ended with.

    Raises:
        KeyError: a column is missing.
    """
    origins = _origins(frame, by)
    order = _placements(origins, by, ancestry)
    rows: dict[tuple[Case, SectionKey], list[tuple[Section, Row]]] = defaultdict(list)
    for section in summarise(frame):  # a users' cell is one series, whatever the versions of its source
        for row in section.rows:
            rows[row.configuration, section.key.whatever_code].append((section, row))
    of_metric = []
    for (case, _), versions in rows.items():
        groups: dict[str, list[RunRecord]] = defaultdict(list)
        for _, row in versions:
            for run in row.runs:
                groups[origins[run.run_id].key].append(run)
        section = versions[0][0]
        known = {run.campaign_id for runs in groups.values() for run in runs}
        anchored = of_campaigns(interleaved, case, known)
        for detail, points in sorted(_points(groups, origins, order, metric, anchored).items()):
            changes, detectable = _changes(points, metric)
            of_metric.append(
                Series(
                    configuration=case,
                    metric=metric,
                    detail=detail,
                    machine=section.machine,
                    software=section.software,
                    by=by,
                    points=tuple(points),
                    changes=changes,
                    detectable=detectable,
                )
            )
    return tuple(of_metric)


def measured_commits(frame: pd.DataFrame) -> frozenset[str]:
    """The names of the commits that a frame's runs were measured at, without the mark of changed files.

    Args:
        frame: observations with the columns that `series` needs.
    """
    commits = {origin.commit for origin in _origins(frame, By.COMMIT).values()}
    return frozenset(commit.removesuffix(DIRTY) for commit in commits if commit is not None)


def _changes(points: Sequence[Point], metric: Metric) -> tuple[tuple[Change, ...], float]:
    """The changes, and the smallest that would have been seen beside them.

    On logarithms where a metric is compared by ratios; its floor is the least that noise is taken to be.
    """
    values = np.array([point.value for point in points])
    margins = COMPARED[metric.name]
    if metric.as_ratio:
        values, margins = np.log(values), margins.of_logarithm
    starts = change_points(list(values), margins.floor)
    step = smallest_detectable(list(values), margins.floor, starts)
    edges = [0, *starts, len(points)]
    changes = tuple(
        Change(
            before=points[start - 1],
            after=points[start],
            index=start,
            old=float(np.median([point.value for point in points[edges[i] : start]])),
            new=float(np.median([point.value for point in points[start : edges[i + 2]]])),
        )
        for i, start in enumerate(starts)
    )
    return changes, float(np.expm1(step)) if metric.as_ratio else step


# --- points ---


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """The point that a run belongs to, and what is known of its commit."""

    key: str
    began: pd.Timestamp
    commit: str | None
    committed_at: datetime | None
    parent: str | None


def _origins(frame: pd.DataFrame, by: By) -> dict[str, _Origin]:
    """By run id."""
    runs = frame.drop_duplicates("run_id")
    # the program's own commit stands for code of the program's own: users' code is at a commit of theirs, or at none
    known_commit = runs["project_commit"].notna() | (np.array(code_digests(runs)) != "")
    commits = runs["project_commit"].astype(object).where(known_commit, runs["program_commit"])
    columns = [runs[name] for name in ("run_id", "campaign_id", "started_at", "committed_at", "parent_commit")]
    origins = {}
    for run_id, campaign, began, committed_at, parent, commit in zip(*columns, commits, strict=True):
        known = str(commit) if isinstance(commit, str) else None
        origins[str(run_id)] = _Origin(
            # what was measured at no known commit is a point for each campaign: nothing shows that it was the same
            key=known if known and by is By.COMMIT else str(campaign),
            began=began,
            commit=known,
            committed_at=committed_at if known and not pd.isna(committed_at) else None,
            parent=parent if known and isinstance(parent, str) else None,
        )
    return origins


def _placements(origins: Mapping[str, _Origin], by: By, ancestry: Mapping[str, datetime]) -> dict[str, Placement]:
    """The place of each point, by its key; campaigns have theirs by when they began."""
    grouped: dict[str, list[_Origin]] = defaultdict(list)
    for origin in origins.values():
        grouped[origin.key].append(origin)
    measured = {}
    for key, group in grouped.items():
        commit = MeasuredCommit(name=None, began=min(origin.began for origin in group))
        if by is By.COMMIT and (whole := group[0].commit) is not None:
            commit = replace(
                commit,
                name=whole.removesuffix(DIRTY),
                dirty=whole.endswith(DIRTY),
                # of a store whose older runs have neither
                committed_at=next((origin.committed_at for origin in group if origin.committed_at), None),
                parent=next((origin.parent for origin in group if origin.parent), None),
            )
        measured[key] = commit
    return placements(measured, ancestry)


def _points(
    groups: Mapping[str, Sequence[RunRecord]],
    origins: Mapping[str, _Origin],
    order: Mapping[str, Placement],
    metric: Metric,
    interleaved: Mapping[str, InterleavedFigures],
) -> dict[str, list[Point]]:
    """In order, by detail of the metric (for inference the call path and the batch, for a time over the anchor's what
    the anchor was)."""
    by_detail: dict[str, list[Point]] = defaultdict(list)
    for key in sorted(groups, key=lambda key: order[key].index):
        origin = min((origins[run.run_id] for run in groups[key]), key=lambda origin: origin.began)
        campaigns = {run.campaign_id for run in groups[key]}
        of_point = {name: figures for name, figures in interleaved.items() if name in campaigns}
        for (measured, detail), paired in readings(groups[key], of_point).items():
            if measured is metric:
                values = [reading.value for reading in paired]
                by_detail[detail].append(
                    Point(
                        began=origin.began,
                        commit=origin.commit,
                        committed_at=order[key].committed_at or origin.committed_at,
                        placed_by=order[key].by,
                        value=centre(metric, values),
                        n=len(values),
                    )
                )
    return by_detail
