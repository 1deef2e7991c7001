"""What rows are ranked by, by the kind of target: accuracy, error, or nothing; and never over sizes of the data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from bench.analysis.claims import ClaimVerdict, judge_claims
from bench.analysis.leaders import best_scoring, pareto
from bench.analysis.summary import Section, summarise
from bench.catalog import tasks
from bench.core.case import Case
from bench.core.claim import read_claims
from bench.report.columns import comparison_table
from bench.report.document import Figure, FigureNotDrawn
from bench.report.figures import FIGURES, draw
from bench.report.measured import Measured
from bench.report.recommendation import exchange, recommendation
from bench.report.section_notes import notes
from tests.support.frames import CELLS, frame, notebook_like, run

_LOSS = {"simple_rnn": 0.167, "lstm": 0.02, "gru": 0.003}


def observed(task: str, sizes: tuple[dict[str, Any], ...] = ({},), **changes: Any) -> pd.DataFrame:
    """Five seeds of each cell at each size; errors of numbers, or accuracies that nobody should see."""
    several = []
    for size in sizes:
        for cell in CELLS:
            for seed in range(5):
                case = Case(cell=cell, task=task, seed=seed, **size)
                rows = run(case, **notebook_like(cell, seed), data=f"content {size}")
                several.append([_of_task(row, tasks.of(case), cell, seed) | changes for row in rows])
    return frame(*several)


def _of_task(row: dict[str, Any], task: tasks.Task, cell: str, seed: int) -> dict[str, Any]:
    row = {**row, "task_json": tasks.to_json(task)}
    if not task.target.is_class:
        row["r2"] = 1 - 6 * _LOSS[cell]
        if row["phase"] in ("evaluate", "validate"):
            error = _LOSS[cell] * (1 + 0.01 * seed)
            row |= {"accuracy": None, "loss": error, "mae": error / 2}
    return row if task.scored else {**row, "accuracy": None, "loss": None}


def one(observations: pd.DataFrame) -> Section:
    (section,) = summarise(observations)
    return section


def test_numbers_are_ranked_by_their_error() -> None:
    section = one(observed("adding"))
    best = best_scoring(section)
    assert best is not None
    assert (best.row.cell, best.clear) == ("gru", True)
    assert [row.cell for row in pareto(section)] == ["simple_rnn", "lstm", "gru"]
    lowest, _, trade = recommendation(section)
    assert lowest.startswith("Lowest mean squared error: gru, with 0.0031 ± ")
    assert trade.startswith("Best trade: your choice; gru gives −0.1673 of mean squared error (95 % −0.1")
    assert "accura" not in " ".join([*recommendation(section), *exchange(section), *notes(section)]).lower()
    assert exchange(section)[0].startswith("simple_rnn to lstm: −0.1499 of mean squared error for 2.")
    heads = [column.head for column in comparison_table(section).columns]
    assert [head for head in heads if head in ("accuracy %", "loss", "MAE", "R²")] == ["loss", "MAE", "R²"]
    assert any("a loss of 0.1667 is that of always giving the mean" in note for note in notes(section))
    assert judge_claims(section) == ()  # the notebook says nothing about numbers
    (claim,) = judge_claims(replace(section, claims=read_claims(["loss: gru < lstm < simple_rnn"], "a test")))
    assert claim.verdict is ClaimVerdict.HOLDS


def test_noise_is_never_ranked() -> None:
    section = one(observed("noise"))
    assert best_scoring(section) is None
    assert pareto(section) == ()
    said = [*recommendation(section), *notes(section), *(claim.text for claim in judge_claims(section))]
    assert not any("accura" in text.lower() or "loss" in text for text in said)
    assert [column.head for column in comparison_table(section).columns][:3] == ["cell", "parameters", "s/epoch"]
    assert any("noise is for speed alone" in note for note in notes(section))


def test_data_of_one_recipe_in_several_sizes_are_one_section_that_is_ranked_by_size() -> None:
    section = one(observed("adding", ({"steps": 100}, {"steps": 200})))
    assert section.axes == ("steps",)
    assert list(section.by_size) == ["steps=100", "steps=200"]
    sentences = recommendation(section)
    assert [sentence.partition(". ")[0] for sentence in sentences] == ["steps=100"] * 3 + ["steps=200"] * 3
    assert "against every other row" in sentences[0]
    assert len(exchange(section)) == 4


def test_another_version_of_a_recipe_is_another_section() -> None:
    before = observed("adding")
    task = tasks.of(Case(cell="gru", task="adding"))
    assert task.recipe is not None
    later = tasks.to_json(replace(task, recipe=replace(task.recipe, version=2)))
    after = observed("adding", task_json=later)
    after["run_id"] = [f"again {name}" for name in after["run_id"]]
    assert len(summarise(pd.concat([before, after]))) == 2


@pytest.mark.parametrize("name", ["accuracy_against_time", "learning_curves", "time_to_accuracy"])
@pytest.mark.parametrize("task", ["adding", "noise"])
def test_figures_name_what_they_are_about(task: str, name: str) -> None:
    observations = observed(task)
    drawn = draw(name, Measured.of(observations), one(observations))
    assert name in FIGURES
    if task == "noise":
        assert isinstance(drawn, FigureNotDrawn)
        assert drawn.reason == "the task noise is for speed alone: nothing is there to be learnt"
    elif name == "time_to_accuracy":
        assert isinstance(drawn, FigureNotDrawn)
        assert drawn.reason == "the targets of adding are numbers: there is no accuracy to reach"
    else:
        assert isinstance(drawn, Figure)
        assert "mean squared error" in drawn.title
        assert "accuracy" not in drawn.title + drawn.caption + drawn.alt
