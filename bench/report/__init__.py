"""From the summary to what a person reads: the table, verdicts, figures, the page.

In a notebook, both functions take what `bench.store.load` gives, or any part of its rows:

    from pathlib import Path
    import bench.report
    from bench.store import load

    frame = load([Path("results/reference/mnist_rows")])
    bench.report.comparison_table(frame)
    bench.report.figure(frame, "accuracy_against_time")

`figure_names()` lists the figures. Where a frame holds several machines or tasks, name the section, from 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import NoVerdictError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.summary import Section
    from bench.report.document import Figure


def comparison_table(frame: pd.DataFrame, section: int = 0) -> pd.DataFrame:
    """The comparison table, as `bench table` shows it.

    Args:
        frame: observations, as `bench.store.load` gives them, or any part of their rows (n_observations ×
            n_columns); of each run one row at least, with the columns of `bench.analysis.records.NEEDED`.
        section: which of the frame's sections, counted from 0, where it holds several tasks or machines.

    Returns:
        A data frame of text, n_configurations × n_figures: a row for each configuration, ordered as in the table, the
        unit of each figure in the name of its column or behind it.

    Raises:
        NoVerdictError: there is no such section in the frame.
    """
    import pandas as pd

    from bench.report import columns
    from bench.report.measured import sections_of

    made = columns.comparison_table(_nth(sections_of(frame), section))
    return pd.DataFrame(list(made.rows), columns=[column.head for column in made.columns])


def figure(frame: pd.DataFrame, name: str, section: int = 0) -> Figure:
    """A figure, which a notebook shows.

    Args:
        frame: observations, as `bench.store.load` gives them, or any part of their rows (n_observations ×
            n_columns).
        name: one of `figure_names()`.
        section: which of the frame's sections, counted from 0, where it holds several tasks or machines.

    Returns:
        The figure: its `svg` (text) and `png` (bytes), its `title`, `caption` and `alt` in words, and its `data`, the
        records that were drawn, each with its unit.

    Raises:
        UsageError: there is no figure of that name.
        NoVerdictError: there is no such section in the frame, or nothing of it to show.
    """
    from bench.report.document import FigureNotDrawn
    from bench.report.figures import FIGURES, draw
    from bench.report.measured import Measured

    if name not in FIGURES:
        raise unknown("figure", name, FIGURES, "bench.report.figure")
    measured = Measured.of(frame)
    drawn = draw(name, measured, _nth(measured.sections, section))
    if isinstance(drawn, FigureNotDrawn):
        raise NoVerdictError(f"nothing to show in {name!r}: {drawn.reason}.")
    return drawn


def figure_names() -> tuple[str, ...]:
    """The names that `figure` knows, in the order in which a report has the figures."""
    from bench.report.figures import FIGURES

    return tuple(FIGURES)


def _nth(sections: tuple[Section, ...], number: int) -> Section:
    if not 0 <= number < len(sections):
        raise NoVerdictError(f"there is no section {number} in these observations: they have {len(sections)}.")
    return sections[number]
