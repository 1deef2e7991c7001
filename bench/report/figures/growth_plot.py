"""Training time against a size: steps, units, batch or layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.analysis.scaling import ScalingLaw
from bench.analysis.stats import stands_above
from bench.core.units import significant
from bench.report.figures import style
from bench.report.values import ranged, together


def draw_growth(laws: Sequence[ScalingLaw], names: Sequence[str]) -> style.Drawing:
    """Seconds an epoch against a size, a line for each series, both logarithmic, with an interval at each size.

    Args:
        laws: of the same size.
        names: a label for each.
    """
    import seaborn as sns

    drawn = list(zip(laws, names, strict=True))[: style.MOST_LINES]
    size = laws[0].series.size
    fig, ax = style.axes(height=3.6)
    colours = sns.color_palette("colorblind", len(drawn))
    data: list[dict[str, Any]] = []
    for (law, name), colour in zip(drawn, colours, strict=True):
        for value, row in law.series.rows.items():
            estimate = row.estimates.get("train_seconds")
            if estimate is None:
                continue
            data.append(style.record(row, estimate, **{law.series.size: value}, series=name, unit="s/epoch"))
            words = f"{name}, {size.replace('_', ' ')} {value}: {style.interval_words(estimate)} s an epoch"
            style.value_at(ax, value, estimate.value, words)
            if estimate.interval:
                ax.plot([value, value], [estimate.interval.low, estimate.interval.high], color=colour, lw=1.4)
        of_series = [each for each in data if each["series"] == name]
        ax.plot(
            [each[law.series.size] for each in of_series],
            [each["value"] for each in of_series],
            marker="o",
            markersize=5,
            color=colour,
            label=style.short(name, 40),
        )
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(sorted({value for law in laws for value in law.series.rows}))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    style.plain_numbers(ax.yaxis)
    ax.set_xlabel(f"{size.replace('_', ' ')} (log)")
    ax.set_ylabel("seconds an epoch (log)")
    fig.legend(loc="outside lower center", ncols=2)
    steepest_law, steepest = max(zip(laws, names, strict=True), key=lambda pair: pair[0].exponent.value)
    power = together(*ranged(steepest_law.exponent))
    title = f"{steepest} grows with {size.replace('_', ' ')} to the power of {power}"
    if rest := [law.exponent for law in laws if law is not steepest_law]:
        certain = stands_above(steepest_law.exponent, rest)
        title += ", the largest exponent here" if certain else "; that none grows faster is not yet certain"
    thinned = f" {style.MOST_LINES} of {len(laws)} series are drawn." if len(laws) > len(drawn) else ""
    caption = f"Medians over runs of seconds an epoch, 95 % interval where there are runs enough.{thinned}"
    listed = "; ".join(f"{name}: exponent {significant(law.exponent.value)}, {law.law}" for law, name in drawn)
    return style.Drawing(title, caption, f"Seconds an epoch against {size}: {listed}.", fig, data)
