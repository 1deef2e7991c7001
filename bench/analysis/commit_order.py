"""The order of commits that were measured: by ancestry, else by their dates, else by when they were measured. Pure.

What a repository knows comes in as data (`bench.host.checkout.first_parent_order` reads it). When a commit was measured
counts for nothing where more is known: an old commit that is measured again stays where it is.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class PlacedBy(StrEnum):
    """What a point has its place in a series by."""

    ANCESTRY = "ancestry"
    """The chain of first parents, as a repository has it."""
    COMMIT_DATE = "commit date"
    """The committer's date that was stored with its runs, and after its first parent where that was measured too."""
    MEASUREMENT = "measurement"
    """When its first run began."""


@dataclass(frozen=True, kw_only=True)
class MeasuredCommit:
    """What the store knows of a commit; of runs at no known commit, of their campaign."""

    began: datetime
    """When the first run of it began."""
    name: str | None
    """The commit's whole name, without the mark of changed files."""
    dirty: bool = False
    """Tracked files were changed: it comes just after the commit itself."""
    committed_at: datetime | None = None
    parent: str | None = None
    """The first parent's whole name."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A point's place in the order, and what it has that by."""

    index: int
    by: PlacedBy
    committed_at: datetime | None
    """The commit's date, of the repository or else of the store; None where neither knows it."""


def placements(measured: Mapping[str, MeasuredCommit], ancestry: Mapping[str, datetime]) -> dict[str, Placement]:
    """The place of each point, by its key.

    The order is the earliest by date among all that keep ancestry: what the repository has stands as the repository has
    it, and each other commit after its first parent. Where no date is known, that of the measurement stands for it.

    Args:
        measured: by key.
        ancestry: the repository's commits with their dates, ancestors first; empty where none is at hand.
    """
    dates = {key: ancestry.get(commit.name or "", commit.committed_at) for key, commit in measured.items()}
    times = {key: (dates[key] or commit.began, commit.dirty, commit.began, key) for key, commit in measured.items()}
    waits_for: dict[str, set[str]] = {key: set() for key in measured}
    followers: dict[str, set[str]] = defaultdict(set)
    for before, after in _constraints(measured, ancestry):
        waits_for[after].add(before)
        followers[before].add(after)
    ready = [times[key] for key in measured if not waits_for[key]]
    heapq.heapify(ready)
    order: list[str] = []
    while waits_for:
        # where all wait for each other the records contradict themselves, and dates decide
        key = heapq.heappop(ready)[-1] if ready else min(times[key] for key in waits_for)[-1]
        del waits_for[key]
        order.append(key)
        for after in followers[key] & waits_for.keys():
            waits_for[after].discard(key)
            if not waits_for[after]:
                heapq.heappush(ready, times[after])
    return {
        key: Placement(index=index, by=_placed_by(measured[key], ancestry, dates[key]), committed_at=dates[key])
        for index, key in enumerate(order)
    }


def _placed_by(commit: MeasuredCommit, ancestry: Mapping[str, datetime], date: datetime | None) -> PlacedBy:
    if commit.name in ancestry:
        return PlacedBy.ANCESTRY
    return PlacedBy.MEASUREMENT if date is None else PlacedBy.COMMIT_DATE


def _constraints(measured: Mapping[str, MeasuredCommit], ancestry: Mapping[str, datetime]) -> Iterator[tuple[str, str]]:
    """Pairs of keys of which the first comes before the second."""
    ranks = {name: rank for rank, name in enumerate(ancestry)}
    by_name: dict[str, list[str]] = defaultdict(list)
    for key in sorted(measured, key=lambda key: (measured[key].dirty, measured[key].began, key)):
        if (name := measured[key].name) is not None:
            by_name[name].append(key)
    chain = [key for name in sorted(by_name.keys() & ranks, key=ranks.__getitem__) for key in by_name[name]]
    yield from itertools.pairwise(chain)
    for name, keys in by_name.items():
        if name not in ranks:
            yield from itertools.pairwise(keys)
        for key in keys:
            parent = measured[key].parent
            if parent in by_name and not (name in ranks and parent in ranks):  # of a shallow clone, or of none
                yield from ((before, key) for before in by_name[parent])
