"""The figures of a section, each with a title that states the finding, units on its axes, n and the interval named.

Pure but for drawing: a section and its observations in, an SVG and a PNG out, the same bytes for the same data. What is
drawn may be thinned; what is computed never is. A figure that has nothing to show gives the reason.

A figure is a file of this folder and a row of `FIGURES`.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from bench.analysis.summary import Section
from bench.core.errors import NoVerdictError, UsageError
from bench.report.document import Figure, FigureNotDrawn
from bench.report.figures import style
from bench.report.figures.accuracy_against_time import draw_accuracy_against_time
from bench.report.figures.drift import draw_drift
from bench.report.figures.epoch_energy import draw_epoch_energy
from bench.report.figures.kernel_speed_up import draw_kernel_speed_up
from bench.report.figures.latency import draw_latency
from bench.report.figures.learning_curves import draw_learning_curves
from bench.report.figures.machine_limit import draw_machine_limit
from bench.report.figures.peak_memory import draw_peak_memory
from bench.report.figures.throughput import draw_throughput
from bench.report.figures.time_to_accuracy import draw_time_to_accuracy
from bench.report.figures.training_seconds import draw_training_seconds
from bench.report.measured import Measured
from bench.store.files import refused, replace_file

FIGURES: Mapping[str, tuple[str, Callable[[Measured, Section], style.Drawing]]] = MappingProxyType(
    {
        "training_seconds": ("Training seconds an epoch", draw_training_seconds),
        "learning_curves": ("Learning curves", draw_learning_curves),
        "accuracy_against_time": ("Accuracy against training time", draw_accuracy_against_time),
        "time_to_accuracy": ("Time to given accuracies", draw_time_to_accuracy),
        "latency": ("Distribution of inference latencies", draw_latency),
        "throughput": ("Throughput against batch", draw_throughput),
        "kernel_speed_up": ("Speed-up of each kernel over generic", draw_kernel_speed_up),
        "memory": ("Memory", draw_peak_memory),
        "energy": ("Energy of an epoch", draw_epoch_energy),
        "drift": ("Drift", draw_drift),
        "machine_limit": ("Fraction of the machine's ceilings", draw_machine_limit),
    }
)
"""By name: what a figure is about, and what draws it."""

_TITLE_COLUMNS = 62

PAPER_KINDS: Mapping[str, dict[str, None]] = MappingProxyType(
    {
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "svg": {"Date": None, "Creator": None},
        "png": {"Software": None},
    }
)
"""The kinds of files, and what they would hold of when and by what they were made."""


def draw_all(measured: Measured, section: Section) -> tuple[Figure | FigureNotDrawn, ...]:
    """All figures of a section, in the order in which the page has them."""
    return tuple(draw(name, measured, section) for name in FIGURES)


def draw(name: str, measured: Measured, section: Section) -> Figure | FigureNotDrawn:
    """Draw a figure, or give the reason why there is nothing to show.

    Args:
        name: one of `FIGURES`.
        measured: the observations that the section is of.
        section: the rows that are drawn.
    """
    subject, make = FIGURES[name]
    return saved(name, subject, lambda: make(measured, section))


@dataclass(frozen=True)
class PaperFigure:
    """A figure as a file for a paper, without its title, which a caption takes over."""

    content: bytes
    caption: str
    """The finding, and what is shown."""


def draw_for_paper(name: str, measured: Measured, section: Section, kind: str, width: float) -> PaperFigure:
    """Draw a figure for a paper: fonts are in the file, and the same data give the same bytes.

    Args:
        name: one of `FIGURES`.
        measured: the observations that the section is of.
        section: the rows that are drawn.
        kind: one of `PAPER_KINDS`.
        width: inches.

    Raises:
        NoVerdictError: there is nothing to show.
    """
    subject, make = FIGURES[name]
    with style.settings(width) as plt:
        try:
            drawing = make(measured, section)
            content = io.BytesIO()
            drawing.figure.savefig(content, format=kind, metadata=PAPER_KINDS[kind], facecolor="white", dpi=600)
        except style.NothingToShowError as nothing:
            raise NoVerdictError(f"nothing to show in {name!r} ({subject}): {nothing}.") from None
        finally:
            plt.close("all")
    return PaperFigure(content.getvalue(), f"{drawing.title}. {drawing.caption}".replace("..", "."))


def write_for_paper(name: str, measured: Measured, section: Section, file: Path, width: float) -> str:
    """Write what `draw_for_paper` gives, and give its caption.

    Args:
        name: one of `FIGURES`.
        measured: the observations that the section is of.
        section: the rows that are drawn.
        file: its ending is the kind.
        width: inches.

    Raises:
        NoVerdictError: there is nothing to show.
        UsageError: the file's ending is no kind, or it cannot be written.
    """
    kind = paper_kind(file)
    drawn = draw_for_paper(name, measured, section, kind, width)
    with refused(file, "name another file"):
        replace_file(file.resolve(), drawn.content)
    return drawn.caption


def paper_kind(file: Path) -> str:
    """The kind of a file by its ending.

    Raises:
        UsageError: there is no such kind.
    """
    kind = file.suffix.lower().removeprefix(".")
    if kind not in PAPER_KINDS:
        raise UsageError(f"{file}: a figure is written as {', '.join(PAPER_KINDS)}; name a file that ends so.")
    return kind


def saved(name: str, subject: str, make: Callable[[], style.Drawing]) -> Figure | FigureNotDrawn:
    """Draw what `make` gives, as SVG and PNG, or give the reason why there is nothing to show.

    Args:
        name: the figure's, which its files are named by.
        subject: what it is about.
        make: draws it.
    """
    with style.settings() as plt:
        try:
            drawing = make()
        except style.NothingToShowError as nothing:
            plt.close("all")
            return FigureNotDrawn(name=name, title=subject, reason=str(nothing))
        lines = textwrap.wrap(style.short(drawing.title, 10 * _TITLE_COLUMNS), _TITLE_COLUMNS)
        drawing.figure.suptitle("\n".join(lines), x=0.01, ha="left", fontweight="bold", fontsize=10)
        svg, png = io.BytesIO(), io.BytesIO()
        drawing.figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
        drawing.figure.savefig(png, format="png", metadata={"Software": None}, dpi=120, facecolor="white")
        plt.close(drawing.figure)
    return Figure(
        name=name,
        title=drawing.title,
        caption=drawing.caption,
        alt=drawing.alt,
        svg=style.with_values(svg.getvalue().decode()),
        png=png.getvalue(),
        data=tuple(drawing.data),
    )
