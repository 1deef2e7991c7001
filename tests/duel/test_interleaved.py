"""How a duel goes on, with pairs that are made up and a clock of their own."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from bench.analysis.verdict import Verdict
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.core.metrics import RunMetadata
from bench.core.protocol import Event, Request
from bench.duel.interleaved import PAIRS_A_SERVER, Arena, Pace, Pair, Result, Side, duel_until_sure
from bench.duel.sequential import MARGINS, Look, Schedule
from bench.run.server import Isolation, Server, WorkerEnvironment
from tests.duel.test_sequential import a_slice
from tests.support.harness import FAKE_SIDE


class MadeUp:
    """Pairs whose B takes `slowdown` times A's time; each takes `pair_seconds` of the clock."""

    def __init__(self, slowdown: float, pair_seconds: float = 20.0, noise: float = 0.01, spoilt: int = 0) -> None:
        self.now = 100.0
        self.asked: list[Pace | None] = []
        self._slowdown, self._pair_seconds, self._noise, self._spoilt = slowdown, pair_seconds, noise, spoilt
        self._random = random.Random(7)

    def clock(self) -> float:
        return self.now

    def fight(self, number: int, pace: Pace | None, turns: int = 4, begun: float = 0.0) -> Pair:
        self.asked.append(pace)
        self.now += self._pair_seconds
        ratio = self._slowdown * math.exp(self._random.gauss(0.0, self._noise))
        slices = tuple(
            a_slice(turn, side, 0.5 * (ratio if side == "b" else 1.0), 0.4 if number < self._spoilt else 0.0, number)
            for turn in range(turns)
            for side in "ab"
        )
        return Pair(slices=slices, facts=(RunMetadata(), RunMetadata()), pace=Pace(2, 10), seconds=self._pair_seconds)


class Told:
    def __init__(self) -> None:
        self.pairs: list[tuple[float | None, Look, Schedule, float]] = []

    def pair_ended(self, log_ratio: float | None, so_far: Look, schedule: Schedule, seconds: float) -> None:
        self.pairs.append((log_ratio, so_far, schedule, seconds))


def fought(made_up: MadeUp, budget_seconds: float = 600.0) -> tuple[Result, Told]:
    told = Told()
    result = duel_until_sure(
        made_up, told, budget_seconds=budget_seconds, margins=MARGINS, turns=4, clock=made_up.clock
    )
    return result, told


def test_a_large_difference_is_found_at_the_first_look() -> None:
    made_up = MadeUp(1.2)
    result, told = fought(made_up)
    assert result.look.verdict is Verdict.SLOWER
    # 600 s less what is spared, at 20 s a pair
    assert result.schedule == Schedule.up_to(27)
    assert len(told.pairs) == result.schedule.looks[0] == len(result.log_ratios)
    assert made_up.asked == [None, *[Pace(2, 10)] * (len(told.pairs) - 1)]  # the first pair finds the pace out for all
    assert result.look.ratio == pytest.approx(1.2, rel=0.02)
    assert result.needed_seconds is None
    assert len(result.slices) == len(told.pairs) * 8


def test_equal_sides_end_as_the_same_within_the_budget() -> None:
    result, told = fought(MadeUp(1.0))
    assert result.look.verdict is Verdict.SAME
    assert result.seconds <= 600
    assert result.log_ratios
    assert len(result.log_ratios) in result.schedule.looks
    intervals = [(one.low, one.high) for _, one, _, _ in told.pairs if one.low is not None]
    assert len(intervals) == len(told.pairs) - 1  # one pair has none


def test_what_is_not_sure_when_the_time_is_spent_is_inconclusive_and_says_how_long_it_would_take() -> None:
    result, _ = fought(MadeUp(1.01, noise=0.06))
    assert result.look.verdict is Verdict.INCONCLUSIVE
    assert result.seconds <= 600
    assert result.needed_seconds is not None
    assert result.needed_seconds > 600


def test_pairs_that_grow_slower_do_not_break_the_budget() -> None:
    class Tiring(MadeUp):
        def fight(self, number: int, pace: Pace | None, turns: int = 4, begun: float = 0.0) -> Pair:
            self._pair_seconds = 20.0 + 5 * number
            return super().fight(number, pace, turns, begun)

    result, _ = fought(Tiring(1.01, noise=0.06))
    assert result.seconds <= 600 + 60
    assert result.look.pairs == len(result.log_ratios) < result.schedule.most


def test_a_budget_that_holds_no_five_pairs_is_refused_with_one_that_does() -> None:
    with pytest.raises(UsageError, match=r"--budget 1 .*20 s here.*write --budget 1\.9"):
        fought(MadeUp(1.0), budget_seconds=60)
    fought(MadeUp(1.2), budget_seconds=1.9 * 60)


def test_spoilt_pairs_do_not_count() -> None:
    result, told = fought(MadeUp(1.2, spoilt=2))
    assert result.spoilt == 2
    assert result.dropped == 16
    assert [ratio is None for ratio, _, _, _ in told.pairs[:3]] == [True, True, False]
    assert result.look.verdict is Verdict.SLOWER
    assert result.look.pairs == len(told.pairs) - 2


def test_a_machine_on_which_every_pair_is_spoilt_ends_the_duel_early() -> None:
    result, told = fought(MadeUp(1.2, spoilt=1_000))
    assert result.look.verdict is Verdict.INCONCLUSIVE
    assert math.isnan(result.look.ratio)
    assert result.needed_seconds is None
    assert len(told.pairs) == 4


def test_each_side_is_as_often_the_first_in_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real processes, with the fake side: over eight pairs each order of servers, processes and turns occurs once."""
    servers: list[str] = []
    processes: list[str] = []

    class Watched(Server):
        def __init__(
            self, backend: str, worker: str, isolation: Isolation, cpus: tuple[int, ...], place: WorkerEnvironment
        ) -> None:
            self.side = place.variables["SIDE"]
            servers.append(self.side)
            super().__init__(backend, worker, isolation, cpus, place)

        def events(self, request: Request, commands: int | None = None) -> Generator[Event | None, None, None]:
            processes.append(self.side)
            return super().events(request, commands)

    monkeypatch.setattr("bench.duel.interleaved.Server", Watched)
    case = Case(cell="gru", task="mnist_5k")
    a, b = (
        Side(title=name, case=case, place=WorkerEnvironment(variables={"SIDE": name}), worker=FAKE_SIDE)
        for name in "ab"
    )
    turns = []
    with Arena(a, b, data=tmp_path / "none", folder=tmp_path) as arena:
        for number in range(2 * PAIRS_A_SERVER):
            pair = arena.fight(number, Pace(5, 2), turns=4)
            begun = sorted(pair.slices, key=lambda one: one.start_seconds)
            turns.append("".join(one.side for one in begun))
    assert PAIRS_A_SERVER == 4
    assert "".join(servers) == "abba"  # replaced once
    assert "".join(processes) == "ababbaba" * 2
    assert turns == ["abbaabba", "baabbaab"] * 4
    orders = {
        ("".join(servers[number // 4 * 2 :][:2]), "".join(processes[2 * number :][:2]), turns[number][:2])
        for number in range(8)
    }
    assert len(orders) == 8


def test_a_pair_takes_its_share_of_the_time_in_which_its_servers_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is planned from the first pair has to hold for those that need new servers."""
    now, wait_ready = 0.0, Server.wait_ready

    def slow(server: Server, clock: Callable[[], float], on_tick: Callable[[], None]) -> None:
        nonlocal now
        now += 10.0
        wait_ready(server, clock, on_tick)

    monkeypatch.setattr(Server, "wait_ready", slow)
    side = Side(title="A", case=Case(cell="gru", task="mnist_5k"), worker=FAKE_SIDE)
    with Arena(side, side, data=tmp_path / "none", folder=tmp_path, clock=lambda: now) as arena:
        arena.prepare()
        assert now == 20.0
        seconds = [arena.fight(number, Pace(5, 2), turns=2).seconds for number in range(PAIRS_A_SERVER + 1)]
    assert now == 40.0
    assert seconds == [20.0 / PAIRS_A_SERVER] * (PAIRS_A_SERVER + 1)
