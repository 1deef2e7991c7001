"""The recommendation: which cell to use here, and how certain that is, in sentences that are true of a section.

Where a row can't be distinguished from the best, the sentence names it (`bench.analysis.leaders`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from bench.analysis.leaders import (
    Leader,
    fastest_to_infer,
    fastest_to_train,
    most_accurate,
    training_seconds,
)
from bench.analysis.rows import Row, paired_accuracies, paired_train_seconds
from bench.analysis.stats import CONFIDENCE, Estimate, mean_t, paired_ratio
from bench.analysis.summary import Section
from bench.core.units import significant
from bench.report.values import count, ranged, row_label

_NAMED = 3
"""How many rows a sentence names before it counts."""


def recommendation(section: Section) -> tuple[str, ...]:
    """The sentences of a section; at least one."""
    accurate, quick, inferring = most_accurate(section), fastest_to_train(section), fastest_to_infer(section)
    if accurate is None and quick is None:
        tried = sum(row.runs_tried for row in section.rows)
        return (f"No recommendation: none of {count(tried, 'run')} ended ok.",)
    sentences = []
    if accurate:
        sentences.append(_sentence(accurate, "Most accurate", _accuracy(accurate.figure), "seed"))
    if quick:
        sentences.append(_sentence(quick, "Fastest to train", _seconds(quick.figure, 1, "s an epoch"), "block"))
    if inferring:
        figure = _seconds(inferring.figure, 1000, "ms a call at batch 1")
        sentences.append(_sentence(inferring, "Fastest inference", figure, "block"))
    if accurate and quick:
        sentences.append(_trade(accurate, quick))
    return tuple(sentences)


def exchange(front: Sequence[Row]) -> tuple[str, ...]:
    """What each step along the Pareto front buys: points of accuracy for times the training time.

    Args:
        front: the rows of `bench.analysis.leaders.pareto`, fastest first.
    """
    steps = []
    for cheap, dear in itertools.pairwise(front):
        before, after = cheap.estimates.get("accuracy"), dear.estimates.get("accuracy")
        if before and after:
            points = 100 * (after.value - before.value)
            times = significant(training_seconds(dear) / training_seconds(cheap))
            steps.append(f"{row_label(cheap)} to {row_label(dear)}: {points:+.2f} points for {times} × the time")
    return tuple(steps)


def _sentence(leader: Leader, what: str, figure: str, unit: str) -> str:
    name = row_label(leader.row)
    if not leader.compared:
        return f"{what}: only {name} was measured, with {figure}; there is nothing to compare it with."
    if leader.clear:
        return f"{what}: {name}, with {figure}; {_level(leader)} interval against every other row is on its side."
    rivals = " or ".join(row_label(row) for row in leader.rivals[:_NAMED])
    rest = len(leader.rivals) - _NAMED
    more = f" or {rest} more" if rest > 0 else ""
    why = f" from one {unit}" if leader.figure.n == 1 else ""
    return f"{what}: can't tell yet. {name} leads with {figure}, but can't be distinguished{why} from {rivals}{more}."


def _level(leader: Leader) -> str:
    if leader.confidence <= CONFIDENCE:
        return "its 95 %"
    return f"its {100 * leader.confidence:.1f} % (95 % over all rows)"


def _trade(accurate: Leader, quick: Leader) -> str:
    if accurate.row is quick.row:
        held = "is" if accurate.clear and quick.clear else "may be"
        return f"Best trade: {row_label(quick.row)} {held} both the most accurate and the fastest to train."
    dear, cheap = row_label(accurate.row), row_label(quick.row)
    ours, theirs = paired_accuracies(accurate.row, quick.row)
    points = mean_t([100 * (a - b) for a, b in zip(ours, theirs, strict=True)])
    times = paired_ratio(*paired_train_seconds(accurate.row, quick.row))
    if not points.n or not times.n:
        return f"Best trade: can't tell yet; {dear} and {cheap} have no seed or block in common."
    by, interval = ranged(times)
    gain = f"{points.value:+.2f} points{_interval(points)}".replace("-", "−")
    cost = f"{by} times" + (f" (95 % {interval})" if interval else "")
    certain = (
        points.interval is not None
        and points.interval.low > 0
        and times.interval is not None
        and times.interval.low > 1
    )
    start = "Best trade: your choice;" if certain else "Best trade: can't tell yet;"
    return f"{start} {dear} gives {gain} of accuracy for {cost} the training time of {cheap}."


def _interval(points: Estimate) -> str:
    return f" (95 % {points.interval.low:+.2f} to {points.interval.high:+.2f})" if points.interval else ""


def _accuracy(figure: Estimate) -> str:
    value, seeds = f"{100 * figure.value:.2f} %", count(figure.n, "seed")
    if figure.interval is None:
        return f"{value} ({seeds}, no interval)"
    return f"{value} ± {50 * (figure.interval.high - figure.interval.low):.2f} ({seeds})"


def _seconds(figure: Estimate, scale: float, unit: str) -> str:
    value, interval = ranged(figure.scaled(scale))
    runs = count(figure.n, "run")
    return f"{value} {unit} (95 % {interval}, {runs})" if interval else f"{value} {unit} ({runs}, no interval)"
