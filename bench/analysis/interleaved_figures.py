"""What an interleaved measurement of a campaign's configurations gives to their rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bench.analysis.stats import Estimate
from bench.core.case import Case


@dataclass(frozen=True, kw_only=True)
class AnchoredGroup:
    """A process group's time of a training step, beside that of the anchor's step."""

    log_ratio: float
    """The logarithm of the step's time over the anchor's."""
    anchor_seconds: float
    """A step of the anchor: the median over its timed batches."""
    started_at: float
    """When its first timed batch began, seconds since 1970, UTC."""


@dataclass(frozen=True, kw_only=True)
class InterleavedFigures:
    """The figures of a configuration from process groups, in which it alternated with others within seconds."""

    step_seconds: Estimate
    """Time of a training step: median over the process groups, each of which gives the median of its timed batches."""
    ratio: Estimate | None
    """That time over the reference cell's, all else equal; 1 for the reference, None where it was not measured. The
    interval holds with 95 % together with those of the other configurations, whenever the measurement ended."""
    anchor_ratio: Estimate
    """That time over the anchor's step: geometric mean over the process groups."""
    anchor: str = ""
    """What the anchor was, in words: its version and the libraries that computed it. Ratios to unlike ones don't
    compare."""
    groups: tuple[AnchoredGroup, ...] = ()
    """The process groups behind that ratio."""


InterleavedKey = tuple[Case, str]
"""What the figures are of: the configuration, and the id of the campaign that ended with the measurement."""

KnownInterleaved = Mapping[InterleavedKey, InterleavedFigures]
"""In the order in which they were measured."""


def of_campaigns(
    known: KnownInterleaved, configuration: Case, campaigns: Collection[str]
) -> dict[str, InterleavedFigures]:
    """The figures of a configuration by campaign, in the order in which they were measured.

    Args:
        known: of all configurations and campaigns.
        configuration: without seed and repeat.
        campaigns: ids of those whose runs the configuration has.
    """
    return {
        campaign: figures
        for (case, campaign), figures in known.items()
        if case == configuration and campaign in campaigns
    }


def latest(known: KnownInterleaved, configuration: Case, campaigns: Collection[str]) -> InterleavedFigures | None:
    """The figures of a configuration from the latest measurement of these campaigns; None where there is none.

    Args:
        known: of all configurations and campaigns.
        configuration: without seed and repeat.
        campaigns: ids of those whose runs the configuration has.
    """
    of_these = of_campaigns(known, configuration, campaigns)
    return [*of_these.values()][-1] if of_these else None
