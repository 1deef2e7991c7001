"""The warm-up leaves no trace: a run gives, bit for bit, what plain `fit` gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.fetch import obtain
from bench.tasks import TASKS

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]

# the full network with its dropout, shuffled, two epochs, and partial batches: 500 = 15 · 32 + 20, 1000 = 31 · 32 + 8
CASE = {"task": "mnist_5k", "units": 128, "batch_size": 32, "epochs": 2, "seed": 7, "train_samples": 500}


def both(case: dict[str, Any], **only_bench: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the plain script and the worker give for a case, each in a process of its own, at the same time."""
    data = obtain(TASKS["mnist_5k"], data_dir=None, say=print)
    environment = {
        **os.environ,
        "KERAS_BACKEND": case.get("backend", "tensorflow"),
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "plain_fit.py"), which, json.dumps(values), str(data)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for which, values in (("plain", case), ("bench", {**case, **only_bench}))
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    plain, bench = (json.loads(output.splitlines()[-1]) for output in outputs)
    return plain, bench


JAX = pytest.mark.extra("jax")
TORCH = pytest.mark.extra("torch")


@pytest.mark.parametrize(
    ("backend", "cell", "kernel"),
    [
        # every cell, and every kernel that each backend has on a processor, once
        ("tensorflow", "simple_rnn", "xla"),
        ("tensorflow", "simple_rnn", "auto"),
        ("tensorflow", "lstm", "generic"),
        ("tensorflow", "gru", "auto"),
        ("tensorflow", "lstm", "unrolled"),
        pytest.param("jax", "simple_rnn", "auto", marks=JAX),
        pytest.param("jax", "simple_rnn", "unrolled", marks=JAX),
        pytest.param("jax", "gru", "generic", marks=JAX),
        pytest.param("torch", "simple_rnn", "auto", marks=TORCH),
        pytest.param("torch", "lstm", "generic", marks=TORCH),
    ],
)
def test_a_run_equals_plain_fit_bit_for_bit(backend: str, cell: str, kernel: str) -> None:
    plain, bench = both({**CASE, "backend": backend, "cell": cell, "kernel": kernel})
    assert bench == plain
    assert len(plain["train"]) == 2
    assert plain["train"][0] != plain["train"][1]


def test_the_comparison_would_notice_another_seed() -> None:
    plain, bench = both({**CASE, "cell": "simple_rnn"}, seed=8)
    assert bench["train"] != plain["train"]
    assert bench["weights"] != plain["weights"]


def test_full_batches_only_also_agree() -> None:
    """Without a partial batch the iterator has another shape, and so `fit` another program."""
    plain, bench = both({**CASE, "cell": "simple_rnn", "train_samples": 512, "batch_size": 64})
    assert bench == plain
