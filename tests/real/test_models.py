"""Which kernel each recurrent layer of a user's model runs, on real Keras: wherever in the model it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
}


def attested(backend: str, *names: str) -> dict[str, dict[str, Any]]:
    """By model: what the layers ran, in one process that forks for each."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.real.attest_models", backend, *(f"{MODELS}:{name}" for name in names)],
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
    seen = attested(backend, *models)
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


def test_the_command_shows_a_users_model_and_what_is_no_model_ends_in_a_sentence(tmp_path: Path) -> None:
    def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from bench.cli import main; main()", "kernels", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=600,
        )

    done = bench(f"{MODELS}:masked", "--steps", "4")
    assert done.returncode == 0, done.stderr
    assert "reader  LSTM   4 × 3  generic  generic   generic" in done.stdout
    assert "on random data; what the model leaves open was 4 (--steps)" in done.stdout
    assert "reader: not cuDNN (activation=relu, and cuDNN's kernels have tanh)" in done.stdout
    refused = bench(f"{MODELS}:not_a_model", "--format", "json")
    assert refused.returncode == 4
    assert f"'{MODELS}:not_a_model' returned a int, not a keras.Model" in refused.stderr
    assert json.loads(refused.stdout)["attestations"][0]["layers"] == []
    assert "Traceback" not in done.stderr + refused.stderr
