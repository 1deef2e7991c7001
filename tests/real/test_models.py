"""Which kernel each recurrent layer of a user's model runs, on real Keras: wherever in the model it is.

The command is one of the guide's (`tests/real/test_readme.py`); its table: `tests/report/test_model_kernels.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from bench.store import load

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
MODELS = "tests.real.user_models"
GENERIC = ["generic"] * 3
UNROLLED = ["unrolled"] * 3
EXAMPLES: dict[str, dict[str, list[str]]] = {
    "text_classification": dict.fromkeys(
        ("lower/forward_lstm", "lower/backward_lstm", "upper/forward_lstm_1", "upper/backward_lstm_1"), GENERIC
    ),
    "sequence_to_sequence": {"encoder": GENERIC, "decoder": GENERIC},
    f"forecasting={MODELS}:forecasting_data": {"weather": GENERIC},
}
NESTED = {
    **dict.fromkeys(("sub/same", "same", "both/forward_lstm", "both/backward_lstm", "stacked"), GENERIC),
    "unrolled": UNROLLED,
}
ELSEWHERE: dict[str, dict[str, list[str]]] = {
    "nested": NESTED,
    "distributed": {"each/images": GENERIC, "lines": GENERIC},
    "subclassed": {"first": GENERIC, "second": GENERIC},
    "masked": {"reader": GENERIC},
    "own_loop": {"own": GENERIC},
    "made_when_called": {"maker": GENERIC},
}


def attested(backend: str, *names: str) -> dict[str, dict[str, Any]]:
    """By model: what the layers ran, in one process that forks for each; a model's module is `MODELS` by default."""
    models = [name if ":" in name.partition("=")[0] else f"{MODELS}:{name}" for name in names]
    done = subprocess.run(
        [sys.executable, "-m", "tests.real.attest_models", backend, *models],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    seen = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return dict(zip(names, seen, strict=True))


@pytest.mark.parametrize(
    ("backend", "models"),
    [
        ("tensorflow", {**EXAMPLES, **ELSEWHERE}),
        pytest.param("jax", EXAMPLES, marks=pytest.mark.extra("jax")),
        # torch ignores `unroll`: its loop is the same operations
        pytest.param(
            "torch", {**EXAMPLES, "nested": {**NESTED, "unrolled": GENERIC}}, marks=pytest.mark.extra("torch")
        ),
    ],
)
def test_each_layer_of_a_users_model_is_attested(backend: str, models: dict[str, dict[str, list[str]]]) -> None:
    seen = attested(backend, *models, "not_a_model", "texts")
    assert seen.pop("not_a_model")["error"] == f"'{MODELS}:not_a_model' returned a int, not a keras.Model"
    assert "takes texts, which can't be made up: give data of your own" in seen.pop("texts")["error"]
    assert {name: one.get("error") or one["kernels"] for name, one in seen.items()} == models
    assert all(one["phases"] == ["train", "evaluate", "predict"] for one in seen.values())
    words = seen["text_classification"]["facts"]
    assert words["loss"] == []  # it was compiled
    assert words["open_sizes"]
    assert words["layers"]["lower/forward_lstm"]["shapes"] == [[5, 4]]
    if backend == "tensorflow":
        assert seen["nested"]["facts"]["loss"] == ["sparse_categorical_crossentropy"]
        reader = seen["masked"]["facts"]["layers"]["reader"]
        assert reader["masked"]
        assert reader["options"]["activation"] == "relu"
        assert seen["own_loop"]["facts"]["layers"]["own"]["class"] == f"{MODELS}.OwnLoop"


@pytest.mark.extra("bayesflow")
@pytest.mark.extra("ncps")
@pytest.mark.extra("keras_lmu")
@pytest.mark.extra("mingru_keras")
@pytest.mark.parametrize(
    ("backend", "kernels"),
    [
        (
            "tensorflow",
            {
                "cfc": {"cell": "generic"},
                "ltc": {"cell": "generic"},
                # an LMU computes its memory by FFT, and has a loop for the hidden cell
                "lmu": {"cell/lmu_feedforward": "mixed"},
                # two directions that read each step, and two that read every second one
                "skip_recurrent": {
                    f"cell/recurrent/{name}": "generic" for name in ("lstm", "lstm_1", "lstm_2", "lstm_3")
                },
            },
        ),
        # a scan, which Keras can't trace on TensorFlow
        pytest.param(
            *("torch", {"cfc": {"cell": "generic"}, "min_gru": {"cell": "parallel"}}), marks=pytest.mark.extra("torch")
        ),
    ],
)
def test_layers_of_packages_are_attested_unmodified(backend: str, kernels: dict[str, dict[str, str]]) -> None:
    names = {name: f"tests.real.package_cells:model_of_{name}" for name in kernels}
    seen = attested(backend, *names.values())
    assert {name: seen[model].get("error") or seen[model]["kernels"] for name, model in names.items()} == {
        name: {layer: [kernel] * 3 for layer, kernel in layers.items()} for name, layers in kernels.items()
    }


def test_a_users_network_is_run_with_the_kernel_asked_for_and_a_wrong_one_ends_in_a_sentence(tmp_path: Path) -> None:
    def run(*networks: str) -> subprocess.CompletedProcess[str]:
        axes = {
            "networks": ",".join(f"{MODELS}:{name}" for name in networks),
            **{"cells": "lstm", "kernels": "unrolled", "units": "3"},
            **{"epochs": "1", "train_samples": "80", "batch_size": "40"},
        }
        overrides = [word for axis, value in {**axes, "seeds": "0"}.items() for word in ("--set", f"{axis}={value}")]
        return subprocess.run(
            [
                *(sys.executable, "-c", "from bench.cli import main; main()", "run", "quick", *overrides),
                *("--results", str(tmp_path / "results")),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=900,
        )

    refusable = ("without_the_cell", "that_leaves_the_cell_out", "that_ends_its_process", "that_is_too_narrow")
    refused = run("network", *(f"network_{what}" for what in (*refusable, "with_two_outputs")))
    assert refused.returncode == 2, refused.stderr
    assert refused.stderr.count("made no layer with `cell`, or left it out") == 2
    assert (
        f"the network '{MODELS}:network_that_ends_its_process' can't be built: SystemExit: not with" in refused.stderr
    )
    assert "gives 7 outputs, where the task mnist_5k has 10" in refused.stderr
    assert "gives a list of 2 outputs, where a task has a single one" in refused.stderr
    assert not list((tmp_path / "results").glob("runs/*.parquet"))
    done = run("network", "network_with_a_layer_of_its_own", "subclassed_network")
    assert done.returncode == 4, done.stderr
    runs = load([tmp_path / "results"], phases=("run",)).set_index("network")
    ran = runs.loc[f"{MODELS}:network"]
    assert ran["status"] == "ok", ran["error"]
    assert ran["attested_kernel"] == "unrolled"
    layers = {"both/forward_wide", "both/backward_wide", "inner/recurrent_b"}
    assert {phase: set(shown) for phase, shown in json.loads(str(ran["attestation_json"])).items()} == {
        "train": layers,
        "evaluate": layers,
    }
    assert MODELS in {module["name"] for module in json.loads(str(ran["code_json"]))}
    assert float(str(ran["parameters"])) > 0
    assert isnan(float(str(ran["forward_flops_per_sample"])))
    subclassed = runs.loc[f"{MODELS}:subclassed_network"]
    assert (subclassed["status"], subclassed["attested_kernel"]) == ("ok", "unrolled"), subclassed["error"]
    wrong = runs.loc[f"{MODELS}:network_with_a_layer_of_its_own"]
    assert "other ran generic in train and evaluate" in str(wrong["error"])
    assert wrong["status"] == "invalid"


@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.extra("jax"))])
def test_a_trace_inside_a_timed_epoch_or_call_is_named_with_its_shapes_and_those_of_before(backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.real.retracing_run", backend],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    message, in_calls = done.stdout.strip().splitlines()
    traced = "something was traced or compiled inside the timed epoch 1: for arguments of the shapes "
    assert message.startswith(traced), message + done.stderr
    new, _, old = message.partition(", where until then they were ")
    # TensorFlow leaves open from then on what it has seen to vary
    assert ("? × ? × 3" if backend == "tensorflow" else "32 × 7 × 3") in new
    assert ("? × 5 × 3" if backend == "tensorflow" else "32 × 5 × 3") in old
    assert in_calls.startswith("something was traced or compiled inside the timed calls of inference: for arguments of")
    assert "1 × 5 × 3" in in_calls
