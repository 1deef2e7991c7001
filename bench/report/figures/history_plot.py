"""A metric over commits or dates, drawn: series below each other, with their change points."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

from bench.analysis.history import Series
from bench.core.axes import varying
from bench.core.errors import UsageError
from bench.report.over_time import conclusions, order_words, title
from bench.report.values import commit_words
from bench.store.files import make_folder, refused, replace_file

PLOTS = (".png", ".svg", ".pdf")
"""The kinds of file that a plot can be."""


def check_plot(path: Path) -> None:
    """Refuse a file of a kind that cannot be drawn, before there is anything to draw.

    Raises:
        UsageError: its name ends in none of `PLOTS`.
    """
    if path.suffix not in PLOTS:
        raise UsageError(f"cannot plot into {str(path)!r}: its name must end in {', '.join(PLOTS)}.")


def plot_history(all_series: Sequence[Series], path: Path) -> None:
    """Draw the series below each other, the change points as lines between the points that they lie between.

    Args:
        all_series: at least one series.
        path: the file to write; its suffix is one of `PLOTS`.

    Raises:
        UsageError: the file is of a kind that cannot be drawn, or cannot be written.
    """
    check_plot(path)
    import matplotlib as mpl
    import pandas as pd
    import seaborn as sns

    mpl.use("agg")
    from matplotlib.figure import Figure

    among = varying(series.configuration for series in all_series)
    with sns.axes_style("whitegrid"):
        drawn = Figure(figsize=(9, 2.6 * len(all_series)), layout="constrained")
        for axis, series in zip(drawn.subplots(len(all_series), squeeze=False)[:, 0], all_series, strict=True):
            data = pd.DataFrame({"point": range(len(series.points)), "value": [p.value for p in series.points]})
            sns.lineplot(data, x="point", y="value", marker="o", ax=axis)
            edges = [0, *(change.index for change in series.changes), len(series.points)]
            for change, end in zip(series.changes, edges[2:], strict=True):
                colour = "tab:red" if series.worse(change) else "tab:green"
                axis.axvline(change.index - 0.5, color=colour, linestyle="--")
                axis.hlines(change.new, change.index - 0.5, end - 0.5, color=colour)
            labels = [f"{p.committed_at or p.began:%Y-%m-%d}\n{commit_words(p.commit)[:7]}" for p in series.points]
            shown = range(0, len(labels), math.ceil(len(labels) / 8))
            axis.set_xticks(list(shown), [labels[i] for i in shown], fontsize="small")
            below = [order_words(series), *([] if series.changes else conclusions(series))]
            axis.set(title=title(series, among), xlabel="\n".join(below), ylabel=series.metric.name)
            axis.set_ylim(bottom=0 if series.metric.as_ratio else None)
    content = io.BytesIO()
    drawn.savefig(content, format=path.suffix.removeprefix("."), dpi=150)
    with refused(path, "name another file with --plot"):
        make_folder(path.parent)
        replace_file(path, content.getvalue())
