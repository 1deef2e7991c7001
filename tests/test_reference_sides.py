"""The committed figures of measurements of k sides, and of servers replayed whole, held to the code and to the docs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis.verdict import Verdict
from bench.core.metric import Margins
from scripts import replay_servers, simulate_sides
from scripts.recordings import Recorded, halves, read
from scripts.replay_servers import draw, missed, servers_of
from scripts.simulate_sides import DESIGNS, Design, is_right, is_wrong, recorded_ratios, simulate

ROOT = Path(__file__).parents[1]
DUELS = ROOT / "results" / "reference" / "duels"


@pytest.fixture(scope="module")
def later() -> dict[str, list[Recorded]]:
    return halves(read(DUELS / "recording"))[1]


def rows(name: str) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = json.loads((DUELS / name).read_text())["rows"]
    return kept


def test_what_was_simulated_comes_out_again(later: dict[str, list[Recorded]]) -> None:
    for design, kept in zip(DESIGNS, rows("sides.json"), strict=True):
        assert kept["design"] == design.name
        assert kept["wrong"]["of"] == 2000
        again = simulate(design, recorded_ratios(later, design.rounds), 3)
        assert [row["minutes"] for row in again] == pytest.approx(kept["first_minutes"][:3])


def test_the_rates_reach_what_was_set_out_for() -> None:
    by_name = {row["design"]: row for row in rows("sides.json")}
    for name, row in by_name.items():
        assert row["wrong"]["share"] <= 0.01, name
        assert row["missed"]["share"] <= 0.05, name
    assert by_name["two equal sides"]["right"]["share"] >= 0.9
    assert by_name["tolerance 0.5 %, floor 0.25 %, 1 % slower"]["right"]["share"] >= 0.95


def test_coverage_holds_on_servers_replayed_whole(later: dict[str, list[Recorded]]) -> None:
    kept = rows("coverage.json")
    for row in kept:
        if row["unit"] == "pair, own servers" and "of B" not in row["put_in"]:
            assert row["missed"]["share"] <= 0.06, row
    for row in replay_servers.replay({"gru": later["gru on 3dac00"]}, 500):
        (whole,) = (
            each
            for each in kept
            if (each["unit"], each["put_in"], each["cell"]) == (row["unit"], row["put_in"], "gru on 3dac00")
        )
        assert row["missed"]["share"] == pytest.approx(whole["missed"]["share"], abs=0.045)


def test_servers_that_are_shared_show_in_the_replay() -> None:
    """With an offset as large as the noise, pairs of one server are no independent values."""
    servers = np.random.default_rng(1).normal(0.0, 0.01, (40, 1)) + np.random.default_rng(2).normal(0.0, 0.01, (40, 4))
    shares = [
        missed(*draw(servers, unit, "nothing", 1_000, np.random.default_rng(3)))["share"]
        for unit in ("pair, own servers", "pair, shared servers", "mean over a server")
    ]
    assert shares[1] > 0.15
    assert max(shares[0], shares[2]) < 0.08


def test_servers_whose_pairs_do_not_all_count_are_left_out(later: dict[str, list[Recorded]]) -> None:
    pairs = later["gru on 3dac00"]
    servers = servers_of(pairs)
    assert servers.shape[1] == 4
    assert len(pairs) // 4 - 2 <= len(servers) <= len(pairs) // 4


def test_verdicts_are_wrong_where_they_contradict_the_truth() -> None:
    margins = Margins(tolerance=0.015, floor=0.005)
    assert is_wrong(Verdict.SLOWER, 0.0, margins)
    assert not is_wrong(Verdict.SLOWER, 0.01, margins)
    assert is_wrong(Verdict.FASTER, 0.01, margins)
    assert not is_wrong(Verdict.FASTER, -0.03, margins)
    assert is_wrong(Verdict.SAME, -0.03, margins)
    assert is_right(Verdict.SAME, 0.01, margins)
    assert not is_right(Verdict.INCONCLUSIVE, 0.01, margins)


def test_sides_that_are_settled_leave_the_calendar() -> None:
    """Seven sides that are far off leave at the first analysis, and the eighth gets their time."""
    quiet = {"cell": np.array([-0.02, -0.01, 0.01, 0.02])}
    alone = Design(name="", sides=2, budget_minutes=30)
    among = Design(name="", sides=8, slower=(0.5,) * 6, budget_minutes=30)
    (row,), (eight,) = simulate(alone, quiet, 1), simulate(among, quiet, 1)
    assert row["right"]
    assert eight["right"]
    assert eight["minutes"] < 4 * row["minutes"] + 12


def test_the_docs_show_it() -> None:
    docs = (ROOT / "docs" / "how-sure.md").read_text()
    assert simulate_sides.table(rows("sides.json")) in docs
    assert replay_servers.table(rows("coverage.json")) in docs
