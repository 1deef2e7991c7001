"""The committed epochs of two speeds, held to the docs; and a made-up configuration of which all is known."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from scripts import record_autotune
from scripts.epoch_speeds import table

ROOT = Path(__file__).parents[1]


def test_the_docs_show_what_the_epochs_show() -> None:
    epochs = pd.read_csv(ROOT / "results" / "reference" / "duels" / "epochs.csv")
    assert len(epochs) == 810
    assert table(epochs) in (ROOT / "docs" / "how-sure.md").read_text()


def test_epochs_are_slow_by_the_cores_that_they_used_and_not_by_their_times() -> None:
    """Every third epoch uses half of the cores; and one does twice the work, on as many cores as the rest."""
    rows = [
        {
            "threads": 1,
            "cell": "lstm",
            "steps": 100,
            "run_id": f"run{run}",
            "epoch": epoch,
            "seconds": 1.0,
            "cpu_seconds": 1.0,
        }
        for run in range(2)
        for epoch in range(2, 8)
    ]
    epochs = pd.DataFrame(rows)
    epochs.loc[epochs["epoch"] % 3 == 0, "seconds"] = 2.0
    epochs.loc[epochs["epoch"] == 7, ["seconds", "cpu_seconds"]] = 2.0
    cells = [cell.strip() for cell in table(epochs).splitlines()[-1].split("|")]
    assert cells[4:] == ["4 of 12", "1.00 → 2.00", "1.00 → 1.00", "1.00 → 0.50", "0 of 4", ""]
    epochs.loc[epochs["epoch"] == 3, "seconds"] = 2.5  # just before a pass, after 2.55 s
    assert [cell.strip() for cell in table(epochs).splitlines()[-1].split("|")][8] == "2 of 4"


def test_an_epoch_that_waited_ended_at_a_pass_and_the_docs_show_the_experiment() -> None:
    epochs = pd.read_csv(ROOT / "results" / "reference" / "duels" / "autotune.csv")
    assert record_autotune.table(epochs) in (ROOT / "docs" / "how-sure.md").read_text()
    waited = epochs[epochs["after_seconds"] > record_autotune.WAITED * epochs["seconds"]]
    assert waited["tuned"].all()
    for seconds in waited["seconds"]:
        assert 1 <= seconds / record_autotune.pass_before(seconds) < record_autotune.NEAR


@pytest.mark.parametrize(("seconds", "last"), [(0.011, 0.01), (0.03, 0.03), (2.6, 2.55), (5.1, 2.55), (41.0, 40.95)])
def test_passes_come_after_ever_twice_as_long(seconds: float, last: float) -> None:
    assert record_autotune.pass_before(seconds) == pytest.approx(last)
