"""Seconds that an epoch of training takes, each run a dot."""

from __future__ import annotations

from bench.analysis.leaders import Leader, fastest_to_train
from bench.analysis.summary import Section
from bench.report.figures import style
from bench.report.measured import Measured
from bench.report.values import ranged, row_label


def draw_training_seconds(_: Measured, section: Section) -> style.Drawing:
    """The steady epoch of each row.

    Raises:
        NothingToShowError: the section has nothing of it.
    """
    best = fastest_to_train(section)
    if best is None:
        raise style.NothingToShowError(style.no_runs(section))
    (fig, ax), data, rows = style.dots_of_rows(section, "train_seconds", 1, "seconds")
    ax.set_xlabel("training seconds an epoch")
    caption = f"{style.DOTS_CAPTION}; validation and compiling are not in it. {style.runs_in(rows)}."
    return style.Drawing(
        _title(best), caption, f"Training seconds an epoch: {style.values_in_words(data, 's')}.", fig, data
    )


def _title(best: Leader) -> str:
    """Who trains fastest where that is certain; else who leads by the estimate, and a row that may be faster."""
    name, value = row_label(best.row), f"{ranged(best.figure)[0]} s an epoch"
    if best.clear:
        return f"{name} trains fastest, with {value}"
    if best.compared:
        return f"{name} leads with {value}, and can't be distinguished from {row_label(best.rivals[0])}"
    return f"{name} trains in {value}"
