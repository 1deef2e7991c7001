"""`bench.pytest`: a cell of a user's timed under pytest-benchmark, its kernel attested, as a user's project would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.harness import ROOT

pytestmark = pytest.mark.real

CELLS = """import keras


def small_gru(units, activation, return_sequences, name):
    return keras.layers.GRU(units, activation=activation, return_sequences=return_sequences, name=name)
"""
TESTS = """import pytest
from my_cells import small_gru


@pytest.mark.benchmark(group="ours")
def test_step(bench_cell):
    bench_cell(small_gru, units=8, rounds=5)


def test_wrong_kernel(bench_cell):
    bench_cell("my_cells:small_gru", units=8, rounds=2, kernel="unrolled")


def test_no_such_cell(bench_cell):
    bench_cell("my_cels:small_gru")
"""


def test_a_users_cell_is_timed_and_its_kernel_is_attested(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["bench.pytest"]\n')
    (tmp_path / "my_cells.py").write_text(CELLS)
    (tmp_path / "test_speed.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--benchmark-json", "times.json"]
    # pytest-benchmark writes nothing in what it takes for a worker of pytest-xdist
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**outside, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert "2 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "no module of that name" in done.stdout or "my_cels" in done.stdout
    (timed,) = [
        each for each in json.loads((tmp_path / "times.json").read_text())["benchmarks"] if "step" in each["name"]
    ]
    assert timed["group"] == "ours"
    assert timed["extra_info"]["kernel_attested"] == "generic"
    assert timed["stats"]["rounds"] == 5
    assert 0 < timed["stats"]["median"] < 10
