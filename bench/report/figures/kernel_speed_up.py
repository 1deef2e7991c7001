"""How much faster each kernel trains than the generic one."""

from __future__ import annotations

from dataclasses import replace

from bench.analysis.rows import Row, paired_train_seconds
from bench.analysis.stats import Estimate, paired_ratio
from bench.analysis.summary import Section
from bench.core.units import significant
from bench.report.document import FIGURE_INK
from bench.report.figures import style
from bench.report.measured import Measured
from bench.report.values import count, row_label


def draw_kernel_speed_up(_: Measured, section: Section) -> style.Drawing:
    """The ratio of training times, generic over each other kernel, paired by block.

    Raises:
        NothingToShowError: the section has nothing of it.
    """
    generic = {row.configuration: row for row in section.rows if row.configuration.kernel == "generic"}
    speed_ups: list[tuple[Row, Estimate]] = []
    for row in section.rows:
        base = generic.get(replace(row.configuration, kernel="generic"))
        if base is not None and base is not row:
            ratio = paired_ratio(*paired_train_seconds(base, row))
            if ratio.n:
                speed_ups.append((row, ratio))
    if not speed_ups:
        kernels = ", ".join(sorted({row.configuration.kernel for row in section.rows}))
        raise style.NothingToShowError(f"nothing to compare with the generic kernel; measured: {kernels}")
    fig, ax = style.axes(len(speed_ups), height=2.2)
    colours, data = style.colours_of(section), []
    for place, (row, ratio) in enumerate(speed_ups):
        if ratio.interval:
            ax.plot([ratio.interval.low, ratio.interval.high], [place, place], color=colours[row.cell], lw=2)
        ax.plot([ratio.value], [place], marker="o", color=colours[row.cell], markersize=6)
        style.value_at(ax, ratio.value, place, f"{row_label(row)}: {style.interval_words(ratio)} × as fast as generic")
        data.append(style.record(row, ratio, unit="times"))
    ax.axvline(1, color=FIGURE_INK, lw=1, linestyle=":")
    ax.set_xscale("log")
    style.plain_numbers(ax.xaxis)
    style.lined(ax, [row_label(row) for row, _ in speed_ups])
    ax.set_xlabel("speed-up of training over the generic kernel, times (log)")
    faster = [(row, ratio) for row, ratio in speed_ups if ratio.interval and ratio.interval.low > 1]
    if faster:
        best_row, best = max(faster, key=lambda pair: pair[1].value)
        title = (
            f"{row_label(best_row)} trains {significant(best.value)} × as fast as generic; "
            f"{len(faster)} of {len(speed_ups)} are surely faster"
        )
    else:
        title = f"None of {count(len(speed_ups), 'kernel')} is surely faster than generic"
    caption = (
        "Geometric mean of the ratios paired by block, 95 % interval (Student's t on the logarithms). "
        f"n = {count(min(ratio.n for _, ratio in speed_ups), 'block')} or more a row."
    )
    return style.Drawing(
        title, caption, f"Speed-up over the generic kernel: {style.values_in_words(data, 'times')}.", fig, data
    )
