"""The warm-up leaves no trace: a run gives, bit for bit, what plain `fit` gives."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.catalog.cache import obtain
from bench.catalog.tasks import TASKS

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]

# the full network with its dropout, shuffled, two epochs
CASE = {"task": "mnist_5k", "units": 32, "batch_size": 40, "epochs": 2, "seed": 7, "train_samples": 200}
# 180 = 5 · 32 + 20, and of the tests 1000 = 31 · 32 + 8: in one case, since partial batches are programs of their own
PARTIAL = {"batch_size": 32, "train_samples": 180}
# every cell, and every kernel that each backend has on a processor, once
CASES = {
    "tensorflow": ["simple_rnn auto", "simple_rnn xla", "lstm generic", "lstm unrolled", "gru auto"],
    "jax": ["simple_rnn auto", "simple_rnn unrolled", "gru generic"],
    "torch": ["simple_rnn auto", "lstm generic"],
}

Results = dict[str, dict[str, Any]]


def case_of(name: str, **changes: Any) -> dict[str, Any]:
    cell, kernel = name.split()
    return {**CASE, "cell": cell, "kernel": kernel, **(PARTIAL if name == "simple_rnn auto" else {}), **changes}


@functools.cache
def both(backend: str) -> tuple[Results, Results]:
    """What the plain script and the worker give for each case, side by side, each case in fresh processes."""
    cases = {name: case_of(name, backend=backend) for name in CASES[backend]}
    if backend == "tensorflow":
        cases["another seed"] = case_of("simple_rnn auto", seed=8)
    data = obtain(TASKS["mnist_5k"], data_dir=None, report=print)
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "OMP_NUM_THREADS": "1",  # torch's threads spin: those of two processes on two cores take five times as long
    }
    command = [sys.executable, str(Path(__file__).parent / "plain_fit.py")]
    processes = [
        subprocess.Popen(
            [*command, which, json.dumps(list(cases.values())), str(data)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for which in ("plain", "bench")
    ]
    outputs = [process.communicate(timeout=900)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    plain, bench = (dict(zip(cases, map(json.loads, lines), strict=True)) for lines in outputs)
    return plain, bench


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        pytest.param(backend, name, marks=() if backend == "tensorflow" else pytest.mark.extra(backend))
        for backend, names in CASES.items()
        for name in names
    ],
)
def test_a_run_equals_plain_fit_bit_for_bit(backend: str, name: str) -> None:
    plain, bench = both(backend)
    assert {key: bench[name][key] for key in plain[name]} == plain[name]
    assert len(plain[name]["train"]) == 2
    assert plain[name]["train"][0] != plain[name]["train"][1]


def test_the_comparison_would_notice_another_seed() -> None:
    plain, bench = both("tensorflow")
    assert bench["another seed"]["train"] != plain["simple_rnn auto"]["train"]
    assert bench["another seed"]["weights"] != plain["simple_rnn auto"]["weights"]


def test_fit_returns_without_waiting_for_the_end_of_an_iterator() -> None:
    """That of the last epoch, and that of an epoch that never comes: both are still there when `fit` has returned."""
    _, bench = both("tensorflow")
    assert {name: result["iterators"] for name, result in bench.items()} == {name: [2, 2] for name in bench}
