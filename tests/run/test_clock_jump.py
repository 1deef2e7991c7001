"""A wall clock that jumps by a day while runs are measured: no duration, no order and no owner depends on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import store
from bench.run.lock import LOCK_VARIABLE
from tests.support.fake_worker import SCRIPT
from tests.support.harness import MACHINE, ROOT, BenchProcess, fake_bench, violations

DAY = 86_400

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler"
)


@pytest.fixture
def clock(tmp_path: Path) -> dict[str, str]:
    """The variables of processes whose wall clock is off by what the file `clock` holds."""
    library = tmp_path / "clock.so"
    source = ROOT / "tests" / "support" / "clock_jump.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    (tmp_path / "clock").write_text("0")
    return {"LD_PRELOAD": str(library), "BENCH_TEST_CLOCK": str(tmp_path / "clock")}


def test_a_clock_that_jumps_by_a_day_moves_no_duration_no_order_and_no_owner(
    tmp_path: Path, clock: dict[str, str]
) -> None:
    command = fake_bench("run", "quick", "--results", str(tmp_path / "results"), "--set", "seeds=0,1")
    variables = {SCRIPT: str(tmp_path / "script.json"), LOCK_VARIABLE: str(tmp_path / "lock"), MACHINE: "here", **clock}
    (tmp_path / "script.json").write_text('{"seconds": 0.2}')
    owner = BenchProcess(command, tmp_path / "output", variables)
    second = BenchProcess(command, tmp_path / "second", {**variables, MACHINE: "there", LOCK_VARIABLE: "unused"})
    try:
        harness = owner.start()
        owner.wait_for("child").suspend()
        for offset in (DAY, -DAY):
            (tmp_path / "clock").write_text(str(offset))
            time.sleep(1.5)  # longer than a holder of another machine may be silent here
            # the owner is seen to live from another machine, though its clock and the observer's have jumped
            assert second.start().wait(60) == 2
            assert "is being measured by process" in second.tail()
        child = owner.find("child")
        assert child is not None
        child.resume()
        assert harness.wait(60) == 0, owner.tail()
    finally:
        owner.stop()
        second.stop()
    assert violations(tmp_path / "results") == []
    frame = store.load([tmp_path / "results"])
    runs = frame[frame["phase"] == "run"].sort_values("position")
    assert runs["seconds"].between(0, 600).all()
    jumped = runs["started_at"].diff().dt.total_seconds().dropna()
    assert (jumped < -DAY / 2).sum() == 1  # it was a jump: the first run began before it
    listed = subprocess.run(
        fake_bench("table", str(tmp_path / "results"), "--format", "json"),
        env={**os.environ, **clock},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert "left out" not in listed.stderr
