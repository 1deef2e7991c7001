"""Joules of an epoch of training beyond the device's idle power, each run a dot, and what idling comes to beside it."""

from __future__ import annotations

from bench.analysis.summary import Section
from bench.core.units import significant
from bench.report.figures import style
from bench.report.measured import Measured


def draw_epoch_energy(_: Measured, section: Section) -> style.Drawing:
    """The energy of a steady epoch of each row.

    Raises:
        NothingToShowError: the section has nothing of it.
    """
    if not any("epoch_energy_joules" in row.estimates for row in section.rows):
        raise style.NothingToShowError(
            "the device has no counter of energy that could be read"
            if any(row.runs for row in section.rows)
            else style.no_runs(section)
        )
    (fig, ax), data, rows = style.dots_of_rows(section, "epoch_energy_joules", 1, "J")
    for place, (row, record) in enumerate(zip(rows, data, strict=True)):
        idle = row.estimates.get("idle_epoch_energy_joules")
        predictions = row.estimates.get("prediction_energy_joules")
        record["idle_joules"] = idle.value if idle else None
        record["joules_of_1000_predictions"] = 1000 * predictions.value if predictions else None
        if idle:
            ax.plot(
                [idle.value], [place], marker="D", markersize=6, linestyle="none", color="none", markeredgecolor="grey"
            )
    ax.set_xlabel("energy of an epoch beyond idle power, J")
    low, high = (pick(data, key=lambda each: each["value"]) for pick in (min, max))
    title = f"An epoch of {low['row']} takes {significant(low['value'])} J"
    if len(data) > 1:
        title += f", of {high['row']} {significant(high['value'])} J"
    caption = (
        f"{style.DOTS_CAPTION}; joules by the device's own counter, beyond what it takes when idle. A diamond is what "
        f"its idle power comes to in the epoch's time. {style.runs_in(rows)}."
    )
    return style.Drawing(title, caption, f"Energy of an epoch: {style.values_in_words(data, 'J')}.", fig, data)
