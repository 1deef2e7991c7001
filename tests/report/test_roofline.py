"""What the table shows of the roofline."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.cells import cell_len

from bench.analysis.summary import summarise
from bench.catalog.networks import NETWORKS, arithmetic
from bench.catalog.tasks import TASKS
from bench.core.case import Case
from tests.support.ceilings import CEILINGS
from tests.support.frames import Rows, frame, run
from tests.support.rendering import table_in


def timed(cell: str, seconds: float) -> Rows:
    rows = run(Case(cell=cell), epoch_seconds=(9.0, seconds))
    flops = arithmetic(NETWORKS["notebook"], {"lstm": 4, "gru": 3}[cell], 128, TASKS["mnist"])
    changed = {"forward_flops_per_sample": flops.forward, "training_flops_per_sample": flops.training}
    return [{**row, **changed} for row in rows]


def test_the_table_shows_the_efficiency_where_ceilings_of_this_machine_and_software_are_known() -> None:
    observed = frame(timed("lstm", 4000 * 0.027 / 32), timed("gru", 5.0))
    machine, software = observed["machine_fingerprint"].iloc[0], observed["software_fingerprint"].iloc[0]
    here = replace(CEILINGS, machine_fingerprint=machine, software_fingerprint=software)
    for width in (80, 160):
        text = table_in(summarise(observed, ceilings={here.key: here}), "text", width)
        assert max(map(cell_len, text.splitlines())) <= width
        (line,) = [row for row in text.splitlines() if row.startswith("lstm") and "%" in row]
        assert line.split() == ["lstm", "generic", "41.1", "41.1", "%", "43.4", "%", "241"]
        (line,) = [row for row in text.splitlines() if row.startswith("gru") and "–" in row and "generic" in row][-1:]
        assert line.split()[2:] == ["20.8", "–", "–", "357"]
        assert "how near training comes" in text
    assert "| lstm | generic | 41.1 | 41.1 % | 43.4 % | 241 |" in table_in(
        summarise(observed, ceilings={here.key: here}), "md"
    )
    assert "Roofline" not in table_in(
        summarise(observed, ceilings={CEILINGS.key: CEILINGS}), "text"
    )  # of another machine
    rows = json.loads(table_in(summarise(observed), "json"))["sections"][0]["rows"]
    assert rows[0]["limits"]["flops_per_second"] == pytest.approx(41.08e9, rel=1e-3)
    assert rows[0]["limits"]["peak_fraction"] is None
