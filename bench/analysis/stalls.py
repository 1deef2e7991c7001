"""Epochs that stalled, and runs that lost a core: their wall time exceeds what their CPU time explains. Pure.

Data come late because an input pipeline starts anew, another process takes the processor, one thread compiles: the wall
time of an epoch grows by more than its CPU time does. The rate of wall to CPU time depends on the program and its
threads, so each epoch is held against the other epochs of its run. What is found is remarked and stays in the figures:
which epochs are measured is never decided by what they took.

Whole runs do the same: where most of a run's epochs waited, on TensorFlow for the end of their input pipeline's tuning
(docs/how-sure.md), it took longer, and no more CPU time, so that equal runs have two speeds or anything between. Held
against each other, the slower runs used fewer cores.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.records import RunRecord
from bench.analysis.stats import CONFIDENCE
from bench.analysis.trends import kendall_p_value
from bench.core.units import significant

STALL = 1.5
"""How many times the rate of wall to CPU time of the run's other epochs an epoch has at least that stalled."""

_FEWEST_RUNS = 6
"""The fewest runs that are held against each other."""

_NOTICEABLE = 1.1
"""How many times longer the slowest run takes than the fastest, at least, where runs have lost cores."""


@dataclass(frozen=True, kw_only=True)
class Stalls:
    """The epochs that stalled, of the runs of one configuration."""

    epochs: int
    """How many stalled."""
    of_epochs: int
    """How many could be judged: from epoch 2 on, with a CPU time."""
    runs: int
    """In how many runs."""
    of_runs: int
    """How many runs have epochs that could be judged."""
    least_seconds: float
    """The smallest wall time of a stalled epoch beyond what its CPU time explains."""
    most_seconds: float
    """The largest."""
    iterator_seconds: float
    """What making iterators took in all stalled epochs; 0 where it was not measured."""

    def __str__(self) -> str:
        seconds = " to ".join(dict.fromkeys(significant(end) for end in (self.least_seconds, self.most_seconds)))
        iterators = f", {significant(self.iterator_seconds)} s of it making iterators" if self.iterator_seconds else ""
        return (
            f"{self.epochs} of {self.of_epochs} epochs in {self.runs} of {self.of_runs} runs, by {seconds} s{iterators}"
        )


@dataclass(frozen=True, kw_only=True)
class LostCores:
    """The runs of a configuration took the longer the fewer cores they used, with about as much CPU time."""

    runs: int
    least_seconds: float
    """The median epoch of the fastest run."""
    most_seconds: float
    most_cores: float
    """CPU over wall time, the median over a run's epochs, of the run that used most cores."""
    least_cores: float

    def __str__(self) -> str:
        seconds = f"{significant(self.least_seconds)} to {significant(self.most_seconds)} s/epoch"
        return f"{seconds} with {self.most_cores:.2f} to {self.least_cores:.2f} cores, over {self.runs} runs"


def find_lost_cores(rows: Sequence[Sequence[RunRecord]]) -> list[LostCores | None]:
    """For each row: whether its slower runs used fewer cores; None where that isn't so, or is not certain.

    The order of the runs by cores has to be opposite to that by seconds, by Kendall's S, with a chance of at most 5 %
    that any row of a table shows this where the two have nothing to do with each other (Bonferroni). And CPU times may
    vary by less than half as much as wall times (variances of logarithms), for runs that did more work are no such
    runs.

    Args:
        rows: the runs of each configuration of a section.
    """
    figures = [
        [(seconds, cores) for run in runs if (seconds := _typical(run, 0)) and (cores := _typical(run, 1))]
        for runs in rows
    ]
    tests = sum(len(of_row) >= _FEWEST_RUNS for of_row in figures)
    return [_lost_cores(of_row, (1 - CONFIDENCE) / max(tests, 1)) for of_row in figures]


def _typical(run: RunRecord, which: int) -> float:
    """The median over a run's epochs of their seconds (0) or cores used (1); 0 where no epoch has a CPU time."""
    pairs = [
        (seconds, cpu / seconds) for seconds, cpu in zip(run.epochs.seconds, run.epochs.cpu_seconds, strict=True) if cpu
    ]
    return statistics.median(pair[which] for pair in pairs) if pairs else 0.0


def _lost_cores(figures: Sequence[tuple[float, float]], level: float) -> LostCores | None:
    if len(figures) < _FEWEST_RUNS:
        return None
    seconds, cores = np.array(figures).T
    earlier, later = np.triu_indices(len(figures), k=1)
    score = int((np.sign(seconds[later] - seconds[earlier]) * np.sign(cores[later] - cores[earlier])).sum())
    cpu = np.log(seconds * cores)
    if (
        score >= 0
        or kendall_p_value(score, (len(figures),)) > level
        or 2 * float(cpu.var()) > float(np.log(seconds).var())
        or seconds.max() < _NOTICEABLE * seconds.min()
    ):
        return None
    return LostCores(
        runs=len(figures),
        least_seconds=float(seconds.min()),
        most_seconds=float(seconds.max()),
        most_cores=float(cores.max()),
        least_cores=float(cores.min()),
    )


def find_stalls(runs: Sequence[RunRecord]) -> Stalls | None:
    """The stalled epochs of one configuration's runs; None where there are none.

    An epoch stalled where its rate of wall to CPU time is at least `STALL` times the median rate of the run's other
    epochs from 2 on, or of the other runs' where it has no other.

    Args:
        runs: those of one configuration, in one environment.
    """
    rates = [_rates(run) for run in runs]
    stalled = [
        (number, place, run.epochs.seconds[place] * (1 - usual / rate))
        for number, (run, of_run) in enumerate(zip(runs, rates, strict=True))
        for place, rate in of_run.items()
        if rate >= STALL * (usual := _usual(rates, number, place))
    ]
    if not stalled:
        return None
    lost = [seconds for _, _, seconds in stalled]
    return Stalls(
        epochs=len(stalled),
        of_epochs=sum(map(len, rates)),
        runs=len({number for number, _, _ in stalled}),
        of_runs=sum(map(bool, rates)),
        least_seconds=min(lost),
        most_seconds=max(lost),
        iterator_seconds=sum(_iterator_seconds(runs[number], place) for number, place, _ in stalled),
    )


def _iterator_seconds(run: RunRecord, place: int) -> float:
    """What making the iterators of a steady epoch took; 0 where it was not measured."""
    seconds = run.epochs.iterator_seconds
    return (seconds[place] or 0.0) if seconds else 0.0


def _usual(rates: Sequence[Mapping[int, float]], run: int, place: int) -> float:
    """The rate that an epoch of a run is held against; infinite where there is no other epoch."""
    beside = [rate for there, rate in rates[run].items() if there != place]
    if not beside:
        beside = [rate for number, of_run in enumerate(rates) if number != run for rate in of_run.values()]
    return statistics.median(beside) if beside else math.inf


def _rates(run: RunRecord) -> dict[int, float]:
    """The wall over the CPU time of a run's steady epochs, by their place among them; those without are not in it."""
    pairs = enumerate(zip(run.epochs.seconds, run.epochs.cpu_seconds, strict=True))
    return {place: seconds / cpu_seconds for place, (seconds, cpu_seconds) in pairs if cpu_seconds}
