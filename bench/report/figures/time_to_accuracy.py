"""Training time until given accuracies were reached, on what the task validates on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.analysis.summary import Section
from bench.core.units import significant
from bench.report.document import FIGURE_GRID
from bench.report.figures import style
from bench.report.measured import Measured
from bench.report.values import count, row_label

_TARGETS = (0.9, 0.95, 0.97, 0.98, 0.99)


def draw_time_to_accuracy(measured: Measured, section: Section) -> style.Drawing:
    """Each run where it first had the accuracy, for up to three accuracies.

    Raises:
        NothingToShowError: the section has nothing of it.
    """
    if section.score_words != "accuracy" or section.score is None:
        raise style.NothingToShowError(style.no_score(section))
    rows = [row for row in section.rows if row.runs]
    if not rows:
        raise style.NothingToShowError(style.no_runs(section))
    frame = measured.frame[measured.frame["phase"].isin(("train", "validate"))]
    times = {run: _reached(rows_of_run) for run, rows_of_run in frame.groupby("run_id", observed=True)}
    best = max((acc for row in rows for run in row.runs for acc, _ in times.get(run.run_id, ())), default=0.0)
    reached = [target for target in _TARGETS if target <= best][-3:]
    if not reached:
        raise style.NothingToShowError(
            f"no run reached {100 * _TARGETS[0]:.0f} % on the {section.validated_on}; the best had {100 * best:.1f} %"
        )
    lines = [(row, target) for target in reached for row in rows]
    fig, ax = style.axes(len(lines), height=2.4)
    colours, data = style.colours_of(section), []
    longest = max((time for run in times.values() for _, time in run), default=1.0)
    for place, (row, target) in enumerate(lines):
        first = [next((t for acc, t in times.get(run.run_id, ()) if acc >= target), None) for run in row.runs]
        in_time = sorted(time for time in first if time is not None)
        never = len(first) - len(in_time)
        if in_time:
            style.dots(ax, place, in_time, colours[row.cell])
            median = float(np.median(in_time))
            of_runs = f"the median of {len(in_time)} of {count(len(first), 'run')}"
            words = f"{row_label(row)}: {100 * target:.0f} % after {significant(median)} s, {of_runs}"
            style.value_at(ax, median, place, words)
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
        data.append(style.record(row, target_percent=100 * target, unit="s", runs=in_time, never=never))
    style.lined(ax, [f"≥ {100 * target:.0f} %  {row_label(row)}" for row, target in lines])
    for number in range(1, len(reached)):
        ax.axhline(number * len(rows) - 0.5, color=FIGURE_GRID, lw=1)
    ax.set_xlim(0, 1.38 * longest)
    ax.set_xlabel(f"training seconds until the accuracy was reached on the {section.validated_on}")
    top = max(reached)
    winners = [each for each in data if each["target_percent"] == 100 * top]
    done, every = sum(len(each["runs"]) for each in winners), sum(len(each["runs"]) + each["never"] for each in winners)
    title = f"{done} of {count(every, 'run')} reached {100 * top:.0f} % within their epochs"
    caption = (
        "A dot is a run: its training seconds, validation left out, to the end of the first epoch after which it had "
        f"the accuracy; a cross counts the runs that never had it. {style.runs_in(rows)}."
    )
    listed = "; ".join(
        f"{each['row']} to {each['target_percent']:.0f} %: "
        + (f"median {significant(float(np.median(each['runs'])))} s" if each["runs"] else "no run")
        + (f", {each['never']} never" if each["never"] else "")
        for each in data[:12]
    )
    return style.Drawing(title, caption, f"Training time to given accuracies: {listed}.", fig, data)


def _reached(rows: pd.DataFrame) -> list[tuple[float, float]]:
    """(validation accuracy, training seconds until then) after each epoch of a run."""
    ordered = rows.sort_values("epoch", kind="stable")
    train = ordered[ordered["phase"] == "train"]
    taken = dict(zip(train["epoch"], train["seconds"].cumsum(), strict=True))
    validate = ordered[ordered["phase"] == "validate"]
    pairs = zip(validate["epoch"], validate["accuracy"], strict=True)
    return [(float(accuracy), float(taken[epoch])) for epoch, accuracy in pairs if epoch in taken]
