"""Process groups, as they are interleaved: real processes with the fake side, and who is first in what."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bench.core.case import Case
from bench.core.protocol import Request
from bench.duel.cores import move
from bench.duel.interleaved import Batching, InterleavedRunner, ProcessGroup
from bench.duel.rounds import ANCHOR, group_log_ratio, side_key
from bench.duel.sides import PreparedSide, trained_anchor_side
from bench.host.hardware import usable_cores
from bench.run.server import Isolation, ServedRun, Server, WorkerEnvironment
from tests.support.harness import FAKE_SIDE


def sides(count: int) -> list[PreparedSide]:
    return [
        PreparedSide(
            title=side_key(number),
            case=Case(cell="gru", task="mnist_5k", units=100 + number),
            environment=WorkerEnvironment(variables={"SIDE": side_key(number)}),
            worker=FAKE_SIDE,
        )
        for number in range(count)
    ]


ANCHOR_SIDE = PreparedSide(
    title="anchor",
    case=Case(cell="gru", task="mnist_5k", units=50),
    environment=WorkerEnvironment(variables={"SIDE": "x"}),
    worker=FAKE_SIDE,
)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The sides whose servers and whose processes were started, in their order."""
    order: dict[str, list[str]] = {"servers": [], "processes": []}

    class Watched(Server):
        def __init__(
            self, backend: str, worker: str, isolation: Isolation, cpus: tuple[int, ...], environment: WorkerEnvironment
        ) -> None:
            self.side = environment.variables["SIDE"]
            order["servers"].append(self.side)
            super().__init__(backend, worker, isolation, cpus, environment)

        def request(self, request: Request, commands: int | None = None) -> ServedRun:
            order["processes"].append(self.side)
            return super().request(request, commands)

    monkeypatch.setattr("bench.duel.interleaved.Server", Watched)
    return order


def order_of_batches(group: ProcessGroup) -> str:
    """The sides by their first batch in each round; the anchor is x."""
    starts = {
        each.sides[number].start_seconds: "x" if number == ANCHOR else side_key(number)
        for each in group.rounds
        for number in each.sides
    }
    return "".join(starts[start] for start in sorted(starts))


def test_each_of_two_sides_is_as_often_the_first_in_everything(tmp_path: Path, started: dict[str, list[str]]) -> None:
    """Real processes, with the fake side. Each group has fresh servers: their offsets would be shared by its pairs."""
    orders = []
    with InterleavedRunner(sides(2), data=tmp_path / "none", folder=tmp_path) as runner:
        for number in range(2):
            orders.append(order_of_batches(runner.measure(number, Batching(5, 2), (0, 1), rounds=4)))
    assert "".join(started["servers"]) == "abba" == "".join(started["processes"])
    assert orders == ["abbaabba", "baabbaab"]


def test_three_sides_and_the_anchor_in_a_williams_square(tmp_path: Path, started: dict[str, list[str]]) -> None:
    """Of three, over three groups each is once the first; the anchor comes after all sides; sides may leave."""
    with InterleavedRunner(sides(3), anchor=ANCHOR_SIDE, data=tmp_path / "none", folder=tmp_path) as runner:
        groups = [runner.measure(number, Batching(5, 1, 3), (0, 1, 2), rounds=6) for number in range(3)]
        left = runner.measure(3, groups[0].batching, (0, 2), rounds=2)
    assert ["".join(started["servers"])[4 * number :][:4] for number in range(3)] == ["abcx", "bcax", "cabx"]
    assert started["servers"] == started["processes"]
    assert order_of_batches(groups[0]) == "abcxbcaxcabxcbaxacbxbacx"
    assert Counter(order_of_batches(group)[0] for group in groups) == {"a": 1, "b": 1, "c": 1}
    assert order_of_batches(left) == "caxacx"
    assert set(left.metadata) == {0, 2, ANCHOR}
    assert all(each.sides[ANCHOR].steps == 3 for group in groups for each in group.rounds)
    # a step takes 10 µs a unit, times a noise of about a percent
    ratio = group_log_ratio(groups[0].rounds, ANCHOR, 0)
    assert ratio == pytest.approx(0.69, abs=0.05)


@pytest.mark.parametrize(("fresh", "servers"), [(True, "sxsx"), (False, "sx")])
def test_sides_with_equal_worker_environments_share_a_server_that_is_fresh_for_each_group_or_kept(
    tmp_path: Path, started: dict[str, list[str]], *, fresh: bool, servers: str
) -> None:
    alike = [replace(side, environment=WorkerEnvironment(variables={"SIDE": "s"})) for side in sides(3)]
    with InterleavedRunner(
        alike, anchor=ANCHOR_SIDE, data=tmp_path / "none", folder=tmp_path, fresh_servers=fresh
    ) as runner:
        groups = [runner.measure(number, Batching(5, 1, 3), (0, 1, 2), rounds=2) for number in range(2)]
    assert started == {"servers": list(servers), "processes": list("sssxsssx")}
    assert all(set(group.metadata) == {0, 1, 2, ANCHOR} for group in groups)


def test_sides_of_a_thread_each_run_a_round_on_one_processor_and_the_next_on_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed: list[set[int]] = []

    def moved(pids: list[int], cores: tuple[int, ...], number: int) -> int | None:
        core = move(pids, cores, number)
        allowed.extend(os.sched_getaffinity(pid) for pid in pids)
        return core

    monkeypatch.setattr("bench.duel.interleaved.move", moved)
    single = [replace(side, case=replace(side.case, threads=1)) for side in [*sides(2), ANCHOR_SIDE]]
    cores = sorted(usable_cores())
    with InterleavedRunner(single[:2], anchor=single[2], data=None, folder=tmp_path) as runner:
        group = runner.measure(0, Batching(5, 2, 3), (0, 1), rounds=3)
    expected = [cores[number % len(cores)] for number in range(3)]
    assert [each.core for each in group.rounds] == expected
    assert allowed == [{core} for core in expected for _ in single]


def test_sides_of_several_threads_run_where_the_scheduler_puts_them(tmp_path: Path) -> None:
    with InterleavedRunner(sides(2), data=None, folder=tmp_path) as runner:
        group = runner.measure(0, Batching(5, 2), (0, 1), rounds=2)
    assert [each.core for each in group.rounds] == [None, None]


@pytest.mark.parametrize("cores", [1, 3, 4, 5, 8])
def test_servers_of_as_many_groups_start_together_as_there_are_processors_for(
    tmp_path: Path, started: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    """Each group has fresh ones all the same, and each side's is as often the first."""
    monkeypatch.setattr("bench.duel.interleaved.usable_cores", lambda: frozenset(range(cores)))
    at_once = max(1, min(4, cores // 2))
    alive: list[int] = []
    with InterleavedRunner(sides(2), data=tmp_path / "none", folder=tmp_path) as runner:
        for number in range(3):
            runner.measure(number, Batching(5, 1), (0, 1), rounds=2)
            alive.append(len(started["servers"]))
            assert "".join(started["processes"]) == "abbaab"[: 2 * number + 2]
    assert alive == [2 * at_once * (1 + number // at_once) for number in range(3)]
    assert "".join(started["servers"]) == "abbaabba"[: alive[-1]]
    assert not [child for child in psutil.Process().children() if "bench.worker" in child.cmdline()]


@pytest.mark.parametrize(("is_trained", "seconds"), [(True, 0.03), (False, 0.008)])
def test_a_trained_anchors_batch_takes_as_long_as_a_sides_and_numpys_less(
    tmp_path: Path, is_trained: bool, seconds: float
) -> None:
    """A step of the stand-in takes 10 µs a unit: 1.28 ms of the anchor's 128."""
    anchor = trained_anchor_side(sides(1)[0])
    anchor = anchor if is_trained else replace(anchor, computes_on_device=False)
    with InterleavedRunner(sides(2), anchor=anchor, data=None, folder=tmp_path, round_seconds=0.1) as runner:
        batching = runner.measure(0, None, (0, 1), rounds=1).batching
    assert 1.28e-3 * batching.anchor_steps == pytest.approx(seconds, rel=0.1)


def test_a_side_that_leaves_needs_none_of_the_servers_that_wait_for_it(
    tmp_path: Path, started: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.duel.interleaved.usable_cores", lambda: frozenset(range(6)))
    with InterleavedRunner(sides(3), data=tmp_path / "none", folder=tmp_path) as runner:
        runner.measure(0, Batching(5, 1), (0, 1, 2), rounds=2)
        left = runner.measure(1, Batching(5, 1), (0, 2), rounds=2)
    assert "".join(started["servers"]) == "abcbca"
    assert set(left.metadata) == {0, 2}


def test_a_waiting_server_that_has_died_is_replaced(
    tmp_path: Path, started: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.duel.interleaved.usable_cores", lambda: frozenset(range(4)))
    with InterleavedRunner(sides(2), data=tmp_path / "none", folder=tmp_path) as runner:
        runner.measure(0, Batching(5, 1), (0, 1), rounds=2)
        victim, *_ = [child for child in psutil.Process().children() if "bench.worker" in child.cmdline()]
        victim.kill()
        os.waitid(os.P_PID, victim.pid, os.WEXITED | os.WNOWAIT)  # until it is dead, and leave that to be found out
        group = runner.measure(1, Batching(5, 1), (0, 1), rounds=2)
    assert len(started["servers"]) == 5
    assert set(group.metadata) == {0, 1}


@pytest.mark.parametrize("cores", [2, 4])
def test_a_groups_time_has_that_of_its_servers_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    """What is planned from a group's time has to hold for those that follow, which all need new servers."""
    now, wait_ready = 0.0, Server.wait_ready

    def slow(server: Server, clock: Callable[[], float], on_tick: Callable[[], None]) -> None:
        nonlocal now
        now += 10.0
        wait_ready(server, clock, on_tick)

    monkeypatch.setattr(Server, "wait_ready", slow)
    monkeypatch.setattr("bench.duel.interleaved.usable_cores", lambda: frozenset(range(cores)))
    with InterleavedRunner(sides(2), data=tmp_path / "none", folder=tmp_path, clock=lambda: now) as runner:
        groups = [runner.measure(number, Batching(5, 2), (0, 1), rounds=2) for number in range(2)]
    assert [(group.seconds, group.server_seconds) for group in groups] == [(20.0, 20.0)] * 2


def test_a_much_faster_side_on_a_gpu_does_more_steps_in_a_timed_batch() -> None:
    """One step of 1.5 ms between two synchronisations would show how long starting it takes, not the card's pace."""
    batching = Batching.of(0.030, 0.001).with_multiples({0: 0.030, 1: 0.0015, 2: 0.0151})
    assert [batching.steps_of(side) for side in (0, 1, 2, ANCHOR)] == [1, 20, 1, 8]
    assert Batching.of(0.001, None).with_multiples({0: 0.001, 1: 0.00099}) == Batching.of(0.001, None)
