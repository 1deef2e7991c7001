"""What an interleaved measurement of a campaign's configurations gives to their rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from bench.analysis.stats import CONFIDENCE, Estimate, Interval, trimmed_t
from bench.core.case import Case

TRIMMED = 0.05
"""The fraction of groups that an analysis cuts off at either end: now and then a group is off by ten times what the
others are, and a single such group would make the mean unsure. From twenty on; fewer are all wanted."""

PRECISION_ALPHA = 0.035
"""The chance to err, for all ratios together, of an analysis at which a measurement to a precision may stop. With 5 %
at all of them, up to 7.4 % of measurements would end with an interval that misses; so, 5.0 %."""


@dataclass(frozen=True, kw_only=True)
class AnchoredGroup:
    """A process group's time of a training step, beside that of the anchor's step."""

    log_ratio: float
    """The logarithm of the step's time over the anchor's."""
    anchor_seconds: float
    """A step of the anchor: the median over its timed batches."""
    anchor_is_trained: bool
    """Whether Keras trained the anchor, as it trained the cells; NumPy's is not."""
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
    log_ratios: Mapping[Case, tuple[float, ...]] = field(default_factory=dict)
    """The logarithms of that time over the time of each other configuration that took part, one a process group."""

    def ratio_to(self, base: Case, confidence: float) -> Estimate | None:
        """That time over another configuration's; None where the two were not measured together.

        The measurement may have ended when its ratios to the reference cell seemed precise, so the interval is of a
        smaller level, as theirs are (`PRECISION_ALPHA`). The estimate is theirs.

        Args:
            base: the configuration that the ratio is to.
            confidence: the interval's coverage.
        """
        if base not in self.log_ratios:
            return None
        err = (1 - confidence) * PRECISION_ALPHA / (1 - CONFIDENCE)
        logs = trimmed_t(self.log_ratios[base], TRIMMED, 1 - err)
        interval = logs.interval and Interval(math.exp(logs.interval.low), math.exp(logs.interval.high))
        return Estimate(math.exp(logs.value), interval, logs.n)


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
