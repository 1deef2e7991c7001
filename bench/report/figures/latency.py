"""The distribution of the times of single calls of inference, at batch 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.analysis.leaders import fastest_to_infer
from bench.analysis.rows import Row
from bench.analysis.summary import Section
from bench.core.metric import STREAMING
from bench.core.units import significant
from bench.report.figures import style
from bench.report.measured import Measured
from bench.report.values import row_label

_POINTS = 300
"""Points of a drawn distribution: more than a screen has columns for it."""


def draw_latency(measured: Measured, section: Section) -> style.Drawing:
    """The cumulative distribution of each call path.

    Raises:
        NothingToShowError: the section has nothing of it.
    """
    calls = {(n, path): seconds for (n, path, batch), seconds in _calls_of(measured, section).items() if batch == 1}
    if not calls:
        raise style.NothingToShowError("no call was timed at batch 1")
    order = sorted(calls, key=lambda key: float(np.median(calls[key][1])))
    drawn = sorted(order[: style.MOST_LINES])
    fig, ax = style.axes(height=4.2)
    styles, data = style.line_styles(section, [calls[key][0] for key in drawn]), []
    texts, explained = style.labels([f"{row_label(calls[key][0])}, {key[1]}" for key in drawn])
    for key, text in zip(drawn, texts, strict=True):
        row, seconds = calls[key]
        milli = 1000 * seconds
        at = np.linspace(0, 1, min(_POINTS, len(milli)))
        line = styles[id(row)] | {"alpha": 1.0 if key[1] == "compiled" else 0.55}
        ax.plot(np.quantile(milli, at), at, drawstyle="steps-post", label=text, **line)
        p50, p95, p99 = np.quantile(milli, (0.5, 0.95, 0.99))
        for quantile, taken in ((50, p50), (95, p95), (99, p99)):
            style.value_at(
                ax, taken, quantile / 100, f"{row_label(row)}, {key[1]}: p{quantile} {significant(taken)} ms"
            )
        data.append(
            style.record(row, entry=key[1], unit="ms", value=float(p50), p95=float(p95), p99=float(p99), n=len(milli))
        )
    ax.set_xscale("log")
    style.plain_numbers(ax.xaxis)
    ax.set_xlabel("milliseconds a call at batch 1 (log)")
    ax.set_ylabel("fraction of calls at most so long")
    fig.legend(loc="outside lower center", ncols=2, title=explained.replace("\n", " ") or None)
    best = fastest_to_infer(section)
    value = min(data, key=lambda each: each["value"])
    name, took = f"{value['row']} ({value['entry']})", f"{significant(value['value'])} ms at batch 1"
    if best is not None and best.clear and (row_label(best.row), "compiled") == (value["row"], value["entry"]):
        title = f"{name} has the fastest inference: {took}"
    elif len(calls) == 1:
        title = f"{name} has a median call of {took}"
    else:
        title = f"{name} leads with a median call of {took}; it is not yet certain"
    most = style.MOST_LINES
    thinned = f" The {most} fastest of {len(calls)} lines are drawn." if len(calls) > most else ""
    caption = (
        f"All calls of all runs, n = {min(each['n'] for each in data):,} or more a line: a distribution, no interval. "
        f"Fainter: model.predict.{thinned}"
    )
    listed = "; ".join(
        f"{each['row']} {each['entry']} p50 {significant(each['value'])}, p99 {significant(each['p99'])}"
        for each in data
    )
    return style.Drawing(title, caption, f"Distribution of call times at batch 1, in ms: {listed}.", fig, data)


def _calls_of(measured: Measured, section: Section) -> dict[tuple[int, str, int], tuple[Row, np.ndarray[Any, Any]]]:
    """All finite times of calls of whole sequences: of all runs together, ascending, by row number, path and batch."""
    home = {run.run_id: number for number, row in enumerate(section.rows) for run in row.runs}
    frame = measured.calls
    number = frame["run_id"].map(home)
    known = number.notna().to_numpy() & np.isfinite(frame["seconds"].to_numpy("float64"))
    known &= (frame["entry"] != STREAMING).to_numpy()
    if not known.any():
        raise style.NothingToShowError("no inference was timed: the suite has latency_calls = 0")
    kept = frame[known].assign(row=number[known].astype(int))
    groups = kept.groupby(["row", "entry", "predict_batch"], observed=True)["seconds"]
    return {
        (int(row), str(path), int(batch)): (section.rows[int(row)], np.sort(seconds.to_numpy("float64")))
        for (row, path, batch), seconds in groups
    }
