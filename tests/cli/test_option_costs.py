"""`bench kernels --time`, with the fake worker: two directions take it twice as long, and no other option costs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bench.run.lock import LOCK_VARIABLE
from tests.support.fake_worker import SCRIPT
from tests.support.zygote import run_bench

FEW = ("--set", "cells=gru", "--set", "backends=tensorflow", "--set", "seeds=0,1")


def kernels(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.json"
    if not script.exists():
        script.write_text("{}")
    variables = {SCRIPT: str(script), LOCK_VARIABLE: str(folder / "lock"), "BENCH_CACHE_DIR": str(folder / "cache")}
    return run_bench("kernels", *arguments, variables={**variables, "COLUMNS": "160"})


def test_each_option_is_timed_against_the_plain_layer(tmp_path: Path) -> None:
    store = ("--results", str(tmp_path / "store"))
    done = kernels(tmp_path, "--time", *FEW, *store, "--format", "json")
    assert done.returncode == 0, done.stderr
    timed = {(each["device"], each["option"]): each["timed"] for each in json.loads(done.stdout)["entries"]}
    plain = timed["cpu", None]
    assert plain == {
        "train_seconds": {"value": 1.5, "low": None, "high": None, "n": 2},
        "over_plain": None,
        "kernels_attested": ["generic"],
    }
    over = {option: facts["over_plain"]["value"] for (_, option), facts in timed.items() if facts and option}
    assert over.pop("bidirectional=true") == pytest.approx(2)
    assert set(over.values()) == {1.0}
    assert len(over) == 9
    # no GPU is here, and what is assumed of one isn't timed
    assert {facts for (device, _), facts in timed.items() if device != "cpu"} == {None}


def test_an_option_for_all_is_part_of_the_plain_layer_and_what_failed_is_no_figure(tmp_path: Path) -> None:
    (tmp_path / "script.json").write_text(json.dumps({"gru seed=0": "raise"}))
    asked = (
        "--time",
        *FEW,
        "--set",
        "bidirectional=true",
        "--set",
        "dropout=0.2",
        "--results",
        str(tmp_path / "store"),
    )
    done = kernels(tmp_path, *asked)
    assert done.returncode == 4, done.stderr
    assert "failed, timed out or invalid" in done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "bidirectional=true, dropout=0.2 3.00 s" in lines  # of the seed that went well
    assert "bidirectional=true, dropout=0.2, bias=false × 1.00" in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--equal", "--time"), "--equal and --time are two tables: give one of them."),
        (("my_models:build", "--time"), "--time is for the matrix: a model's layers are always read from what ran."),
        (("--options", "--results", "x"), "--results is where --time keeps its runs: give --time too."),
        (("--time", "--set", "recurrent_dropout=2"), "recurrent_dropout = 2.0 (--set recurrent_dropout=2)"),
    ],
)
def test_what_does_not_go_together_is_named(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = kernels(tmp_path, *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
