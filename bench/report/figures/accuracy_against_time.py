"""The test score (accuracy, or error) against the time of the whole training, with the Pareto front."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.analysis.leaders import best_scoring, fastest_to_train, pareto, training_seconds
from bench.analysis.rows import Row
from bench.analysis.summary import Section
from bench.core.units import significant
from bench.report.document import FIGURE_INK
from bench.report.figures import style
from bench.report.measured import Measured
from bench.report.values import row_label

_CORNERS = (("left", 8, -15), ("left", 8, 7), ("right", -8, -15), ("right", -8, 7))
"""Where a point's label may stand: how it is aligned, and its offset in points."""


_FAR = 40.0
"""Points away from a label, and it is no matter how far."""


_Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in points."""


def draw_accuracy_against_time(_: Measured, section: Section) -> style.Drawing:
    """Every row with its score and time, the intervals of both, and the Pareto front of each size of the data.

    Raises:
        NothingToShowError: the section has nothing of it.
    """
    if section.score is None:
        raise style.NothingToShowError(style.no_score(section))
    score, words = section.score.name, section.score_words
    scale, unit = (100, "%") if words == "accuracy" else (1, "")
    rows = [row for row in section.rows if row.estimates.keys() >= {score, "train_seconds"}]
    if not rows:
        raise style.NothingToShowError(style.no_runs(section))
    fig, ax = style.axes(height=3.4)
    colours, fronts = style.colours_of(section), [pareto(rows) for rows in section.by_size.values()]
    front = tuple(itertools.chain.from_iterable(fronts))
    data: list[dict[str, Any]] = []
    points: list[tuple[float, float, str]] = []
    markers = itertools.cycle("osD^vP*X")
    kinds: dict[str, str] = {}
    for row in rows:
        kind = _kind(row)
        kinds.setdefault(kind, next(markers) if kind not in kinds else "")
        time = row.estimates["train_seconds"].scaled(row.configuration.epochs)
        shown = row.estimates[score].scaled(scale)
        colour = colours[row.cell]
        if time.interval:
            ax.plot([time.interval.low, time.interval.high], [shown.value] * 2, color=colour, lw=1, alpha=0.6)
        if shown.interval:
            ax.plot(
                [time.value] * 2,
                [shown.interval.low, min(shown.interval.high, 100) if unit else shown.interval.high],
                color=colour,
                lw=1,
                alpha=0.6,
            )
        (point,) = ax.plot(
            [time.value], [shown.value], marker=kinds[kind], color=colour, markersize=7, linestyle="none"
        )
        score_words = f"{shown.value:.2f} %" if unit else significant(shown.value)
        style.give_value(point, f"{row_label(row)}: {score_words} in {significant(time.value)} s")
        points.append((time.value, shown.value, row_label(row)))
        data.append(
            style.record(
                row,
                time,
                unit="s",
                **{"accuracy_percent" if unit else score: shown.value},
                on_front=any(row is best for best in front),
            )
        )
    for best in fronts:
        ax.step(
            [training_seconds(row) for row in best],
            [scale * row.estimates[score].value for row in best],
            where="post", color=FIGURE_INK, lw=1, linestyle=":", zorder=1,
        )  # fmt: skip
    ax.set_xscale("log")
    ax.margins(x=0.1, y=0.1)
    style.plain_numbers(ax.xaxis)
    ax.set_xlabel("training seconds of a run, all its epochs (log)")
    ax.set_ylabel("test accuracy, %" if unit else f"test loss, {words}")
    if len(rows) <= style.MOST_LINES:
        _label_points(ax, [(x, y, style.short(name, 24)) for x, y, name in points])
    title = _title(section, front)
    better = "" if unit else " (less is better)"
    caption = (
        f"Mean test {words} over seeds{better}, median training time over runs, 95 % intervals as lines; the dotted "
        f"line is the Pareto front of the estimates, whatever their intervals. {style.runs_in(rows)}."
    )
    listed = "; ".join(
        f"{name} {f'{value:.2f} %' if unit else significant(value)} in {significant(time)} s"
        for time, value, name in points[:12]
    )
    return style.Drawing(title, caption, f"Test {words} against training time: {listed}.", fig, data)


def _title(section: Section, front: Sequence[Row]) -> str:
    """What is certain: who leads in score and in time; else what lies on the front by the estimates alone."""
    accurate, quick = best_scoring(section), fastest_to_train(section)
    best = "most accurate" if section.score_words == "accuracy" else f"lowest in {section.score_words}"
    if len(section.by_size) == 1 and accurate and quick and accurate.clear and quick.clear:
        if accurate.row is quick.row:
            return f"{row_label(quick.row)} is {best} and trains fastest"
        return f"{row_label(accurate.row)} is {best}, {row_label(quick.row)} trains fastest"
    leading = ", ".join(row_label(row) for row in front[:4]) + (f" and {len(front) - 4} more" if len(front) > 4 else "")
    return (
        f"By the estimates, {leading} {'is' if len(front) == 1 else 'are'} on the Pareto front; it is not yet certain"
    )


def _label_points(ax: Any, points: Sequence[tuple[float, float, str]]) -> None:
    """Put a label at each point (x, y, text), at the corner that is farthest from the others and hides none of them."""
    ax.figure.draw_without_rendering()  # only now is it known where the points lie
    places = ax.transData.transform([(x, y) for x, y, _ in points]) * 72 / ax.figure.dpi
    inside = ax.get_window_extent().extents * 72 / ax.figure.dpi
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    for number, (x, y, text) in enumerate(points):
        width, height = 5 * len(text), 9  # of letters of 8 points, rather too large
        neighbours = np.delete(places, number, axis=0)
        ranked: list[tuple[bool, float, int, _Box]] = []
        for side, dx, dy in _CORNERS:
            left, bottom = places[number] + (dx - (width if side == "right" else 0), dy)
            box = (left, bottom, left + width, bottom + height)
            hides = any(_overlap(box, place) for place in taken) or not (
                inside[0] <= left and left + width <= inside[2]
            )
            away = np.hypot(*(neighbours - (left + width / 2, bottom + height / 2)).T).min(initial=_FAR)
            ranked.append((hides, -min(away, _FAR), len(ranked), box))
        *_, corner, box = min(ranked)
        taken.append(box)
        side, dx, dy = _CORNERS[corner]
        ax.annotate(text, (x, y), xytext=(dx, dy), textcoords="offset points", fontsize=8, ha=side)


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _kind(row: Row) -> str:
    return f"{row.configuration.kernel} {row.configuration.runtime}"
