"""Fractions of the machine's ceilings that training reached."""

from __future__ import annotations

from bench.analysis.summary import Section
from bench.core.units import significant
from bench.report.figures import style
from bench.report.measured import Measured


def draw_machine_limit(_: Measured, section: Section) -> style.Drawing:
    """The efficiency of each row: of the matrix product, and of the serial chain.

    Raises:
        NothingToShowError: the section has nothing of it.
    """
    rows = [row for row in section.rows if row.efficiency and row.efficiency.peak_fraction is not None]
    if not rows:
        known = any(row.runs for row in section.rows)
        raise style.NothingToShowError(
            "no ceiling of this machine and shape was measured beside these runs" if known else style.no_runs(section)
        )
    fig, ax = style.axes(len(rows), height=2.4)
    colours, data = style.colours_of(section), []
    for place, row in enumerate(rows):
        assert row.efficiency is not None
        peak, serial = row.efficiency.peak_fraction, row.efficiency.serial_fraction
        for ceiling, fraction, mark in (("peak", peak, "o"), ("serial", serial, "D")):
            if fraction is not None:
                ax.plot([100 * fraction], [place], marker=mark, color=colours[row.cell], markersize=6, linestyle="none")
                words = f"{style.row_name(row)}: {significant(100 * fraction)} % of the {ceiling} ceiling"
                style.value_at(ax, 100 * fraction, place, words)
        data.append(
            style.record(
                row,
                unit="%",
                value=100 * (serial if serial is not None else peak or 0.0),
                peak_percent=None if peak is None else 100 * peak,
                serial_percent=None if serial is None else 100 * serial,
                flops_per_second=row.efficiency.flops_per_second,
                seconds_per_dependent_step=row.efficiency.seconds_per_dependent_step,
            )
        )
    style.lined(ax, [style.row_name(row) for row in rows])
    ax.set_xlim(left=0)
    ax.set_xlabel("fraction of the ceiling that training reached, %")
    ceiling = "serial" if all(each["serial_percent"] is not None for each in data) else "peak"
    low, top = (pick(data, key=lambda each: each[f"{ceiling}_percent"]) for pick in (min, max))
    title = f"{top['row']} reached {significant(top[f'{ceiling}_percent'])} % of the {ceiling} ceiling"
    if low is not top:
        title = (
            f"Training reached {significant(low[f'{ceiling}_percent'])} % ({low['row']}) to "
            f"{significant(top[f'{ceiling}_percent'])} % ({top['row']}) of the {ceiling} ceiling, by the medians"
        )
    caption = (
        "A disc is the fraction of the peak ceiling, a large matrix product's speed, a diamond that of the serial one: "
        f"the chain of small products that wait for each other. Medians over runs, no interval. {style.runs_in(rows)}."
    )
    return style.Drawing(
        title, caption, f"Fraction of the serial ceiling reached: {style.values_in_words(data, '%')}.", fig, data
    )
