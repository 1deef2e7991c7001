"""The committed epochs of two speeds, held to the docs; and a made-up configuration of which all is known."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

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
    assert cells[4:10] == ["4 of 12", "1.00 → 2.00", "1.00 → 1.00", "1.00 → 0.50", "0.050", "0 %"]
    assert cells[10] == "67 %"
