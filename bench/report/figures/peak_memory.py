"""Peak memory above the start, each run a dot."""

from __future__ import annotations

from bench.analysis.leaders import least_memory
from bench.analysis.summary import Section
from bench.core.units import significant
from bench.report.figures import style
from bench.report.measured import Measured
from bench.report.values import row_label


def draw_peak_memory(_: Measured, section: Section) -> style.Drawing:
    """The peak resident memory of each row.

    Raises:
        NothingToShowError: the section has nothing of it.
    """
    if not any("memory_bytes" in row.estimates for row in section.rows):
        raise style.NothingToShowError(
            style.no_runs(section) if not any(row.runs for row in section.rows) else "no peak was recorded"
        )
    (fig, ax), data, rows = style.dots_of_rows(section, "memory_bytes", 1e-6, "MB")
    ax.set_xlabel("peak memory above the start, MB (10⁶ bytes)")
    title = _title(section)
    caption = (
        f"{style.DOTS_CAPTION}; resident memory above what there was before the model was built. {style.runs_in(rows)}."
    )
    return style.Drawing(title, caption, f"Peak memory: {style.values_in_words(data, 'MB')}.", fig, data)


def _title(section: Section) -> str:
    """Who needs the least where that is certain; else who leads by the estimate, and a row that may need less."""
    least = least_memory(section)
    assert least is not None
    name, needs = row_label(least.row), f"{significant(least.figure.value / 1e6)} MB"
    if not least.compared:
        return f"{name} needs {needs}"
    if least.clear:
        return f"{name} needs the least memory, {needs}"
    return f"{name} needs {needs}, and can't be distinguished from {row_label(least.rivals[0])}"
