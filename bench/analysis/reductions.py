"""Observations → figures of runs: how each metric of `bench.core.metrics` is made from a run's rows. Pure.

Each reduction works on all runs at once, on sorted arrays: a large store has a million rows, most of them single calls
of inference. A figure that was not measured, or is not finite, is in no mapping.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.analysis.stats import Floats, quantile_of_sorted
from bench.core.metric import FromCallMemory, FromCalls, FromMetadata, FromPhase, Reduction
from bench.core.metrics import METRICS

ByRun = Mapping[str, float]
"""A figure by run id."""

# An accuracy is a count of test samples over their number; this near to a whole count, it is that one in float32.
_COUNT_TOLERANCE = 0.01


@dataclass(frozen=True)
class CallPathFigures:
    """The figures of one run's trained model, called through one call path."""

    figures: Mapping[str, float] = field(default_factory=dict)
    """By metric: of its calls at batch 1."""
    by_batch: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """By metric, and by batch larger than 1."""


def phase_figures(frame: pd.DataFrame) -> dict[str, ByRun]:
    """The figures that are made from the rows of a phase.

    Args:
        frame: observations, a row each; any order.

    Returns:
        By metric and run id.
    """
    phases = {metric.source.phase for metric in METRICS.values() if isinstance(metric.source, FromPhase)}
    rows = {phase: frame.loc[frame["phase"] == phase] for phase in phases}
    return {
        name: _of_phase(rows[metric.source.phase], metric.source)
        for name, metric in METRICS.items()
        if isinstance(metric.source, FromPhase)
    }


def metadata_figures(runs: pd.DataFrame) -> dict[str, ByRun]:
    """The figures that are columns of a run's metadata.

    Args:
        runs: a row for each run.

    Returns:
        By metric and run id.
    """
    figures = {}
    for name, metric in METRICS.items():
        if isinstance(metric.source, FromMetadata):
            values = _numbers(runs, metric.source.column)
            if metric.source.minus:
                values = values - _numbers(runs, metric.source.minus)
            figures[name] = _finite(runs["run_id"], values)
    return figures


@dataclass(frozen=True)
class SteadyEpochs:
    """The training epochs of one run from 2 on, in their order; an epoch without a time is left out."""

    seconds: tuple[float, ...] = ()
    """Wall times, n_epochs, positive."""
    cpu_seconds: tuple[float | None, ...] = ()
    """CPU times of all threads of the run's process, n_epochs; None where it was not measured."""
    iterator_seconds: tuple[float | None, ...] = ()
    """What making the iterators took of each, n_epochs; None where it was not measured."""


_OF_EPOCHS = ("seconds", "cpu_seconds", "iterator_seconds")


def steady_epochs(frame: pd.DataFrame) -> dict[str, SteadyEpochs]:
    """The training epochs from 2 on by run id; a run without any is not in it.

    Args:
        frame: observations, a row each; any order.
    """
    rows = frame.loc[frame["phase"] == "train", ["run_id", "epoch", *_OF_EPOCHS]]
    took = _numbers(rows, "seconds")
    kept = rows[(_numbers(rows, "epoch") >= 2) & np.isfinite(took) & (took > 0)].sort_values("epoch", kind="stable")
    columns = (_numbers(kept, name).tolist() for name in _OF_EPOCHS)
    times: dict[str, list[tuple[float, float | None, float | None]]] = defaultdict(list)
    for run_id, seconds, *parts in zip(kept["run_id"], *columns, strict=True):
        cpu_seconds, iterator_seconds = (part if math.isfinite(part) else None for part in parts)
        times[str(run_id)].append((seconds, cpu_seconds, iterator_seconds))
    return {run_id: SteadyEpochs(*zip(*of_run, strict=True)) for run_id, of_run in times.items()}


def runs_without_steady_epochs(frame: pd.DataFrame) -> frozenset[str]:
    """The ids of runs that trained, but no epoch beyond the first."""
    rows = frame.loc[(frame["phase"] == "train") & frame["epoch"].notna(), ["run_id", "epoch"]]
    steady = rows.loc[_numbers(rows, "epoch") >= 2, "run_id"]
    return frozenset(map(str, set(rows["run_id"]) - set(steady)))


def call_figures(calls: pd.DataFrame) -> dict[str, dict[str, CallPathFigures]]:
    """The figures that are made from calls of inference; none where the frame has no such columns.

    Args:
        calls: observations; those of other phases are passed over.

    Returns:
        By run id and call path.
    """
    if "entry" not in calls:
        return {}
    kept = calls.loc[(calls["phase"] == FromCalls.phase) & calls["entry"].notna(), ["run_id", *_CALL_COLUMNS]]
    kept = kept[np.isfinite(_numbers(kept, "seconds"))]
    memory = {name: _memory_growth(calls, source) for name, source in _OF_CALL_MEMORY}
    figures: dict[str, dict[str, CallPathFigures]] = defaultdict(dict)
    for (run_id, path), batches in _sorted_seconds(kept).items():
        of_path = [(name, source) for name, source in _OF_CALLS if source.is_of(path)]
        at_batch_1 = {name: _quantile(batches.get(1), source) for name, source in of_path if not source.by_batch}
        by_batch = {
            name: {
                batch: batch / took
                for batch, seconds in batches.items()
                if batch != 1 and (took := _quantile(seconds, source)) is not None and took > 0
            }
            for name, source in of_path
            if source.by_batch
        }
        at_batch_1 |= {name: grown.get((run_id, path)) for name, grown in memory.items()}
        known = {name: value for name, value in at_batch_1.items() if value is not None}
        figures[run_id][path] = CallPathFigures(known, by_batch)
    return figures


_CALL_COLUMNS = ("entry", "predict_batch", "seconds")
_OF_CALLS = [(name, metric.source) for name, metric in METRICS.items() if isinstance(metric.source, FromCalls)]

_OF_CALL_MEMORY = [
    (name, metric.source) for name, metric in METRICS.items() if isinstance(metric.source, FromCallMemory)
]


def call_memory_growth(calls: pd.DataFrame, source: FromCallMemory) -> dict[tuple[str, str], list[float]]:
    """How much memory grew from the first to the last reading of each series of calls at batch 1, per so many calls.

    Args:
        calls: observations; those of other phases are passed over.
        source: the column, and the number of calls that the growth is given for.

    Returns:
        By run id and call path; a series of one reading shows nothing.
    """
    if not set(source.columns) <= set(calls):
        return {}
    read = (calls["phase"] == source.phase) & (calls["predict_batch"] == 1) & calls[source.column].notna()
    kept = calls.loc[read & calls["series"].notna()].sort_values("call", kind="stable")
    growth: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (run_id, path, _), series in kept.groupby(["run_id", "entry", "series"], observed=True):
        call, size = _numbers(series, "call"), _numbers(series, source.column)
        if call[-1] > call[0]:
            growth[str(run_id), str(path)].append(float(size[-1] - size[0]) / (call[-1] - call[0]) * source.per_calls)
    return growth


def _memory_growth(calls: pd.DataFrame, source: FromCallMemory) -> dict[tuple[str, str], float]:
    """The median over the series: a heap that is extended once has grown in one of them."""
    return {of: float(np.median(growth)) for of, growth in call_memory_growth(calls, source).items()}


def _quantile(seconds: Floats | None, source: FromCalls) -> float | None:
    return None if seconds is None else quantile_of_sorted(seconds, source.quantile)


def _sorted_seconds(calls: pd.DataFrame) -> dict[tuple[str, str], dict[int, Floats]]:
    """By run id and call path, and by batch: the seconds of the calls, ascending."""
    runs, paths = calls["run_id"].astype("category").cat, calls["entry"].astype("category").cat
    keys = (calls["predict_batch"].to_numpy().astype(int), paths.codes.to_numpy(), runs.codes.to_numpy())
    seconds = calls["seconds"].to_numpy("float64")
    order = np.lexsort((seconds, *keys))
    batch, path, run = (key[order] for key in keys)
    seconds = seconds[order]
    changes = (np.diff(run) != 0) | (np.diff(path) != 0) | (np.diff(batch) != 0)
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), *([len(seconds)] if len(seconds) else [])]
    grouped: dict[tuple[str, str], dict[int, Floats]] = defaultdict(dict)
    for start, stop in itertools.pairwise(edges):
        key = str(runs.categories[run[start]]), str(paths.categories[path[start]])
        grouped[key][int(batch[start])] = seconds[start:stop]
    return grouped


# --- rows of a phase ---


def _of_phase(rows: pd.DataFrame, source: FromPhase) -> ByRun:
    values = _numbers(rows, source.column)
    if source.per:
        divisor = _numbers(rows, source.per)
        values = np.divide(values, divisor, out=np.full(len(rows), math.nan), where=divisor > 0)
    return _REDUCTIONS[source.reduction](rows, values)


def _steady_median(rows: pd.DataFrame, values: Floats) -> ByRun:
    """The median over the finite values of epochs from 2 on, or of epoch 1 in a run that has no other."""
    epoch, run = _numbers(rows, "epoch"), rows["run_id"].astype(str)
    has_steady = run.isin(set(run[epoch >= 2])).to_numpy()
    kept = np.isfinite(values) & ((epoch >= 2) | ((epoch < 2) & ~has_steady))
    medians = pd.Series(values[kept]).groupby(run.to_numpy()[kept]).median()
    return dict(zip(map(str, medians.index), medians.tolist(), strict=True))


def _first_epoch(rows: pd.DataFrame, values: Floats) -> ByRun:
    first = _numbers(rows, "epoch") == 1
    return _finite(rows["run_id"][first], values[first])


def _sum(rows: pd.DataFrame, values: Floats) -> ByRun:
    codes, ids = pd.factorize(rows["run_id"].astype(str))
    sums: Floats = np.bincount(codes, weights=values, minlength=len(ids)).astype(np.float64)
    return _finite(ids, sums)


def _last(rows: pd.DataFrame, values: Floats) -> ByRun:
    return _finite(rows["run_id"], values)


def _proportion(rows: pd.DataFrame, values: Floats) -> ByRun:
    """Without float32's rounding, which would pass for a spread between seeds that are equal."""
    targets = _numbers(rows, "targets")
    samples = np.where(np.isfinite(targets), targets, _numbers(rows, "samples"))
    counts = values * samples
    near = np.isfinite(counts) & (samples > 0) & (np.abs(counts - np.round(counts)) < _COUNT_TOLERANCE)
    exact = np.divide(np.round(counts), samples, out=np.full(len(rows), math.nan), where=near)
    return _finite(rows["run_id"], np.where(near, exact, values))


_REDUCTIONS: Mapping[Reduction, Callable[[pd.DataFrame, Floats], ByRun]] = {
    Reduction.STEADY_MEDIAN: _steady_median,
    Reduction.FIRST_EPOCH: _first_epoch,
    Reduction.SUM: _sum,
    Reduction.LAST: _last,
    Reduction.PROPORTION: _proportion,
}


def _numbers(rows: pd.DataFrame, column: str) -> Floats:
    numbers: Floats = pd.to_numeric(rows[column]).to_numpy("float64", na_value=math.nan)
    return numbers


def _finite(run_ids: Collection[object] | pd.Series, values: npt.NDArray[np.float64]) -> ByRun:
    """The last finite value of each run; none for one whose last value is not finite."""
    last = dict(zip(map(str, run_ids), values.tolist(), strict=True))
    return {run_id: value for run_id, value in last.items() if math.isfinite(value)}
