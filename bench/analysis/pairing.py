"""What belongs together in the runs of two configurations, and the change between them. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from bench.analysis.records import RunRecord
from bench.analysis.stats import CONFIDENCE, Estimate, mean_t, paired_ratio, unpaired_difference, unpaired_ratio

FigureOfRun = Callable[[RunRecord], float | None]
"""The figure of a run; None where it has none."""

_FEWEST_PAIRS = 2
"""Fewer give no interval."""


def train_seconds(run: RunRecord) -> float | None:
    """The seconds of a steady epoch, by which training times are compared."""
    return run.figure("train_seconds")


def by_seed(runs: Iterable[RunRecord], figure: FigureOfRun) -> dict[int, float]:
    """A figure for each seed, averaged over the seed's repeats and campaigns; seeds without one are not in it."""
    values: dict[int, list[float]] = defaultdict(list)
    for run in runs:
        if (value := figure(run)) is not None:
            values[run.seed].append(value)
    return {seed: math.fsum(of_seed) / len(of_seed) for seed, of_seed in sorted(values.items())}


def paired(
    new: Iterable[RunRecord],
    base: Iterable[RunRecord],
    figure: FigureOfRun,
    *,
    by: Literal["block", "seed"] = "block",
) -> tuple[list[float], list[float]]:
    """A figure of two configurations, aligned: for the blocks (or the seeds) in which both have it.

    Args:
        new: runs of a configuration.
        base: runs of the configuration that it is compared with.
        figure: the figure of a run.
        by: what belongs together: runs of one block in one campaign, or the means of a seed's runs.

    Returns:
        The values of new and of base, n_blocks (or n_seeds) each, in their order.
    """
    values: Callable[..., Mapping[Any, float]] = by_seed if by == "seed" else _by_block
    ours, theirs = values(new, figure), values(base, figure)
    both = sorted(ours.keys() & theirs.keys())
    return [ours[key] for key in both], [theirs[key] for key in both]


def ratio(
    new: Sequence[RunRecord],
    base: Sequence[RunRecord],
    figure: FigureOfRun,
    confidence: float = CONFIDENCE,
    *,
    joined: bool = False,
) -> Estimate:
    """The ratio new/base of a figure, paired by campaign and block.

    Args:
        new: runs of a configuration.
        base: runs of the configuration that it is compared with.
        figure: the figure of a run.
        confidence: the interval's coverage.
        joined: whether a join has put the two side by side. They may then be of different campaigns, and where they
            share fewer than two blocks they are two independent samples.
    """
    if joined and not are_paired(new, base, figure):
        return unpaired_ratio(_known(new, figure), _known(base, figure), confidence)
    return paired_ratio(*paired(new, base, figure), confidence)


def difference(
    new: Sequence[RunRecord],
    base: Sequence[RunRecord],
    figure: FigureOfRun,
    confidence: float = CONFIDENCE,
    *,
    joined: bool = False,
) -> Estimate:
    """The difference new - base of a figure, paired by seed.

    Args:
        new: runs of a configuration.
        base: runs of the configuration that it is compared with.
        figure: the figure of a run.
        confidence: the interval's coverage.
        joined: whether a join has put the two side by side: where they share fewer than two seeds, they are two
            independent samples.
    """
    ours, theirs = paired(new, base, figure, by="seed")
    if joined and len(ours) < _FEWEST_PAIRS:
        return unpaired_difference(by_seed(new, figure).values(), by_seed(base, figure).values(), confidence)
    return mean_t([a - b for a, b in zip(ours, theirs, strict=True)], confidence)


def are_paired(new: Iterable[RunRecord], base: Iterable[RunRecord], figure: FigureOfRun) -> bool:
    """Whether the runs `new` and `base` share as many blocks with a `figure` as an interval of pairs needs."""
    return len(paired(new, base, figure)[0]) >= _FEWEST_PAIRS


def _by_block(runs: Iterable[RunRecord], figure: FigureOfRun) -> dict[tuple[str, int], float]:
    return {(run.campaign_id, run.block): value for run in runs if (value := figure(run)) is not None}


def _known(runs: Iterable[RunRecord], figure: FigureOfRun) -> list[float]:
    return [value for run in runs if (value := figure(run)) is not None]
