"""What each option of a layer costs in training time, against the layer without it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.analysis.rows import ratio_between
from bench.analysis.stats import Estimate
from bench.analysis.summary import Section
from bench.core.case import Case


@dataclass(frozen=True, kw_only=True)
class OptionCost:
    """The training time of a configuration."""

    train_seconds: Estimate
    """A steady epoch's."""
    over_plain: Estimate | None
    """Its ratio to that of the plain configuration, paired by block; None for that one, and where it has none."""
    kernels_attested: tuple[str, ...]


def option_costs(sections: Iterable[Section], plain: Callable[[Case], Case]) -> dict[Case, OptionCost]:
    """By configuration; one without a run that ended ok is not in it.

    Args:
        sections: those of one campaign.
        plain: gives the configuration that another one is compared with.
    """
    rows = {row.configuration: row for section in sections for row in section.rows}
    costs = {}
    for case, row in rows.items():
        if (seconds := row.estimates.get("train_seconds")) is None:
            continue
        base = rows.get(plain(case), row)
        ratio = ratio_between(row, base)
        costs[case] = OptionCost(
            train_seconds=seconds,
            over_plain=ratio if base is not row and ratio.n else None,
            kernels_attested=row.kernels_attested,
        )
    return costs
