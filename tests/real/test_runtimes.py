"""Inference and the other runtimes through the command line: a campaign for each backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.store import load
from tests.real.test_real_runs import TINY, bench

pytestmark = pytest.mark.real

CALLS = 3


def measured(out: Path, *arguments: str) -> pd.DataFrame:
    settings = [word for one in (*arguments, f"latency_calls={CALLS}") for word in ("--set", one)]
    done = bench("run", *TINY, *settings, "--results", str(out))
    assert done.returncode == 0, done.stderr
    return load([out], warn=pytest.fail)


def calls(frame: pd.DataFrame, runtime: str) -> dict[tuple[str, int], int]:
    """How many calls were timed, by entry and batch."""
    timed = frame[(frame["phase"] == "predict") & (frame["runtime"] == runtime)]
    assert (timed["seconds"] > 0).all()
    assert (timed["samples"] == timed["predict_batch"]).all()
    assert (timed.loc[timed["call"].isin([1, CALLS]), "rss_bytes"] > 100e6).all()
    last = timed.groupby(["entry", "predict_batch"], observed=True)["call"].max().reset_index()
    return {(str(one.entry), int(one.predict_batch)): int(one.call) for one in last.itertuples()}  # type: ignore[arg-type]


def kernels(frame: pd.DataFrame, **chosen: str) -> dict[str, dict[str, str]]:
    """By phase: what ran in each layer."""
    run = frame[frame["phase"] == "run"]
    for name, value in chosen.items():
        run = run[run[name] == value]
    (evidence,) = [json.loads(text) for text in run["attestation_json"]]
    return {phase: {layer: one["kernel"] for layer, one in layers.items()} for phase, layers in evidence.items()}


def both(kernel: str) -> dict[str, str]:
    return {"recurrent_a": kernel, "recurrent_b": kernel}


BATCHES = {1: CALLS, 32: CALLS, 256: CALLS}


def of(*entries: str) -> dict[tuple[str, int], Any]:
    return {(entry, batch): count for entry in entries for batch, count in BATCHES.items()}


@pytest.mark.extra("onnxruntime")
def test_tensorflow_answers_by_itself_and_through_onnx_runtime(tmp_path: Path) -> None:
    frame = measured(tmp_path, "runtimes=keras,onnxruntime", "cells=lstm,gru")
    assert calls(frame, "keras") == of("predict", "compiled", "streaming")
    assert calls(frame, "onnxruntime") == of("compiled", "streaming")
    generic = {phase: both("generic") for phase in ("train", "evaluate", "predict", "compiled")}
    assert kernels(frame, runtime="keras", cell="lstm") == generic | {"streaming": both("step")}
    fused = kernels(frame, runtime="onnxruntime", cell="lstm")
    assert (fused["train"], fused["compiled"]) == (both("generic"), both("fused"))
    assert kernels(frame, runtime="onnxruntime", cell="gru")["compiled"] == both("generic")
    assert kernels(frame, runtime="onnxruntime", cell="gru")["streaming"] == both("step")
    runs = frame[frame["phase"] == "run"].set_index(["runtime", "cell"])
    assert runs["output_difference"].loc["keras"].isna().all()
    assert (runs["output_difference"].loc["onnxruntime"] < 1e-5).all()
    assert (runs["streaming_difference"] < 1e-5).all()
    # the model is trained before it is exported, as Keras trains it
    losses = frame[frame["phase"] == "evaluate"].set_index(["runtime", "cell"])["loss"]
    assert losses["keras", "lstm"] == losses["onnxruntime", "lstm"]
    assert json.loads(str(runs.loc[("onnxruntime", "gru"), "extra_json"]))["onnxruntime"]


@pytest.mark.extra("jax")
def test_jax_answers_through_predict_and_a_jitted_call(tmp_path: Path) -> None:
    frame = measured(tmp_path, "backends=jax", "cells=simple_rnn")
    assert calls(frame, "keras") == of("predict", "compiled", "streaming")
    assert kernels(frame)["compiled"] == both("generic")
    assert kernels(frame)["streaming"] == both("step")
    assert (frame["streaming_difference"] < 1e-5).all()


@pytest.mark.extra("torch")
def test_torch_answers_through_keras_and_trains_and_answers_without_it(tmp_path: Path) -> None:
    choices = ("backends=torch", "networks=cudnn_ready", "runtimes=keras,torch.nn", "cells=lstm", "threads=1")
    frame = measured(tmp_path / "lstm", *choices)
    assert calls(frame, "keras") == of("predict", "compiled", "streaming")
    assert calls(frame, "torch.nn") == of("compiled", "streaming")
    native_phases = ("train", "evaluate", "compiled", "streaming")
    assert kernels(frame, runtime="torch.nn") == {p: both("onednn") for p in native_phases}
    assert kernels(frame, runtime="keras")["streaming"] == both("step")
    assert (frame["streaming_difference"] < 1e-5).all()
    native = frame[frame["runtime"] == "torch.nn"]
    phases = [(r.phase, r.epoch) for r in native[native["call"].isna()].fillna({"epoch": 0}).itertuples()]
    assert phases == [
        *(("start", 0), ("setup", 0), ("build", 0), ("attest", 0), ("compile", 0), ("warmup", 0)),
        *(("train", 1), ("validate", 1), ("train", 2), ("validate", 2), ("evaluate", 0)),
        *(("warmup", 0), ("outputs", 0), ("attest", 0), ("run", 0)),
    ]
    # the same parameters, but for a second bias of 4 · 8 in each layer
    parameters = frame[frame["phase"] == "run"].set_index("runtime")["parameters"]
    assert parameters["torch.nn"] == parameters["keras"] + 2 * 4 * 8
    losses = native[native["phase"] == "train"]["loss"]
    assert losses.between(1.5, 3.5).all()
    assert losses.iloc[0] != losses.iloc[1]


def test_a_cell_that_streams_something_else_is_invalid_and_one_without_a_step_is_left_out(tmp_path: Path) -> None:
    cells = "cells=tests.real.user_cells:scales_its_sequence,tests.real.user_cells:reads_backwards"
    done = bench("run", *TINY, "--set", cells, "--set", "latency_calls=2", "--results", str(tmp_path))
    assert done.returncode == 4, done.stderr
    frame = load([tmp_path], warn=pytest.fail)
    runs = frame[frame["phase"] == "run"].set_index(frame["cell"].str.partition(":")[2][frame["phase"] == "run"])
    assert runs.loc["scales_its_sequence", "status"] == "invalid"
    assert "outputs that differ from those of whole sequences by up to" in str(runs.loc["scales_its_sequence", "error"])
    assert runs.loc["reads_backwards", "status"] == "ok"
    assert runs["streaming_difference"].isna()["reads_backwards"]
    assert set(frame.loc[frame["cell"].str.endswith("backwards"), "entry"].dropna()) == {"predict", "compiled"}


@pytest.mark.extra("ai_edge_litert")
def test_litert_infers_without_loops_and_in_8_bits_and_shows_what_that_costs(tmp_path: Path) -> None:
    choices = ("runtimes=litert", "cells=simple_rnn", "units=8,64", "dtypes=float32,int8", "latency_calls=3")
    tiny = [word for word in TINY if word not in ("--set", "units=8")]
    settings = [word for choice in (*tiny, *choices) for word in ("--set", choice)]
    done = bench("run", *settings, "--results", str(tmp_path))
    assert done.returncode == 4, done.stderr
    frame = load([tmp_path], warn=pytest.fail)
    runs = frame[frame["phase"] == "run"].set_index(["dtype", "units"])
    assert runs["status"].to_dict() == {
        ("float32", 8): "ok",
        ("float32", 64): "ok",
        ("int8", 8): "invalid",
        ("int8", 64): "ok",
    }
    assert "matrices of fewer than 1,024 elements" in str(runs.loc[("int8", 8), "error"])
    sound = runs[runs["status"] == "ok"]
    assert (sound["output_difference"].loc["float32"] < 1e-5).all()
    assert 1e-5 < float(sound["output_difference"]["int8", 64]) < 0.5
    assert sound["accuracy_lost"].loc["float32"].tolist() == [0, 0]
    assert -0.2 < float(sound["accuracy_lost"]["int8", 64]) < 0.2
    ok = frame[(frame["dtype"] == "int8") & (frame["units"] == 64)]
    assert kernels(ok)["compiled"] == both("unrolled")
    assert kernels(ok)["streaming"] == both("step")
    assert kernels(ok)["train"] == both("generic")
    assert calls(ok, "litert") == of("compiled", "streaming")
    facts = json.loads(str(sound.loc[("int8", 64), "extra_json"]))
    assert "int8" in facts["litert_number_formats"]
    assert facts["xnnpack_partitions"] > 0
