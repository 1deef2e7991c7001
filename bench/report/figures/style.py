"""What the drawings have in common: their style, how rows, runs and intervals are drawn and put in words."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.analysis.rows import Row
from bench.analysis.stats import Estimate
from bench.analysis.summary import Section
from bench.core.units import significant
from bench.report.document import FIGURE_GRID, FIGURE_INK
from bench.report.jsonout import estimate_object
from bench.report.values import clean, count, ranged, row_label


@dataclass
class Drawing:
    """What a figure's function gives: the drawing is yet to be saved."""

    title: str
    caption: str
    alt: str
    figure: Any
    data: list[dict[str, Any]] = field(default_factory=list)


class NothingToShowError(Exception):
    """A figure has nothing to show; its text is the reason."""


WIDTH = 5.4
"""The width of a figure on a page, inches."""


MOST_LINES = 8
"""Lines in a figure: a ninth would have no colour of its own."""

_LABEL_WIDTH, _VALUES_WIDTH = 30, 42
"""Characters of a label: beside its names of fields, and where these had to go."""


@contextmanager
def settings(width: float = WIDTH) -> Iterator[Any]:
    """Give `matplotlib.pyplot` with the settings that all figures have, for a width in inches."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns

    size = 9 if width >= WIDTH else 8
    values = {
        **sns.axes_style("ticks"),
        "svg.hashsalt": "bench",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,  # fonts as TrueType, which publishers ask for
        "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
        "font.size": size,
        "axes.titlesize": size,
        "axes.labelsize": size,
        "figure.figsize": (width, width),
        "text.color": FIGURE_INK,
        "axes.labelcolor": FIGURE_INK,
        "axes.edgecolor": FIGURE_INK,
        "xtick.color": FIGURE_INK,
        "ytick.color": FIGURE_INK,
        "axes.grid": True,
        "grid.color": FIGURE_GRID,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.constrained_layout.use": True,
        "legend.frameon": False,
        "legend.fontsize": size - 1,
    }
    with plt.rc_context(values):
        yield plt


def colours_of(section: Section) -> dict[str, Any]:
    """A colour for each cell, from seaborn's palette that people with colour-blindness can distinguish."""
    import seaborn as sns

    cells = list(dict.fromkeys(row.cell for row in section.rows))
    palette = sns.color_palette("colorblind", max(len(cells), 1))
    return dict(zip(cells, palette, strict=True))


def axes(rows: int = 0, *, height: float = 3.2, panels: int = 1) -> Any:
    """A new drawing and its axes, as high as its rows need, at least `height` inches; `panels` lie above each other."""
    import matplotlib.pyplot as plt

    width = plt.rcParams["figure.figsize"][0]
    tall = max(height * min(1.0, (width / WIDTH) ** 0.5), 1.3 + 0.32 * rows)
    return plt.subplots(panels, 1, figsize=(width, tall), sharex=panels > 1)


def short(text: str, width: int = _LABEL_WIDTH) -> str:
    """Text for a drawing: nothing of it is read as mathematics, and it has an end."""
    plain = clean(text)
    return (plain if len(plain) <= width else f"{plain[: width - 1]}…").replace("$", r"\$")


def labels(names: Sequence[str]) -> tuple[list[str], str]:
    """Labels that a drawing has room for, and what stands in them, where only the values of fields have room.

    Args:
        names: of all rows that are drawn, as `row_label` or `row_name` gives them, or with more behind.
    """
    fields = dict.fromkeys(re.findall(r" × (\w+)=", " ".join(names)))
    if not fields or all(len(clean(name)) <= _LABEL_WIDTH for name in names):
        return [short(name) for name in names], ""
    values = [re.sub(r" × \w+=", " × ", name) for name in names]
    return [short(value, _VALUES_WIDTH) for value in values], "\n".join(
        textwrap.wrap(" × ".join(["cell", *fields]), 28)
    )


def row_name(row: Row) -> str:
    """A row as its label on an axis: where Keras picked the kernel, with the one that ran."""
    ran = ", ".join(row.kernels_attested)
    name = row_label(row)
    return f"{name} → {ran}" if row.configuration.kernel == "auto" and ran else name


def record(row: Row, estimate: Estimate | None = None, **values: Any) -> dict[str, Any]:
    """What is drawn of a row, for the figure's data: which row it is, the values, and the estimate by its parts."""
    which = {"cell": row.cell, "kernel": row.configuration.kernel, "row": row_label(row)}
    return {**which, **values, **(estimate_object(estimate) or {})}


_VALUE = "value:"


def give_value(artist: Any, text: str) -> None:
    """Let what is drawn give its value to whoever points at it on a page (`with_values`)."""
    artist.set_gid(_VALUE + clean(text))


def value_at(ax: Any, x: float, y: float, text: str) -> None:
    """Let a place of a drawing give a value to whoever points at it, wide enough to be hit; nothing is drawn there.

    Args:
        ax: the axes.
        x: the place, in the unit of the x axis.
        y: the same of the y axis.
        text: the value, in words.
    """
    (area,) = ax.plot([x], [y], marker="s", markersize=13, alpha=0, linestyle="none", zorder=6)
    give_value(area, text)


def interval_words(estimate: Estimate) -> str:
    """An estimate with its interval, as a value that is pointed at has it."""
    value, interval = ranged(estimate)
    return f"{value} (95 % {interval})" if interval else value


def with_values(svg: str) -> str:
    """An SVG in which each thing that gives its value has a title to point at and a place for the focus."""
    numbers = itertools.count()

    def titled(match: re.Match[str]) -> str:
        text = match[1]  # escaped by matplotlib
        named = f'id="value-{next(numbers)}" class="value" tabindex="0" role="img" aria-label="{text}"'
        return f"<g {named}><title>{text}</title>"

    return re.sub(rf'<g id="{_VALUE}([^"]*)">', titled, svg)


def dots(ax: Any, place: float, values: Sequence[float], colour: Any) -> None:
    """Draw every run as a dot; they are spread by rank, not by chance, so that the drawing is the same again.

    Args:
        ax: where to draw.
        place: the line's place on the y axis.
        values: a value for each run, in the unit of the x axis.
        colour: of the dots.
    """
    spread = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(1)
    ax.scatter(values, place + spread, s=18, color=colour, alpha=0.75, linewidths=0, zorder=3)


def bar(ax: Any, place: float, estimate: Estimate, name: str, unit: str) -> None:
    """Draw an estimate as a tick, and its interval as a line.

    Args:
        ax: where to draw.
        place: the line's place on the y axis.
        estimate: in the unit of the x axis.
        name: of the row, for whoever points at it.
        unit: its unit.
    """
    if estimate.interval:
        low, high = estimate.interval.low, estimate.interval.high
        ax.plot([low, high], [place, place], color=FIGURE_INK, linewidth=1.4, zorder=4)
    ax.plot([estimate.value], [place], marker="|", markersize=13, markeredgewidth=2, color=FIGURE_INK, zorder=5)
    value, interval = ranged(estimate)
    value_at(ax, estimate.value, place, f"{name}: {value} {unit}{f' (95 % {interval})' if interval else ''}")


def lined(ax: Any, rows: Sequence[str]) -> None:
    """Name the lines of a drawing that has a line a row, the first on top."""
    texts, explained = labels(rows)
    ax.set_yticks(range(len(rows)), texts)
    ax.set_ylabel(explained)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")


def dots_of_rows(section: Section, metric: str, scale: float, unit: str) -> tuple[Any, list[dict[str, Any]], list[Row]]:
    """Draw a line for each row that has a metric: a dot a run, the row's estimate and its interval.

    Args:
        section: whose rows are drawn.
        metric: its name in `bench.core.metrics.METRICS`.
        scale: from its SI unit to the one that is drawn.
        unit: the one that is drawn, for the figure's data.

    Returns:
        the drawing and its axes, the figure's data, and the rows.
    """
    rows = [row for row in section.rows if metric in row.estimates]
    fig, ax = axes(len(rows), height=2.2)
    colours, data = colours_of(section), []
    for place, row in enumerate(rows):
        estimate = row.estimates[metric].scaled(scale)
        values = [scale * value for run in row.runs if (value := run.figure(metric)) is not None]
        dots(ax, place, values, colours[row.cell])
        bar(ax, place, estimate, row_name(row), unit)
        data.append(record(row, estimate, unit=unit, runs=values))
    lined(ax, [row_name(row) for row in rows])
    ax.set_xlim(left=0)
    return (fig, ax), data, rows


DOTS_CAPTION = "A dot is a run, the tick the median over runs, the line its 95 % interval"


def runs_in(rows: Sequence[Row]) -> str:
    """How many runs a row has."""
    return _n([len(row.runs) for row in rows], "run")


def seeds_in(rows: Sequence[Row]) -> str:
    """How many seeds a row has."""
    return _n([row.seeds for row in rows], "seed")


def _n(counts: Sequence[int], noun: str) -> str:
    low, high = min(counts), max(counts)
    return f"n = {count(low, noun)} a row" if low == high else f"n = {low} to {high} {noun}s a row"


def values_in_words(data: Sequence[Mapping[str, Any]], unit: str, shown: int = 12) -> str:
    """The values of a drawing for its alternative text: the first `shown` records of `data`, in their `unit`."""
    listed = [f"{each['row']} {significant(each['value'])} {unit}" for each in data[:shown]]
    return "; ".join(listed) + (f"; and {len(data) - shown} more" if len(data) > shown else "")


def no_runs(section: Section) -> str:
    """Why there is nothing to show of runs."""
    tried = sum(row.runs_tried for row in section.rows)
    return f"none of {count(tried, 'run')} ended ok"


def no_score(section: Section) -> str:
    """Why there is no accuracy to show."""
    if section.score is None:
        return f"the task {section.task} is for speed alone: nothing is there to be learnt"
    return f"the targets of {section.task} are numbers: there is no accuracy to reach"


def line_styles(section: Section, rows: Sequence[Row]) -> dict[int, dict[str, Any]]:
    """A colour for each cell, and a dash for each row of the same cell."""
    dashes = ["-", "--", ":", "-.", (0, (5, 1)), (0, (1, 3)), (0, (3, 1, 1, 1)), (0, (8, 3))]
    colours = colours_of(section)
    used: dict[str, int] = defaultdict(int)
    styles: dict[int, dict[str, Any]] = {}
    for row in section.rows:
        if any(row is drawn for drawn in rows):
            styles[id(row)] = {"color": colours[row.cell], "linestyle": dashes[used[row.cell] % len(dashes)]}
            used[row.cell] += 1
    return styles


def headroom(ax: Any) -> None:
    """Make room for a legend above the points."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.3 * (high - low))


def plain_numbers(axis: Any) -> None:
    """1, 20, 300 instead of powers of ten; as many labels as there is room for."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    wide = high / max(low, 1e-12) > 30
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 3.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value >= 1e-4 else f"{value:.0e}"))
    axis.set_minor_formatter(NullFormatter())
