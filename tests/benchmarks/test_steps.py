"""The train step and the predict step of each cell, in this process, for those who live in `pytest --benchmark-only`.

One process, so one observation of its memory layout and its neighbours (docs/how-sure.md): to compare two commits,
`bench duel` is surer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.catalog import tasks
from bench.core.case import Case

pytestmark = pytest.mark.real

CELLS = ("simple_rnn", "lstm", "gru")
STEPS: dict[str, Any] = {"rounds": 30, "warmup_rounds": 3}


def model_and_batch(cell: str) -> tuple[Any, Any, Any]:
    """The notebook's network and one batch of its shape."""
    from bench.worker.model import build

    case, random = Case(cell=cell, task="mnist_5k"), np.random.default_rng(0)
    inputs = random.random((case.batch_size, 28, 28), dtype=np.float32)
    return build(case, tasks.of(case, "a benchmark")), inputs, random.integers(0, 10, case.batch_size)


@pytest.mark.benchmark(group="train step")
@pytest.mark.parametrize("cell", CELLS)
def test_train_step(benchmark: BenchmarkFixture, cell: str) -> None:
    model, inputs, labels = model_and_batch(cell)
    benchmark.pedantic(model.train_on_batch, (inputs, labels), **STEPS)
    assert int(model.optimizer.iterations) == 33


@pytest.mark.benchmark(group="predict step")
@pytest.mark.parametrize("cell", CELLS)
def test_predict_step(benchmark: BenchmarkFixture, cell: str) -> None:
    model, inputs, _ = model_and_batch(cell)
    answers = benchmark.pedantic(model.predict_on_batch, (inputs,), **STEPS)
    assert answers.shape == (32, 10)
