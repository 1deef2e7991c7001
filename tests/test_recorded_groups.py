"""Recorded process groups are read as they were measured, and drawn again with their ratios together."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.duel.record import ROUNDS_FILE
from bench.duel.rounds import ANCHOR, side_key
from bench.duel.sequential import Contrast
from scripts import judge_groups
from scripts.group_tables import with_tables
from scripts.record_groups import COPIES
from scripts.recorded_groups import NUMPY, ResampledGroups, Session, base_and_new, read_sessions
from scripts.recordings import ABOUT

SECONDS = {"simple_rnn": 0.010, "lstm": 0.020, "gru": 0.024, "anchor": 0.002}
NOISE = 0.01
GROUPS = 20


def rows(
    group: int, ended_at: datetime, factors: dict[str, float], *, contaminated: bool = False
) -> list[dict[str, object]]:
    """A group of two rounds, in which every timed batch of a side takes equally long."""
    return [
        {
            "pair": group,
            "turn": number,
            "cell": cell,
            "side": side_key(ANCHOR if cell == "anchor" else copy),
            "steps": 4,
            "strokes": [seconds * factors.get(f"{cell}{copy}", 1.0)] * 4,
            "seconds": 4 * seconds,
            "cpu_seconds": 4 * seconds,
            "idle_cpu_seconds": 9.0 if contaminated else 0.0,
            "start_seconds": 0.0,
            "pair_seconds": 12.0,
            "server_seconds": math.nan,
            "recorded_at": ended_at.isoformat(),
        }
        for number in range(2)
        for cell, seconds in SECONDS.items()
        for copy in range(1 if cell == "anchor" else COPIES)
    ]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sessions an hour apart; in the second GRU is 2 % slower, and a group is contaminated."""
    draw = np.random.default_rng(1)
    start = datetime(2026, 11, 28, 1, tzinfo=UTC)
    frames = []
    for group in range(2 * GROUPS + 1):
        later = group >= GROUPS
        factors = {
            f"{cell}{copy}": math.exp(NOISE * draw.standard_normal()) for cell in SECONDS for copy in range(COPIES)
        }
        for copy in range(COPIES):
            factors[f"gru{copy}"] *= 1.02 if later else 1.0
        ended_at = start + timedelta(minutes=group, hours=later)
        frames += rows(group, ended_at, factors, contaminated=group == 2 * GROUPS)
    folder = tmp_path_factory.mktemp("groups") / "machine"
    folder.mkdir()
    (folder / ABOUT).write_text(json.dumps({}))
    pd.DataFrame(frames).to_parquet(folder / ROUNDS_FILE)
    return folder.parent


@pytest.fixture(scope="module")
def sessions(recording: Path) -> list[Session]:
    return read_sessions(recording)


def test_groups_are_read_as_they_were_measured(sessions: list[Session]) -> None:
    first, second = sessions
    assert (len(first), len(second)) == (GROUPS, GROUPS)
    assert (first.discarded, second.discarded) == (0, 1)
    assert first.cells == ("simple_rnn", "gru", "lstm")
    assert base_and_new(sessions) == (first, second)
    halves = base_and_new([first])
    assert [len(half) for half in halves] == [GROUPS // 2, GROUPS // 2]
    assert first.whole["simple_rnn", "lstm"] == pytest.approx(math.log(2.0), abs=0.01)
    assert second.whole["simple_rnn", "gru"] - first.whole["simple_rnn", "gru"] == pytest.approx(0.02, abs=0.015)
    assert first.equal("lstm").std() == pytest.approx(math.sqrt(2) * NOISE, rel=0.5)
    assert first.over_anchor("lstm").shape == (GROUPS, COPIES)
    assert np.median(first.over_anchor("lstm")) == pytest.approx(math.log(10), abs=0.02)
    assert np.median(first.anchor_seconds) == pytest.approx(0.002, rel=0.02)
    assert first.side_seconds("lstm") == pytest.approx(2 * 4 * 0.020, rel=0.02)
    timed = 2 * 4 * sum((1 if cell == "anchor" else COPIES) * seconds for cell, seconds in SECONDS.items())
    assert first.overhead_seconds == pytest.approx((3 * 12.0 - timed) / 6, rel=0.01)


def test_a_drawn_group_keeps_its_ratios_together(sessions: list[Session]) -> None:
    session = sessions[0]
    cells = ("simple_rnn", "lstm", "gru", "lstm")
    groups = ResampledGroups(session, cells, (1,))
    drawn = [groups.log_ratios((Contrast(0, 1),)) for _ in range(200)]
    for ratios in drawn:
        assert ratios == pytest.approx(-ratios.T, abs=1e-9)
    assert abs(np.mean([ratios[0, 1] for ratios in drawn])) < 0.004  # about what the whole session gives
    assert {sides[1] for _, sides, _ in groups.drawn} == set(session.sides("lstm"))
    assert all(sides[1] != sides[3] for _, sides, _ in groups.drawn)
    assert groups.seconds(4) - groups.seconds(3) == pytest.approx(
        session.overhead_seconds + np.mean([session.side_seconds(cell) for cell in cells])
    )


def test_groups_in_order_follow_each_other_round_and_round(sessions: list[Session]) -> None:
    groups = ResampledGroups(sessions[0], sessions[0].cells, (2,), in_order=True)
    for _ in range(GROUPS + 3):
        groups.log_ratios((Contrast(0, 1),))
    numbers = [number for number, _, _ in groups.drawn]
    assert all((after - before) % GROUPS == 1 for before, after in pairwise(numbers))
    assert len({*numbers}) == GROUPS


def test_a_store_s_cells_are_measured_until_they_are_precise_or_the_time_is_over(sessions: list[Session]) -> None:
    short, long = (judge_groups.store(sessions[0], minutes, (1,), 100.0) for minutes in (4.0, 60.0))
    assert len(short["simple_rnn"]) == int(4 * 60 // ResampledGroups(sessions[0], sessions[0].cells, (1,)).seconds(3))
    assert len(short["simple_rnn"]) < len(long["simple_rnn"]) < 60 * 60 / 18
    assert len(long["lstm"]) <= len(long["simple_rnn"])
    assert min(reading.started_at for reading in long["gru"]) == 100.0
    assert np.median([reading.value for reading in long["gru"]]) == pytest.approx(12.0, rel=0.03)


def test_stores_are_compared_with_what_lies_between_the_sessions(sessions: list[Session]) -> None:
    """GRU is 2 % slower in the second session, which is less than two groups may differ by; 20 % put in are more."""
    first, second = sessions
    moved = judge_groups.between_sessions(first, second)
    assert moved["cells"]["gru"]["moved"] == pytest.approx(0.02, abs=3 * moved["cells"]["gru"]["half"])
    assert moved["hours"] == pytest.approx(1.33, abs=0.1)
    (equal, _), (slower, _) = (judge_groups.compared(first, second, 20.0, slowdown, 1)[0] for slowdown in (0.0, 0.2))
    assert "slower" not in equal
    assert slower == ["slower"] * 3


def test_the_anchor_in_numpy_may_be_a_cell_beside_another_anchor(recording: Path, tmp_path: Path) -> None:
    """It is no cell that anything is drawn of; its time is none of the group's, and sessions have ratios to it."""
    frame = pd.read_parquet(recording / "machine" / ROUNDS_FILE)
    beside = frame[frame["cell"] == "anchor"].assign(cell=NUMPY, side="a")
    beside["strokes"] = [[2 * seconds for seconds in batches] for batches in beside["strokes"]]
    beside["seconds"] *= 2
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / ABOUT).write_text("{}")
    pd.concat([frame, beside]).to_parquet(tmp_path / "machine" / ROUNDS_FILE)
    plain, (first, second) = read_sessions(recording)[0], read_sessions(tmp_path)
    assert first.cells == plain.cells
    assert np.array_equal(first.log_ratios, plain.log_ratios)
    assert first.over_numpy is not None
    assert first.over_numpy == pytest.approx(first.log_ratios[:, -1] - math.log(2))
    assert plain.seconds - first.seconds == pytest.approx(2 * first.timed_seconds[:, -1])
    moved = judge_groups.between_sessions(first, second)
    assert set(moved["over_numpy"]) == {*first.cells, "the anchor"}
    assert moved["over_numpy"]["gru"]["moved"] == pytest.approx(moved["cells"]["gru"]["moved"])
    assert moved["over_numpy"]["the anchor"] == {
        "moved": pytest.approx(0.0),
        "half": pytest.approx(0.0, abs=1e-9),
        "of_groups": pytest.approx(0.0, abs=1e-9),
    }


def test_tables_are_put_between_their_markers() -> None:
    page = "before\n<!-- groups:stores -->\nold\n<!-- /groups:stores -->\nafter\n"
    written = with_tables(page, "groups", {"stores": "| a |\n"})
    assert written == "before\n<!-- groups:stores -->\n\n| a |\n\n<!-- /groups:stores -->\nafter\n"
    assert with_tables(written, "groups", {"stores": "| a |\n"}) == written
    with pytest.raises(SystemExit, match="groups:coverage"):
        with_tables(page, "groups", {"coverage": ""})
