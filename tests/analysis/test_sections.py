"""bench.analysis.sections: which runs may stand in one table; two versions of users' code may not."""

from __future__ import annotations

import json

import pandas as pd

from bench.analysis.sections import code_digests, section_keys
from bench.analysis.summary import summarise
from bench.core.case import Case
from tests.support.frames import Rows, frame, run

CELL = Case(cell="my:cell")


def digests(*runs: Rows) -> list[str]:
    observed = frame(*runs)
    observed["started_at"] += pd.to_timedelta(observed.groupby("run_id", sort=False).ngroup(), unit="s")
    return code_digests(observed.drop_duplicates("run_id"))


def test_a_helper_that_the_cell_imports_is_part_of_its_identity() -> None:
    first, second = (
        run(CELL, campaign=name, code={"my": "1", "helper": content}, cells="same")
        for name, content in (("c1", "1"), ("c2", "2"))
    )
    assert len(set(digests(first, second))) == 2
    assert len(summarise(frame(first, second))) == 2


def test_the_same_content_at_another_place_is_the_same_code() -> None:
    runs = (run(CELL, campaign=name, code={"my": "1"}) for name in ("c1", "c2"))
    assert len(set(digests(*runs))) == 1


def test_a_built_in_cell_stands_in_the_section_of_the_users_cell_beside_it() -> None:
    runs = run(Case(cell="gru"), code={}), run(CELL, code={"my": "1"}), run(Case(cell="lstm"), code={})
    assert len(set(digests(*runs))) == 1
    (section,) = summarise(frame(*runs))
    assert {row.cell for row in section.rows} == {"gru", "lstm", "my:cell"}
    assert digests(run(Case(cell="gru"), code={})) == [""]


def test_a_file_that_was_edited_in_the_middle_of_a_campaign_splits_it() -> None:
    """Whatever let it go on: two programs are never averaged."""
    runs = [run(Case(cell="my:cell", seed=seed), code={"my": "1", "helper": "old"}) for seed in (0, 1)]
    runs += [run(Case(cell="my:cell", seed=2), code={"my": "1", "helper": "new"}), run(Case(cell="gru"), code={})]
    before, before_too, after, built_in = digests(*runs)
    assert before == before_too == built_in
    assert after != before


def test_a_run_that_failed_before_it_recorded_its_code_belongs_to_its_campaign() -> None:
    runs = run(CELL, code={"my": "1"}), run(Case(cell="my:cell", seed=1), status="failed", error="boom")
    assert len(set(digests(*runs))) == 1


def test_older_runs_are_told_apart_by_the_source_of_their_cells() -> None:
    runs = run(CELL, campaign="c1", cells="aaaa"), run(CELL, campaign="c2", cells="bbbb"), run(CELL, campaign="c3")
    assert digests(*runs) == ["aaaa", "bbbb", ""]


def test_a_record_that_bench_did_not_write_decides_nothing() -> None:
    observed = frame(run(CELL, code={"my": "1"}, cells="aaaa"))
    observed["code_json"] = pd.Categorical(['{"not": "ours"}'] * len(observed))
    (key,) = section_keys(observed.drop_duplicates("run_id"), observed)
    assert key.code_digest == "aaaa"


def test_a_section_does_not_depend_on_the_order_in_which_a_store_gives_its_runs() -> None:
    """Folding changes that order: facts that contradict each other, and data that a failed run may have read, stay."""
    runs = [run(Case(cell="gru", seed=seed), data=f"d{seed % 2}") for seed in range(6)]
    for number, rows in enumerate(runs):
        for row in rows:
            row["machine_json"] = json.dumps({"cpu_model": number})
            row["started_at"] += pd.Timedelta(number // 2, "s")
    runs.append(run(Case(cell="gru", seed=7), status="failed", error="boom", data=None))
    sections = [
        [
            (section.key, section.machine, [row.estimates for row in section.rows])
            for section in summarise(frame(*order))
        ]
        for order in (runs, runs[::-1], runs[3:] + runs[:3])
    ]
    assert sections[0] == sections[1] == sections[2]
    assert len(sections[0]) == 2
