"""The two speeds of TensorFlow's epochs: how often they are slow, by how much, and with how many cores.

    python -m scripts.epoch_speeds results/reference/duels/epochs.csv
    python -m scripts.epoch_speeds results/reference/duels/epochs.csv --record STORE STORE …

`--record` adds the epochs from 2 on of stores. An epoch is *slow* here where it used less than four fifths of the cores
that its configuration mostly uses (the upper quartile over its epochs): its times are not what decides. It ended near
a *pass* of the thread that tunes its iterator (`scripts/record_autotune.py`) where its seconds are 10 (2ⁿ − 1) ms, or
up to 15 % less: an iterator is made before an epoch's clock starts, and before the validation between.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown
from bench.store.reader import load
from scripts.record_autotune import NEAR, pass_before

SLOW = 0.8
"""The fraction of the configuration's usual cores below which an epoch is slow."""

JUST_BEFORE = 0.85
"""An epoch's seconds over those of the next pass, at least, where it ended near that."""

CONFIGURATION = ["threads", "cell", "steps"]
_COLUMNS = [*CONFIGURATION, "run_id", "epoch", "seconds", "cpu_seconds"]


def epochs_of(store: Path) -> pd.DataFrame:
    """The epochs from 2 on of a store's runs that ended well, a row each, in the order in which they ran."""
    frame = load([store], phases=["train"], columns=[*_COLUMNS, "phase", "status", "started_at"])
    kept = frame[(frame["epoch"] > 1) & (frame["status"] == "ok") & (frame["phase"] == "train")]
    ordered = kept.sort_values(["started_at", "epoch"])[_COLUMNS]
    return ordered.round({"seconds": 4, "cpu_seconds": 4}).astype({"epoch": int})


def table(epochs: pd.DataFrame) -> str:
    """In markdown, a configuration a line."""
    rows = []
    for key, of_case in epochs.groupby(CONFIGURATION, sort=True):
        threads, cell, steps = map(str, key)
        cores = of_case["cpu_seconds"] / of_case["seconds"]
        is_slow = cores < SLOW * cores.quantile(0.75)
        fast, slow = of_case[~is_slow], of_case[is_slow]
        passes = slow["seconds"].map(lambda seconds: seconds / pass_before(seconds))
        near = (passes < NEAR) | (passes > 2 * JUST_BEFORE)
        seconds, cpu = ([part[name].median() for part in (fast, slow)] for name in ("seconds", "cpu_seconds"))
        rows.append(
            (
                "a core each" if threads == "0" else threads,
                cell,
                steps,
                f"{len(slow)} of {len(of_case)}",
                _both(seconds),
                _both(cpu),
                _both([cores[~is_slow].median(), cores[is_slow].median()]),
                f"{near.sum()} of {len(slow)}",
            )
        )
    heads = ("threads", "cell", "steps", "slow epochs", "s, fast → slow", "CPU s", "cores used", "slow, near a pass")
    columns = tuple(Column(head, left=head in ("threads", "cell")) for head in heads)
    return render_markdown(Document((Table(columns, tuple(rows)),)))


def _both(values: list[float]) -> str:
    return " → ".join("–" if value != value else f"{value:.2f}" for value in values)


def main() -> None:
    """Add epochs, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--record", type=Path, nargs="+", metavar="STORE", default=[])
    arguments = parser.parse_args()
    if arguments.record:
        frames = [pd.read_csv(arguments.file)] if arguments.file.exists() else []
        frames += [epochs_of(store) for store in arguments.record]
        pd.concat(frames).drop_duplicates(["run_id", "epoch"]).to_csv(arguments.file, index=False)
    print(table(pd.read_csv(arguments.file)), end="")


if __name__ == "__main__":
    main()
