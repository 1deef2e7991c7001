"""bench.analysis.machines: ratios within machines, combined over them; scores pooled over seeds; and how it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bench.analysis.machines import OverMachines, over_machines
from bench.analysis.summary import Section, summarise
from bench.core.case import Case
from bench.report.markdown import render_markdown
from bench.report.table import table_document
from bench.report.table_data import table_data
from bench.report.text import render_text
from tests.support.frames import MACHINE, SOFTWARE, Rows, frame, run

FACTORS: Mapping[str, float] = {"Fictional 9000": 2.1, "Fictional 8000": 2.4, "Other 1": 2.5, "Other 2": 2.9}
"""How many times as long as SimpleRNN the LSTM takes, by processor."""


def on(model: str, factor: float, seeds: range = range(3), speed: float = 1.0, **changes: Any) -> list[Rows]:
    """Both cells on one machine, with noise of about 1 % that repeats."""
    return [
        run(
            Case(cell=cell, seed=seed),
            machine={**MACHINE, "cpu_model": model},
            campaign=f"on {model}",
            epoch_seconds=(9.0, speed * times * (1 + 0.01 * ((seed + (cell == "lstm")) % 3 - 1))),
            **{"accuracy": 0.9 + 0.01 * seed, "loss": 0.3 + 0.01 * seed + (0.001 if cell == "lstm" else 0), **changes},
        )
        for seed in seeds
        for cell, times in (("simple_rnn", 1.0), ("lstm", factor))
    ]


def everywhere(**changes: Any) -> list[Rows]:
    return [
        rows
        for number, (model, factor) in enumerate(FACTORS.items())
        for rows in on(model, factor, speed=10.0**number, **changes)
    ]


def grouped(runs: list[Rows]) -> OverMachines:
    (group,) = over_machines(summarise(frame(*runs)))
    return group


def told(sections: tuple[Section, ...]) -> str:
    return render_markdown(table_document(sections))


def test_a_ratio_is_measured_within_each_machine_and_combined_over_them() -> None:
    group = grouped(everywhere())
    assert len(group.sections) == 4
    by_cell = {row.configuration.cell: row for row in group.rows}
    assert by_cell["simple_rnn"].ratio is None
    ratio = by_cell["lstm"].ratio
    assert ratio is not None
    # machines differ in speed by a factor of a thousand, which is in no ratio
    assert sorted(round(estimate.value, 1) for estimate in ratio.by_machine.values()) == sorted(FACTORS.values())
    assert ratio.estimate.n == 4
    assert ratio.estimate.value == pytest.approx(2.46, abs=0.02)
    assert ratio.estimate.interval is not None
    assert ratio.expected is not None
    assert ratio.expected.low < ratio.estimate.interval.low < 2.1 < 2.9 < ratio.estimate.interval.high
    assert ratio.estimate.interval.high < ratio.expected.high
    assert ratio.spread_fraction == pytest.approx(0.13, abs=0.01)


def test_the_spread_between_machines_is_a_finding() -> None:
    text = told(summarise(frame(*everywhere())))
    assert "across 4 machines" in text
    assert "lstm ÷ SimpleRNN is 2.10 to 2.90 over 4 machines; beyond what their runs vary by they differ by 13" in text
    assert "Equal seeds gave equal test losses on all machines (6 seeds compared)." in text
    assert text.count("| Fictional 9000 · 2 cores · 16 GiB (") >= 1


def test_a_heading_is_broken_only_where_closer_columns_do_not_help() -> None:
    document = table_document(summarise(frame(*everywhere())))
    for width in range(92, 112, 2):
        (head,) = (line for line in render_text(document, width).splitlines() if "on each" in line)
        assert head.startswith("configuration"), width


def test_machines_that_differ_by_no_more_than_their_runs_do_are_said_to() -> None:
    text = told(summarise(frame(*on("A", 2.4), *on("B", 2.4))))
    assert "lstm ÷ SimpleRNN is 2.40 over 2 machines; their runs vary as much." in text
    assert "Of two machines nothing follows for a third." in text


def test_a_cell_that_is_faster_on_some_machines_is_told_so() -> None:
    assert ": slower on some, faster on others; beyond" in told(summarise(frame(*on("A", 0.8), *on("B", 1.3))))


def test_one_machine_is_as_it_was() -> None:
    sections = summarise(frame(*on("A", 2.4)))
    assert over_machines(sections) == ()
    assert "over_machines" not in table_data(sections)
    assert "across" not in told(sections)


def test_other_software_or_data_are_not_taken_together() -> None:
    other = {**SOFTWARE, "numpy": "2.4.6"}
    assert over_machines(summarise(frame(*on("A", 2.4), *on("B", 2.4, software=other)))) == ()
    assert over_machines(summarise(frame(*on("A", 2.4), *on("B", 2.4, data="d2")))) == ()


def test_scores_are_over_the_seeds_of_all_machines() -> None:
    group = grouped([*on("A", 2.4, range(3)), *on("B", 2.4, range(2, 5))])
    (score,) = {row.score for row in group.rows}
    assert score is not None
    assert score.n == 5
    assert score.value == pytest.approx(0.92)
    scores = group.rows[0].scores
    assert scores is not None
    assert scores.low == pytest.approx(0.91)
    assert scores.high == pytest.approx(0.93)


def test_equal_seeds_are_compared_within_a_kind_of_machine_and_across() -> None:
    again = [
        [{**row, "run_id": f"again {row['run_id']}", "campaign_id": "again"} for row in rows] for rows in on("A", 2.4)
    ]
    group = grouped([*on("A", 2.4), *again, *on("B", 2.4, loss=0.5)])
    assert (group.alike.equal, group.alike.compared) == (6, 6)
    assert (group.across.equal, group.across.compared) == (0, 6)
    text = told(summarise(frame(*on("A", 2.4), *on("B", 2.4, loss=0.5))))
    assert "6 of 6 seeds gave another test loss on another machine" in text

    differing = [
        [{**row, "loss": 0.123 if row["phase"] == "evaluate" else row["loss"]} for row in rows] for rows in again
    ]
    runs = [*on("A", 2.4), *differing, *on("B", 2.4)]
    group = grouped(runs)
    assert (group.alike.equal, group.alike.compared) == (0, 6)
    assert "On machines of one fingerprint 6 of 6 seeds gave another test loss" in told(summarise(frame(*runs)))


def test_a_machine_without_the_reference_is_in_no_ratio() -> None:
    lstm_alone = [rows for rows in on("B", 2.4) if rows[0]["cell"] == "lstm"]
    (row,) = [row for row in grouped([*on("A", 2.4), *lstm_alone]).rows if row.configuration.cell == "lstm"]
    assert (row.machines, row.ratio) == (2, None)


def test_programs_get_the_same_as_people() -> None:
    sections = summarise(frame(*everywhere()))
    (data,) = table_data(sections)["over_machines"]
    (lstm,) = [row for row in data["rows"] if row["cell"] == "lstm"]
    assert lstm["ratio_to_simple_rnn"]["n"] == 4
    assert set(lstm["ratio_to_simple_rnn"]["by_machine"]) == set(data["machine_fingerprints"])
    assert data["equal_seeds_across_machines"] == {"equal": 6, "compared": 6}
    json.dumps(data, allow_nan=False)


def test_a_task_without_a_score_has_none_over_machines_either() -> None:
    sections = tuple(
        replace(section, rows=tuple(replace(row, estimates={}) for row in section.rows))
        for section in summarise(frame(*everywhere(accuracy=float("nan"))))
    )
    (group,) = over_machines(sections)
    assert {row.score for row in group.rows} == {None}
    assert "–" in told(sections)
