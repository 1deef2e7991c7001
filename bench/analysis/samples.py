"""Runs → the values that are compared, and the change between two samples of them. Pure.

The unit is the run, and for accuracy and loss the seed; epochs and calls of a run are never pooled.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

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
from bench.core.metric import FromCalls, Metric
from bench.core.metrics import COMPARED, METRICS
from bench.core.observation import CALL_PATHS

Block = tuple[int, int]
"""Seed and repeat; for accuracy and loss the seed, and 0."""


class Reading(NamedTuple):
    """A value, the block that it is paired by, and the number of runs behind it."""

    block: Block
    value: float
    runs: int = 1


def readings(runs: Sequence[RunRecord]) -> dict[tuple[Metric, str], list[Reading]]:
    """The values of every metric that is compared, in the order of `METRICS`; a metric without any is not in it.

    Args:
        runs: those of one configuration that ended ok.

    Returns:
        By metric and detail (for inference the call path, and the batch: `compiled, batch 64`): a value for each run,
        and for accuracy and loss one for each seed. What is compared as a ratio has positive values alone.
    """
    values_of: dict[tuple[Metric, str], list[Reading]] = {}
    for name in COMPARED:
        metric = METRICS[name]
        for detail, figure in _figures(metric, runs):
            if metric.replicate == "seed":
                tried = Counter(run.seed for run in runs if figure(run) is not None)
                values = [Reading((seed, 0), value, tried[seed]) for seed, value in by_seed(runs, figure).items()]
            else:
                values = [Reading((run.seed, run.repeat), value) for run in runs if (value := figure(run)) is not None]
            kept = [reading for reading in values if reading.value > 0 or not metric.as_ratio]
            if kept:
                values_of[metric, detail] = kept
    return values_of


def centre(metric: Metric, values: Sequence[float]) -> float:
    """The value that stands for a sample: the mean over seeds, or the median over runs, in the metric's unit."""
    return float(np.mean(values) if metric.replicate == "seed" else np.median(values))


@dataclass(frozen=True)
class Sample:
    """The values of both sides; where they are paired, those at one index are of one block."""

    base: tuple[float, ...]
    new: tuple[float, ...]
    paired: bool
    unused: int
    """Values in a block that the other side hasn't."""
    base_runs: int
    """Runs behind the base's values: a seed's value is the mean of its runs."""
    new_runs: int
    """Runs behind the new side's values."""

    @property
    def n(self) -> int:
        """The number of pairs, or of values on the side that has fewer."""
        return min(len(self.base), len(self.new))

    @property
    def equal(self) -> bool:
        """Whether there is no difference at all."""
        return self.base == self.new if self.paired else len({*self.base, *self.new}) == 1

    def change(self, metric: Metric, confidence: float = CONFIDENCE) -> Estimate:
        """The ratio new/base of geometric means, or the difference new - base of means in the metric's unit."""
        if metric.as_ratio:
            return (paired_ratio if self.paired else unpaired_ratio)(self.new, self.base, confidence)
        if self.paired:
            return mean_t([new - base for new, base in zip(self.new, self.base, strict=True)], confidence)
        return unpaired_difference(self.new, self.base, confidence)

    def on_an_even_scale(self, metric: Metric, confidence: float) -> tuple[float, Interval | None]:
        """The change and its interval on the scale on which margins are equal both ways: a ratio's logarithm."""
        estimate = self.change(metric, confidence)
        interval = estimate.interval
        if not metric.as_ratio:
            return estimate.value, interval
        return math.log(estimate.value), Interval(math.log(interval.low), math.log(interval.high)) if interval else None

    def basis(self, replicate: str) -> str:
        """What the values are, in words: `8 pairs of runs, by block`."""
        if not self.paired:
            return f"{len(self.base)} and {len(self.new)} {replicate}s, unpaired"
        by = "seed" if replicate == "seed" else "block"
        pairs = f"{self.n} pair{'s' if self.n != 1 else ''} of {replicate}s, by {by}"
        return f"{pairs}; {self.unused} without a partner" if self.unused else pairs


def make_sample(new: Sequence[Reading], base: Sequence[Reading]) -> Sample:
    """Paired where no side has a block twice and at least half of the shorter side's blocks are in both.

    Blocks alone decide, never values, so that no verdict is favoured.

    Args:
        new: the new side's values of one metric.
        base: the base's.
    """
    ours, theirs = ({reading.block: reading for reading in side} for side in (new, base))
    both = sorted(ours.keys() & theirs.keys())
    once = len(ours) == len(new) and len(theirs) == len(base)
    if once and len(both) >= 2 and 2 * len(both) >= min(len(ours), len(theirs)):
        unused = len(ours) + len(theirs) - 2 * len(both)
        return _sample([theirs[block] for block in both], [ours[block] for block in both], paired=True, unused=unused)
    return _sample(base, new, paired=False, unused=0)


def _sample(base: Sequence[Reading], new: Sequence[Reading], *, paired: bool, unused: int) -> Sample:
    return Sample(
        base=tuple(reading.value for reading in base),
        new=tuple(reading.value for reading in new),
        paired=paired,
        unused=unused,
        base_runs=sum(reading.runs for reading in base),
        new_runs=sum(reading.runs for reading in new),
    )


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
