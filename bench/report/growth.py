"""How training time grows with steps, units, batch and layers, and where one kernel or cell overtakes another. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from bench.analysis.scaling import SIZES, Crossover, ScalingLaw, SizeSeries, find_crossovers, find_series, fit
from bench.analysis.summary import Section
from bench.core.axes import BY_FIELD, varying
from bench.core.units import significant
from bench.report.document import Block, Column, Figure, FigureNotDrawn, Gallery, Heading, Notes, Paragraph, Table
from bench.report.figures import saved
from bench.report.figures.growth_plot import draw_growth
from bench.report.values import NONE, case_label, ranged, together

SCALING_NOTE = (
    "Exponent of the power law of seconds an epoch, least squares on the logarithms over all runs, 95 % interval "
    "(Student's t). Law: of constant, log n, linear, n log n, quadratic and cubic the one with the least root mean "
    "square error, given as a fraction of the mean time (Google Benchmark's rule). A crossover is where the line "
    "through the logarithms of the paired ratios is 1; its interval holds the sizes at which the 95 % band contains 1."
)


def growth_blocks(sections: Iterable[Section]) -> list[Block]:
    """The laws and the crossovers; nothing where no size has three values or more."""
    groups = find_series(sections)
    if not groups:
        return []
    blocks: list[Block] = [Heading("How training time grows", level=2, anchor="scaling")]
    for number, (all_series, apart) in enumerate(zip(groups, _apart(groups), strict=True), start=1):
        laws = [law for series in all_series if (law := fit(series))]
        shared = varying(law.series.case for law in laws)
        blocks.append(_laws_table(laws, shared, apart))
        blocks.append(Gallery(tuple(_figures(laws, shared)), prefix=f"growth{number}-"))
        crossovers = find_crossovers(all_series)
        none = Paragraph(f"None overtakes another{apart}.")
        blocks.append(_crossovers_table(crossovers, shared, apart) if crossovers else none)
    return [*blocks, Notes((SCALING_NOTE,))]


def _apart(groups: Sequence[Sequence[SizeSeries]]) -> list[str]:
    """What sets each group apart from the others, as the end of a caption; empty where no axis does."""
    cases = [[series.case for series in group] for group in groups]
    within = {name for group in cases for name in varying(group)}
    names = [name for name in varying(case for group in cases for case in group) if name not in within]
    words = [", ".join(BY_FIELD[name].in_words(getattr(group[0], name)) for name in names) for group in cases]
    return [f" ({each})" if each else "" for each in words]


def _figures(laws: list[ScalingLaw], shared: tuple[str, ...]) -> Iterator[Figure | FigureNotDrawn]:
    for size in dict.fromkeys(law.series.size for law in laws):
        of_size = [law for law in laws if law.series.size == size]
        names = [_label(law.series, shared) for law in of_size]
        yield saved(size, f"Training time against {size}", partial(draw_growth, of_size, names))


def _laws_table(laws: list[ScalingLaw], shared: tuple[str, ...], apart: str) -> Table:
    heads = ("grows with", "configuration", "values", "exponent", "law", "error", "s/epoch", "µs a dependent step")
    return Table(
        tuple(Column(head, left=place < 3) for place, head in enumerate(heads)),
        tuple(
            (
                law.series.size,
                _label(law.series, shared),
                ", ".join(map(str, law.series.rows)),
                together(*ranged(law.exponent)),
                law.law,
                f"{significant(100 * law.error_fraction)} %",
                _ends(law.series),
                _dependent_steps(law.series),
            )
            for law in laws
        ),
        caption=f"Laws that the seconds an epoch follow{apart}",
    )


def _crossovers_table(crossovers: list[Crossover], shared: tuple[str, ...], apart: str) -> Table:
    heads = ("size", "faster below", "faster above", "from")
    return Table(
        tuple(Column(head, left=place < 3) for place, head in enumerate(heads)),
        tuple(
            (
                each.size,
                case_label(each.smaller, [name for name in shared if name != each.size]),
                case_label(each.larger, [name for name in shared if name != each.size]),
                together(*ranged(each.at)),
            )
            for each in crossovers
        ),
        caption=f"Where one overtakes another, within what was measured{apart}",
    )


def _label(series: SizeSeries, shared: tuple[str, ...]) -> str:
    names = [name for name in shared if name != series.size and (name not in SIZES or getattr(series.case, name))]
    return case_label(series.case, names)


def _ends(series: SizeSeries) -> str:
    """The time at the smallest size and at the largest."""
    seconds = [row.estimates.get("train_seconds") for row in series.rows.values()]
    return " → ".join(significant(each.value) if each else NONE for each in (seconds[0], seconds[-1]))


def _dependent_steps(series: SizeSeries) -> str:
    reached = [row.efficiency for row in series.rows.values()]
    return " → ".join(
        significant(1e6 * each.seconds_per_dependent_step) if each else NONE for each in (reached[0], reached[-1])
    )
