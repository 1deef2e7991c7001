"""Data and networks of a user's, through each verb: numbers are judged by their errors, and nothing asks for accuracy.

Numbers for each sequence, and for each step of sequences of unlike lengths. With the fake worker and the fake side;
`tests/cli/test_gate_commits.py` has the gate between commits, `tests/real/` the same with Keras.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

import bench.cli.verify
from bench.catalog import tasks
from bench.cli import app
from bench.core.errors import ExitCode, NoVerdictError, UsageError
from bench.run.lock import LOCK_VARIABLE
from tests.support.fake_worker import SCRIPT
from tests.support.harness import FAKE, KEEP_SERVERS
from tests.support.zygote import run_bench

DATA = """
import bench
import numpy as np


def sums():
    x = np.random.default_rng(1).random((40, 5, 2))
    return bench.TaskData(target="number", train=(x, x.sum(axis=(1, 2))), test=(x, x.sum(axis=(1, 2))))


def waves():
    def some(samples):
        for number in range(samples):
            wave = np.sin(np.arange(4 + number % 3))[:, None]
            yield wave, wave
    return bench.TaskData(target="number_per_step", train=bench.Stream(some(40), 40), test=bench.Stream(some(20), 20))
"""
NETWORK = """
def build_network(cell, task, units):
    raise RuntimeError("nothing here has Keras to build it with")
"""
TASKS = ("my_data:sums", "my_data:waves")
OURS = ["--set", "networks=my_models:build_network", "--set", "batch_size=8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the user stands: three runs of each task in `base`, and as many in `worse`, with a greater loss."""
    folder = tmp_path_factory.mktemp("users")
    (folder / "my_data.py").write_text(DATA)
    (folder / "my_models.py").write_text(NETWORK)
    for store, what in (("base", "nothing"), ("worse", "lose more forked")):
        (folder / "script.json").write_text(json.dumps({"*": what}))
        suite = ("--set", "cells=gru", "--set", f"tasks={','.join(TASKS)}", "--set", "seeds=0..2", "--set", "epochs=2")
        done = in_folder(folder, "run", "quick", *OURS, *suite, "--results", store)
        assert done.returncode == 0, done.stderr
    return folder


def in_folder(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {
        SCRIPT: str(folder / "script.json"),
        LOCK_VARIABLE: str(folder / "lock"),
        KEEP_SERVERS: "1",
        "BENCH_CACHE_DIR": str(folder / "cache"),
    }
    return run_bench(*arguments, cwd=folder, variables=variables)


def called(*arguments: str | Path) -> tuple[int, Any]:
    """Exit code, and the document as programs get it."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--format", "json"])
    return done.exit_code, json.loads(done.stdout)


def test_the_table_and_the_report_have_the_errors_of_numbers_where_the_code_is_not_at_hand_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, table = called("table", folder / "base")
    assert code == 0
    assert sorted(section["task"] for section in table["sections"]) == sorted(TASKS)
    for section in table["sections"]:
        (row,) = section["rows"]
        assert row["test_accuracy"] is None
        assert row["test_loss"]["value"] == row["test_mae"]["value"] == pytest.approx(0.021, abs=0.01)
        assert row["test_r2"]["value"] == pytest.approx(0.979, abs=0.01)
        assert section["shared"]["network"] == "my_models:build_network"
    done = CliRunner().invoke(app, ["report", str(folder / "base"), "--out", "page"])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page" / "report.md").read_text()
    assert "mean squared error" in page
    assert "accuracy %" not in page


def test_the_gate_judges_the_errors(folder: Path) -> None:
    code, document = called("gate", folder / "base", folder / "worse")
    assert code == ExitCode.REGRESSION
    of = {(each["configuration"]["task"], each["metric"]): each["verdict"] for each in document["findings"]}
    assert {task for task, _ in of} == set(TASKS)
    for task in TASKS:
        assert {of[task, metric] for metric in ("loss", "mae", "r2")} == {"worse"}
        assert (task, "accuracy") not in of
    assert called("gate", folder / "base", folder / "base", "--self")[0] == ExitCode.OK


def test_a_duel_is_on_the_users_data_and_network(folder: Path) -> None:
    sides = ("--a", "units=100", "--b", "units=110", "--set", "tasks=my_data:waves", *OURS)
    (folder / "script.json").write_text(json.dumps({"noise": 0.003}))
    done = in_folder(folder, "duel", *sides, "--format", "json", "--results", "duels")
    assert done.returncode == ExitCode.REGRESSION, done.stderr
    record = json.loads(done.stdout)
    assert record["verdict"] == "slower"
    for side in record["sides"].values():
        assert (side["case"]["task"], side["case"]["network"]) == ("my_data:waves", "my_models:build_network")


def test_verify_runs_it_again_where_its_code_is_and_on_the_same_data_only(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    shutil.copytree(folder, here, ignore=shutil.ignore_patterns("cache", "worse", "duels", "script.json"))
    monkeypatch.chdir(here)
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv(LOCK_VARIABLE, str(tmp_path / "lock"))
    fake = functools.partial(bench.cli.verify.verify_again, worker=FAKE)
    try:
        with patch.object(bench.cli.verify, "verify_again", fake):
            done = CliRunner().invoke(app, ["verify", "base"])
            assert done.exit_code == 0, done.output
            assert "all 10 figures agree" in done.output
            assert done.output.count(" mae ") == 5
            (here / "my_data.py").write_text(DATA.replace("default_rng(1)", "default_rng(2)").replace("sin", "cos"))
            error = CliRunner().invoke(app, ["verify", "base"]).exception
            assert isinstance(error, NoVerdictError)
            assert "are others than those that the store was measured on" in str(error)
            (here / "my_models.py").unlink()
            error = CliRunner().invoke(app, ["verify", "base"]).exception
            assert isinstance(error, UsageError)
            assert "no module for the network 'my_models:build_network' (the store)" in str(error)
    finally:
        tasks._prepared.clear()
