"""How fast the harness itself is, for `pytest --benchmark-only`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.analysis.comparison import compare
from bench.analysis.summary import summarise
from bench.core.case import Case
from bench.plan.gate import Gate
from bench.plan.plan import make_plan
from bench.plan.suite import Axes, Settings, Suite
from bench.store import load
from bench.store.parts import write_run
from tests.support.frames import frame, run
from tests.support.hosts import a_host
from tests.support.rendering import table_in
from tests.support.stored import a_run

CELLS = ("simple_rnn", "lstm", "gru")


def test_plan_10_000_cases(benchmark: BenchmarkFixture) -> None:
    axes = Axes(
        cells=("lstm", "gru"), units=tuple(range(1, 11)), batch_size=(16, 32, 64, 128, 256), seeds=tuple(range(10))
    )
    suite = Suite(name="large", axes=axes, settings=Settings(repeats=10))
    nothing: dict[str, Any] = {
        "order_seed": 0,
        "host": a_host(),
    }
    plan = benchmark(make_plan, suite, **nothing)
    assert len(plan.scheduled) == 10_000


def test_write_500_runs(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    runs = [a_run(n, Case(cell=CELLS[n % 3], task="mnist_5k", epochs=1, seed=n)) for n in range(500)]
    stores = iter(tmp_path / str(number) for number in range(100))

    def write() -> Path:
        store = next(stores)
        for one in runs:
            write_run(store, one)
        return store

    store = benchmark.pedantic(write, rounds=3)
    assert len(list((store / "runs").iterdir())) == 500


def test_load_500_runs(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    for n in range(500):
        write_run(tmp_path, a_run(n, Case(cell=CELLS[n % 3], task="mnist_5k", epochs=1, seed=n)))
    observed = benchmark(load, [tmp_path])
    assert observed["run_id"].nunique() == 500


def measured(campaign: str, seed: int) -> pd.DataFrame:
    """250 runs: 25 configurations, 10 seeds."""
    spread = np.random.default_rng(seed).normal(0, 0.05, (25, 10))
    return frame(
        *(
            run(
                Case(cell="lstm", units=units + 1, seed=s),
                campaign=campaign,
                epoch_seconds=(9.0, float(np.exp(spread[units, s]))),
            )
            for units in range(25)
            for s in range(10)
        )
    )


def test_compare_500_runs(benchmark: BenchmarkFixture) -> None:
    comparison = benchmark(compare, measured("old", 1), measured("new", 2), Gate())
    assert len(comparison.findings) == 25 * 5


@pytest.mark.parametrize("fmt", ["text", "md", "json"])
def test_render_the_table_of_250_runs(benchmark: BenchmarkFixture, fmt: Any) -> None:
    sections = summarise(measured("one", 1))
    assert "lstm" in benchmark(table_in, sections, fmt, 120)
