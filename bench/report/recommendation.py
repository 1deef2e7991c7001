"""The recommendation: which cell to use here, and how certain that is, in sentences that are true of a section.

Where a row can't be distinguished from the best, the sentence names it (`bench.analysis.leaders`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from bench.analysis.leaders import (
    Leader,
    best_scoring,
    fastest_to_infer,
    fastest_to_train,
    pareto,
)
from bench.analysis.rows import Row, difference_between, ratio_between
from bench.analysis.stats import CONFIDENCE, Estimate
from bench.analysis.summary import Section
from bench.core.units import significant
from bench.report.values import count, ranged, row_label

_NAMED = 3
"""How many rows a sentence names before it counts."""


def recommendation(section: Section) -> tuple[str, ...]:
    """The sentences of a section; at least one. Where its data have several sizes, those of each size."""
    sizes = section.by_size
    if len(sizes) == 1:
        return _sentences(section)
    return tuple(f"{size}. {sentence}" for size, rows in sizes.items() for sentence in _sentences(rows))


def _sentences(section: Section) -> tuple[str, ...]:
    accurate, quick, inferring = best_scoring(section), fastest_to_train(section), fastest_to_infer(section)
    if accurate is None and quick is None:
        tried = sum(row.runs_tried for row in section.rows)
        return (f"No recommendation: none of {count(tried, 'run')} ended ok.",)
    sentences = []
    if accurate:
        best = "Most accurate" if section.score_words == "accuracy" else f"Lowest {section.score_words}"
        sentences.append(_sentence(accurate, best, _score(accurate.figure, section), "seed"))
    if quick:
        sentences.append(_sentence(quick, "Fastest to train", _seconds(quick.figure, 1, "s an epoch"), "block"))
    if inferring:
        figure = _seconds(inferring.figure, 1000, "ms a call at batch 1")
        sentences.append(_sentence(inferring, "Fastest inference", figure, "block"))
    if accurate and quick and (accurate.compared or quick.compared):
        sentences.append(_trade(accurate, quick, section))
    return tuple(sentences)


def exchange(section: Section) -> tuple[str, ...]:
    """What each step along the Pareto front buys: points of accuracy, or less error, for times the training time."""
    return tuple(step for rows in section.by_size.values() for step in _steps(rows))


def _steps(section: Section) -> Iterator[str]:
    for cheap, dear in itertools.pairwise(pareto(section)):
        points, times = _exchanged(dear, cheap, section)
        if points.n and times.n:
            gain, cost = _gain(points.value, section), significant(times.value)
            yield f"{row_label(cheap)} to {row_label(dear)}: {gain} for {cost} × the time"


def _exchanged(dear: Row, cheap: Row, section: Section) -> tuple[Estimate, Estimate]:
    """What a row gives over another, and what it costs: the difference of scores, the ratio of whole training times.

    Both are paired, as verdicts are: the report states one estimate of each, wherever it states them.
    """
    assert section.score is not None
    epochs = dear.configuration.epochs / cheap.configuration.epochs
    return difference_between(dear, cheap, section.score.name), ratio_between(dear, cheap).scaled(epochs)


def _gain(difference: float, section: Section) -> str:
    """A difference of scores: `+3.46 points`, `−0.0123 of mean squared error`."""
    is_accuracy = section.score_words == "accuracy"
    number = f"{100 * difference:+.2f}" if is_accuracy else f"{difference:+.4f}"
    return f"{number.replace('-', '−')} {'points' if is_accuracy else f'of {section.score_words}'}"


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


def _trade(accurate: Leader, quick: Leader, section: Section) -> str:
    if accurate.row is quick.row:
        held = "is" if accurate.clear and quick.clear else "may be"
        best = "the most accurate" if section.score_words == "accuracy" else f"of the lowest {section.score_words}"
        return f"Best trade: {row_label(quick.row)} {held} both {best} and the fastest to train."
    dear, cheap = row_label(accurate.row), row_label(quick.row)
    assert section.score is not None
    points, times = _exchanged(accurate.row, quick.row, section)
    better = -1 if section.score.lower_is_better else 1
    if not points.n or not times.n:
        lacking = " and ".join(word for word, known in (("no seed", points.n), ("no block", times.n)) if not known)
        return f"Best trade: can't tell yet; {dear} and {cheap} have {lacking} in common."
    by, interval = ranged(times)
    gain = f"{_gain(points.value, section)}{_interval(points, section)}".replace("-", "−")
    cost = f"{by} times" + (f" (95 % {interval})" if interval else "")
    what = " of accuracy" if section.score_words == "accuracy" else ""
    trade = f"{dear} gives {gain}{what} for {cost} the training time of {cheap}"
    # the two were chosen by their figures: what is certain of them must be so of every pair that might have been
    rows = 1 + max(accurate.compared, quick.compared)
    confidence = 1 - (1 - CONFIDENCE) / (rows * (rows - 1))
    if _is_trade(
        difference_between(accurate.row, quick.row, section.score.name, confidence),
        ratio_between(accurate.row, quick.row, confidence=confidence),
        better,
    ):
        return f"Best trade: your choice; {trade}."
    if _is_trade(points, times, better):
        return f"Best trade: can't tell yet; {trade}, but not certainly for two that were chosen among {rows} rows."
    return f"Best trade: can't tell yet; {trade}."


def _is_trade(points: Estimate, times: Estimate, better: int) -> bool:
    """Whether both intervals lie on their side: a better score, for more time."""
    if points.interval is None or times.interval is None:
        return False
    return min(better * points.interval.low, better * points.interval.high) > 0 and times.interval.low > 1


def _interval(points: Estimate, section: Section) -> str:
    if points.interval is None:
        return ""
    scale, decimals = (100, 2) if section.score_words == "accuracy" else (1, 4)
    low, high = (f"{scale * limit:+.{decimals}f}" for limit in (points.interval.low, points.interval.high))
    return f" (95 % {low} to {high})"


def _score(figure: Estimate, section: Section) -> str:
    scale, decimals, unit = (100, 2, " %") if section.score_words == "accuracy" else (1, 4, "")
    value, seeds = f"{scale * figure.value:.{decimals}f}{unit}", count(figure.n, "seed")
    if figure.interval is None:
        return f"{value} ({seeds}, no interval)"
    return f"{value} ± {scale * (figure.interval.high - figure.interval.low) / 2:.{decimals}f} ({seeds})"


def _seconds(figure: Estimate, scale: float, unit: str) -> str:
    value, interval = ranged(figure.scaled(scale))
    runs = count(figure.n, "run")
    return f"{value} {unit} (95 % {interval}, {runs})" if interval else f"{value} {unit} ({runs}, no interval)"
