"""Timing inference (bench.worker.inference, without a framework), and what becomes of the calls (summary, table)."""

from __future__ import annotations

import itertools
import json
import mmap
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from bench.analysis.reductions import call_memory_growth
from bench.analysis.samples import readings
from bench.analysis.stats import Estimate, median_runs, paired_ratio
from bench.analysis.summary import Section, summarise
from bench.core.case import Case
from bench.core.metric import FromCallMemory
from bench.worker.inference import Inputs, Outputs, infer_all, plan_calls, time_calls, warm_up
from tests.support.frames import Rows, frame, run
from tests.support.rendering import table_in

TEST_SET = np.arange(1000, dtype=np.float32).reshape(1000, 1)


@given(st.integers(1, 50), st.integers(1, 20))
def test_the_outputs_of_all_samples_come_from_calls_of_equal_size(samples: int, batch: int) -> None:
    x, sizes = TEST_SET[:samples], set()

    def infer(inputs: Inputs) -> Outputs:
        sizes.add(len(inputs))
        return 2 * inputs

    assert infer_all(infer, x, batch).tolist() == (2 * x).tolist()
    assert sizes == {min(samples, batch)}


class Heard:
    """Entries that write down what they are given."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[float]]] = []

    def entry(self, name: str) -> Callable[[Inputs], object]:
        return lambda inputs: self.calls.append((name, inputs[:, 0].tolist()))


def test_larger_batches_get_some_calls_and_only_where_the_test_set_is_larger() -> None:
    assert plan_calls(500, 10_000) == {1: 500, 32: 20, 256: 20, 1024: 20}
    assert plan_calls(3, 1000) == {1: 3, 32: 3, 256: 3}
    assert plan_calls(500, 256) == {1: 500, 32: 20}


def test_entries_take_turns_with_the_same_inputs_and_each_call_gets_others_than_the_one_before() -> None:
    heard = Heard()
    observed = time_calls({"predict": heard.entry("predict"), "compiled": heard.entry("compiled")}, TEST_SET, 1, 120)
    assert [(o.entry, o.call) for o in observed] == [
        (name, call)
        for name, calls in [
            *(("predict", range(1, 51)), ("compiled", range(1, 51))),
            *(("compiled", range(51, 101)), ("predict", range(51, 101))),
            *(("predict", range(101, 121)), ("compiled", range(101, 121))),
        ]
        for call in calls
    ]
    assert [entry for entry, _ in heard.calls] == [o.entry for o in observed]
    given_to = {name: [inputs for entry, inputs in heard.calls if entry == name] for name in ("predict", "compiled")}
    assert given_to["predict"] == given_to["compiled"] == [[float(i)] for i in range(120)]
    assert {(o.phase, o.predict_batch, o.samples) for o in observed} == {("predict", 1, 1)}
    assert all(o.seconds is not None and o.seconds > 0 for o in observed)


@settings(max_examples=50, deadline=None)
@given(samples=st.integers(2, 400), batch=st.integers(1, 300), calls=st.integers(1, 120))
def test_no_two_calls_in_a_row_have_the_same_inputs(samples: int, batch: int, calls: int) -> None:
    batch = min(batch, samples - 1)
    heard = Heard()
    time_calls({"compiled": heard.entry("compiled")}, TEST_SET[:samples], batch, calls)
    inputs = [values for _, values in heard.calls]
    assert len(inputs) == calls
    assert all(len(values) == batch for values in inputs)
    assert all(values != following for values, following in itertools.pairwise(inputs))


def test_the_clock_is_read_around_the_call_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def ticks() -> Iterator[int]:
        yield from (0, 5_000_000, 100_000_000, 103_000_000)

    clock = ticks()
    monkeypatch.setattr("bench.worker.inference.time.perf_counter_ns", lambda: next(clock))
    observed = time_calls({"compiled": lambda inputs: None}, TEST_SET, 32, 2)
    assert [o.seconds for o in observed] == [0.005, 0.003]


def test_the_warm_up_shows_each_entry_every_batch() -> None:
    heard = Heard()
    warm_up({"predict": heard.entry("predict"), "compiled": heard.entry("compiled")}, TEST_SET, {1: 500, 32: 20})
    assert {(entry, len(inputs)) for entry, inputs in heard.calls} == {
        ("predict", 1),
        ("predict", 32),
        ("compiled", 1),
        ("compiled", 32),
    }


def test_memory_that_calls_keep_is_seen_and_is_that_of_their_call_path() -> None:
    kept: list[mmap.mmap] = []

    def touched_pages() -> mmap.mmap:
        # Pages of its own: an allocator could hand out resident memory that earlier tests freed.
        pages = mmap.mmap(-1, 2**18)
        pages.write(b"x" * 2**18)
        return pages

    def leaking(inputs: Inputs) -> None:
        kept.append(touched_pages())

    def sound(inputs: Inputs) -> None:
        touched_pages().close()

    observed = time_calls({"predict": leaking, "compiled": sound}, TEST_SET, 1, 120, lambda: len(kept))
    read = [o for o in observed if o.rss_bytes is not None]
    assert [(o.call, o.series) for o in read if o.entry == "predict"] == [
        *((call, 1) for call in (1, 11, 21, 31, 41, 50)),
        *((call, 2) for call in (51, 61, 71, 81, 91, 100)),
        *((call, 3) for call in (101, 111, 120)),
    ]
    calls = pd.DataFrame(map(asdict, observed)).assign(run_id="r")
    grown = call_memory_growth(calls, FromCallMemory("rss_bytes", per_calls=1_000))
    assert len(grown["r", "predict"]) == len(grown["r", "compiled"]) == 3
    assert np.median(grown["r", "predict"]) == pytest.approx(2**18 * 1_000, rel=0.1)
    assert np.median(grown["r", "compiled"]) < 2**18 * 1_000 / 20
    on_device = call_memory_growth(calls, FromCallMemory("device_bytes", per_calls=1_000))
    assert on_device["r", "predict"] == [1_000, 1_000, 1_000]
    assert on_device["r", "compiled"] == [0, 0, 0]


# What the summary makes of it

GENERIC = {"recurrent_a": "generic", "recurrent_b": "generic"}
FUSED = {"recurrent_a": "fused", "recurrent_b": "generic"}


def answered(cell: str, seed: int, factor: float, **changes: Any) -> Rows:
    """A run whose compiled call takes 2, 3, 4 ms × factor, and `predict` 100, 110, 120 ms × factor."""
    onnx = changes.get("runtime") == "onnxruntime"
    calls = {
        ("compiled", 1): [factor * x for x in (0.003, 0.002, 0.004)],
        ("compiled", 32): [factor * x for x in (0.010, 0.010, 0.030)],
    }
    if not onnx:
        calls[("predict", 1)] = [factor * x for x in (0.1, 0.12, 0.11)]
    kernels = {"compiled": FUSED} if onnx else {"compiled": GENERIC, "predict": GENERIC}
    case = Case(cell=cell, seed=seed, latency_calls=3, **changes)
    ran = "mixed" if onnx else "generic"  # over all phases, as the worker says it
    return run(case, calls=calls, evidence={"train": GENERIC, **kernels}, ran=ran)


def measured() -> Section:
    factors = {0: 1.0, 1: 1.5, 2: 1.1}
    (section,) = summarise(
        frame(
            *(answered("lstm", seed, factor) for seed, factor in factors.items()),
            *(answered("lstm", seed, factor / 4, runtime="onnxruntime") for seed, factor in factors.items()),
            run(Case(cell="gru", latency_calls=3), status="failed", error="x"),
        )
    )
    return section


def test_a_run_gives_one_figure_and_the_interval_comes_from_runs() -> None:
    gru, keras, onnx = sorted(measured().rows, key=lambda row: (row.cell, row.configuration.runtime))
    assert (gru.inference, gru.predict_ratio) == ((), None)
    predict, compiled = keras.inference
    assert (predict.call_path, compiled.call_path) == ("predict", "compiled")
    assert compiled.estimates["latency_seconds"].value == pytest.approx(0.0033)
    assert compiled.estimates["latency_seconds"].n == 3
    assert compiled.estimates["latency_seconds"].interval is not None
    assert compiled.estimates["latency_p95_seconds"].value == pytest.approx(1.1 * 0.0039)
    assert compiled.by_batch["throughput"][32].value == pytest.approx(32 / 0.011)
    assert predict.by_batch["throughput"] == {}
    assert keras.predict_ratio is not None
    assert keras.predict_ratio.value == pytest.approx(0.11 / 0.003)
    assert keras.predict_ratio.n == 3
    assert (keras.keras_latency_ratio, keras.keras_train_ratio) == (None, None)
    assert onnx.keras_latency_ratio is not None
    assert onnx.keras_latency_ratio.value == pytest.approx(0.25)
    assert [a.kernels_attested for a in keras.inference] == [("generic",), ("generic",)]
    assert [a.kernels_attested for a in onnx.inference] == [("fused + generic",)]


def test_calls_that_were_not_timed_and_runs_of_older_stores_are_no_inference() -> None:
    rows = frame(answered("lstm", 0, 1.0)).drop(columns=["entry", "predict_batch", "call"])
    assert summarise(rows)[0].rows[0].inference == ()


def test_the_table_shows_each_runtime_with_its_kernel_and_what_predict_costs() -> None:
    for width in (80, 200):
        text = table_in([measured()], "text", width)
        assert max(map(cell_len, text.splitlines())) <= width
        flat = " ".join(text.split())
        assert "lstm × runtime=keras: model.predict takes 36.7 × (3 runs)" in flat
        assert (
            "lstm × runtime=onnxruntime: inference takes 0.250 × (3 blocks) the time of Keras's compiled call "
            "at batch 1; it ran fused + generic." in flat
        )
        assert "trains an epoch" not in flat  # ONNX Runtime trains nothing
    (line,) = [
        line for line in text.splitlines() if line.startswith("lstm") and "onnxruntime" in line and "fused" in line
    ]
    assert line.split()[:7] == ["lstm", "onnxruntime", "compiled", "fused", "+", "generic", "0.825"]
    markdown = table_in([measured()], "md")
    assert "| lstm | keras | predict | generic | 121 " in markdown
    (row,) = [
        row
        for row in json.loads(table_in([measured()], "json"))["sections"][0]["rows"]
        if row["axes"]["runtime"] == "onnxruntime"
    ]
    assert row["inference"][0]["kernels_attested"] == ["fused + generic"]
    assert row["inference"][0]["samples_per_second"]["32"]["n"] == 3
    assert row["compiled_latency_over_keras"]["value"] == pytest.approx(0.25)


def streamed(cell: str, seed: int, factor: float, **changes: Any) -> Rows:
    """A run whose compiled call takes 3 ms × factor, and a streaming step 0.25 ms."""
    calls = {("compiled", 1): [0.003 * factor] * 3}
    if not changes.get("bidirectional"):
        calls |= {("streaming", 1): [0.0002, 0.00025, 0.0004], ("streaming", 32): [0.0005, 0.0004, 0.0005]}
    step = {"recurrent_a": "step", "recurrent_b": "step"}
    case = Case(cell=cell, seed=seed, latency_calls=3, **changes)
    return run(case, calls=calls, evidence={"train": GENERIC, "compiled": GENERIC, "streaming": step})


def test_a_streaming_step_has_figures_of_its_own_beside_running_the_window_anew() -> None:
    both = [
        streamed("gru", seed, factor, bidirectional=both)
        for seed, factor in enumerate((1.0, 1.5, 1.1))
        for both in (False, True)
    ]
    (section,) = summarise(frame(*both))
    row, backwards = sorted(section.rows, key=lambda row: row.configuration.bidirectional)
    compiled, streaming = row.inference
    assert streaming.kernels_attested == ("step",)
    assert set(compiled.estimates) == {"latency_seconds", "latency_p95_seconds", "latency_p99_seconds"}
    assert streaming.estimates["step_latency_seconds"].value == pytest.approx(0.00025)
    assert "latency_seconds" not in streaming.estimates
    assert {name: set(speeds) for name, speeds in streaming.by_batch.items()} == {"step_throughput": {32}}
    assert row.window_ratio is not None
    assert row.window_ratio.value == pytest.approx((12 * 18 * 13.2) ** (1 / 3))
    assert row.kernels_attested == ("generic",)
    assert backwards.window_ratio is None
    text = " ".join(table_in([section], "text", 200).split())
    assert "gru × bidirectional=false: streaming is 14.2 × (95 %" in text
    assert "cheaper a step, at batch 1, than running the window of 28 steps anew." in text
    assert "gru × bidirectional=true: not streamed, because a layer that reads the sequence backwards" in text
    for width in (80, 200):
        lines = table_in([section], "text", width).splitlines()
        assert max(map(cell_len, lines)) <= width
        assert any("µs/step" in line for line in lines)
    data = json.loads(table_in([section], "json"))["sections"][0]["rows"]
    (of_row,) = [each for each in data if not each["axes"]["bidirectional"]]
    assert of_row["window_over_step"]["n"] == 3
    by_path = {path["entry"]: path for path in of_row["inference"]}
    assert by_path["streaming"]["step_p50_seconds"]["value"] == pytest.approx(0.00025)
    assert by_path["streaming"]["steps_per_second"]["32"]["value"] == pytest.approx(32 / 0.0005)
    assert "step_p50_seconds" not in by_path["compiled"]
    assert "p50_seconds" not in by_path["streaming"]
    compared = {(metric.name, detail) for metric, detail in readings(row.runs)}
    assert {("step_latency_seconds", "streaming"), ("step_throughput", "streaming, batch 32")} <= compared
    assert ("latency_seconds", "streaming") not in compared


def test_streaming_that_is_dearer_than_the_window_is_stated_so() -> None:
    (section,) = summarise(frame(*(streamed("gru", seed, 0.05) for seed in range(3))))
    text = " ".join(table_in([section], "text", 200).split())
    assert "gru: streaming saves nothing: running the window of 28 steps anew takes 0.600 × (3 runs)" in text


def test_growing_memory_is_in_the_table_and_remarked_and_steady_memory_is_not() -> None:
    calls = {("predict", 1): [0.1] * 120, ("compiled", 1): [0.01] * 120}
    runs = [
        run(Case(cell="gru", seed=seed), calls=calls, rss_growth={"predict": 15_000 + 300 * seed, "compiled": 0})
        for seed in range(3)
    ]
    (section,) = summarise(frame(*runs))
    predict, compiled = section.rows[0].inference
    assert predict.estimates["call_memory_bytes"].value == pytest.approx(15_300_000)
    assert compiled.estimates["call_memory_bytes"].value == 0
    text = " ".join(table_in([section], "text", 200).split())
    assert "MB/1,000 calls" in text
    assert text.count("memory growth per 1,000 calls of") == 1
    assert "gru: memory growth per 1,000 calls of predict: 15.30 MB (95 % 14.6–16.1, 3 runs;" in text
    (row,) = json.loads(table_in([section], "json"))["sections"][0]["rows"]
    assert row["inference"][0]["call_memory_bytes"]["n"] == 3
    assert "MB/1,000 calls" not in table_in([measured()], "text", 200)  # an older store has no such readings


def test_another_runtime_that_trains_is_held_against_keras_too() -> None:
    peers = [
        run(
            Case(cell="lstm", seed=seed, backend="torch", runtime=runtime),
            epoch_seconds=(9.0, seconds),
            ran="onednn" if runtime == "torch.nn" else "generic",
        )
        for seed in (0, 1)
        for runtime, seconds in (("keras", 8.0 + seed), ("torch.nn", 2.0 + seed))
    ]
    (section,) = summarise(frame(*peers))
    native = next(row for row in section.rows if row.configuration.runtime == "torch.nn")
    assert native.keras_train_ratio == paired_ratio([2.0, 3.0], [8.0, 9.0])
    assert native.keras_latency_ratio is None
    flat = " ".join(table_in([section], "text").split())
    assert "lstm × runtime=torch.nn: trains an epoch in 0.289 ×" in flat
    assert "it ran onednn" in flat


def test_scaling_an_estimate_scales_its_interval() -> None:
    estimate = median_runs([1.0, 2.0, 3.0])
    scaled = estimate.scaled(1000)
    assert estimate.interval is not None
    assert scaled.interval is not None
    assert (scaled.value, scaled.n) == (2000.0, 3)
    assert scaled.interval.low == 1000 * estimate.interval.low
    assert Estimate(1.0, None, 1).scaled(10) == Estimate(10.0, None, 1)
