"""From the summary to what a person reads: the notebook's claims, verdicts, the table, figures, the page.

In a notebook, all three take what `bench.store.load` gives, or any part of its rows:

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

from bench.core.errors import NothingSureError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.summary import Section
    from bench.report.figures import Figure


def comparison_table(frame: pd.DataFrame, section: int = 0) -> pd.DataFrame:
    """The comparison table as a data frame of text, a row a configuration.

    Raises:
        NothingSureError: there is no such section in the frame.
    """
    import pandas as pd

    from bench.analysis.summary import summarise
    from bench.report.table import comparison_grid

    grid = comparison_grid(_nth(summarise(frame), section))
    return pd.DataFrame(list(grid.rows), columns=[head for head, _ in grid.heads])


def figure(frame: pd.DataFrame, name: str, section: int = 0) -> Figure:
    """A figure, which a notebook shows; `.svg`, `.png`, `.title`, `.alt` and `.data` are its content.

    Raises:
        UsageError: there is no figure of that name.
        NothingSureError: there is no such section in the frame, or nothing of it to show.
    """
    from bench.report.figures import FIGURES, Empty, draw
    from bench.report.measured import Measured

    if name not in FIGURES:
        raise unknown("figure", name, FIGURES, "bench.report.figure")
    measured = Measured.of(frame)
    drawn = draw(name, measured, _nth(measured.sections, section))
    if isinstance(drawn, Empty):
        raise NothingSureError(f"nothing to show in {name!r}: {drawn.reason}.")
    return drawn


def figure_names() -> tuple[str, ...]:
    """What `figure` can draw."""
    from bench.report.figures import FIGURES

    return tuple(FIGURES)


def _nth(sections: tuple[Section, ...], number: int) -> Section:
    if not 0 <= number < len(sections):
        raise NothingSureError(f"there is no section {number} in these observations: they have {len(sections)}.")
    return sections[number]
