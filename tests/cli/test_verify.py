"""`bench verify`, with the fake worker, which has losses of its own."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

import bench.cli.verify
from bench.cli import app
from bench.core.case import Case
from bench.core.errors import NoVerdictError, UsageError
from bench.store.parts import write_run
from tests.support.harness import FAKE
from tests.support.roots import LAPTOP
from tests.support.stored import a_run
from tests.support.zygote import run_bench


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "results"
    suite = ("run", "quick", "--set", "cells=lstm,gru", "--set", "seeds=0", "--set", "epochs=2")
    run_bench(*suite, "--results", str(folder)).check_returncode()
    return folder


def verified(*arguments: str) -> tuple[int, str]:
    """Exit code and output."""
    fake = functools.partial(bench.cli.verify.verify_again, worker=FAKE)
    with patch.object(bench.cli.verify, "verify_again", fake):
        done = CliRunner().invoke(app, ["verify", *arguments])
    if isinstance(done.exception, Exception) and not isinstance(done.exception, SystemExit | typer.Exit):
        raise done.exception
    return done.exit_code, done.output


def test_a_good_store_is_verified(store: Path) -> None:
    code, output = verified(str(store), "--case", "gru")
    assert code == 0, output
    assert "all 10 figures agree" in output
    assert output.count("bit for bit") == 10


def test_a_changed_loss_is_found(store: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for path in (store / "runs").iterdir():
        whole = pq.read_table(path)
        place = whole.schema.get_field_index("loss")
        losses = [None if loss is None else loss * (1 + 1e-12) for loss in whole["loss"].to_pylist()]
        pq.write_table(
            whole.set_column(place, whole.schema.field(place), pa.array(losses)), tmp_path / "runs" / path.name
        )
    code, output = verified(str(tmp_path), "--case", "lstm")
    assert code == 1
    assert output.count("DIFFERS") == 5


def test_other_data_are_no_reason_for_a_verdict(store: Path, tmp_path: Path) -> None:
    """The data of a user's task are what its function gives today."""
    (tmp_path / "runs").mkdir()
    for path in (store / "runs").iterdir():
        whole = pq.read_table(path)
        place = whole.schema.get_field_index("data_digest")
        digests = pa.array(["of other data"] * len(whole)).cast(whole.schema.field(place).type)
        pq.write_table(whole.set_column(place, whole.schema.field(place), digests), tmp_path / "runs" / path.name)
    with pytest.raises(NoVerdictError, match="the data of mnist_5k are others than those that the store was measured"):
        verified(str(tmp_path), "--case", "gru")


def test_a_run_that_fails_now(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.json"
    script.write_text('{"*": "fail"}')
    monkeypatch.setenv("BENCH_FAKE_SCRIPT", str(script))
    code, output = verified(str(store))
    assert code == 4
    assert "the cell cannot be built" in output


def test_what_cannot_be_verified(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one of the cells gru, lstm"):
        verified(str(store), "--case", "simple_rnn")
    with pytest.raises(UsageError, match="no results at"):
        verified(str(tmp_path / "missing"))
    with (
        patch("bench.host.software.installed_backends", lambda: {"tensorflow": "tensorflow is not installed"}),
        pytest.raises(NoVerdictError, match="can't be run here: tensorflow is not installed"),
    ):
        verified(str(store))


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"runtime": "torch.nn", "backend": "tensorflow"}, "needs the backend torch"),
        ({"device": "gpu:0"}, "CUDA_VISIBLE_DEVICES is ''"),
    ],
)
def test_what_this_host_cannot_run_is_not_tried(
    case: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule of `bench plan`, with the runtimes' own limits and cards that are there but hidden."""
    write_run(tmp_path, a_run(0, Case(cell="lstm", task="mnist_5k", epochs=1, **case)))
    with_gpu = replace(LAPTOP, gpus=("NVIDIA L4",))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("bench.host.hardware.read_machine", lambda *_: with_gpu)
    with pytest.raises(NoVerdictError, match=f"can't be run here: .*{reason}"):
        verified(str(tmp_path))
