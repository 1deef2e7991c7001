"""Kills and interruptions of a real harness, with the fake worker: what is finished is kept, nothing is left over."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench import store
from bench.run.lock import LOCK_VARIABLE
from tests.support.fake_worker import SCRIPT
from tests.support.harness import BenchProcess, choose, fake_bench, violations


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[BenchProcess]:
    (tmp_path / "script.json").write_text("{}")
    process = BenchProcess(
        fake_bench("run", "quick", "--results", str(tmp_path / "results")),
        tmp_path / "output",
        {SCRIPT: str(tmp_path / "script.json"), LOCK_VARIABLE: str(tmp_path / "lock")},
    )
    yield process
    process.stop()


def script(bench: BenchProcess, **behaviour: object) -> None:
    Path(bench.environment[SCRIPT]).write_text(json.dumps(behaviour))


def results(bench: BenchProcess) -> Path:
    return bench.output.parent / "results"


def test_random_kills_lose_nothing_and_leave_nothing(bench: BenchProcess) -> None:
    number = random.randrange(2**32)
    generator = random.Random(number)
    bench.command += ["--set", "seeds=0..59", "--retry-failed"]
    script(bench, seconds=0.1)
    killed: Counter[str] = Counter()
    deadline = time.monotonic() + 300
    while sum(killed.values()) < 24 or len(killed) < 3:
        assert time.monotonic() < deadline, f"seed {number}: only {killed}: {bench.tail()}"
        if bench.harness is None or bench.harness.poll() is not None:
            bench.start()
        target = choose(generator, {"parent": 0.15, "server": 0.3, "child": 0.55})
        if target == "parent" and generator.random() < 0.7:
            bench.wait_for("child")  # else while it starts
        time.sleep(generator.uniform(0.0, 0.4))
        if bench.find(target) is not None:
            left = bench.kill(target)
            assert not left, f"seed {number}, {target}: {left}"
            killed[target] += 1
    script(bench)
    if bench.harness is not None and bench.harness.poll() is None:
        bench.kill("parent")
    # one run to the end
    assert bench.finish(timeout=60) == 0, f"seed {number}: {bench.tail()}"
    assert violations(results(bench)) == [], f"seed {number}"
    assert bench.orphans() == [], f"seed {number}"
    assert "Traceback" not in bench.output.read_text(), f"seed {number}"
    errors = set(store.load([results(bench)], all_attempts=True)["error"].dropna())
    assert all("killed by signal 9" in error for error in errors), f"seed {number}: {errors}"


def test_every_process_dies_with_the_harness_whatever_it_does(bench: BenchProcess) -> None:
    for behaviour in ("hold the GIL", "leave a program and hang", "many threads"):
        for isolation in ("fork", "spawn"):
            script(bench, **{"*": behaviour, "seconds": 0.5 if behaviour == "many threads" else 0.0})
            bench.start("--isolation", isolation)
            bench.wait_for("child")
            time.sleep(0.3)
            assert bench.kill("parent") is None, f"{behaviour}, {isolation}"


def test_a_server_dies_with_the_harness_while_it_imports(bench: BenchProcess) -> None:
    script(bench, **{"import": "hang"})
    bench.start()
    bench.wait_for("server")
    assert bench.kill("parent") is None


def test_a_run_that_is_stopped_dies_with_the_harness(bench: BenchProcess) -> None:
    script(bench, seconds=1_000)
    bench.start()
    bench.wait_for("child").suspend()
    assert bench.kill("parent") is None


def test_a_run_dies_with_the_harness_though_its_server_was_killed_before(bench: BenchProcess) -> None:
    script(bench, seconds=1_000)
    bench.start()
    child = bench.wait_for("child")
    assert bench.kill("server") is None
    time.sleep(0.2)
    assert child.is_running()
    assert bench.kill("parent") is None


@pytest.mark.parametrize(
    ("number", "isolation"),
    [(signal.SIGINT, "fork"), (signal.SIGTERM, "fork"), (signal.SIGHUP, "fork"), (signal.SIGINT, "spawn")],
)
def test_an_interrupted_campaign_says_how_to_go_on_and_goes_on(
    bench: BenchProcess, number: signal.Signals, isolation: str
) -> None:
    bench.command += ["--set", "seeds=0", "--isolation", isolation]
    script(bench, **{"lstm seed=0": "leave a program and hang"})
    harness = bench.start()
    deadline = time.monotonic() + 30
    while not any("sleep" in bench.command_line(process) for process in bench.marked()):
        assert time.monotonic() < deadline, bench.tail()
        time.sleep(0.02)
    begun = time.monotonic()
    harness.send_signal(number)
    assert harness.wait(10) == 130, bench.tail()
    assert bench.orphans(0.5) == []
    assert time.monotonic() - begun < 3
    printed = bench.output.read_text()
    assert printed.endswith(
        "bench: interrupted; everything finished is kept, and the same command goes on from here.\n"
    )
    assert "Traceback" not in printed
    done = len(re.findall(r"^\[\d/3\] .*%", printed, re.M))
    script(bench)
    assert bench.finish(timeout=30) == 0, bench.tail()
    assert f"[1/{3 - done}]" in bench.output.read_text()
    assert violations(results(bench)) == []


def test_a_second_interruption_while_it_ends_does_no_harm(bench: BenchProcess) -> None:
    number = random.randrange(2**32)
    generator = random.Random(number)
    bench.command += ["--set", "seeds=0"]
    for _ in range(4):
        script(bench, **{"import": "hold the GIL"})  # what takes the longest to end: a second
        harness = bench.start()
        bench.wait_for("server")
        time.sleep(generator.uniform(0.1, 0.5))
        harness.send_signal(signal.SIGINT)
        time.sleep(generator.uniform(0.0, 0.5))
        harness.send_signal(signal.SIGINT)
        # while the interpreter ends, the signal itself ends it, which a shell shows as 130
        assert harness.wait(10) in (130, -signal.SIGINT), f"seed {number}: {bench.tail()}"
        assert bench.orphans() == [], f"seed {number}"
    assert "Traceback" not in bench.output.read_text(), f"seed {number}"
    script(bench)
    assert bench.finish(timeout=30) == 0, bench.tail()
    assert violations(results(bench)) == []


def test_waiting_for_another_harness_can_be_interrupted(bench: BenchProcess, tmp_path: Path) -> None:
    script(bench, seconds=1_000)
    bench.start()
    bench.wait_for("child")
    second = BenchProcess([*bench.command, "--join"], tmp_path / "second", bench.environment)
    try:
        harness = second.start()
        deadline = time.monotonic() + 30
        while "is timing on this machine: waiting for it" not in second.tail():
            assert time.monotonic() < deadline, second.tail()
            time.sleep(0.02)
        assert second.find("server") is None  # importing TensorFlow would disturb the run that is timed
        harness.send_signal(signal.SIGINT)
        assert harness.wait(5) == 130
    finally:
        second.stop()


def test_a_stopped_run_is_killed_for_its_silence(bench: BenchProcess) -> None:
    bench.command += ["--set", "seeds=0", "--set", "cells=lstm", "--set", "silence_seconds=1"]
    script(bench, seconds=0.5)
    harness = bench.start()
    stopped = bench.wait_for("child")
    stopped.suspend()
    assert harness.wait(30) == 0, bench.tail()
    assert not psutil.pid_exists(stopped.pid) or stopped.status() == psutil.STATUS_ZOMBIE
    frame = store.load([results(bench)])
    assert set(frame["isolation"]) == {"spawn"}


def test_ctrl_c_reaches_the_harness_alone(bench: BenchProcess) -> None:
    """A terminal sends it to the whole process group: were the server in it, the run would die before it is told."""
    bench.command += ["--set", "seeds=0"]
    script(bench, seconds=0.2)
    harness = bench.start()
    child = bench.wait_for("child")
    assert os.getsid(child.pid) != os.getsid(harness.pid)
    deadline = time.monotonic() + 30
    while os.getpgid(child.pid) != child.pid and time.monotonic() < deadline:
        time.sleep(0.001)  # it is seen from its fork on, and makes its group next
    assert os.getpgid(child.pid) == child.pid
    assert harness.wait(30) == 0
