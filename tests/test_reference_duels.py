"""The committed proofs of the duels: what was recorded, what was simulated from it, and what the docs say of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.duel.sequential import MARGINS
from scripts import compare_peers, simulate_duels, spot_check
from scripts.recordings import RECORDED_ROUNDS, Recorded, halves, machines, minutes, read
from scripts.simulate_duels import SLOWDOWNS, rates, simulate

ROOT = Path(__file__).parents[1]
DUELS = ROOT / "results" / "reference" / "duels"
RECORDING = DUELS / "recording"
DOCS = (ROOT / "docs" / "how-sure.md").read_text()


def data(name: str) -> Any:
    return json.loads((DUELS / name).read_text())


@pytest.fixture(scope="module")
def recording() -> dict[str, list[Recorded]]:
    return read(RECORDING)


def test_an_hour_of_real_rounds_is_recorded(recording: dict[str, list[Recorded]]) -> None:
    assert minutes(RECORDING) >= 60
    assert {name.split()[0] for name in recording} == {"simple_rnn", "lstm", "gru"}
    for pairs in recording.values():
        assert [pair.rounds[0].group for pair in pairs] == list(range(len(pairs)))
        assert all(len(pair.rounds) >= RECORDED_ROUNDS for pair in pairs)
    sides = [
        side for pairs in recording.values() for pair in pairs for each in pair.rounds for side in each.sides.values()
    ]
    assert sum(side.contaminated for side in sides) < 0.01 * len(sides)
    assert len(machines(RECORDING)) == len(data("duels.json")["machines"])


def test_what_was_simulated_comes_out_again(recording: dict[str, list[Recorded]]) -> None:
    """The first duels of each slowdown, run again, and the rates counted again."""
    frame = pd.read_csv(DUELS / "duels.csv")
    found = data("duels.json")
    _, later = halves(recording)
    assert found["judged_pairs"] == {cell: len(pairs) for cell, pairs in later.items()}
    assert (found["turns"], found["tolerance"], found["floor"]) == (RECORDED_ROUNDS, MARGINS.tolerance, MARGINS.floor)
    for slowdown in SLOWDOWNS:
        kept = frame[frame["slowdown"] == slowdown]
        assert len(kept) == 2000
        again = pd.DataFrame(simulate(later, slowdown, 30, RECORDED_ROUNDS, 60 * found["budget_minutes"])).round(6)
        pd.testing.assert_frame_equal(again, kept.head(30).reset_index(drop=True))
    assert rates(frame) == found["rates"]


def test_the_rates_reach_what_was_set_out_for() -> None:
    found = data("duels.json")
    assert found["budget_minutes"] == 10
    by_slowdown = {row["slowdown"]: row for row in found["rates"]}
    assert by_slowdown[0.0]["wrong"]["share"] <= 0.01
    assert by_slowdown[0.0]["same"]["share"] >= 0.9
    assert by_slowdown[0.02]["slower"]["share"] >= 0.95
    assert by_slowdown[0.05]["slower_within_3_minutes"]["share"] >= 0.94  # 0.985 while servers were shared, and cheaper


def test_the_peers_were_asked_with_their_own_code() -> None:
    found = data("peers.json")
    assert set(found["versions"]) == {"asv", "pyperf", "pytest-benchmark"}
    rules = ["bench duel", *compare_peers.RULES]
    assert [(row["rule"], row["slowdown"]) for row in found["rows"]] == [(r, s) for r in rules for s in SLOWDOWNS]
    ours = {row["slowdown"]: row for row in data("duels.json")["rates"]}
    for row in found["rows"]:
        assert row["slower"]["of"] == 2000
        if row["rule"] == "bench duel":
            assert (row["slower"], row["faster"]) == (ours[row["slowdown"]]["slower"], ours[row["slowdown"]]["faster"])
    designs = {row["design"]: row for row in data("sides.json")["rows"]}
    assert [row["rule"] for row in found["three_sides"]] == rules
    assert found["three_sides"][0]["false_alarm"] == designs["three equal sides"]["wrong"]
    assert found["three_sides"][0]["right"] == designs["three sides, one 3 % slower"]["right"]


def test_real_duels_of_known_truth_were_run() -> None:
    done = data("spot_checks.json")
    assert [sum(ended["percent"] == percent for ended in done) for percent in (0, 2, 5)] == [10, 4, 4]
    for ended in done:
        wrong = {"faster", "slower"} if ended["percent"] == 0 else {"faster", "same"}
        assert ended["verdict"] not in wrong


def test_real_duels_of_four_sides_found_the_one_that_burns() -> None:
    done = data("spot_checks_of_four.json")
    assert [(row["cell"], row["percent"], row["sides"]) for row in done] == [
        *(("lstm", percent, 4) for percent in (0.0, 0.0, 3.0)),
        *(("gru", percent, 4) for percent in (0.0, 3.0, 0.0)),
        *(("gru", percent, 4) for percent in (3.0, 0.0, 0.0)),
        *(("lstm", percent, 4) for percent in (0.0, 0.0, 3.0)),
    ]
    assert all((row["verdict"] == "slower") == (row["percent"] > 0) for row in done)
    assert not any(row["verdict"] == "faster" for row in done)
    assert all(row["low"] <= 1 + row["percent"] / 100 <= row["high"] for row in done)


def test_the_docs_show_what_was_found() -> None:
    now, before = data("duels.json")["rates"], data("duels_before.json")["rates"]
    assert simulate_duels.table(now) in DOCS
    assert simulate_duels.comparison(now, before) in DOCS
    assert compare_peers.table(data("peers.json")["rows"]) in DOCS
    assert compare_peers.three_sides_table(data("peers.json")["three_sides"]) in DOCS
    assert spot_check.table(data("spot_checks.json")) in DOCS
    assert spot_check.table(data("spot_checks_of_four.json")) in DOCS
    assert "](duel-power.svg)" in DOCS
    assert (ROOT / "docs" / "duel-power.svg").exists()
