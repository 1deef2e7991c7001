"""Runs → the values that are compared, and the change between two samples of them. Pure.

The unit is the run, and for accuracy and loss the seed; epochs and calls of a run are never pooled.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from bench.analysis.interleaved_figures import InterleavedFigures
from bench.analysis.occasions import Drift, neighbours
from bench.analysis.pairing import by_seed
from bench.analysis.records import RunRecord
from bench.analysis.stats import (
    CONFIDENCE,
    Estimate,
    Interval,
    mean_t,
    paired_ratio,
    unpaired_difference,
    unpaired_ratio,
)
from bench.core.metric import FromCalls, Metric, MetricKind
from bench.core.metrics import COMPARED, METRICS
from bench.core.observation import CALL_PATHS


@dataclass(frozen=True)
class Reading:
    """A value, and what it is of."""

    seed: int
    value: float
    started_at: float = math.nan
    """When its run began, seconds since 1970, UTC; NaN for a seed's value, and where it is not known."""
    campaign_id: str = ""
    """Its run's campaign; empty for a seed's value."""
    runs: int = 1
    """The number of runs behind it; 0 for a process group's."""
    anchor_seconds: float = math.nan
    """A step of the anchor, where it is the value of a process group; else NaN."""
    anchor_is_trained: bool = False
    """Whether Keras trained that anchor, as it trained the cells."""


def readings(
    runs: Sequence[RunRecord], interleaved: Mapping[str, InterleavedFigures] = MappingProxyType({})
) -> dict[tuple[Metric, str], list[Reading]]:
    """The values of every metric that is compared, in the order of `METRICS`; a metric without any is not in it.

    Args:
        runs: those of one configuration that ended ok.
        interleaved: the figures of the interleaved measurements of their campaigns, by the campaign's id.

    Returns:
        By metric and detail (for inference the call path, and the batch: `compiled, batch 64`; for times over the
        anchor's what the anchor was): a value for each run, for accuracy and loss one for each seed, for times over the
        anchor's one for each process group. What is compared as a ratio has positive values alone.
    """
    values_of: dict[tuple[Metric, str], list[Reading]] = {}
    for name in COMPARED:
        metric = METRICS[name]
        if metric.is_interleaved:
            for campaign_id, figures in interleaved.items():
                if figures.groups:
                    values_of.setdefault((metric, figures.anchor), []).extend(_anchored(campaign_id, figures))
            continue
        for detail, figure in _figures(metric, runs):
            if metric.replicate == "seed":
                tried = Counter(run.seed for run in runs if figure(run) is not None)
                values = [Reading(seed, value, runs=tried[seed]) for seed, value in by_seed(runs, figure).items()]
            else:
                values = [
                    Reading(run.seed, value, run.started_at, run.campaign_id)
                    for run in runs
                    if (value := figure(run)) is not None
                ]
            kept = [reading for reading in values if reading.value > 0 or not metric.as_ratio]
            if kept:
                values_of[metric, detail] = kept
    return values_of


def _anchored(campaign_id: str, figures: InterleavedFigures) -> Iterator[Reading]:
    for group in figures.groups:
        yield Reading(
            seed=0,
            value=math.exp(group.log_ratio),
            started_at=group.started_at,
            campaign_id=campaign_id,
            runs=0,
            anchor_seconds=group.anchor_seconds,
            anchor_is_trained=group.anchor_is_trained,
        )


def centre(metric: Metric, values: Sequence[float]) -> float:
    """The value that stands for a sample: the mean over seeds, or the median over runs, in the metric's unit."""
    return float(np.mean(values) if metric.replicate == "seed" else np.median(values))


class Pairing(StrEnum):
    """What the two values of a pair share."""

    SEED = "seed"
    TIME = "time"
    """They were measured one after the other, the sides being interleaved."""
    NONE = "none"


@dataclass(frozen=True)
class Sample:
    """The values of both sides; where they are paired, those at one index belong together."""

    base: tuple[Reading, ...]
    new: tuple[Reading, ...]
    pairing: Pairing
    unused: int = 0
    """Values that have no partner."""
    drifting: bool = False
    """Times of sides that were not interleaved: the drift between the occasions is in their ratio."""
    drift: Drift | None = None
    """How far the machine drifts between occasions; None where that is not known, or not needed."""

    @property
    def base_values(self) -> tuple[float, ...]:
        """The base's values, in the metric's unit."""
        return tuple(reading.value for reading in self.base)

    @property
    def new_values(self) -> tuple[float, ...]:
        """The new side's values, likewise."""
        return tuple(reading.value for reading in self.new)

    @property
    def base_runs(self) -> int:
        """Runs behind the base's values: a seed's value is the mean of its runs."""
        return sum(reading.runs for reading in self.base)

    @property
    def new_runs(self) -> int:
        """Runs behind the new side's values."""
        return sum(reading.runs for reading in self.new)

    @property
    def n(self) -> int:
        """The number of pairs, or of values on the side that has fewer."""
        return min(len(self.base), len(self.new))

    @property
    def paired(self) -> bool:
        """Whether values at one index belong together."""
        return self.pairing is not Pairing.NONE

    @property
    def equal(self) -> bool:
        """Whether there is no difference at all."""
        if self.paired:
            return self.base_values == self.new_values
        return len({*self.base_values, *self.new_values}) == 1

    def change(self, metric: Metric, confidence: float = CONFIDENCE) -> Estimate:
        """The ratio new/base of geometric means, or the difference new - base of means in the metric's unit.

        There is no interval where the machine's drift is in it, and not known.
        """
        new, base = self.new_values, self.base_values
        if self.drifting:
            return self._drifting_ratio(confidence)
        if metric.as_ratio:
            return (paired_ratio if self.paired else unpaired_ratio)(new, base, confidence)
        if self.paired:
            return mean_t([ours - theirs for ours, theirs in zip(new, base, strict=True)], confidence)
        return unpaired_difference(new, base, confidence)

    def _drifting_ratio(self, confidence: float) -> Estimate:
        ratio = unpaired_ratio(self.new_values, self.base_values, confidence)
        half = self.drift.half_width(self.base, self.new, confidence) if self.drift and ratio.n else None
        held = Interval(ratio.value * math.exp(-half), ratio.value * math.exp(half)) if half else None
        return Estimate(ratio.value, held, ratio.n)

    def on_an_even_scale(self, metric: Metric, confidence: float) -> tuple[float, Interval | None]:
        """The change and its interval on the scale on which margins are equal both ways: a ratio's logarithm."""
        estimate = self.change(metric, confidence)
        interval = estimate.interval
        if not metric.as_ratio:
            return estimate.value, interval
        return math.log(estimate.value), Interval(math.log(interval.low), math.log(interval.high)) if interval else None

    def basis(self, replicate: str) -> str:
        """What the values are, in words: `8 pairs of runs, by nearness in time`."""
        if not self.paired:
            values = f"{len(self.base)} and {len(self.new)} {replicate}s, unpaired"
            return f"{values}, and {self.drift.words}" if self.drift else values
        by = "seed" if self.pairing is Pairing.SEED else "nearness in time"
        pairs = f"{self.n} pair{'s' if self.n != 1 else ''} of {replicate}s, by {by}"
        return f"{pairs}; {self.unused} without a partner" if self.unused else pairs


def make_sample(metric: Metric, new: Sequence[Reading], base: Sequence[Reading]) -> Sample:
    """Two samples of a metric, paired where values of the two sides share something.

    Qualities are paired by seed, where no side has a seed twice and at least half of the shorter side's seeds are on
    both. Times are paired where the sides were interleaved (`bench.analysis.occasions.neighbours`): runs that share a
    seed share no speed. Seeds and order decide, never values, so that no verdict is favoured.

    Args:
        metric: what was measured.
        new: the new side's values.
        base: the base's.
    """
    if metric.replicate == "seed":
        return _by_seed(new, base)
    if metric.kind is not MetricKind.TIME:
        return Sample(tuple(base), tuple(new), Pairing.NONE)
    if (pairs := neighbours(base, new)) is None:
        return Sample(tuple(base), tuple(new), Pairing.NONE, drifting=True)
    theirs, ours = (tuple(side[i] for i in places) for side, places in zip((base, new), pairs, strict=True))
    return Sample(theirs, ours, Pairing.TIME, unused=len(base) + len(new) - 2 * len(ours))


def _by_seed(new: Sequence[Reading], base: Sequence[Reading]) -> Sample:
    ours, theirs = ({reading.seed: reading for reading in side} for side in (new, base))
    both = sorted(ours.keys() & theirs.keys())
    if len(both) >= 2 and 2 * len(both) >= min(len(ours), len(theirs)):
        unused = len(ours) + len(theirs) - 2 * len(both)
        return Sample(
            tuple(theirs[seed] for seed in both), tuple(ours[seed] for seed in both), Pairing.SEED, unused=unused
        )
    return Sample(tuple(base), tuple(new), Pairing.NONE)


def _figures(metric: Metric, runs: Sequence[RunRecord]) -> Iterator[tuple[str, Callable[[RunRecord], float | None]]]:
    """How a metric is read from a run: once, or for each call path, or for each call path and batch."""
    name = metric.name
    if not metric.of_calls:
        yield "", functools.partial(RunRecord.figure, metric=name)
        return
    for path in CALL_PATHS:
        figure = functools.partial(RunRecord.call_figure, metric=name, call_path=path)
        if not (isinstance(metric.source, FromCalls) and metric.source.by_batch):
            yield path, figure
            continue
        timed = [run.inference[path] for run in runs if path in run.inference]
        for batch in sorted({batch for figures in timed for batch in figures.by_batch.get(name, ())}):
            yield f"{path}, batch {batch}", functools.partial(figure, batch=batch)
