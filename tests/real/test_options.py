"""Options of recurrent layers in real Keras: they are had and attested, and what is refused can't be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.catalog import networks, tasks
from bench.catalog.cells import BUILT_IN
from bench.catalog.networks import parameters
from bench.catalog.support import option_refusal
from bench.core.case import Case

pytestmark = pytest.mark.real

EVERYTHING: tuple[dict[str, Any], ...] = (
    {"cell": "lstm", "bidirectional": True, "dropout": 0.2, "recurrent_dropout": 0.2, "mask": "gaps", "layers": 1},
    {"cell": "gru", "reset_after": False, "bias": False, "recurrent_activation": "hard_sigmoid", "mask": "right"},
    {"cell": "simple_rnn", "layers": 3, "activation": "elu", "kernel": "generic"},
)
"""Each option once or more."""
ROOT = Path(__file__).parents[2]
PHASES = ("train", "evaluate", "predict")
STATEFUL: dict[str, Any] = {"cell": "simple_rnn", "stateful": True, "layers": 1}
BACKENDS = [
    "tensorflow",
    pytest.param("jax", marks=pytest.mark.extra("jax")),
    pytest.param("torch", marks=pytest.mark.extra("torch")),
]


def ran(backend: str, cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("option_runs.py")), json.dumps(cases)],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_option_is_had_on_every_backend_and_attested(backend: str) -> None:
    task = replace(tasks.find("mnist_5k"), steps=14, features=3, outputs=4)
    for options, outcome in zip(EVERYTHING, ran(backend, EVERYTHING), strict=True):
        assert set(outcome.get("kernels", outcome).values()) == {"generic"}, (options, outcome)
        assert outcome["contradictions"] == []
        case = Case(**{"backend": backend, **options})
        names = list(networks.of(case).recurrent_names)
        if case.bidirectional:
            names = [f"{name}/{direction}_{name}" for name in names for direction in ("forward", "backward")]
        assert set(outcome["kernels"]) == {f"{phase} {name}" for phase in PHASES for name in names}
        assert option_refusal(case) is None
        small = [parameters(placed, BUILT_IN[case.cell]) for placed in networks.of(case).placed(4, task)]
        assert outcome["parameters"] == sum(number or 0 for number in small)


@pytest.mark.parametrize("backend", BACKENDS)
def test_state_is_carried_where_it_is_not_refused(backend: str) -> None:
    """On JAX a stateful layer is stateless without a word; on torch LSTM's and GRU's fast path can't be trained so."""
    asked = [STATEFUL, {**STATEFUL, "cell": "lstm"}, {**STATEFUL, "cell": "lstm", "kernel": "generic"}]
    for options, outcome in zip(asked, ran(backend, asked), strict=True):
        case = Case(**{"backend": backend, "task": "mnist_5k", "batch_size": 8, **options})
        assert (option_refusal(case) is None) is outcome.get("carries_state", False), (options, outcome)


def test_what_no_layer_takes_is_refused() -> None:
    """Keras itself refuses the options that support says a layer hasn't, and a partial batch of a stateful network."""
    asked = (
        "import keras, numpy as np\n"
        "layers = keras.layers\n"
        "inputs = keras.Input((3, 2), batch_size=8)\n"
        "stateful = keras.Model(inputs, layers.LSTM(2, stateful=True)(inputs))\n"
        "x = np.zeros((12, 3, 2), 'float32')\n"
        "for make in (\n"
        "    lambda: layers.LSTM(2, reset_after=False),\n"
        "    lambda: layers.SimpleRNN(2, reset_after=False),\n"
        "    lambda: layers.SimpleRNN(2, recurrent_activation='relu'),\n"
        "    lambda: stateful.predict(x, 8, verbose=0),\n"
        "):\n"
        "    try:\n"
        "        make()\n"
        "    except Exception as error:\n"
        "        print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert done.stdout.count("refused") == 4, done.stderr[-2000:]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_rules_cudnn_out_is_what_keras_says(backend: str) -> None:
    """All combinations of options, asked of Keras's own functions with a GPU pretended."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("cudnn_rules.py"))],
        env={**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if "USDT" not in line]
    in_cudnn = {"tensorflow": 12, "jax": 2, "torch": 4}
    assert lines == [f"290 asked, {in_cudnn[backend]} in cuDNN"]
