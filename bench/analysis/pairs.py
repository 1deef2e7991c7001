"""Every row of a section against every other: the change, an interval that holds for all at once, and who wins. Pure.

With k rows there are k (k - 1) / 2 pairs in each metric, and a reader picks the most striking: so each interval has the
level at which all of a section hold together with 95 % (Bonferroni).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from bench.analysis import pairing
from bench.analysis.pairing import FigureOfRun, are_paired, paired
from bench.analysis.records import RunRecord
from bench.analysis.rows import Row
from bench.analysis.stats import CONFIDENCE, Estimate
from bench.analysis.summary import Section
from bench.core.metric import Metric
from bench.core.metrics import METRICS

_INTERLEAVED = "train_seconds"
"""The metric whose ratios interleaved measurements have, of a training step."""


@dataclass(frozen=True, kw_only=True)
class RowPair:
    """A row against another in one metric."""

    metric: Metric
    row: Row
    against: Row
    change: Estimate
    """The ratio row/against, or for a quality the difference row - against; its interval is simultaneous."""
    replicate: Literal["seed", "block", "group"]
    """What the two are paired by; a process group where their training steps were measured interleaved."""
    better: int
    """Replicates in which `row` is better than `against`."""
    shared: int
    """Replicates in which both have a result."""

    @property
    def leads(self) -> Row | None:
        """The row that is better for certain; None where the interval holds no change."""
        interval, null = self.change.interval, 1.0 if self.metric.as_ratio else 0.0
        if interval is None or interval.low <= null <= interval.high:
            return None
        return self.row if (interval.high < null) == self.metric.lower_is_better else self.against


@dataclass(frozen=True)
class AllPairs:
    """The pairs of a section, and the level of each interval at which all hold together."""

    pairs: tuple[RowPair, ...]
    confidence: float


def all_pairs(section: Section) -> AllPairs:
    """The pairs of a section in its score, its training time and, where it was timed, the compiled call's latency.

    Rows are compared within one size of the data. The training times of two rows that alternated in an interleaved
    measurement are compared by it, as the table does.
    """
    compared = [
        (metric, figure, row, against)
        for metric, figure in _metrics(section)
        for rows in section.by_size.values()
        for against, row in itertools.combinations(rows.rows, 2)
        if _has(row, figure) and _has(against, figure)
    ]
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(compared))
    return AllPairs(tuple(_pair(*each, confidence) for each in compared), confidence)


def _metrics(section: Section) -> Iterator[tuple[Metric, FigureOfRun]]:
    names = [section.score.name] if section.score else []
    for name in (*names, _INTERLEAVED):
        yield METRICS[name], _once(name)
    yield METRICS["latency_seconds"], RunRecord.latency


def _once(name: str) -> Callable[[RunRecord], float | None]:
    return lambda run: run.figure(name)


def _has(row: Row, figure: FigureOfRun) -> bool:
    return any(figure(run) is not None for run in row.runs)


def _pair(metric: Metric, figure: FigureOfRun, row: Row, against: Row, confidence: float) -> RowPair:
    interleaved = _interleaved(row, against, confidence) if metric.name == _INTERLEAVED else None
    if interleaved is not None:
        change, log_ratios = interleaved
        return RowPair(
            metric=metric,
            row=row,
            against=against,
            change=change,
            replicate="group",
            better=sum(log_ratio < 0 for log_ratio in log_ratios),
            shared=len(log_ratios),
        )
    return _of_runs(metric, figure, row, against, confidence)


def _interleaved(row: Row, against: Row, confidence: float) -> tuple[Estimate, tuple[float, ...]] | None:
    """The ratio of their steps and its groups, where both were measured interleaved with each other."""
    figures, base = row.interleaved, against.configuration
    ratio = figures.ratio_to(base, confidence) if figures and against.interleaved else None
    return None if figures is None or ratio is None or not ratio.n else (ratio, figures.log_ratios[base])


def _of_runs(metric: Metric, figure: FigureOfRun, row: Row, against: Row, confidence: float) -> RowPair:
    by_seed = metric.replicate == "seed"
    change = pairing.difference if by_seed else pairing.ratio
    joined = bool(row.joined)
    values = paired(row.runs, against.runs, figure, by="seed" if by_seed else "block")
    if not by_seed and joined and not are_paired(row.runs, against.runs, figure):
        values = [], []
    sign = 1 if metric.lower_is_better else -1
    return RowPair(
        metric=metric,
        row=row,
        against=against,
        change=change(row.runs, against.runs, figure, confidence, joined=joined),
        replicate="seed" if by_seed else "block",
        better=sum(sign * ours < sign * theirs for ours, theirs in zip(*values, strict=True)),
        shared=len(values[0]),
    )
