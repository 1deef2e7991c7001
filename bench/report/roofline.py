"""How near training comes to what the machine could do: its efficiency against the measured ceilings."""

from __future__ import annotations

from bench.analysis.summary import Section
from bench.core.case import written
from bench.core.units import significant
from bench.report.document import Column, Table
from bench.report.values import NONE, broken, percent

ROOFLINE_NOTE = (
    "Roofline, how near training comes to what this machine could do: GFLOP/s by formula (2 a multiply-add); "
    "efficiency: the fraction of the peak ceiling, which is the speed of a large matrix product, measured here on the "
    "same backend, device, dtype and threads; serial efficiency: the fraction of the serial-chain ceiling, the speed "
    "at which a training step's products run by themselves, those with the state one after another; µs a dependent "
    "step: for each of the 4·T products that wait for each other. A ceiling is the best that was measured."
)

_FIGURES = ("GFLOP/s", "efficiency", "serial efficiency", "µs a dependent step")


def roofline_table(section: Section) -> Table:
    """A row for each configuration; without rows where no ceiling was measured (`bench env --peak`)."""
    known = [(row, row.efficiency) for row in section.rows if row.efficiency]
    measured = any(reached.peak_fraction is not None for _, reached in known)
    axes = [name for name in section.axes if name != "kernel"]
    rows = [
        (
            (row.cell, *(written(row.axes[name]) for name in axes)),
            (
                ", ".join(row.kernels_attested) or NONE,
                significant(reached.flops_per_second / 1e9),
                percent(reached.peak_fraction),
                percent(reached.serial_fraction),
                significant(reached.seconds_per_dependent_step * 1e6),
            ),
        )
        for row, reached in (known if measured else ())
    ]
    return Table(
        columns=(
            *(Column(head) for head in ("cell", *axes, "ran")),
            *(Column(head, left=False) for head in _FIGURES),
        ),
        rows=tuple((*who, *figures) for who, figures in rows),
        empty="no ceiling was measured with these results (bench env --peak measures them).",
        narrow=Table(
            columns=(
                Column(("cell", *axes)),
                Column("ran"),
                *(Column(broken(head), left=False) for head in _FIGURES),
            ),
            rows=tuple((who, *figures) for who, figures in rows),
        ),
    )
