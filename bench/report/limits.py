"""What the table says of how near training comes to what the machine could do, in words and figures: no layout."""

from __future__ import annotations

from bench.analysis.summary import Section
from bench.core.units import significant
from bench.report.values import NONE, Grid, clean

LIMITS_NOTE = (
    "How near training comes to the limit: GFLOP/s by formula (2 a multiply-add); of peak: of a large matrix product, "
    "measured here on the same backend, device, dtype and threads; of serial: of the time that a training step's "
    "products take by themselves, those with the state one after another; µs a dependent step: of the 4·T products "
    "that wait for each other. A bound is the best that was measured."
)


def limits_grid(section: Section, *, stacked: bool) -> Grid | None:
    """A row for each configuration; None where no bound was measured (`bench env --peak`)."""
    known = [(row, row.limits) for row in section.rows if row.limits]
    if not any(limits.peak_fraction is not None for _, limits in known):
        return None
    names = [name for name in section.axes if name != "kernel"]
    rows = []
    for row, limits in known:
        who = [clean(row.cell), *(clean(str(row.axes[name])) for name in names)]
        figures = (
            clean(", ".join(row.kernels_attested)) or NONE,
            significant(limits.flops_per_second / 1e9),
            _percent(limits.peak_fraction),
            _percent(limits.serial_fraction),
            significant(limits.seconds_per_dependent_step * 1e6),
        )
        rows.append(("\n".join(who), *figures) if stacked else (*who, *figures))
    left = ["\n".join(["cell", *names])] if stacked else ["cell", *names]
    right = ["GFLOP/s", "of peak", "of serial", "µs a dependent step"]
    heads = [*((head, True) for head in [*left, "ran"]), *((head, False) for head in right)]
    return Grid(tuple(heads), tuple(rows))


def _percent(fraction: float | None) -> str:
    return NONE if fraction is None else f"{significant(100 * fraction)} %"
