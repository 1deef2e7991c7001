"""Process pairs, as they are interleaved: real processes with the fake side, and who is first in what."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from bench.core.case import Case
from bench.core.protocol import Event, Request
from bench.duel.interleaved import PAIRS_PER_SERVER, Batching, InterleavedRunner
from bench.duel.sides import PreparedSide
from bench.run.server import Isolation, Server, WorkerEnvironment
from tests.support.harness import FAKE_SIDE


def test_each_side_is_as_often_the_first_in_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real processes, with the fake side: over eight pairs each order of servers, processes and rounds occurs once."""
    servers: list[str] = []
    processes: list[str] = []

    class Watched(Server):
        def __init__(
            self, backend: str, worker: str, isolation: Isolation, cpus: tuple[int, ...], environment: WorkerEnvironment
        ) -> None:
            self.side = environment.variables["SIDE"]
            servers.append(self.side)
            super().__init__(backend, worker, isolation, cpus, environment)

        def events(self, request: Request, commands: int | None = None) -> Generator[Event | None, None, None]:
            processes.append(self.side)
            return super().events(request, commands)

    monkeypatch.setattr("bench.duel.interleaved.Server", Watched)
    case = Case(cell="gru", task="mnist_5k")
    a, b = (
        PreparedSide(title=name, case=case, environment=WorkerEnvironment(variables={"SIDE": name}), worker=FAKE_SIDE)
        for name in "ab"
    )
    orders_of_rounds = []
    with InterleavedRunner(a, b, data=tmp_path / "none", folder=tmp_path) as runner:
        for number in range(2 * PAIRS_PER_SERVER):
            pair = runner.measure(number, Batching(5, 2), rounds=4)
            starts = {
                side.start_seconds: letter
                for each in pair.rounds
                for letter, side in zip("ab", each.sides.values(), strict=True)
            }
            orders_of_rounds.append("".join(starts[start] for start in sorted(starts)))
    assert PAIRS_PER_SERVER == 4
    assert "".join(servers) == "abba"  # replaced once
    assert "".join(processes) == "ababbaba" * 2
    assert orders_of_rounds == ["abbaabba", "baabbaab"] * 4
    orders = {
        ("".join(servers[number // 4 * 2 :][:2]), "".join(processes[2 * number :][:2]), orders_of_rounds[number][:2])
        for number in range(8)
    }
    assert len(orders) == 8


def test_a_pair_takes_its_part_of_the_time_in_which_its_servers_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is planned from the first pair has to hold for those that need new servers."""
    now, wait_ready = 0.0, Server.wait_ready

    def slow(server: Server, clock: Callable[[], float], on_tick: Callable[[], None]) -> None:
        nonlocal now
        now += 10.0
        wait_ready(server, clock, on_tick)

    monkeypatch.setattr(Server, "wait_ready", slow)
    side = PreparedSide(title="A", case=Case(cell="gru", task="mnist_5k"), worker=FAKE_SIDE)
    with InterleavedRunner(side, side, data=tmp_path / "none", folder=tmp_path, clock=lambda: now) as runner:
        runner.prepare()
        assert now == 20.0
        seconds = [runner.measure(number, Batching(5, 2), rounds=2).seconds for number in range(PAIRS_PER_SERVER + 1)]
    assert now == 40.0
    assert seconds == [20.0 / PAIRS_PER_SERVER] * (PAIRS_PER_SERVER + 1)
