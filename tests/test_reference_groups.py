"""What recorded process groups gave: it is in the docs, is made again in part, and reaches what the docs say."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis.occasions import OCCASIONS
from bench.analysis.stats import welch
from scripts import judge_groups, record_cores
from scripts.group_tables import SAME_SESSION, tables
from scripts.judge_groups import HOUR, sides_before
from scripts.recorded_groups import Floats, Session, base_and_new, read_sessions
from scripts.simulate_sides import FIRST

ROOT = Path(__file__).parents[1]
DUELS = ROOT / "results" / "reference" / "duels"
MINUTES = {"groups": 85, "groups_xeon": 39, "groups_trained": 80, "groups_one_core": 49}
"""By recording, each of one machine: what its groups took at least."""
WITH_SLOW_LSTM = pytest.mark.parametrize("recording", ["groups"], indirect=True, scope="module")


@pytest.fixture(scope="module", params=MINUTES)
def recording(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def content(recording: str) -> dict[str, Any]:
    judged: dict[str, Any] = json.loads((DUELS / f"{recording}.json").read_text())
    return judged


@pytest.fixture(scope="module")
def sessions(recording: str) -> list[Session]:
    return read_sessions(DUELS / recording)


def test_the_docs_show_what_was_judged(recording: str, content: dict[str, Any]) -> None:
    before = sides_before(DUELS) if recording == judge_groups.OF_PAIRS_MACHINE else {}
    for page, of_page in tables(content, before).items():
        text = (ROOT / "docs" / page).read_text()
        for name, table in of_page.items():
            assert f"<!-- {recording}:{name} -->\n\n{table.strip()}\n\n<!-- /{recording}:{name} -->" in text


def test_the_sessions_are_hours_apart(recording: str, content: dict[str, Any], sessions: list[Session]) -> None:
    first, *later = sessions
    assert all(each.ended_at[0] - before.ended_at[0] >= HOUR for before, each in pairwise(sessions))
    assert sum(session.seconds.sum() for session in sessions) >= 60 * MINUTES[recording]
    assert [each["groups"] for each in content["sessions"]] == [len(session) for session in sessions]
    for session, judged in zip(later, content["between"], strict=True):
        again = judge_groups.between_sessions(first, session)
        for kind in again.keys() & {"cells", "to_reference", "over_numpy"}:
            for cell, moved in again[kind].items():
                assert judged[kind][cell] == pytest.approx(moved)


def _over_gru(session: Session, cell: str) -> Floats:
    """A cell's log-ratios to the anchor, or to the GRU that stands for it where the anchor is another."""
    if cell == "gru" and not session.anchor_is_trained:
        return session.equal(cell)
    ratios = session.over_anchor(cell) if session.anchor_is_trained else session.between("gru", cell)
    mean: Floats = ratios.mean(axis=1)
    return mean


def test_two_occasions_are_taken_to_differ_as_sessions_did_that_were_recorded_before_the_one_that_judges_it() -> None:
    """The mean square of how far ratios to GRU moved from a session to the next, less that of their noise."""
    squares = []
    for recording, sessions in (("groups", None), ("groups_xeon", None), ("groups_trained", 2)):
        for base, new in pairwise(read_sessions(DUELS / recording)[:sessions]):
            before, after = (np.array([_over_gru(each, cell) for cell in each.cells]) for each in (base, new))
            for old, later in zip(before, after, strict=True):
                noise = welch(later, old)
                assert noise is not None
                squares.append((later.mean() - old.mean()) ** 2 - noise.error**2)
    moved = math.sqrt(np.mean(squares))
    words = (ROOT / "docs" / "between-days.md").read_text()
    assert f"{len(squares)} moves" in words
    assert f"({100 * moved:.2f} %)²" in words
    # three cells share an anchor: their ratios are correlated by 0.5, and the squares of these by 0.25
    assert OCCASIONS.freedom == pytest.approx(len(squares) / (1 + 2 * 0.25))
    assert 0.9 * OCCASIONS.error < moved <= OCCASIONS.error


def test_the_docs_have_how_seldom_intervals_hold_where_neighbours_are_kept_whole() -> None:
    missed = [
        row["missed"]["share"]
        for recording in MINUTES
        for row in json.loads((DUELS / f"{recording}.json").read_text())["coverage"]
        if "neighbours" in row["put_in"]
    ]
    low, high, mean = (100 * share for share in (min(missed), max(missed), sum(missed) / len(missed)))
    words = f"{low:.1f} to {high:.1f} % of a cell's duels miss, {mean:.1f} % in the mean"
    assert words in " ".join((ROOT / "docs" / "how-sure.md").read_text().split())


@pytest.mark.parametrize("recording", ["groups_trained"], indirect=True, scope="module")
def test_the_cells_followed_the_trained_anchor(content: dict[str, Any], sessions: list[Session]) -> None:
    moved = [100 * math.expm1(between["anchor_moved"]) for between in content["between"]]
    assert moved == pytest.approx([8.2, 3.8], abs=0.1)
    cells = [cell for between in content["between"] for cell in between["cells"].values()]
    assert max(abs(cell["moved"]) for cell in cells) < 0.003
    every = [*cells, *judge_groups.between_sessions(*sessions[1:])["cells"].values()]
    assert all(abs(cell["moved"]) < cell["half"] for cell in every)
    words = f"cells ÷ anchor by {100 * max(abs(cell['moved']) for cell in every):.2f} % at most"
    assert words in (ROOT / "docs" / "between-days.md").read_text()


@pytest.mark.parametrize("recording", ["groups_trained"], indirect=True, scope="module")
def test_verdicts_on_two_stores_hours_apart_are_as_often_right_as_the_docs_have_it(content: dict[str, Any]) -> None:
    stores = {(row["minutes"], row["slower"]): row for row in content["stores"] if row["apart"] != SAME_SESSION}
    assert all(row["wrong"]["hits"] == 0 for row in stores.values())
    assert stores[20, 0.05]["all_right"]["low"] > 0.95
    assert stores[30, 0.0]["all_right"]["low"] > 0.9
    found = f"in {100 * stores[10, 0.05]['all_right']['share']:.0f} % of gates after ten minutes"
    same = f"equal code was `same` in {100 * stores[30, 0.0]['all_right']['share']:.0f} % after thirty"
    guide = " ".join((ROOT / "docs" / "guides" / "gate.md").read_text().split())
    assert found in guide
    assert same in guide
    assert f"in {100 * stores[20, 0.05]['all_right']['share']:.1f} % after twenty" in guide


@pytest.mark.parametrize("recording", ["groups_one_core"], indirect=True, scope="module")
def test_with_a_processor_in_common_duels_reach_what_was_set_out_for(content: dict[str, Any]) -> None:
    by_name = {row["design"]: row for row in content["measurements"]}
    assert by_name["three equal sides"]["right"]["low"] > 0.9
    assert by_name["three sides to ± 1 %"]["right"]["low"] > 0.9
    assert by_name["tolerance 0.5 %, floor 0.25 %, 1 % slower"]["right"]["low"] > 0.95
    assert 1 - by_name["three sides to ± 1 %"]["missed_of_as_many"]["share"] > 0.95
    assert max(row["missed"]["share"] for row in content["coverage"] if "of B" not in row["put_in"]) < 0.06
    assert all(row["wrong"]["share"] <= 0.001 for row in content["measurements"])
    assert all(row["wrong"]["hits"] == 0 for row in content["stores"])


@WITH_SLOW_LSTM
def test_the_docs_have_how_the_first_rounds_differ(sessions: list[Session]) -> None:
    """SimpleRNN's ratio to the other cells in a group's first six rounds, beside that in all."""
    first, every = (
        np.concatenate(
            [
                np.concatenate([session.between(cell, "simple_rnn", rounds) for cell in ("lstm", "gru")], axis=1)
                for session in sessions
            ]
        ).mean(axis=1)
        for rounds in (6, None)
    )
    differences = first - every
    half = 1.96 * differences.std(ddof=1) / math.sqrt(len(differences))
    words = f"{100 * differences.mean():.2f} ± {100 * half:.2f} % slower beside the other two"
    assert words in " ".join((ROOT / "docs" / "how-sure.md").read_text().split())


def test_comparisons_of_stores_are_made_again(content: dict[str, Any], sessions: list[Session]) -> None:
    base, new = base_and_new(sessions)
    for row in content["stores"]:
        if row["apart"] != SAME_SESSION and row["minutes"] == 20:
            again = judge_groups.compared(base, new, 20.0, row["slower"], judge_groups.FIRST)
            assert [verdicts for verdicts, _ in again] == row["first"]


def test_measurements_of_different_cells_are_made_again(content: dict[str, Any], sessions: list[Session]) -> None:
    by_name = {row["design"]: row for row in content["measurements"]}
    rows = judge_groups.measurements_of_different("three sides to ± 1 %", sessions[-1], FIRST)
    assert [row["minutes"] for row in rows] == pytest.approx(by_name["three sides to ± 1 %"]["first_minutes"])


@WITH_SLOW_LSTM
def test_the_docs_count_the_slow_processes_of_lstm(sessions: list[Session]) -> None:
    """Their time beside that of the other cells of their group, about the session's median."""
    beside = []
    for session in sessions:
        steady = [side for cell in session.cells if cell != "lstm" for side in session.sides(cell)]
        logs = session.over_anchor("lstm") - session.log_ratios[:, -1, steady].mean(axis=1, keepdims=True)
        beside.append((logs - np.median(logs)).ravel())
    every = np.concatenate(beside)
    slow = every[every > 0.011]
    words = (
        f"{len(slow)} of {len(every)} were {100 * slow.min():.1f} to {100 * slow.max():.1f} % slower than the median"
    )
    assert words in (ROOT / "docs" / "how-sure.md").read_text()


def test_the_docs_show_that_a_processor_in_common_halves_the_noise() -> None:
    rows = json.loads((DUELS / "cores.json").read_text())["rows"]
    text = (ROOT / "docs" / "how-sure.md").read_text()
    assert f"<!-- cores:noise -->\n\n{record_cores.table(rows).strip()}\n\n<!-- /cores:noise -->" in text
    for cell in record_cores.CELLS:
        shared, left = (
            [row for row in rows if (row["cell"], row["is_shared"]) == (cell, is_shared)] for is_shared in (True, False)
        )
        assert len(shared) == len(left) >= 8
        for key, most in (("batches", 0.55), ("rounds", 0.55), ("log_ratios", 0.7)):
            with_one, without = (
                np.sqrt(np.mean(np.square(np.hstack([row[key] for row in of])))) for of in (shared, left)
            )
            assert with_one < most * without
        steps = [np.median([row["step_seconds"] for row in of]) for of in (shared, left)]
        assert steps[0] == pytest.approx(steps[1], rel=0.03)
