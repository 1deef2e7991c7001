"""`bench export`, read by the tools themselves where they can be had."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pytest_benchmark.stats import Stats
from typer.testing import CliRunner

from bench.analysis.summary import summarise
from bench.cli import app
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.report.export import github_action_benchmark, pytest_benchmark
from tests.support.frames import MACHINE, frame, run

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference" / "mnist_rows"
CALLS = {("compiled", 1): [0.002, 0.004, 0.003], ("compiled", 64): [0.01]}
SECTIONS = summarise(
    frame(
        *(
            run(
                Case(cell=cell, units=units, seed=seed),
                epoch_seconds=(9.0, 5.0 + seed + units / 1000),
                accuracy=0.9 + seed / 100,
                calls=CALLS,
            )
            for cell in ("lstm", "gru")
            for units in (64, 128)
            for seed in range(3)
        )
    )
)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=9))
@example([1.1756895330564703, 342.17568953305647, 683.1756895330565])  # as far from the mean as the deviation
def test_the_figures_of_the_rounds_are_pytest_benchmarks_own(values: list[float]) -> None:
    theirs = Stats()
    for value in values:
        theirs.update(value)
    sections = summarise(
        frame(*(run(Case(cell="gru", seed=seed), epoch_seconds=(1.0, value)) for seed, value in enumerate(values)))
    )
    (exported,) = [entry for entry in pytest_benchmark(sections, "now")["benchmarks"] if entry["group"] == "training"]
    ours = exported["stats"]
    assert {name: ours[name] for name in Stats.fields} == pytest.approx(theirs.as_dict())
    assert ours["data"] == values


def test_pytest_benchmark_compares_what_is_exported(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(REFERENCE), "--format", "pytest-benchmark"])
    assert done.exit_code == 0
    (tmp_path / "ours.json").write_text(done.stdout)
    tool = [sys.executable, "-m", "pytest_benchmark", "compare", str(tmp_path / "ours.json")]
    compared = subprocess.run(tool, capture_output=True, text=True, cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert "benchmark 'training': 3 tests" in compared.stdout
    assert "simple_rnn · training" in compared.stdout


def test_times_alone_are_in_it_and_each_run_is_a_round() -> None:
    document = pytest_benchmark(SECTIONS, "2026-01-02T03:04:05+00:00")
    named = {entry["name"]: entry for entry in document["benchmarks"]}
    assert len(named) == 4 * 4
    training = named["lstm × units=64 · training"]
    assert training["stats"]["data"] == [5.064, 6.064, 7.064]
    assert training["params"]["units"] == 64
    assert named["gru × units=128 · throughput · compiled, batch 64"]["stats"]["median"] == pytest.approx(0.01 / 64)
    assert (document["commit_info"]["id"], document["commit_info"]["dirty"]) == ("abc1234", False)
    assert document["machine_info"]["cpu_model"] == "Fictional 9000"


def test_smaller_is_better_everywhere_for_github_action_benchmark() -> None:
    named = {entry["name"]: entry for entry in github_action_benchmark(SECTIONS)}
    assert len(named) == 4 * 7
    assert all({"name", "unit", "value", "range", "extra"} == set(entry) for entry in named.values())
    accuracy = named["lstm × units=64 · accuracy"]
    assert accuracy["value"] == pytest.approx(1 - statistics.mean([0.90, 0.91, 0.92]))
    assert (accuracy["unit"], accuracy["extra"]) == ("error rate", "3 seeds; kernel generic")
    latency = named["lstm × units=64 · latency · compiled"]
    assert (latency["value"], latency["unit"]) == (0.003, "s")
    json.dumps(list(named.values()), allow_nan=False)


def test_results_of_two_machines_are_refused() -> None:
    far = {**MACHINE, "usable_cores": 64}
    both = summarise(frame(run(Case(cell="gru")), run(Case(cell="gru"), campaign="c2", machine=far)))
    for export in (lambda: pytest_benchmark(both, "now"), lambda: github_action_benchmark(both)):
        with pytest.raises(UsageError, match="of 2 machines"):
            export()
