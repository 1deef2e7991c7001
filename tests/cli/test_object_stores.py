"""The commands on results in an object store: as on a folder, and with one sentence where that cannot be."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bench as notebook
from bench.cli import app
from bench.core.errors import UsageError
from bench.report.measured import read
from bench.run.lock import LOCK_VARIABLE
from bench.store import load
from bench.store.objects import ObjectPath
from tests.support.fake_worker import SCRIPT
from tests.support.harness import ROOT, BenchProcess, fake_bench
from tests.support.s3_server import BUCKET, S3Server
from tests.support.stored import a_store


def told(*arguments: object) -> str:
    """What a command prints, here in this process."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return done.stdout


READING = (
    "table STORE --format json",
    "history STORE --metric accuracy --format json",
    "show last STORE --format json",
    "cite STORE",
    "export STORE --format pytest-benchmark",
    "gate STORE STORE --self --format json",
    "compare STORE STORE --drift STORE --format json",
)


def test_each_command_reads_it_as_a_folder(tmp_path: Path, s3_address: ObjectPath) -> None:
    a_store(tmp_path / "store")
    a_store(s3_address)
    for command in READING:
        here, far = (
            told(*command.replace("STORE", str(store)).split()).replace(str(store), "STORE")
            for store in (tmp_path / "store", s3_address)
        )
        assert far == here, command
    local, remote = (read([store], suite=None, warn=pytest.fail) for store in (tmp_path / "store", s3_address))
    assert remote.frame.equals(local.frame)
    assert remote.predictions == local.predictions
    assert notebook.load(str(s3_address)).equals(notebook.load(str(tmp_path / "store")))


def test_the_commands_of_the_guide_work_and_a_killed_run_goes_on(
    tmp_path: Path, s3_server: S3Server, s3_address: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "guides" / "object-stores.md").read_text()
    (commands,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    run, *others = (line.split()[1:] for line in commands.replace("s3://results/quick", str(s3_address)).splitlines())
    (tmp_path / "script.json").write_text(json.dumps({"seconds": 0.1}))
    process = BenchProcess(
        fake_bench(*run),
        tmp_path / "output",
        {**s3_server.variables, SCRIPT: str(tmp_path / "script.json"), LOCK_VARIABLE: str(tmp_path / "lock")},
    )
    try:
        process.start()
        while len(list((s3_address / "runs").glob("*.parquet"))) < 3:
            assert process.harness is not None
            assert process.harness.poll() is None, process.tail()
        assert process.kill("parent") is None
        assert process.finish(timeout=120) == 0, process.tail()
    finally:
        process.stop()
    runs = load([s3_address], all_attempts=True).drop_duplicates("run_id")
    assert runs["case_id"].nunique() == len(runs) == 9
    assert runs["campaign_id"].nunique() == 1
    assert f"observations: {s3_address}/runs" in process.tail()
    assert {path.suffix for folder in s3_address.iterdir() for path in folder.iterdir()} == {".json", ".parquet"}
    for command in others:
        told(*command)
    assert len(list((s3_address / "runs").iterdir())) == 1  # the last one folds it


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("run quick --results s3://nowhere/x", "there is no bucket 'nowhere'"),
        ("duel --a units=8 --b units=9 --results s3://results/x", "needs a folder of this machine"),
        ("table gs://bucket/x", "s3://bucket/prefix"),
        ("compact --results s3://results/nothing", "no results at s3://results/nothing"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    s3_address: ObjectPath, command: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=re.escape(words)):
        told(*command.split())
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_a_command_ends_with_2_and_the_address(s3_server: S3Server, tmp_path: Path) -> None:
    variables = {**os.environ, **s3_server.variables, "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "PYTHONPATH": str(ROOT)}
    command = fake_bench("table", f"s3://{BUCKET}/x")
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith(f"bench: cannot use s3://{BUCKET}/x at http://127.0.0.1:1 (HTTP error")
    assert done.stderr.count("\n") == 1
