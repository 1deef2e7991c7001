"""`bench run --interleave` as a process of its own, with the fake worker and sides."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bench.run.lock import LOCK_VARIABLE
from tests.support.fake_worker import SCRIPT
from tests.support.zygote import run_bench


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "script.json").write_text(json.dumps({"noise": 0.002}))
    return tmp_path / "results"


def bench(store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {SCRIPT: str(store.parent / "script.json"), LOCK_VARIABLE: str(store.parent / "lock"), "COLUMNS": "200"}
    return run_bench(*arguments, variables=variables)


def test_a_campaign_ends_with_its_cells_interleaved_and_the_table_shows_it(store: Path) -> None:
    """The runs' times differ by cell (1, 2 and 1.5 s), and the sides' don't: the ratio is of the interleaved steps."""
    options = ["--results", str(store)]
    done = bench(store, "run", "quick", "--set", "seeds=0", *options, "--interleave", "3", "--format", "md")
    assert done.returncode == 0, done.stderr
    so_far, _, interleaving = done.stderr.partition("bench: interleaving simple_rnn, gru, lstm, so that their ratios")
    assert interleaving
    assert "mnist_5k · notebook network · tensorflow · cpu\n" in so_far  # who need not wait has a table already
    assert "ms/step" not in so_far
    assert "2 of 2 ratios settled" in done.stderr
    assert "| ms/step | ratio to SimpleRNN |" in done.stdout
    assert "training steps of all cells, alternating within seconds, over" in done.stdout
    table = bench(store, "table", str(store), "--format", "json")
    assert table.returncode == 0, table.stderr
    rows = {row["cell"]: row for row in json.loads(table.stdout)["sections"][0]["rows"]}
    for cell in ("lstm", "gru"):
        figures = rows[cell]["interleaved"]
        assert figures["ratio_to_simple_rnn"]["value"] == pytest.approx(1.0, abs=0.02)
        assert figures["step_seconds"]["value"] == pytest.approx(128e-5, rel=0.05)
        assert rows[cell]["ratio_to_simple_rnn"]["value"] > 1.4
    (kept,) = (store / "interleaved").iterdir()
    # a campaign that is done is neither run again nor measured again, and its table stays
    again = bench(store, "table", str(store), "--format", "md")
    assert "| ms/step |" in again.stdout
    assert list((store / "interleaved").iterdir()) == [kept]


def test_no_interleaving_is_the_default_and_a_mistake_is_named(store: Path) -> None:
    done = bench(store, "run", "quick", "--set", "seeds=0", "--set", "cells=gru,lstm", "--results", str(store))
    assert done.returncode == 0, done.stderr
    assert not (store / "interleaved").exists()
    assert "ms/step" not in done.stdout
    wrong = bench(store, "run", "quick", "--results", str(store), "--interleave", "-1")
    assert wrong.returncode == 2
    assert "--interleave -1 is no time" in wrong.stderr
