"""Which row of a section leads in accuracy, training and inference, and how sure that is. Pure.

A row is called the best only if its interval against every other row lies on its side. Whichever of k rows is the
best, the other k - 1 are chances to call a wrong one, so each interval may leave 0.05 / (k - 1) on that side: then a
wrong row is called the best with 5 % at most (Berger, 1982, for each row; Bonferroni over the rows). Of up to three
rows those are intervals of 95 %, and the answer agrees with the claims. Accuracies are compared by seed, times by
block. One seed or one block is never enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench.analysis.records import RunRecord
from bench.analysis.rows import Row, by_seed, paired_train_seconds
from bench.analysis.stats import CONFIDENCE, Estimate, mean_t, paired_ratio
from bench.analysis.summary import Section

_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Leader:
    """The row that leads by its estimate, and those that it can't be distinguished from."""

    row: Row
    figure: Estimate
    rivals: tuple[Row, ...]
    others: int
    """How many other rows have the figure."""
    confidence: float
    """The level of the intervals that the row was compared by."""

    @property
    def sure(self) -> bool:
        """Whether it is better than every other row, of which there is one at least."""
        return self.others > 0 and not self.rivals


def most_accurate(section: Section) -> Leader | None:
    """The row with the highest mean test accuracy over seeds; None where none has one."""

    def beats(leader: Row, other: Row, confidence: float) -> bool:
        ours, theirs = accuracies_by_seed(leader, other)
        interval = mean_t([a - b for a, b in zip(ours, theirs, strict=True)], confidence).interval
        return interval is not None and interval.low > 0

    return _leader(section.rows, lambda row: row.estimates.get("accuracy"), -1, beats)


def fastest_to_train(section: Section) -> Leader | None:
    """The row with the shortest median epoch; None where none was trained."""

    def beats(leader: Row, other: Row, confidence: float) -> bool:
        interval = paired_ratio(*paired_train_seconds(other, leader), confidence).interval
        return interval is not None and interval.low > 1

    return _leader(section.rows, lambda row: row.estimates.get("train_seconds"), 1, beats)


def fastest_to_answer(section: Section) -> Leader | None:
    """The row with the shortest median latency of the compiled call at batch 1; None where none was timed."""

    def latency(row: Row) -> Estimate | None:
        compiled = next((figures for figures in row.inference if figures.call_path == "compiled"), None)
        return compiled.estimates.get("latency_seconds") if compiled else None

    def by_block(row: Row) -> dict[tuple[str, int], float]:
        return {(run.campaign_id, run.block): seconds for run in row.runs if (seconds := run.latency()) is not None}

    def beats(leader: Row, other: Row, confidence: float) -> bool:
        theirs, ours = _in_both(by_block(other), by_block(leader))
        interval = paired_ratio(theirs, ours, confidence).interval
        return interval is not None and interval.low > 1

    return _leader(section.rows, latency, 1, beats)


def _leader(
    rows: Sequence[Row],
    figure: Callable[[Row], Estimate | None],
    sign: int,
    beats: Callable[[Row, Row, float], bool],
) -> Leader | None:
    known = [(row, estimate) for row in rows if (estimate := figure(row)) is not None and math.isfinite(estimate.value)]
    if not known:
        return None
    leader, leading = min(known, key=lambda pair: sign * pair[1].value)
    others = [row for row, _ in known if row is not leader]
    confidence = max(CONFIDENCE, 1 - 2 * (1 - CONFIDENCE) / max(1, len(others)))
    rivals = tuple(row for row in others if not beats(leader, row, confidence))
    return Leader(leader, leading, rivals, len(others), confidence)


def accuracies_by_seed(row: Row, other: Row) -> tuple[list[float], list[float]]:
    """The accuracies of two rows, aligned by the seeds that both have; a seed's repeats are averaged."""

    def accuracy(run: RunRecord) -> float | None:
        return run.figure("accuracy")

    return _in_both(by_seed(row.runs, accuracy), by_seed(other.runs, accuracy))


def _in_both(first: Mapping[_Key, float], second: Mapping[_Key, float]) -> tuple[list[float], list[float]]:
    keys = [key for key in first if key in second]
    return [first[key] for key in keys], [second[key] for key in keys]


def pareto(section: Section) -> tuple[Row, ...]:
    """The rows that no other beats in both mean accuracy and training time, fastest first."""
    known = [
        (training_seconds(row), -accuracy.value, row)
        for row in section.rows
        if (accuracy := row.estimates.get("accuracy")) and row.estimates.get("train_seconds")
    ]
    front = [
        (time, error, row)
        for time, error, row in known
        if not any(
            other_time <= time and other_error <= error and (other_time, other_error) != (time, error)
            for other_time, other_error, _ in known
        )
    ]
    return tuple(row for _, _, row in sorted(front, key=lambda point: point[:2]))


def training_seconds(row: Row) -> float:
    """The time of the whole training, seconds: an epoch's median times the epochs; NaN where it is not known."""
    epoch = row.estimates.get("train_seconds")
    return epoch.value * row.configuration.epochs if epoch else math.nan
