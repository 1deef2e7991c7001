"""bench.report.measured: what a report is made from."""

from __future__ import annotations

import pandas as pd
import pytest

from bench.core.case import Case
from bench.report.measured import Measured
from tests.support.frames import MACHINE, frame, run


def test_two_versions_of_a_users_cell_show_no_runs_of_each_other() -> None:
    versions = [run(Case(cell="my:cell"), campaign=source, cells=source) for source in ("v1", "v2")]
    measured = Measured.of(frame(*versions))
    shown = {section.code_digest: list(measured.runs_of(section)["campaign_id"]) for section in measured.sections}
    assert shown == {"v1": ["v1"], "v2": ["v2"]}


def test_the_runs_of_a_section_are_those_that_its_rows_count_failed_ones_too() -> None:
    far = {**MACHINE, "usable_cores": 64}
    measured = Measured.of(
        frame(
            run(Case(cell="gru")),
            run(Case(cell="lstm"), status="failed", error="boom"),
            run(Case(cell="gru"), campaign="c2", machine=far),
            run(Case(cell="gru"), campaign="c3", data="d2"),
            run(Case(cell="my:cell"), campaign="c4", cells="v1"),
        )
    )
    assert len(measured.sections) == 4
    for section in measured.sections:
        counted = {record.run_id for row in section.rows for record in (*row.runs, *row.failed)}
        assert set(measured.runs_of(section)["run_id"]) == counted


def test_a_section_needs_its_columns() -> None:
    with pytest.raises(KeyError):
        Measured.of(pd.DataFrame({"run_id": ["1"], "phase": ["run"], "test_predictions": [None]}))
