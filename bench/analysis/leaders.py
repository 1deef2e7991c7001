"""Which row of a section leads in its score (accuracy, or error), time and memory, and how sure that is. Pure.

A row is called the best only if its interval against every other row lies on its side. Whichever of k rows is the
best, the other k - 1 are chances to call a wrong one, so each interval may leave 0.05 / (k - 1) on that side: then a
wrong row is called the best with 5 % at most (Berger, 1982, for each row; Bonferroni over the rows). Of up to three
rows those are intervals of 95 %, and leaders agree with the claims. Scores are compared seed by seed, times block
by block. One seed or one block is never enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.analysis.records import RunRecord
from bench.analysis.rows import Row, difference_between, ratio_between
from bench.analysis.stats import CONFIDENCE, Estimate
from bench.analysis.summary import Section
from bench.core.metrics import METRICS


@dataclass(frozen=True)
class Leader:
    """The row that leads by its estimate, and those that it can't be distinguished from."""

    row: Row
    figure: Estimate
    """The figure that it leads by."""
    rivals: tuple[Row, ...]
    """The rows whose interval doesn't lie on its side."""
    compared: int
    """How many rows it was compared with: all others that have the figure."""
    confidence: float
    """The level of the intervals that the row was compared by."""

    @property
    def clear(self) -> bool:
        """Whether it is better than every other row, of which there is one at least."""
        return self.compared > 0 and not self.rivals


def best_scoring(section: Section) -> Leader | None:
    """The row with the best mean score over seeds (`Section.score`); None where none has one."""
    if section.score is None:
        return None
    metric, sign = section.score.name, -1 if section.score.lower_is_better else 1

    def beats(leader: Row, rival: Row, confidence: float) -> bool:
        interval = difference_between(leader, rival, metric, confidence).interval
        return interval is not None and min(sign * interval.low, sign * interval.high) > 0

    return _leader(section.rows, lambda row: row.estimates.get(metric), -sign, beats)


def fastest_to_train(section: Section) -> Leader | None:
    """The row with the shortest median epoch; None where none was trained."""

    def beats(leader: Row, rival: Row, confidence: float) -> bool:
        interval = ratio_between(rival, leader, confidence=confidence).interval
        return interval is not None and interval.low > 1

    return _leader(section.rows, lambda row: row.estimates.get("train_seconds"), 1, beats)


def fastest_to_infer(section: Section) -> Leader | None:
    """The row with the shortest median latency of the compiled call at batch 1; None where none was timed."""

    def latency(row: Row) -> Estimate | None:
        compiled = next((figures for figures in row.inference if figures.call_path == "compiled"), None)
        return compiled.estimates.get("latency_seconds") if compiled else None

    def beats(leader: Row, rival: Row, confidence: float) -> bool:
        interval = ratio_between(rival, leader, RunRecord.latency, confidence).interval
        return interval is not None and interval.low > 1

    return _leader(section.rows, latency, 1, beats)


def least_memory(section: Section) -> Leader | None:
    """The row with the lowest median peak of memory above the start; None where none was recorded.

    Allocators take memory in large pieces: what lies below the metric's noise floor is no difference.
    """
    margins = METRICS["memory_bytes"].margins
    floor = margins.floor if margins else 0.0

    def beats(leader: Row, rival: Row, confidence: float) -> bool:
        interval = difference_between(rival, leader, "memory_bytes", confidence).interval
        return interval is not None and interval.low > floor * leader.estimates["memory_bytes"].value

    return _leader(section.rows, lambda row: row.estimates.get("memory_bytes"), 1, beats)


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
    compared = [row for row, _ in known if row is not leader]
    confidence = max(CONFIDENCE, 1 - 2 * (1 - CONFIDENCE) / max(1, len(compared)))
    rivals = tuple(row for row in compared if not beats(leader, row, confidence))
    return Leader(leader, leading, rivals, len(compared), confidence)


def pareto(section: Section) -> tuple[Row, ...]:
    """The rows that none beats in both mean score and training time, fastest first; none without a score."""
    if section.score is None:
        return ()
    sign = 1 if section.score.lower_is_better else -1
    known = [
        (training_seconds(row), sign * score.value, row)
        for row in section.rows
        if (score := row.estimates.get(section.score.name)) and row.estimates.get("train_seconds")
    ]
    front = [
        (time, error, row)
        for time, error, row in known
        if not any(
            rival_time <= time and rival_error <= error and (rival_time, rival_error) != (time, error)
            for rival_time, rival_error, _ in known
        )
    ]
    return tuple(row for _, _, row in sorted(front, key=lambda point: point[:2]))


def training_seconds(row: Row) -> float:
    """The time of the whole training, seconds: an epoch's median times the epochs; NaN where it is not known."""
    epoch = row.estimates.get("train_seconds")
    return epoch.value * row.configuration.epochs if epoch else math.nan
