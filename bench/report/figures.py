"""The figures of a section, each with a title that states the finding, units on its axes, n and the interval named.

Pure but for drawing: a section and its observations in, an SVG and a PNG out, the same bytes for the same data. What is
drawn may be thinned; what is computed never is. A figure that has nothing to show says why.
"""

from __future__ import annotations

import io
import itertools
import math
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.records import RunRecord
from bench.analysis.rows import Row, paired_train_seconds
from bench.analysis.stats import Estimate, mean_t, paired_ratio
from bench.analysis.summary import Section
from bench.core.units import significant
from bench.report.answer import fastest_to_answer, fastest_to_train, pareto, training_seconds
from bench.report.inference import label
from bench.report.measured import Measured
from bench.report.values import ranged

INK = "#1c1c1e"
GRID = "#d9d9dc"
"""What the page replaces in the SVG, so that a figure is readable on dark as well."""

_WIDTH = 5.4
_LINES = 8
"""Lines in one figure: a ninth would have no colour that is told from the others'."""
_POINTS = 300
"""Points of a drawn distribution: more than a screen has columns for it."""
_TARGETS = (0.9, 0.95, 0.97, 0.98, 0.99)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawn figure."""

    name: str
    title: str
    """The finding."""
    caption: str
    """What is shown, with n and the interval."""
    alt: str
    """What somebody who can't see it should know."""
    svg: str
    png: bytes
    data: tuple[Mapping[str, Any], ...]
    """What was drawn, as records."""

    def _repr_svg_(self) -> str:
        """How a notebook shows it."""
        return self.svg


@dataclass(frozen=True, kw_only=True)
class Empty:
    """A figure that has nothing to show, and why."""

    name: str
    title: str
    reason: str


@dataclass
class _Drawing:
    """What a figure's function gives: the drawing is yet to be saved."""

    title: str
    caption: str
    alt: str
    figure: Any
    data: list[dict[str, Any]] = field(default_factory=list)


class _NothingToShowError(Exception):
    """Its text is the reason."""


def draw_all(measured: Measured, section: Section) -> tuple[Figure | Empty, ...]:
    """All figures of a section, in the order in which the page has them."""
    return tuple(draw(name, measured, section) for name in FIGURES)


def draw(name: str, measured: Measured, section: Section) -> Figure | Empty:
    """One of `FIGURES`."""
    title, make = FIGURES[name]
    with _style() as plt:
        try:
            made = make(measured, section)
        except _NothingToShowError as nothing:
            plt.close("all")
            return Empty(name=name, title=title, reason=str(nothing))
        made.figure.suptitle(
            "\n".join(textwrap.wrap(made.title, 62)), x=0.01, ha="left", fontweight="bold", fontsize=10
        )
        svg, png = io.BytesIO(), io.BytesIO()
        made.figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
        made.figure.savefig(png, format="png", metadata={"Software": None}, dpi=120, facecolor="white")
        plt.close(made.figure)
    return Figure(
        name=name,
        title=made.title,
        caption=made.caption,
        alt=made.alt,
        svg=svg.getvalue().decode(),
        png=png.getvalue(),
        data=tuple(made.data),
    )


@contextmanager
def _style() -> Iterator[Any]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns

    settings = {
        **sns.axes_style("ticks"),
        "svg.hashsalt": "bench",
        "svg.fonttype": "path",
        "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.labelsize": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.grid": True,
        "grid.color": GRID,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.constrained_layout.use": True,
        "legend.frameon": False,
        "legend.fontsize": 8,
    }
    with plt.rc_context(settings):
        yield plt


# --- what the drawings share ---


def _colours(section: Section) -> dict[str, Any]:
    """By cell; seaborn's palette that people with colour-blindness tell apart."""
    import seaborn as sns

    cells = list(dict.fromkeys(row.cell for row in section.rows))
    palette = sns.color_palette("colorblind", max(len(cells), 1))
    return dict(zip(cells, palette, strict=True))


def _axes(rows: int = 0, *, height: float = 3.2, panels: int = 1) -> Any:
    import matplotlib.pyplot as plt

    tall = max(height, 1.3 + 0.32 * rows)
    return plt.subplots(panels, 1, figsize=(_WIDTH, tall), sharex=panels > 1)


def _short(text: str, width: int = 30) -> str:
    """Text for a drawing: nothing of it is read as mathematics, and it has an end."""
    plain = text if len(text) <= width else f"{text[: width - 1]}…"
    return plain.replace("$", r"\$")


def _name(row: Row) -> str:
    ran = ", ".join(row.kernels_attested)
    own = label(row)
    return f"{own} → {ran}" if row.configuration.kernel == "auto" and ran else own


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _record(row: Row, **values: Any) -> dict[str, Any]:
    return {"cell": row.cell, "kernel": row.configuration.kernel, "row": label(row), **values}


def _estimated(estimate: Estimate) -> dict[str, Any]:
    interval = estimate.interval
    return {
        "value": estimate.value,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "n": estimate.n,
    }


def _dots(ax: Any, place: float, values: Sequence[float], colour: Any) -> None:
    """Every run a dot; they are spread by their rank, not by chance, so that the drawing is the same again."""
    spread = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(1)
    ax.scatter(values, place + spread, s=18, color=colour, alpha=0.75, linewidths=0, zorder=3)


def _bar(ax: Any, place: float, estimate: Estimate) -> None:
    if estimate.interval:
        low, high = estimate.interval.low, estimate.interval.high
        ax.plot([low, high], [place, place], color=INK, linewidth=1.4, zorder=4)
    ax.plot([estimate.value], [place], marker="|", markersize=13, markeredgewidth=2, color=INK, zorder=5)


def _lined(ax: Any, rows: Sequence[str]) -> None:
    ax.set_yticks(range(len(rows)), [_short(row) for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")


def _dots_of_rows(
    section: Section,
    figure: Callable[[Row], Estimate | None],
    value: Callable[[RunRecord], float | None],
    scale: float,
    unit: str,
) -> tuple[Any, list[dict[str, Any]], list[Row]]:
    rows = [row for row in section.rows if figure(row) is not None]
    fig, ax = _axes(len(rows), height=2.2)
    colours, data = _colours(section), []
    for place, row in enumerate(rows):
        own = [scale * one for run in row.runs if (one := value(run)) is not None]
        estimate = figure(row)
        if estimate is not None:
            _dots(ax, place, own, colours[row.cell])
            _bar(ax, place, estimate.scaled(scale))
            data.append(_record(row, unit=unit, runs=own, **_estimated(estimate.scaled(scale))))
    _lined(ax, [_name(row) for row in rows])
    ax.set_xlim(left=0)
    return (fig, ax), data, rows


_INTERVAL = "A dot is a run, the tick the median over runs, the line its 95 % interval"


def _runs_in(rows: Sequence[Row]) -> str:
    counts = [len(row.runs) for row in rows]
    low, high = min(counts), max(counts)
    return f"n = {_count(low, 'run')} a row" if low == high else f"n = {low} to {high} runs a row"


def _in_words(data: Sequence[Mapping[str, Any]], unit: str, shown: int = 12) -> str:
    """The values of a drawing for its alternative text."""
    told = [f"{one['row']} {significant(one['value'])} {unit}" for one in data[:shown]]
    return "; ".join(told) + (f"; and {len(data) - shown} more" if len(data) > shown else "")


def _no_runs(section: Section) -> str:
    tried = sum(row.runs_tried for row in section.rows)
    return f"none of {_count(tried, 'run')} ended ok"


# --- the figures ---


def _training(_: Measured, section: Section) -> _Drawing:
    if not any(row.train_seconds for row in section.rows):
        raise _NothingToShowError(_no_runs(section))
    (fig, ax), data, rows = _dots_of_rows(section, lambda r: r.train_seconds, lambda r: r.train_seconds, 1, "seconds")
    ax.set_xlabel("training seconds an epoch")
    best = fastest_to_train(section)
    assert best is not None
    value = f"{ranged(best.figure)[0]} s an epoch"
    if best.sure:
        title = f"{label(best.row)} trains fastest, with {value}"
    elif best.others:
        title = f"{label(best.row)} leads with {value}, and the data can't tell it from {label(best.rivals[0])}"
    else:
        title = f"{label(best.row)} trains in {value}"
    caption = f"{_INTERVAL}; validation and compiling are not in it. {_runs_in(rows)}."
    return _Drawing(title, caption, f"Training seconds an epoch: {_in_words(data, 's')}.", fig, data)


def _learning(measured: Measured, section: Section) -> _Drawing:
    rows = [row for row in section.rows if row.runs and row.accuracy]
    seen = measured.frame[(measured.frame["phase"] == "validate") & (measured.frame["status"] == "ok")]
    if not rows or seen.empty:
        raise _NothingToShowError(_no_runs(section) if not rows else "no run was validated after its epochs")
    drawn = sorted(rows, key=lambda row: -row.accuracy.value if row.accuracy else 0.0)[:_LINES]
    fig, ax = _axes(height=3.4)
    styles, data = _lines(section, drawn), []
    by_run = dict(iter(seen.groupby("run_id", observed=True)))
    leader, lead = "", -1.0
    for row in [row for row in rows if row in drawn]:
        values: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for run in row.runs:
            own = by_run.get(run.run_id)
            for epoch, accuracy in () if own is None else zip(own["epoch"], own["accuracy"], strict=True):
                if math.isfinite(epoch) and math.isfinite(accuracy):
                    values[int(epoch)][run.seed].append(100 * accuracy)
        epochs = sorted(values)
        if not epochs:
            continue
        means = [mean_t(math.fsum(one) / len(one) for one in values[epoch].values()) for epoch in epochs]
        ax.plot(
            epochs, [one.value for one in means], marker="o", markersize=4, label=_short(_name(row)), **styles[id(row)]
        )
        banded = [(e, one.interval) for e, one in zip(epochs, means, strict=True) if one.interval]
        if banded:
            lows, highs = ([getattr(i, side) for _, i in banded] for side in ("low", "high"))
            ax.fill_between(
                [e for e, _ in banded], lows, np.minimum(highs, 100), color=styles[id(row)]["color"], alpha=0.15, lw=0
            )
        if means[-1].value > lead:
            leader, lead = label(row), means[-1].value
        data += [_record(row, epoch=e, unit="%", **_estimated(one)) for e, one in zip(epochs, means, strict=True)]
    if not data:
        raise _NothingToShowError("no run was validated after its epochs")
    ax.set_xlabel("epoch")
    ax.set_ylabel("validation accuracy, %")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(loc="lower right")
    last = max(one["epoch"] for one in data)
    title = f"After {_count(last, 'epoch')} {leader} has the highest mean validation accuracy, {lead:.2f} %"
    thinned = f" The {_LINES} most accurate of {len(rows)} rows are drawn." if len(rows) > _LINES else ""
    caption = f"Mean over seeds, with the 95 % interval (Student's t) as a band. {_seeds_in(drawn)}.{thinned}"
    final = [one for one in data if one["epoch"] == last]
    return _Drawing(title, caption, f"Validation accuracy after {last} epochs: {_in_words(final, '%')}.", fig, data)


def _seeds_in(rows: Sequence[Row]) -> str:
    counts = [row.seeds for row in rows]
    low, high = min(counts), max(counts)
    return f"n = {_count(low, 'seed')} a row" if low == high else f"n = {low} to {high} seeds a row"


def _lines(section: Section, rows: Sequence[Row]) -> dict[int, dict[str, Any]]:
    """A colour for each cell, and a dash for each row of the same cell."""
    dashes = ["-", "--", ":", "-.", (0, (5, 1)), (0, (1, 3)), (0, (3, 1, 1, 1)), (0, (8, 3))]
    colours = _colours(section)
    used: dict[str, int] = defaultdict(int)
    styles: dict[int, dict[str, Any]] = {}
    for row in section.rows:
        if any(row is one for one in rows):
            styles[id(row)] = {"color": colours[row.cell], "linestyle": dashes[used[row.cell] % len(dashes)]}
            used[row.cell] += 1
    return styles


def _trade(_: Measured, section: Section) -> _Drawing:
    rows = [row for row in section.rows if row.accuracy and row.train_seconds]
    if not rows:
        raise _NothingToShowError(_no_runs(section))
    fig, ax = _axes(height=3.4)
    colours, front = _colours(section), pareto(section)
    data: list[dict[str, Any]] = []
    names: list[tuple[float, float, str]] = []
    markers = itertools.cycle("osD^vP*X")
    kinds: dict[str, str] = {}
    for row in rows:
        kind = _kind(row)
        kinds.setdefault(kind, next(markers) if kind not in kinds else "")
        time, accuracy = row.train_seconds, row.accuracy
        assert time is not None
        assert accuracy is not None
        time, accuracy = time.scaled(row.configuration.epochs), accuracy.scaled(100)
        colour = colours[row.cell]
        if time.interval:
            ax.plot([time.interval.low, time.interval.high], [accuracy.value] * 2, color=colour, lw=1, alpha=0.6)
        if accuracy.interval:
            ax.plot(
                [time.value] * 2,
                [accuracy.interval.low, min(accuracy.interval.high, 100)],
                color=colour,
                lw=1,
                alpha=0.6,
            )
        ax.plot([time.value], [accuracy.value], marker=kinds[kind], color=colour, markersize=7, linestyle="none")
        names.append((time.value, accuracy.value, _short(label(row), 24)))
        data.append(
            _record(
                row,
                unit="s",
                accuracy_percent=accuracy.value,
                on_front=any(row is one for one in front),
                **_estimated(time),
            )
        )
    ax.step(
        [training_seconds(row) for row in front],
        [100 * row.accuracy.value for row in front if row.accuracy],
        where="post", color=INK, lw=1, linestyle=":", zorder=1,
    )  # fmt: skip
    ax.set_xscale("log")
    _plain_numbers(ax.xaxis)
    ax.set_xlabel("training seconds of a run, all its epochs (log)")
    ax.set_ylabel("test accuracy, %")
    if len(rows) <= _LINES:
        _label_points(ax, names)
    best = ", ".join(label(row) for row in front[:4]) + (f" and {len(front) - 4} more" if len(front) > 4 else "")
    one = len(front) == 1
    title = f"{best} {'is' if one else 'are'} on the Pareto front of accuracy and training time"
    caption = (
        f"Mean test accuracy over seeds, median training time over runs, 95 % intervals as lines; the dotted line is "
        f"the Pareto front of the estimates, whatever their intervals. {_runs_in(rows)}."
    )
    told = "; ".join(
        f"{one['row']} {one['accuracy_percent']:.2f} % in {significant(one['value'])} s" for one in data[:12]
    )
    return _Drawing(title, caption, f"Test accuracy against training time: {told}.", fig, data)


def _headroom(ax: Any) -> None:
    """For a legend above the points."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.3 * (high - low))


_CORNERS = (("left", 8, -15), ("left", 8, 7), ("right", -8, -15), ("right", -8, 7))
"""Where a point's label may stand: how it is aligned, and its offset in points."""

_FAR = 40.0
"""Points away from a label, and it is no matter how far."""


def _label_points(ax: Any, points: Sequence[tuple[float, float, str]]) -> None:
    """A label at each point (x, y, text), at the corner that is farthest from the others and hides none of them."""
    ax.figure.draw_without_rendering()  # only now is it known where the points lie
    places = ax.transData.transform([(x, y) for x, y, _ in points]) * 72 / ax.figure.dpi
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    for number, (x, y, text) in enumerate(points):
        width, height = 5 * len(text), 9  # of letters of 8 points, rather too large
        others = np.delete(places, number, axis=0)
        ranked: list[tuple[bool, float, int, tuple[float, float, float, float]]] = []
        for side, dx, dy in _CORNERS:
            left, bottom = places[number] + (dx - (width if side == "right" else 0), dy)
            box = (left, bottom, left + width, bottom + height)
            hides = any(_overlap(box, other) for other in taken)
            away = np.hypot(*(others - (left + width / 2, bottom + height / 2)).T).min(initial=_FAR)
            ranked.append((hides, -min(away, _FAR), len(ranked), box))
        *_, corner, box = min(ranked)
        taken.append(box)
        side, dx, dy = _CORNERS[corner]
        ax.annotate(text, (x, y), xytext=(dx, dy), textcoords="offset points", fontsize=8, ha=side)


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _kind(row: Row) -> str:
    return f"{row.configuration.kernel} {row.configuration.runtime}"


def _plain_numbers(axis: Any) -> None:
    """1, 20, 300 instead of powers of ten; as many labels as there is room for."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    wide = high / max(low, 1e-12) > 30
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 3.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value >= 1e-4 else f"{value:.0e}"))
    axis.set_minor_formatter(NullFormatter())


def _targets(measured: Measured, section: Section) -> _Drawing:
    rows = [row for row in section.rows if row.runs]
    if not rows:
        raise _NothingToShowError(_no_runs(section))
    frame = measured.frame[measured.frame["phase"].isin(("train", "validate"))]
    times = {run: _reached(own) for run, own in frame.groupby("run_id", observed=True)}
    best = max((acc for row in rows for run in row.runs for acc, _ in times.get(run.run_id, ())), default=0.0)
    reached = [target for target in _TARGETS if target <= best][-3:]
    if not reached:
        raise _NothingToShowError(
            f"no run reached {100 * _TARGETS[0]:.0f} % on the test set; the best had {100 * best:.1f} %"
        )
    lines = [(row, target) for target in reached for row in rows]
    fig, ax = _axes(len(lines), height=2.4)
    colours, data = _colours(section), []
    longest = max((time for run in times.values() for _, time in run), default=1.0)
    for place, (row, target) in enumerate(lines):
        found = [next((t for acc, t in times.get(run.run_id, ()) if acc >= target), None) for run in row.runs]
        did = sorted(time for time in found if time is not None)
        never = len(found) - len(did)
        if did:
            _dots(ax, place, did, colours[row.cell])
        if never:
            ax.plot([1.12 * longest], [place], marker="x", color=colours[row.cell], markersize=6)
            ax.annotate(
                f" {never} never",
                (1.12 * longest, place),
                fontsize=8,
                va="center",
                xytext=(4, 0),
                textcoords="offset points",
            )
        data.append(_record(row, target_percent=100 * target, unit="s", runs=did, never=never))
    _lined(ax, [f"≥ {100 * target:.0f} %  {label(row)}" for row, target in lines])
    for number in range(1, len(reached)):
        ax.axhline(number * len(rows) - 0.5, color=GRID, lw=1)
    ax.set_xlim(0, 1.38 * longest)
    ax.set_xlabel("training seconds until the accuracy was validated")
    top = max(reached)
    winners = [one for one in data if one["target_percent"] == 100 * top]
    done, every = sum(len(one["runs"]) for one in winners), sum(len(one["runs"]) + one["never"] for one in winners)
    title = f"{done} of {_count(every, 'run')} reached {100 * top:.0f} % within their epochs"
    caption = (
        "A dot is a run: its training seconds, validation left out, to the end of the first epoch after which it had "
        f"the accuracy; a cross counts the runs that never had it. {_runs_in(rows)}."
    )
    told = "; ".join(
        f"{one['row']} to {one['target_percent']:.0f} %: "
        + (f"median {significant(float(np.median(one['runs'])))} s" if one["runs"] else "no run")
        + (f", {one['never']} never" if one["never"] else "")
        for one in data[:12]
    )
    return _Drawing(title, caption, f"Training time to given accuracies: {told}.", fig, data)


def _reached(rows: pd.DataFrame) -> list[tuple[float, float]]:
    """(validation accuracy, training seconds until then) after each epoch of a run."""
    ordered = rows.sort_values("epoch", kind="stable")
    train = ordered[ordered["phase"] == "train"]
    taken = dict(zip(train["epoch"], train["seconds"].cumsum(), strict=True))
    validate = ordered[ordered["phase"] == "validate"]
    pairs = zip(validate["epoch"], validate["accuracy"], strict=True)
    return [(float(accuracy), float(taken[epoch])) for epoch, accuracy in pairs if epoch in taken]


def _calls_of(measured: Measured, section: Section) -> dict[tuple[int, str, int], tuple[Row, np.ndarray[Any, Any]]]:
    """By row number, entry and batch: all finite times of calls, all runs together, ascending."""
    home = {run.run_id: number for number, row in enumerate(section.rows) for run in row.runs}
    calls = measured.calls
    number = calls["run_id"].map(home)
    known = number.notna().to_numpy() & np.isfinite(calls["seconds"].to_numpy("float64"))
    if not known.any():
        raise _NothingToShowError("no inference was timed: the suite has latency_calls = 0")
    kept = calls[known].assign(row=number[known].astype(int))
    groups = kept.groupby(["row", "entry", "predict_batch"], observed=True)["seconds"]
    return {
        (int(row), str(entry), int(batch)): (section.rows[int(row)], np.sort(own.to_numpy("float64")))
        for (row, entry, batch), own in groups
    }


def _latency(measured: Measured, section: Section) -> _Drawing:
    found = {(n, entry): own for (n, entry, batch), own in _calls_of(measured, section).items() if batch == 1}
    if not found:
        raise _NothingToShowError("no call was timed at batch 1")
    order = sorted(found, key=lambda key: float(np.median(found[key][1])))
    drawn = sorted(order[:_LINES])
    fig, ax = _axes(height=4.2)
    styles, data = _lines(section, [found[key][0] for key in drawn]), []
    for key in drawn:
        row, seconds = found[key]
        milli = 1000 * seconds
        at = np.linspace(0, 1, min(_POINTS, len(milli)))
        style = styles[id(row)] | {"alpha": 1.0 if key[1] == "compiled" else 0.55}
        ax.plot(np.quantile(milli, at), at, drawstyle="steps-post", label=_short(f"{label(row)}, {key[1]}"), **style)
        p50, p95, p99 = np.quantile(milli, (0.5, 0.95, 0.99))
        data.append(
            _record(row, entry=key[1], unit="ms", value=float(p50), p95=float(p95), p99=float(p99), n=len(milli))
        )
    ax.set_xscale("log")
    _plain_numbers(ax.xaxis)
    ax.set_xlabel("milliseconds a call at batch 1 (log)")
    ax.set_ylabel("share of calls at most so long")
    fig.legend(loc="outside lower center", ncols=2)
    best = fastest_to_answer(section)
    value = min(data, key=lambda one: one["value"])
    sure = "answers fastest" if best is not None and best.sure else "has the shortest median call"
    title = f"{value['row']} ({value['entry']}) {sure}: {significant(value['value'])} ms at batch 1"
    thinned = f" The {_LINES} fastest of {len(found)} lines are drawn." if len(found) > _LINES else ""
    caption = (
        f"All calls of all runs, n = {min(one['n'] for one in data):,} or more a line: a distribution, no interval. "
        f"Fainter: model.predict.{thinned}"
    )
    told = "; ".join(
        f"{one['row']} {one['entry']} p50 {significant(one['value'])}, p99 {significant(one['p99'])}" for one in data
    )
    return _Drawing(title, caption, f"Distribution of call times at batch 1, in ms: {told}.", fig, data)


def _throughput(measured: Measured, section: Section) -> _Drawing:
    lines = []
    for row in section.rows:
        for own in row.answers:
            one = own.p50_seconds
            single = {1: Estimate(1 / one.value, None, one.n)} if one and one.value > 0 else {}
            if own.samples_per_second:
                lines.append((row, own.entry, single | dict(own.samples_per_second)))
    if not lines:
        raise _NothingToShowError("no inference was timed at several batches")
    drawn = sorted(lines, key=lambda line: -max(e.value for e in line[2].values()))[:_LINES]
    fig, ax = _axes(height=4.2)
    styles, data = _lines(section, [row for row, _, _ in drawn]), []
    for row, entry, speeds in drawn:
        batches = sorted(speeds)
        style = styles[id(row)] | {"alpha": 1.0 if entry == "compiled" else 0.55}
        ax.plot(
            batches,
            [speeds[b].value for b in batches],
            marker="o",
            markersize=4,
            label=_short(f"{label(row)}, {entry}"),
            **style,
        )
        for batch in batches:
            if interval := speeds[batch].interval:
                ax.plot([batch] * 2, [interval.low, interval.high], lw=1.2, color=styles[id(row)]["color"])
        data += [_record(row, entry=entry, batch=b, unit="samples/s", **_estimated(speeds[b])) for b in batches]
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    _plain_numbers(ax.yaxis)
    ax.set_xlabel("samples a call (log)")
    ax.set_ylabel("samples a second (log)")
    fig.legend(loc="outside lower center", ncols=2)
    top = max(data, key=lambda one: one["value"])
    title = f"{top['row']} ({top['entry']}) answers most samples a second: {top['value']:,.0f} at batch {top['batch']}"
    n = _runs_in([row for row, _, _ in drawn])
    caption = f"The batch over the run's median call, median over runs, 95 % intervals as lines. {n}."
    told = "; ".join(f"{one['row']} {one['entry']} at {one['batch']}: {one['value']:,.0f}" for one in data[:12])
    return _Drawing(title, caption, f"Samples a second by batch: {told}.", fig, data)


def _speed_ups(_: Measured, section: Section) -> _Drawing:
    from dataclasses import replace

    generic = {row.configuration: row for row in section.rows if row.configuration.kernel == "generic"}
    found: list[tuple[Row, Estimate]] = []
    for row in section.rows:
        base = generic.get(replace(row.configuration, kernel="generic"))
        if base is not None and base is not row:
            ratio = paired_ratio(*paired_train_seconds(base, row))
            if ratio.n:
                found.append((row, ratio))
    if not found:
        kernels = ", ".join(sorted({row.configuration.kernel for row in section.rows}))
        raise _NothingToShowError(f"nothing to compare with the generic kernel; measured: {kernels}")
    fig, ax = _axes(len(found), height=2.2)
    colours, data = _colours(section), []
    for place, (row, ratio) in enumerate(found):
        if ratio.interval:
            ax.plot([ratio.interval.low, ratio.interval.high], [place, place], color=colours[row.cell], lw=2)
        ax.plot([ratio.value], [place], marker="o", color=colours[row.cell], markersize=6)
        data.append(_record(row, unit="times", **_estimated(ratio)))
    ax.axvline(1, color=INK, lw=1, linestyle=":")
    ax.set_xscale("log")
    _plain_numbers(ax.xaxis)
    _lined(ax, [label(row) for row, _ in found])
    ax.set_xlabel("speed-up of training over the generic kernel, times (log)")
    faster = [label(row) for row, ratio in found if ratio.interval and ratio.interval.low > 1]
    best_row, best = max(found, key=lambda one: one[1].value)
    if faster:
        title = (
            f"{label(best_row)} trains {significant(best.value)} × as fast as generic; "
            f"{len(faster)} of {len(found)} are surely faster"
        )
    else:
        title = f"None of {_count(len(found), 'kernel')} is surely faster than generic"
    caption = (
        "Geometric mean of the ratios paired by block, 95 % interval (Student's t on the logarithms). "
        f"n = {_count(min(ratio.n for _, ratio in found), 'block')} or more a row."
    )
    return _Drawing(title, caption, f"Speed-up over the generic kernel: {_in_words(data, 'times')}.", fig, data)


def _memory(_: Measured, section: Section) -> _Drawing:
    if not any(row.memory_bytes for row in section.rows):
        raise _NothingToShowError(
            _no_runs(section) if not any(r.runs for r in section.rows) else "no peak was recorded"
        )
    (fig, ax), data, rows = _dots_of_rows(
        section,
        lambda r: r.memory_bytes,
        lambda r: None if r.memory_bytes is None else float(r.memory_bytes),
        1e-6,
        "MB",
    )
    ax.set_xlabel("peak memory above the start, MB (10⁶ bytes)")
    low, high = (pick(data, key=lambda one: one["value"]) for pick in (min, max))
    title = f"{high['row']} needs {significant(high['value'])} MB"
    if len(data) > 1:
        title = (
            f"From {significant(low['value'])} MB for {low['row']} to {significant(high['value'])} MB for {high['row']}"
        )
    caption = f"{_INTERVAL}; resident memory above what there was before the model was built. {_runs_in(rows)}."
    return _Drawing(title, caption, f"Peak memory: {_in_words(data, 'MB')}.", fig, data)


def _drift(measured: Measured, section: Section) -> _Drawing:
    runs = measured.runs_of(section)
    typical = {run.run_id: (row, run) for row in section.rows for run in row.runs if run.train_seconds is not None}
    shown = runs[runs["run_id"].isin(set(typical))]
    if shown.empty:
        raise _NothingToShowError(_no_runs(section))
    fig, (upper, lower) = _axes(height=3.8, panels=2)
    colours, data = _colours(section), []
    order = {str(run): place for place, run in enumerate(runs["run_id"], 1)}
    for run_id, load, steal in zip(shown["run_id"], shown["load_start"], shown["steal_fraction"], strict=True):
        row, run = typical[str(run_id)]
        assert row.train_seconds is not None
        assert run.train_seconds is not None
        data.append(
            _record(
                row,
                order=order[str(run_id)],
                value=run.train_seconds / row.train_seconds.value,
                load=float(load) if math.isfinite(load) else None,
                steal_percent=100 * float(steal) if math.isfinite(steal) else None,
            )
        )
    for cell, colour in colours.items():
        own = [one for one in data if one["cell"] == cell]
        size = 16 if len(data) < 200 else 4
        upper.scatter(
            [o["order"] for o in own],
            [o["value"] for o in own],
            s=size,
            color=colour,
            label=_short(cell, 24),
            linewidths=0,
        )
    upper.axhline(1, color=INK, lw=1, linestyle=":")
    upper.set_ylabel("seconds an epoch,\n× its row's median")
    upper.legend(loc="upper left", ncols=3, handletextpad=0.1, columnspacing=0.8)
    _headroom(upper)
    for key, name, mark in (("load", "load at the start", "o"), ("steal_percent", "steal, %", "^")):
        own = [one for one in data if one[key] is not None]
        if own:
            lower.plot([o["order"] for o in own], [o[key] for o in own], marker=mark, ms=3, lw=0.8, label=name)
    lower.set_ylim(bottom=0)
    lower.set_ylabel("load; steal, %")
    lower.set_xlabel("run, in the order in which they ran")
    if lower.get_legend_handles_labels()[0]:
        lower.legend(loc="upper left", ncols=2)
        _headroom(lower)
    worst = max(data, key=lambda one: abs(math.log(one["value"])))
    calm = abs(math.log(worst["value"])) < math.log(1.1)
    title = (
        "Every run took within 10 % of its row's median: the machine behaved"
        if calm
        else f"Run {worst['order']} ({worst['row']}) took {significant(worst['value'])} × its row's median"
    )
    loads = [one["load"] for one in data if one["load"] is not None]
    steals = [one["steal_percent"] for one in data if one["steal_percent"] is not None]
    caption = (
        "A dot is a run; load is the average over one minute when it began, steal the share of processor time that the "
        f"hypervisor took. n = {_count(len(data), 'run')}."
    )
    alt = (
        f"{_count(len(data), 'run')} in order: from {significant(min(o['value'] for o in data))} to "
        f"{significant(max(o['value'] for o in data))} times the row's median seconds"
        + (f"; load up to {max(loads):.1f}" if loads else "; load not recorded")
        + (f", steal up to {max(steals):.1f} %." if steals else ".")
    )
    return _Drawing(title, caption, alt, fig, data)


def _limit(_: Measured, section: Section) -> _Drawing:
    rows = [row for row in section.rows if row.limits and row.limits.peak_fraction is not None]
    if not rows:
        known = any(row.runs for row in section.rows)
        raise _NothingToShowError(
            "no bound of this machine and shape was measured beside these runs" if known else _no_runs(section)
        )
    fig, ax = _axes(len(rows), height=2.4)
    colours, data = _colours(section), []
    for place, row in enumerate(rows):
        assert row.limits is not None
        peak, serial = row.limits.peak_fraction, row.limits.serial_fraction
        for share, mark in ((peak, "o"), (serial, "D")):
            if share is not None:
                ax.plot([100 * share], [place], marker=mark, color=colours[row.cell], markersize=6, linestyle="none")
        data.append(
            _record(
                row,
                unit="%",
                value=100 * (serial if serial is not None else peak or 0.0),
                peak_percent=None if peak is None else 100 * peak,
                serial_percent=None if serial is None else 100 * serial,
                flops_per_second=row.limits.flops_per_second,
                seconds_per_dependent_step=row.limits.seconds_per_dependent_step,
            )
        )
    _lined(ax, [_name(row) for row in rows])
    ax.set_xlim(left=0)
    ax.set_xlabel("share of the limit that training reached, %")
    top = max(data, key=lambda one: one["value"])
    title = f"{top['row']} comes nearest to the machine's limit: {significant(top['value'])} % of the serial bound"
    caption = (
        "A disc is the share of a large matrix product's speed, a diamond that of the serial bound: the chain of small "
        f"products that wait for each other. Medians over runs, no interval. {_runs_in(rows)}."
    )
    return _Drawing(title, caption, f"Share of the serial bound reached: {_in_words(data, '%')}.", fig, data)


FIGURES: dict[str, tuple[str, Callable[[Measured, Section], _Drawing]]] = {
    "training_seconds": ("Training seconds an epoch", _training),
    "learning_curves": ("Learning curves", _learning),
    "accuracy_against_time": ("Accuracy against training time", _trade),
    "time_to_accuracy": ("Time to given accuracies", _targets),
    "latency": ("Distribution of inference latencies", _latency),
    "throughput": ("Throughput against batch", _throughput),
    "kernel_speed_up": ("Speed-up of each kernel over generic", _speed_ups),
    "memory": ("Memory", _memory),
    "drift": ("Drift", _drift),
    "machine_limit": ("Share of the machine's limit", _limit),
}
"""By name: what a figure is about, and what draws it."""
