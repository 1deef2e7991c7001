"""Every sentence of a section against its table, over random stores: one estimate is one number."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.analysis.leaders import best_scoring, fastest_to_train, least_memory
from bench.analysis.pairs import all_pairs
from bench.analysis.rows import Row, difference_between, ratio_between
from bench.analysis.summary import Section, summarise
from bench.core.case import Case
from bench.core.units import significant
from bench.report.figures import accuracy_against_time, learning_curves, peak_memory, training_seconds
from bench.report.recommendation import exchange, recommendation
from bench.report.values import row_label
from tests.support.frames import CELLS, Rows, frame, run


@st.composite
def stores(draw: st.DrawFn) -> list[Rows]:
    """Some cells over some seeds, close or far apart, with runs that failed, repeats, other campaigns and epochs."""
    cells = draw(st.lists(st.sampled_from((*CELLS, "my:cell")), min_size=1, max_size=4, unique=True))
    observed = []
    for cell in cells:
        accuracy, seconds = draw(st.floats(0.5, 0.99)), draw(st.floats(1, 50))
        epochs, memory = draw(st.sampled_from((2, 2, 2, 4))), draw(st.sampled_from((1e8, 1e8, 3e8)))
        campaign = draw(st.sampled_from(("c1", "c1", "c1", "c2")))
        spread = draw(st.sampled_from((0.0, 0.001, 0.2)))
        for seed in draw(st.lists(st.integers(0, 4), min_size=1, max_size=4, unique=True)):
            wobble = draw(st.floats(-1, 1))
            figures: dict[str, Any] = {
                "accuracy": round(min(1.0, max(0.0, accuracy + spread * wobble)), 3),
                "memory_bytes": int(memory * (1 + spread * wobble)),
                "epoch_seconds": (seconds * 2, *(seconds * (1 + spread * wobble),) * (epochs - 1)),
            }
            if draw(st.integers(0, 9)) == 0:
                figures = {"status": "failed", "error": "boom"}
            observed.append(run(Case(cell=cell, seed=seed, epochs=epochs), campaign=campaign, **figures))
    return observed


def named(section: Section) -> dict[str, Row]:
    return {row_label(row): row for row in section.rows}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stores())
def test_no_sentence_denies_the_table_or_another_sentence(observed: list[Rows]) -> None:
    (section,) = summarise(frame(*observed))
    rows, sentences = named(section), recommendation(section)
    accurate, quick = best_scoring(section), fastest_to_train(section)
    (trade,) = [text for text in sentences if text.startswith("Best trade")] or [""]
    certain = {text.partition(":")[0]: text for text in sentences if "is on its side" in text}

    # a superlative needs something to be compared with, and an interval
    for what, leader in (("Most accurate", accurate), ("Fastest to train", quick)):
        assert (what in certain) == (leader is not None and leader.clear)
        if leader is not None and not leader.compared:
            assert any(text.startswith(f"{what}: only ") for text in sentences)
    if accurate and quick and not accurate.compared and not quick.compared:
        assert not trade
    assert ("is both" in trade) <= (len(certain) >= 2)

    # what is missing is missing: no verdict rests on it
    if "no seed in common" in trade or "no seed and no block" in trade:
        assert "Most accurate" not in certain
    if "no block in common" in trade:
        assert "Fastest to train" not in certain

    # one estimate, one number
    stated = re.match(r".*; (.+) gives ([+−][\d.]+) points.* for ([\d.]+) times.* the training time of (.+)\.$", trade)
    steps = [
        re.match(r"(.+) to (.+): ([+−][\d.]+) points for ([\d.]+) × the time$", step) for step in exchange(section)
    ]
    for step in steps:
        assert step
        cheap, dear = rows[step[1]], rows[step[2]]
        epochs = dear.configuration.epochs / cheap.configuration.epochs
        assert step[3].replace("−", "-") == f"{100 * difference_between(dear, cheap, 'accuracy').value:+.2f}"
        assert step[4] == significant(ratio_between(dear, cheap).value * epochs)
        if stated and (stated[1], stated[4]) == (step[2], step[1]):
            assert (stated[2], stated[3]) == (step[3], step[4])
    for pair in all_pairs(section).pairs:
        if pair.metric.name == "train_seconds" and pair.against.cell == "simple_rnn" and pair.row.ratio:
            assert pair.change.value == pytest.approx(pair.row.ratio.value)

    # the titles of the figures follow the verdicts
    if quick:
        title = training_seconds._title(quick)
        assert ("trains fastest" in title) == quick.clear == ("Fastest to train" in certain)
        assert ("can't be distinguished" in title) == bool(quick.rivals)
    if accurate:
        finals = [
            (row_label(row), row.configuration.epochs, 100 * row.estimates["accuracy"].value)
            for row in section.rows
            if "accuracy" in row.estimates
        ]
        title = learning_curves._title(section, finals)
        assert ("the highest" in title) == accurate.clear == ("Most accurate" in certain)
        assert ("not yet certain" in title) == (not accurate.clear and len(finals) > 1)
        assert row_label(accurate.row) in title or not accurate.clear
    least = least_memory(section)
    if least is not None:
        title = peak_memory._title(section)
        assert ("the least memory" in title) == least.clear
        assert ("can't be distinguished" in title) == bool(least.rivals)
    front = [row for row in section.rows if row.estimates.keys() >= {"accuracy", "train_seconds"}]
    if front:
        assert ("not yet certain" not in accuracy_against_time._title(section, front)) == (len(certain) >= 2)
