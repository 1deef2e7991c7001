"""Several harnesses, of one machine or of two that share a store, and one campaign: real processes, the fake worker."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from bench.run.lock import LOCK_VARIABLE
from tests.support.fake_worker import SCRIPT
from tests.support.harness import MACHINE, BenchProcess, violations
from tests.support.zygote import ForkedBench, run_bench, shared_zygote

Harness = Callable[..., BenchProcess]


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    """Starts `bench run` on a machine, which has a lock of its own, all with one store."""
    (tmp_path / "script.json").write_text("{}")
    started: list[BenchProcess] = []

    def start(*options: str, machine: str = "here") -> BenchProcess:
        process = ForkedBench(
            ["run", "quick", "--results", str(tmp_path / "results"), "--set", "seeds=0..2", *options],
            tmp_path / f"output{len(started)}",
            {SCRIPT: str(tmp_path / "script.json"), LOCK_VARIABLE: str(tmp_path / machine), MACHINE: machine},
        )
        process.zygote = shared_zygote()
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.stop()


def script(folder: Path, **behaviour: object) -> None:
    (folder / "script.json").write_text(json.dumps(behaviour))


def wait(process: BenchProcess, seconds: float = 60.0) -> int:
    assert process.harness is not None
    return process.harness.wait(seconds)


def until(process: BenchProcess, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in process.tail():
        assert time.monotonic() < deadline, process.tail()
        time.sleep(0.02)


def cases_done(process: BenchProcess) -> list[str]:
    return re.findall(r"^\[\d+/\d+\] (\w+) ", process.output.read_text(), re.M)


@dataclass
class Held:
    """A harness whose run is stopped: it waits for it as long as it takes."""

    bench: BenchProcess
    child: psutil.Process

    @property
    def pid(self) -> int:
        assert self.bench.harness is not None
        return self.bench.harness.pid

    def resume(self) -> None:
        self.child.resume()


def held_in_its_first_block(folder: Path, harness: Harness) -> Held:
    script(folder, seconds=1)
    owner = harness()
    child = owner.wait_for("child")
    child.suspend()
    script(folder)
    return Held(owner, child)


@pytest.mark.parametrize("machine", ["here", "there"])
def test_a_second_harness_is_refused_and_given_the_owner_and_the_ways_out(
    tmp_path: Path, harness: Harness, machine: str
) -> None:
    """Two machines, or two temporary folders of one, measured the same cases at once, and one result was dropped."""
    script(tmp_path, seconds=1_000)
    owner = harness()
    owner.wait_for("child")
    second = harness(machine=machine)
    assert wait(second) == 2
    assert owner.harness is not None
    assert re.search(
        rf"bench: the campaign \w+ is being measured by process {owner.harness.pid} on \S+, since 20\S+: wait for it, "
        r"measure blocks of it too with --join, begin another one with --new, or name another folder with --results\.$",
        second.tail().strip(),
    )
    assert not list((tmp_path / "results" / "runs").glob("*.parquet"))
    script(tmp_path)
    assert owner.kill("child") is None
    assert wait(owner) == 4  # the run that was killed
    assert list((tmp_path / "results").rglob("*.lease")) == []


def test_a_stopped_owner_of_this_machine_is_named_as_such_and_never_robbed(tmp_path: Path, harness: Harness) -> None:
    script(tmp_path, seconds=0.5)
    owner = harness()
    owner.wait_for("child")
    assert owner.harness is not None
    owner.harness.send_signal(signal.SIGSTOP)
    time.sleep(2)  # longer than one on another machine may be silent
    second = harness()
    assert wait(second) == 2
    assert f"process {owner.harness.pid} on" in second.tail()
    assert ", which is stopped, since" in second.tail()
    owner.harness.send_signal(signal.SIGCONT)
    assert wait(owner) == 0
    assert violations(tmp_path / "results") == []


def test_two_machines_share_a_campaign_block_by_block(tmp_path: Path, harness: Harness) -> None:
    owner = held_in_its_first_block(tmp_path, harness)
    joined = harness("--join", machine="there")
    assert wait(joined) == 0, joined.tail()
    printed = joined.output.read_text()
    assert re.search(rf"joining process {owner.pid} on", printed)
    assert re.search(rf"block 1 is being measured by process {owner.pid} on", printed)
    assert "no block is free any more; by other harnesses are being measured: 1\n" in printed
    owner.resume()
    assert wait(owner.bench) == 0, owner.bench.tail()
    assert violations(tmp_path / "results") == []
    assert (len(cases_done(owner.bench)), len(cases_done(joined))) == (3, 6)


def test_a_plan_shows_who_measures_what(tmp_path: Path, harness: Harness) -> None:
    script(tmp_path, seconds=1_000)
    owner = harness()
    owner.wait_for("child")
    joined = harness("--join", machine="there")
    joined.wait_for("child")
    command = ["plan", "quick", "--set", "seeds=0..2", "--results", str(tmp_path / "results")]
    shown_plan = run_bench(*command, variables={"COLUMNS": "200"})
    shown_plan.check_returncode()
    plan = shown_plan.stdout
    pids = [process.harness.pid for process in (owner, joined) if process.harness is not None]
    shown = (
        r"0 of 9 runs are done; it is measured by process {0} on .*\n *block 1: process {0} .*\n *block 2: process {1} "
    )
    assert re.search(shown.format(*pids), plan), plan
    assert owner.kill("parent") is None
    assert joined.kill("parent") is None
    as_data = run_bench(*command, "--format", "json")
    as_data.check_returncode()
    content = json.loads(as_data.stdout)
    assert content["unfinished"]["owner"] is None
    assert list(content["unfinished"]["blocks"]) == ["2"]  # it may live, on another machine


def test_who_joins_where_all_is_done_measures_nothing(tmp_path: Path, harness: Harness) -> None:
    assert wait(harness("--join")) == 0
    late = harness("--join")
    assert wait(late) == 0
    assert cases_done(late) == []
    refused = harness("--join", "--new")
    assert wait(refused) == 2
    assert "--new and --join exclude each other" in refused.tail()
    assert violations(tmp_path / "results") == []


@pytest.mark.parametrize("machine", ["here", "there"])
def test_a_killed_owner_s_campaign_goes_on_and_nothing_of_it_is_left(
    tmp_path: Path, harness: Harness, machine: str
) -> None:
    script(tmp_path, seconds=0.2)
    owner = harness()
    until(owner, "% ")
    assert owner.kill("parent") is None
    assert len(list((tmp_path / "results").rglob("*.lease"))) == 2  # the campaign's and the block's
    done = len(list((tmp_path / "results" / "runs").glob("*.parquet")))
    script(tmp_path)
    second = harness(machine=machine)
    assert wait(second) == 0, second.tail()
    assert ("waiting for a sign of life" in second.output.read_text()) == (machine == "there")
    assert len(cases_done(second)) == 9 - done
    assert violations(tmp_path / "results") == []


def test_an_interrupted_owner_gives_its_leases_back(tmp_path: Path, harness: Harness) -> None:
    script(tmp_path, seconds=1_000)
    owner = harness()
    owner.wait_for("child")
    assert owner.harness is not None
    owner.harness.send_signal(signal.SIGTERM)
    assert wait(owner) == 130
    assert list((tmp_path / "results").rglob("*.lease")) == []


def test_a_joined_harness_that_was_killed_leaves_its_block_to_the_owner(tmp_path: Path, harness: Harness) -> None:
    owner = held_in_its_first_block(tmp_path, harness)
    script(tmp_path, seconds=1_000)
    joined = harness("--join", machine="there")
    joined.wait_for("child")
    assert joined.kill("parent") is None
    script(tmp_path)
    owner.resume()
    assert wait(owner.bench) == 0, owner.bench.tail()
    assert len(cases_done(owner.bench)) == 9
    assert violations(tmp_path / "results") == []


def test_an_owner_that_is_stopped_for_long_loses_to_another_machine_and_drops_its_run(
    tmp_path: Path, harness: Harness
) -> None:
    script(tmp_path, **{"seconds": 0.3})
    owner = harness()
    until(owner, "% ")
    process = owner.wait_for("child")
    assert owner.harness is not None
    owner.harness.send_signal(signal.SIGSTOP)
    script(tmp_path)
    second = harness(machine="there")
    assert wait(second) == 0, second.tail()
    assert violations(tmp_path / "results") == []
    before = _content(tmp_path / "results" / "runs")
    owner.harness.send_signal(signal.SIGCONT)
    assert wait(owner) == 0, owner.tail()
    assert "was taken over, because this process was stopped" in owner.output.read_text()
    assert _content(tmp_path / "results" / "runs") == before
    assert violations(tmp_path / "results") == []
    assert not psutil.pid_exists(process.pid)


def test_the_log_of_a_dropped_run_goes_with_it(tmp_path: Path, harness: Harness) -> None:
    """The other machine had made the run and removed its log before the owner's process wrote one of the same name."""
    owner = harness()
    owner.wait_for("server")
    assert owner.harness is not None
    owner.harness.send_signal(signal.SIGSTOP)  # while its run's process is being prepared
    second = harness(machine="there")
    assert wait(second) == 0, second.tail()
    assert len(cases_done(second)) == 9
    owner.harness.send_signal(signal.SIGCONT)
    assert wait(owner) == 0, owner.tail()
    assert "its last run is dropped" in owner.output.read_text()
    assert violations(tmp_path / "results") == []


def test_a_failed_run_s_log_stays_where_another_harness_drops_the_same_run(tmp_path: Path, harness: Harness) -> None:
    owner = harness()
    owner.wait_for("server")
    assert owner.harness is not None
    owner.harness.send_signal(signal.SIGSTOP)
    script(tmp_path, **{"simple_rnn": "raise", "lstm": "raise", "gru": "raise"})
    second = harness(machine="there")
    assert wait(second) == 4, second.tail()
    owner.harness.send_signal(signal.SIGCONT)
    assert wait(owner) == 4, owner.tail()
    assert "its last run is dropped" in owner.output.read_text()
    logs = [name for name in violations(tmp_path / "results") if "log" in name]
    assert logs == []
    assert len(list((tmp_path / "results" / "logs").iterdir())) == 9


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
