"""Recorded rounds, and what is simulated from them: nothing is lost or counted twice, and known truths are found."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pandas as pd
import pytest

from bench.duel.rounds import group_log_ratio, rows_of
from scripts.compare_peers import pytest_benchmark_rule, table, three_sides
from scripts.recordings import ABOUT, PARTS, Recorded, fold, halves, minutes, read, recorded
from scripts.simulate_duels import SLOWDOWNS, explore, fraction, rates, simulate
from tests.duel.test_rounds import a_round


def a_pair(cell: str, number: int, rounds: int = 16, spread: float = 0.005) -> Recorded:
    """Rounds of half a second a side, A against A; the pair has an offset of its own."""
    draw = random.Random(f"{cell}{number}")
    offset = draw.gauss(0.0, spread)
    measured = []
    for each in range(rounds):
        a, b = (0.5 * math.exp(draw.gauss(0.0, 0.01) + shift) for shift in (0.0, offset))
        measured.append(a_round(each, a, b, group=number))
    return Recorded(cell, tuple(measured), 4.0 + sum(side.seconds for each in measured for side in each.sides.values()))


def keep(folder: Path, pair: Recorded) -> None:
    """As scripts/record_rounds.py does."""
    (folder / PARTS).mkdir(parents=True, exist_ok=True)
    (folder / ABOUT).write_text("{}")
    frame = pd.DataFrame(rows_of(pair.rounds)).assign(cell=pair.cell, pair_seconds=pair.seconds)
    frame.to_parquet(folder / PARTS / f"{pair.cell}-{pair.rounds[0].group:04d}.parquet", index=False)


PAIRS = [a_pair(cell, number) for cell in ("gru", "lstm") for number in range(4)]


def test_what_is_folded_reads_as_the_parts_did(tmp_path: Path) -> None:
    for pair in PAIRS:
        keep(tmp_path / "0123456789abcdef", pair)
    keep(tmp_path / "fedcba9876543210", PAIRS[0])
    before = read(tmp_path)
    assert before == {"gru on 012345": PAIRS[:4], "lstm on 012345": PAIRS[4:], "gru on fedcba": PAIRS[:1]}
    assert minutes(tmp_path) == pytest.approx(sum(pair.seconds - 4 for pair in [*PAIRS, PAIRS[0]]) / 60)
    folder = tmp_path / "0123456789abcdef"
    fold(folder)
    assert {path.name for path in folder.iterdir()} == {"about.json", "slices.parquet"}
    assert read(tmp_path) == before
    fold(folder)
    keep(folder, a_pair("gru", 4))
    assert len(read(tmp_path)["gru on 012345"]) == 5
    fold(folder)
    assert len(read(tmp_path)["gru on 012345"]) == 5


def test_a_fold_that_is_killed_counts_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pair in PAIRS:
        keep(tmp_path, pair)

    def killed(self: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            fold(tmp_path)
    assert len(list((tmp_path / PARTS).iterdir())) == len(PAIRS)
    assert len(recorded(tmp_path)) == sum(2 * len(pair.rounds) for pair in PAIRS)
    fold(tmp_path)
    assert not (tmp_path / PARTS).exists()


def test_a_recording_that_is_not_there(tmp_path: Path) -> None:
    assert recorded(tmp_path).empty
    with pytest.raises(SystemExit, match="no recording"):
        read(tmp_path)


def test_a_slowdown_is_exactly_what_was_injected() -> None:
    pair = PAIRS[0]
    before, after = group_log_ratio(pair.rounds, 0, 1), group_log_ratio(pair.slowed(0.02).rounds, 0, 1)
    assert before is not None
    assert after == pytest.approx(before + math.log(1.02))
    assert pair.slowed(0.02).seconds == pytest.approx(pair.seconds + 0.02 * sum(pair.times(1)) * 20)
    swapped = group_log_ratio(pair.swapped().rounds, 0, 1)
    assert swapped == pytest.approx(-before)
    assert len(pair.shortened(4).rounds) == 4
    assert pair.shortened(4).seconds < pair.seconds


def test_calibration_and_judgement_share_no_pair() -> None:
    earlier, later = halves({"gru": PAIRS[:4]})
    assert earlier == {"gru": PAIRS[:2]}
    assert later == {"gru": PAIRS[2:4]}


def test_simulated_duels_find_what_is_there() -> None:
    """With a spread of 0.5 % a pair, 10 % is found in each duel, and equal sides are the same."""
    pairs = {cell: [a_pair(cell, number) for number in range(20)] for cell in ("gru", "lstm")}
    rows = [row for slowdown in SLOWDOWNS for row in simulate(pairs, slowdown, 20, 16, 600.0)]
    by_slowdown = {row["slowdown"]: row for row in rates(pd.DataFrame(rows))}
    assert by_slowdown[0.0]["same"]["hits"] == 20
    assert by_slowdown[0.0]["wrong"]["hits"] == 0
    for slowdown in (0.02, 0.05, 0.1):
        assert by_slowdown[slowdown]["slower"]["hits"] == 20
    assert by_slowdown[0.1]["slower_within_3_minutes"]["hits"] == 20
    assert by_slowdown[0.0]["interval_holds_the_truth"]["share"] > 0.8


def test_a_noise_that_is_too_large_is_not_called_the_same() -> None:
    pairs = {"gru": [a_pair("gru", number, spread=0.08) for number in range(20)]}
    verdicts = [row["verdict"] for row in simulate(pairs, 0.0, 30, 16, 600.0)]
    assert verdicts.count("inconclusive") > 25


def test_the_spread_is_what_was_put_in() -> None:
    pairs = [a_pair("gru", number, spread=0.02) for number in range(60)]
    rows = {row["turns"]: row for row in explore({"gru": pairs}, 600.0)}
    assert set(rows) == {4, 8, 12, 16}
    assert rows[16]["sd_percent"] == pytest.approx(2.0, rel=0.3)
    assert rows[16]["mean_low_percent"] < 0 < rows[16]["mean_high_percent"]


def test_only_pairs_that_had_so_many_rounds_say_what_so_many_give() -> None:
    pairs = [a_pair("gru", number, rounds) for number, rounds in enumerate((16, 16, 8, 8, 8))]
    assert {row["turns"]: row["pairs"] for row in explore({"gru": pairs}, 600.0)} == {4: 5, 8: 5, 12: 2, 16: 2}


def test_fractions_have_exact_intervals() -> None:
    assert fraction(0, 2000)["high"] == pytest.approx(1 - 0.025 ** (1 / 2000))
    assert fraction(2000, 2000)["low"] == pytest.approx(0.025 ** (1 / 2000))


def test_pytest_benchmarks_own_check_decides() -> None:
    pairs = [a_pair("gru", number, spread=0.0) for number in range(4)]
    assert pytest_benchmark_rule(pairs, random.Random(0), 0.2, 1)[0] == "slower"
    assert pytest_benchmark_rule(pairs, random.Random(0), 0.0, 1)[0] == "same"


def test_three_sides_are_judged_one_by_one_against_the_same_base() -> None:
    """Without noise the rule sees 3 % as nothing, and as a slowdown where its threshold is lower."""
    pairs = {"gru": [a_pair("gru", number, spread=0.0) for number in range(6)]}
    judged = three_sides(pytest_benchmark_rule, pairs, 20, "")
    assert (judged["false_alarm"]["hits"], judged["right"]["hits"]) == (0, 0)

    def at_two_percent(pairs: list[Recorded], draw: random.Random, slowdown: float, number: int) -> tuple[str, float]:
        return pytest_benchmark_rule(pairs, draw, slowdown + 0.03 * (number == 2), number)

    judged = three_sides(at_two_percent, pairs, 20, "")
    assert judged["right"]["hits"] >= 18


def test_the_peers_table_has_a_line_a_rule() -> None:
    def row(rule: str, slowdown: float, hits: int) -> dict[str, object]:
        return {
            "rule": rule,
            "slowdown": slowdown,
            "slower": fraction(hits, 10),
            "faster": fraction(0, 10),
            "minutes": 1.0,
        }

    rows = [row(rule, s, hits) for rule, hits in (("a", 1), ("b", 9)) for s in SLOWDOWNS]
    lines = table(rows).splitlines()
    assert lines[0].count("|") == 2 + 2 + len(SLOWDOWNS) - 1 == lines[2].count("|")
    assert lines[2].startswith("| a | 10.0 % |")
