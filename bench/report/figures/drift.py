"""Every run against the median of its row, in the order in which they ran, with load and steal."""

from __future__ import annotations

import math

from bench.analysis.summary import Section
from bench.core.units import significant
from bench.report.document import FIGURE_INK
from bench.report.figures import style
from bench.report.measured import Measured
from bench.report.values import count

_POINTED_AT = 60
"""Runs up to which each gives its value to whoever points at it: of more the page would grow large."""


def draw_drift(measured: Measured, section: Section) -> style.Drawing:
    """Every run over the median of its row, and what else the machine did.

    Raises:
        NothingToShowError: the section has nothing of it.
    """
    runs = measured.runs_of(section)
    typical = {
        run.run_id: (row, seconds / row.estimates["train_seconds"].value)
        for row in section.rows
        for run in row.runs
        if (seconds := run.figure("train_seconds")) is not None
    }
    shown = runs[runs["run_id"].isin(set(typical))]
    if shown.empty:
        raise style.NothingToShowError(style.no_runs(section))
    fig, (upper, lower) = style.axes(height=3.8, panels=2)
    colours, data = style.colours_of(section), []
    order = {str(run): place for place, run in enumerate(runs["run_id"], 1)}
    for run_id, load, steal in zip(shown["run_id"], shown["load_start"], shown["steal_fraction"], strict=True):
        row, ratio = typical[str(run_id)]
        data.append(
            style.record(
                row,
                order=order[str(run_id)],
                value=ratio,
                load=float(load) if math.isfinite(load) else None,
                steal_percent=100 * float(steal) if math.isfinite(steal) else None,
            )
        )
    for cell, colour in colours.items():
        of_cell = [each for each in data if each["cell"] == cell]
        size = 16 if len(data) < 200 else 4
        upper.scatter(
            [each["order"] for each in of_cell],
            [each["value"] for each in of_cell],
            s=size,
            color=colour,
            label=style.short(cell, 24),
            linewidths=0,
        )
    for each in data if len(data) <= _POINTED_AT else ():
        words = f"run {each['order']}, {each['row']}: {significant(each['value'])} × its row's median"
        style.value_at(upper, each["order"], each["value"], words)
    upper.axhline(1, color=FIGURE_INK, lw=1, linestyle=":")
    upper.set_ylabel("seconds an epoch,\n× its row's median")
    upper.legend(loc="upper left", ncols=3, handletextpad=0.1, columnspacing=0.8)
    style.headroom(upper)
    for key, name, mark in (("load", "load at the start", "o"), ("steal_percent", "steal, %", "^")):
        known = [each for each in data if each[key] is not None]
        if known:
            places = [each["order"] for each in known]
            lower.plot(places, [each[key] for each in known], marker=mark, ms=3, lw=0.8, label=name)
    lower.set_ylim(bottom=0)
    lower.set_ylabel("load; steal, %")
    lower.set_xlabel("run, in the order in which they ran")
    if lower.get_legend_handles_labels()[0]:
        lower.legend(loc="upper left", ncols=2)
        style.headroom(lower)
    worst = max(data, key=lambda each: abs(math.log(each["value"])))
    calm = abs(math.log(worst["value"])) < math.log(1.1)
    if max(len(row.runs) for row in section.rows) == 1:
        title = "With a single run a row, nothing shows whether the machine drifted"
    elif calm:
        title = "Every run took within 10 % of its row's median: the machine behaved"
    else:
        title = f"Run {worst['order']} ({worst['row']}) took {significant(worst['value'])} × its row's median"
    loads = [each["load"] for each in data if each["load"] is not None]
    steals = [each["steal_percent"] for each in data if each["steal_percent"] is not None]
    caption = (
        "A dot is a run; load is the average over one minute when it began, steal the fraction of CPU time that the "
        f"hypervisor took. n = {count(len(data), 'run')}."
    )
    alt = (
        f"{count(len(data), 'run')} in order: from {significant(min(each['value'] for each in data))} to "
        f"{significant(max(each['value'] for each in data))} times the row's median seconds"
        + (f"; load up to {max(loads):.1f}" if loads else "; load not recorded")
        + (f", steal up to {max(steals):.1f} %." if steals else ".")
    )
    return style.Drawing(title, caption, alt, fig, data)
