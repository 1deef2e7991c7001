"""Processes that write to, read and fold one store at once, and are killed meanwhile."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from bench.store.compact import compact
from bench.store.files import remove_stale
from bench.store.parts import write_run
from bench.store.reader import finished, load
from tests.support.small_store import CAMPAIGN, a_run, canonical, failed, in_child, parts, write_some

ZYGOTE = """
for line in sys.stdin:
    action, *arguments = json.loads(line)
    if not (child := os.fork()):
        globals()[action](*arguments)
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()  # until then a child that has ended keeps its process id, so that no other is killed
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Zygote:
    """Starts real processes that can be killed, without an import for each."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, action: str, *arguments: Any) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([action, *arguments]) + "\n")
        self._process.stdin.flush()
        return self._number()

    def wait(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._number()

    def _number(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@pytest.fixture
def zygote() -> Iterator[Zygote]:
    with in_child(ZYGOTE) as process:
        yield Zygote(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize(
    ("stage", "whole"),
    [("os fsync", 1), ("os link", 1), ("os link after", 2), ("Path unlink after", 2)],
)
def test_a_kill_at_each_stage(tmp_path: Path, zygote: Zygote, stage: str, whole: int) -> None:
    write_run(tmp_path, a_run(0))
    zygote.start("write_and_die", str(tmp_path), stage)
    assert zygote.wait() == -signal.SIGKILL
    left = [name for name in parts(tmp_path) if name.endswith(".tmp")]
    assert len(left) == (0 if "unlink" in stage else 1)
    assert load([tmp_path])["run_id"].nunique() == whole
    assert remove_stale(tmp_path) == len(left)
    assert len(parts(tmp_path)) == whole
    write_run(tmp_path, a_run(1))
    assert len(finished(tmp_path, CAMPAIGN.id)) == 2


def test_random_kills_of_writers_leave_whole_parts_only(tmp_path: Path, zygote: Zygote) -> None:
    draw = random.Random(2)
    killed = stale = kills = 0
    wait = threading.Event()
    while kills < 30 or not (
        stale and list(tmp_path.glob("runs/*.parquet"))
    ):  # on a busy machine nothing is written in a few milliseconds
        kills += 1
        done = len(finished(tmp_path, CAMPAIGN.id))
        child = zygote.start("write_some", str(tmp_path), done, done + 1000)
        wait.wait(draw.uniform(0.001, 0.04) * (1 + kills // 10))
        os.kill(child, signal.SIGKILL)
        killed += zygote.wait() == -signal.SIGKILL
        stale += remove_stale(tmp_path)
        if parts_now := parts(tmp_path) if (tmp_path / "runs").exists() else []:
            assert all(name.endswith(".parquet") for name in parts_now)
            frame = load([tmp_path], warn=pytest.fail)
            assert (frame.groupby("run_id").size() == 3).all()
            assert frame["position"].nunique() == len(parts_now)
    assert killed == kills
    written = len(parts(tmp_path))
    assert sorted(load([tmp_path])["position"].unique()) == list(range(written))
    count = f"select count(distinct run_id), count(*) from '{tmp_path}/runs/*.parquet'"
    assert duckdb.sql(count).fetchall() == [(written, 3 * written)]


def test_random_kills_of_compaction_lose_nothing(tmp_path: Path, zygote: Zygote) -> None:
    draw = random.Random(3)
    wait = threading.Event()
    store = tmp_path / "store"
    write_some(str(store), 0, 25)
    write_run(store, failed(25))
    originals = {path: path.read_bytes() for path in (store / "runs").iterdir()}
    before = canonical(store)
    completed = 0
    began = time.monotonic()
    compact(store)
    usual = time.monotonic() - began
    for path, content in originals.items():
        path.write_bytes(content)
    for _ in range(15):
        child = zygote.start("compact_now", str(store))
        wait.wait(draw.uniform(0, 2 * usual))
        os.kill(child, signal.SIGKILL)
        zygote.wait()
        assert canonical(store) == before
        remove_stale(store)
        if len(parts(store)) == 1:  # begin again, beside what was folded
            completed += 1
            for path, content in originals.items():
                path.write_bytes(content)
    assert completed < 15
    compact(store)
    assert len(parts(store)) == 1
    assert canonical(store) == before


def test_writers_at_once(tmp_path: Path) -> None:
    code = "sys.stdin.readline(); write_some(sys.argv[1], int(sys.argv[2]), int(sys.argv[2]) + 30)"
    writers = [in_child(code, str(tmp_path), str(first)) for first in (0, 0, 15)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert parts(tmp_path) == sorted(f"{a_run(number).id}.parquet" for number in range(45))
    assert len(load([tmp_path], warn=pytest.fail)) == 3 * 45


def test_reading_while_another_process_writes_and_compacts(tmp_path: Path) -> None:
    code = """
store = Path(sys.argv[1])
for round in range(6):
    write_some(sys.argv[1], round * 15, round * 15 + 15)
    compact(store)
"""
    write_run(tmp_path, a_run(0))
    seen = {a_run(0).id}
    company = in_child(code, str(tmp_path))
    reads = 0
    while company.poll() is None:
        now = set(load([tmp_path], warn=pytest.fail)["run_id"].astype("str"))
        assert seen <= now
        seen = now
        reads += 1
    company.communicate()
    assert company.returncode == 0
    assert reads > 3
    assert load([tmp_path])["run_id"].nunique() == 90
