"""bench.analysis.reductions: each named reduction against a slow, obvious version of itself."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.reductions import call_figures, metadata_figures, phase_figures, runs_without_steady_epochs
from bench.core.case import Case
from bench.core.metric import FromInterleaved, FromMetadata, FromPhase
from bench.core.metrics import METRICS
from tests.support.frames import MEGABYTE, frame, run

_TIMES = st.floats(1e-3, 1e3)
_EPOCHS = st.lists(_TIMES | st.just(math.nan), min_size=1, max_size=6)


def median_of_steady(seconds: Sequence[float]) -> float | None:
    """The oracle: epochs from 2 on, or epoch 1 where there is no other."""
    finite = [value for value in seconds[1:] or seconds if math.isfinite(value)]
    return statistics.median(finite) if finite else None


@settings(deadline=None, max_examples=40)
@given(st.lists(_EPOCHS, min_size=1, max_size=4))
def test_a_training_time_is_the_median_of_the_steady_epochs(of_runs: list[list[float]]) -> None:
    runs = [run(Case(cell="gru", seed=seed), epoch_seconds=seconds) for seed, seconds in enumerate(of_runs)]
    figures = phase_figures(frame(*runs))
    for rows, seconds in zip(runs, of_runs, strict=True):
        run_id, expected = rows[0]["run_id"], median_of_steady(seconds)
        assert figures["train_seconds"].get(run_id) == (None if expected is None else pytest.approx(expected))
        speeds = [4000 / value for value in seconds]
        assert figures["samples_per_second"].get(run_id) == (
            None if median_of_steady(speeds) is None else pytest.approx(median_of_steady(speeds))
        )
        first = seconds[0]
        assert figures["first_epoch_seconds"].get(run_id) == (first if math.isfinite(first) else None)


def test_a_run_of_one_epoch_is_marked() -> None:
    runs = [run(Case(cell="gru"), epoch_seconds=(9.0,)), run(Case(cell="lstm"), epoch_seconds=(9.0, 5.0))]
    assert runs_without_steady_epochs(frame(*runs)) == {runs[0][0]["run_id"]}


def test_a_run_whose_steady_epochs_have_no_time_does_not_fall_back_on_the_first() -> None:
    lost = frame(run(Case(cell="gru"), epoch_seconds=(9.0, math.nan)))
    assert phase_figures(lost)["train_seconds"] == {}
    assert runs_without_steady_epochs(lost) == frozenset()


def test_seconds_of_a_phase_are_added_up() -> None:
    rows = run(Case(cell="gru"))
    compiled = next(row for row in rows if row["phase"] == "compile")
    assert phase_figures(frame([*rows, {**compiled, "seconds": 0.5}]))["compile_seconds"] == {rows[0]["run_id"]: 2.5}


@given(st.integers(0, 1000))
def test_an_accuracy_is_a_whole_count_without_float32s_rounding(correct: int) -> None:
    rows = run(Case(cell="gru"), accuracy=float(np.float32(correct / 1000)))
    assert phase_figures(frame(rows))["accuracy"] == {rows[0]["run_id"]: correct / 1000}


def test_an_accuracy_that_is_no_count_stays() -> None:
    rows = run(Case(cell="gru"), accuracy=0.95055)
    assert phase_figures(frame(rows))["accuracy"] == {rows[0]["run_id"]: 0.95055}


def test_memory_is_what_was_added_to_that_at_the_start() -> None:
    known, unknown = run(Case(cell="gru"), memory_bytes=3 * MEGABYTE), run(Case(cell="lstm"), status="failed")
    runs = frame(known, unknown).drop_duplicates("run_id")
    assert metadata_figures(runs)["memory_bytes"] == {known[0]["run_id"]: 3 * MEGABYTE}


def test_calls_give_latency_at_batch_1_and_throughput_above() -> None:
    calls = {("predict", 1): (0.04, 0.02, 0.03), ("compiled", 1): (0.001,), ("compiled", 64): (0.01, 0.03)}
    rows = run(Case(cell="gru"), calls=calls)
    figures = call_figures(frame(rows))[rows[0]["run_id"]]
    assert figures["predict"].figures["latency_seconds"] == 0.03
    assert figures["predict"].by_batch == {"throughput": {}}
    assert figures["compiled"].figures["latency_p99_seconds"] == 0.001
    assert figures["compiled"].by_batch == {"throughput": {64: pytest.approx(64 / 0.02)}}


def test_every_metric_is_made_by_a_reduction_that_is_there() -> None:
    taken = {(path, batch): (0.1,) * 2 for path in ("compiled", "streaming") for batch in (1, 2)}
    observed = frame(run(Case(cell="gru"), calls=taken, rss_growth={"compiled": 1})).assign(device_bytes=1e9)
    once = {**phase_figures(observed), **metadata_figures(observed.drop_duplicates("run_id"))}
    assert set(once) == {
        name for name, metric in METRICS.items() if isinstance(metric.source, FromPhase | FromMetadata)
    }
    (of_run,) = call_figures(observed).values()
    of_calls = {name for path in of_run.values() for name in (*path.figures, *path.by_batch)}
    of_groups = {name for name, metric in METRICS.items() if isinstance(metric.source, FromInterleaved)}
    assert of_calls == set(METRICS) - set(once) - of_groups
