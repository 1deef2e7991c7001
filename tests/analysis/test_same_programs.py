"""Two versions of the users' code that executed the same programs are one; what isn't shown to be stays apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.analysis.same_programs import executed_programs
from bench.analysis.summary import summarise
from bench.core.case import Case
from bench.report.html import render_html
from bench.report.measured import Measured
from bench.report.page import report_document
from bench.report.table import table_document
from bench.report.text import render_text
from tests.support.frames import Rows, frame, run

CELL = Case(cell="my:cell")
GENERIC = {"train": {"a": "generic"}}


def a_run(version: str, seed: int = 0, case: Case = CELL, **figures: Any) -> Rows:
    """A run of a version of the code, in a campaign of its own."""
    facts = {"campaign": version, "code": {"my": version}, "program": "p", "evidence": GENERIC, "loss": 0.25 + seed}
    return run(replace(case, seed=seed), **{**facts, **figures})


def versions(*runs: Rows) -> list[int]:
    """How many versions of the code each section holds."""
    return sorted(len(section.code_versions) for section in summarise(frame(*runs)))


def test_an_unrelated_function_in_the_file_does_not_split_the_table() -> None:
    runs = [a_run(version, seed) for version in ("old", "new") for seed in (0, 1)]
    (section,) = summarise(frame(*runs))
    (row,) = section.rows
    assert len(row.runs) == 4
    assert len(section.code_versions) == 2
    shown = " ".join(render_text(table_document([section]), 200).split())
    both = " and ".join(section.code_versions)
    assert f"users' code {both}" in shown
    assert f"The versions {both} of the users' code execute the same programs" in shown
    measured = Measured.of(frame(*runs))
    assert len(measured.runs_of(section)) == 4
    assert ", ".join(section.code_versions) in render_html(report_document(measured))


@pytest.mark.parametrize(
    "new",
    [
        {"program": "q"},
        {"program": None},
        {"loss": 0.25000000000000006},
        {"evidence": {}},
        {"evidence": {"train": {"a": "opaque"}}},
        {"evidence": {"train": {"a": "mixed"}}},
        {"seed": 1},
        {"case": replace(CELL, backend="torch")},
        {"case": replace(CELL, runtime="torch.nn")},
        {"case": replace(CELL, units=64)},
        {"status": "failed"},
    ],
)
def test_what_is_not_shown_to_be_one_program_stays_apart(new: dict[str, Any]) -> None:
    old = {"case": new["case"]} if "case" in new and new["case"].units != 64 else {}
    assert versions(a_run("old", **old), a_run("new", **new)) == [1, 1]


def test_a_configuration_that_differs_keeps_all_apart() -> None:
    wide = replace(CELL, units=256)
    runs = [a_run("old"), a_run("old", case=wide), a_run("new"), a_run("new", case=wide, program="another")]
    assert versions(*runs) == [1, 1]
    assert versions(*runs[:3]) == [2]  # what only one of them measured says nothing against it


def test_a_version_joins_only_those_that_it_agrees_with_all() -> None:
    wide = replace(CELL, units=256)
    first = [a_run("first"), a_run("first", case=wide)]
    second, third = [a_run("second")], [a_run("third"), a_run("third", case=wide, program="another")]
    assert versions(*first, *second, *third) == [1, 2]


def test_a_seed_that_gives_two_losses_is_no_evidence() -> None:
    runs = [a_run("old"), a_run("new"), a_run("new", case=replace(CELL, repeat=1), loss=9.0)]
    assert versions(*runs) == [1, 1]


def test_several_environments_are_joined_each_by_itself() -> None:
    other: dict[str, Any] = {"machine": {"cpu_model": "another"}}
    runs = [a_run("old"), a_run("new"), a_run("old", 1, **other), a_run("new", 1, program="q", **other)]
    assert versions(*runs) == [1, 1, 2]


def test_damaged_evidence_is_none() -> None:
    assert executed_programs("", "tensorflow") is None
    assert executed_programs("[]", "tensorflow") is None
    assert executed_programs('{"train": {"a": {"kernel": "generic", "artefact": "p"}}}', "unheard of") is None
    assert executed_programs('{"train": {"a": {"kernel": "generic", "artefact": "p"}}}', "jax") == (("train", "p"),)
