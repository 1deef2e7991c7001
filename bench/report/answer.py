"""The answer: which cell to use here, and how sure that is, in sentences that are true of a section. Pure.

A row is called the best only if its interval against every other row lies on its side. Whichever of k rows is the
best, the other k - 1 are chances to call a wrong one, so each interval may leave 0.05 / (k - 1) on that side: then a
wrong row is called the best with 5 % at most (Berger, 1982, for each row; Bonferroni over the rows). Of up to three
rows those are intervals of 95 %, and the answer agrees with the claims. Accuracies are compared by seed, times by
block. Where a row can't be told from the best, the sentence says so and names it; one seed or one block never tells.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.analysis.records import RunRecord
from bench.analysis.rows import Row, by_seed, paired_train_seconds
from bench.analysis.stats import CONFIDENCE, Estimate, mean_t, paired_ratio
from bench.analysis.summary import Section
from bench.core.units import significant
from bench.report.inference import label
from bench.report.values import ranged

_NAMED = 3
"""How many rows a sentence names before it counts."""


@dataclass(frozen=True)
class Best:
    """The row that leads by its estimate, and those that it can't be told from."""

    row: Row
    figure: Estimate
    rivals: tuple[Row, ...]
    others: int
    confidence: float
    """Of the intervals that it was compared by."""

    @property
    def sure(self) -> bool:
        return self.others > 0 and not self.rivals


def most_accurate(section: Section) -> Best | None:
    """By the mean test accuracy over seeds."""

    def accuracy(run: RunRecord) -> float | None:
        return run.accuracy

    def beats(best: Row, other: Row, confidence: float) -> bool:
        ours, theirs = by_seed(best.runs, accuracy), by_seed(other.runs, accuracy)
        seeds = sorted(ours.keys() & theirs.keys())
        interval = mean_t([ours[seed] - theirs[seed] for seed in seeds], confidence).interval
        return interval is not None and interval.low > 0

    return _best(section.rows, lambda row: row.accuracy, -1, beats)


def fastest_to_train(section: Section) -> Best | None:
    """By the median training seconds of an epoch."""

    def beats(best: Row, other: Row, confidence: float) -> bool:
        interval = paired_ratio(*paired_train_seconds(other, best), confidence).interval
        return interval is not None and interval.low > 1

    return _best(section.rows, lambda row: row.train_seconds, 1, beats)


def fastest_to_answer(section: Section) -> Best | None:
    """By the median latency of the compiled call at batch 1."""

    def latency(row: Row) -> Estimate | None:
        return next((one.p50_seconds for one in row.answers if one.entry == "compiled"), None)

    def by_block(row: Row) -> dict[tuple[str, int], float]:
        return {
            (run.campaign_id, run.block): seconds
            for run in row.runs
            if "compiled" in run.answers and (seconds := run.answers["compiled"].p50_seconds) is not None
        }

    def beats(best: Row, other: Row, confidence: float) -> bool:
        ours, theirs = by_block(best), by_block(other)
        blocks = sorted(ours.keys() & theirs.keys())
        ratio = paired_ratio([theirs[block] for block in blocks], [ours[block] for block in blocks], confidence)
        return ratio.interval is not None and ratio.interval.low > 1

    return _best(section.rows, latency, 1, beats)


def _best(
    rows: Sequence[Row],
    figure: Callable[[Row], Estimate | None],
    sign: int,
    beats: Callable[[Row, Row, float], bool],
) -> Best | None:
    known = [(row, own) for row in rows if (own := figure(row)) is not None and math.isfinite(own.value)]
    if not known:
        return None
    row, own = min(known, key=lambda one: sign * one[1].value)
    others = [other for other, _ in known if other is not row]
    confidence = max(CONFIDENCE, 1 - 2 * (1 - CONFIDENCE) / max(1, len(others)))
    rivals = tuple(other for other in others if not beats(row, other, confidence))
    return Best(row, own, rivals, len(others), confidence)


def pareto(section: Section) -> tuple[Row, ...]:
    """The rows that no other beats in both mean accuracy and training time, fastest first."""
    known = [row for row in section.rows if row.accuracy and row.train_seconds]
    key = {id(row): (training_seconds(row), -row.accuracy.value if row.accuracy else 0.0) for row in known}
    front = []
    for row in known:
        time, error = key[id(row)]
        beaten = any(
            other_time <= time and other_error <= error and (other_time, other_error) != (time, error)
            for other_time, other_error in key.values()
        )
        if not beaten:
            front.append(row)
    return tuple(sorted(front, key=lambda row: key[id(row)]))


def training_seconds(row: Row) -> float:
    """Of the whole training: an epoch's median times the epochs."""
    return row.train_seconds.value * row.configuration.epochs if row.train_seconds else math.nan


def answer(section: Section) -> tuple[str, ...]:
    """The sentences of a section; at least one."""
    accurate, quick, answering = most_accurate(section), fastest_to_train(section), fastest_to_answer(section)
    if accurate is None and quick is None:
        tried = sum(row.runs_tried for row in section.rows)
        return (f"Nothing can be said: none of {tried} run{'s' if tried != 1 else ''} ended ok.",)
    found = []
    if accurate:
        found.append(_sentence(accurate, "Most accurate", _accuracy(accurate.figure), "seed"))
    if quick:
        found.append(_sentence(quick, "Fastest to train", _seconds(quick.figure, 1, "s an epoch"), "block"))
    if answering:
        figure = _seconds(answering.figure, 1000, "ms a call at batch 1")
        found.append(_sentence(answering, "Fastest to answer", figure, "block"))
    if accurate and quick:
        found.append(_trade(accurate, quick))
    return tuple(found)


def _sentence(best: Best, what: str, figure: str, unit: str) -> str:
    name = label(best.row)
    if not best.others:
        return f"{what}: only {name} was measured, with {figure}; there is nothing to compare it with."
    if best.sure:
        return f"{what}: {name}, with {figure}; {_level(best)} interval against every other row is on its side."
    rivals = " or ".join(label(row) for row in best.rivals[:_NAMED])
    rest = len(best.rivals) - _NAMED
    more = f" or {rest} more" if rest > 0 else ""
    why = f" from one {unit}" if best.figure.n == 1 else ""
    return f"{what}: can't tell yet. {name} leads with {figure}, but it can't be told{why} from {rivals}{more}."


def _level(best: Best) -> str:
    if best.confidence <= CONFIDENCE:
        return "its 95 %"
    return f"its {100 * best.confidence:.1f} % (95 % over all rows)"


def _trade(accurate: Best, quick: Best) -> str:
    if accurate.row is quick.row:
        held = "is" if accurate.sure and quick.sure else "may be"
        return f"Best trade: {label(quick.row)} {held} both the most accurate and the fastest to train."
    ours, theirs = (by_seed(row.runs, lambda run: run.accuracy) for row in (accurate.row, quick.row))
    seeds = sorted(ours.keys() & theirs.keys())
    points = mean_t([100 * (ours[seed] - theirs[seed]) for seed in seeds])
    times = paired_ratio(*paired_train_seconds(accurate.row, quick.row))
    if not points.n or not times.n:
        return f"Best trade: can't tell; {label(accurate.row)} and {label(quick.row)} have no seed or block in common."
    by, of = ranged(times)
    gain = f"{points.value:+.2f} points".replace("-", "−") + _told(points)
    cost = f"{by} times" + (f" (95 % {of})" if of else "")
    sure = (
        points.interval is not None
        and points.interval.low > 0
        and times.interval is not None
        and times.interval.low > 1
    )
    start = "Best trade: your choice;" if sure else "Best trade: can't tell yet;"
    return f"{start} {label(accurate.row)} gives {gain} of accuracy for {cost} the training time of {label(quick.row)}."


def _told(points: Estimate) -> str:
    if points.interval is None:
        return ""
    return f" (95 % {points.interval.low:+.2f} to {points.interval.high:+.2f})".replace("-", "−")


def _accuracy(figure: Estimate) -> str:
    value = f"{100 * figure.value:.2f} %"
    if figure.interval:
        half = 50 * (figure.interval.high - figure.interval.low)
        return f"{value} ± {half:.2f} ({figure.n} seeds)"
    return f"{value} ({figure.n} seed{'s' if figure.n != 1 else ''}, no interval)"


def _seconds(figure: Estimate, scale: float, unit: str) -> str:
    value, interval = ranged(figure.scaled(scale))
    runs = f"{figure.n} run{'s' if figure.n != 1 else ''}"
    return f"{value} {unit} (95 % {interval}, {runs})" if interval else f"{value} {unit} ({runs}, no interval)"


def exchange(front: Sequence[Row]) -> tuple[str, ...]:
    """What each step along the Pareto front buys: points of accuracy for times the training time."""
    found = []
    for cheap, dear in itertools.pairwise(front):
        if cheap.accuracy and dear.accuracy:
            points = 100 * (dear.accuracy.value - cheap.accuracy.value)
            times = training_seconds(dear) / training_seconds(cheap)
            found.append(f"{label(cheap)} to {label(dear)}: {points:+.2f} points for {significant(times)} × the time")
    return tuple(found)
