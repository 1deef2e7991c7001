"""`bench run --precision`: blocks are added until every interval is narrow enough, or the budget is over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.analysis.precision import FEWEST_BLOCKS
from bench.analysis.promises import read_promises
from bench.cli.precision import check_overrides, read_targets
from bench.core.errors import ExitCode, UsageError
from bench.run.lock import LOCK_VARIABLE
from bench.store import load
from bench.store.campaign import read_manifests
from tests.support.zygote import run_bench


def run(folder: Path, *options: str) -> str:
    variables = {LOCK_VARIABLE: str(folder / "lock")}
    done = run_bench("run", "quick", "--set", "cells=lstm", *options, cwd=folder, variables=variables)
    assert done.returncode == ExitCode.OK, done.stderr
    return done.stderr


def test_seeds_are_added_until_the_interval_is_narrow_enough(tmp_path: Path) -> None:
    """Over a budget that ends at once, a call that goes on, and another that finds nothing to do."""
    asked = ("--precision", "accuracy=0.15%")
    begun = run(tmp_path, *asked, "--budget", "1e-9")
    assert "1 block; accuracy no interval yet of ± 0.150 points (lstm)" in begun
    assert "the same command goes on" in begun
    rest = run(tmp_path, *asked)
    assert "resuming the campaign" in rest
    assert "every interval is narrow enough" in rest
    frame = load([tmp_path / "results" / "local"])
    blocks = int(frame["block"].max()) + 1
    assert FEWEST_BLOCKS < blocks < 20
    assert sorted(frame.drop_duplicates("run_id")["seed"]) == list(range(blocks))
    again = run(tmp_path, *asked)
    assert f"{blocks} blocks; accuracy ±" in again
    assert len(load([tmp_path / "results" / "local"])["run_id"].unique()) == blocks

    (manifest,) = read_manifests(tmp_path / "results" / "local")
    assert manifest.plan["precision"] == {
        "half_widths": {"accuracy": 0.0015}, "fewest_blocks": FEWEST_BLOCKS, "most_blocks": 200
    }  # fmt: skip
    assert len(manifest.cases) == FEWEST_BLOCKS
    (configuration,) = read_promises(frame, [manifest]).by_configuration
    assert read_promises(frame, [manifest]).lacking(configuration) == ()
    json.dumps(manifest.plan)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("accuracy", "'accuracy' (--precision accuracy) names no width"),
        ("acuracy=1%", "unknown metric 'acuracy' (--precision acuracy=1%): did you mean 'accuracy'?"),
        ("train_seconds=5", "train_seconds=5 (--precision train_seconds=5) would be 500 %"),
        ("train_seconds=0%", "is no width"),
        ("latency_seconds=3%", "has a figure for each call path"),
        ("training=3%,train_seconds=2%", "training stands twice"),
        ("accuracy=1 s", "has the unit 's'"),
    ],
)
def test_a_precision_that_makes_no_sense_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        read_targets(text)
    assert sentence in str(error.value)


def test_widths_are_read_in_the_units_of_their_metrics() -> None:
    targets = read_targets("accuracy=0.2%, training = 3 %,loss=0.05")
    assert [(target.metric.name, target.half_width) for target in targets] == [
        ("accuracy", 0.002), ("train_seconds", 0.03), ("loss", 0.05)
    ]  # fmt: skip


def test_seeds_can_not_be_set_beside_it() -> None:
    check_overrides(["cells=lstm"])
    with pytest.raises(UsageError, match=r"--set seeds=0\.\.4 and --precision exclude each other"):
        check_overrides(["seeds=0..4"])
