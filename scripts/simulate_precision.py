"""Simulated campaigns that stop when their intervals are narrow enough: how often these hold the truth.

    python -m scripts.simulate_precision results/reference/mnist_rows_family_25 \\
        --out results/reference/duels/precision.json

A campaign adds blocks and stops by `bench.analysis.precision.PrecisionTarget`, whose own rule is applied here to all
campaigns at once (`tests/test_reference_precision.py` holds both to each other). Its values are drawn from a store's:

- `normal`: normal values with the store's means, spreads and correlations, of all cells together;
- `resampled`: the store's blocks themselves, drawn with replacement. Ten values have a shape of their own, skewed and
  with ties, that Student's t does not suit at few values; so the coverage of the table's intervals at a fixed number
  of blocks, as many as campaigns took in the mean, stands beside.

Each figure is of one interval whose own width stopped the campaign, which is the hardest case; `all together` are
campaigns that stopped when the last of six intervals was narrow enough. The file holds the store's values too.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from bench.analysis.precision import FEWEST_BLOCKS, widening
from bench.analysis.stats import CONFIDENCE, median_runs
from bench.analysis.summary import summarise
from bench.core.metrics import METRICS
from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown
from bench.store.reader import load
from scripts.simulate_duels import fraction

Floats = npt.NDArray[np.float64]

TARGETS = {"accuracy": (0.008, 0.004, 0.002), "train_seconds": (0.06, 0.03)}
"""Half-widths: points of accuracy as fractions, and fractions of a time."""
TOGETHER = {"accuracy": 0.004, "train_seconds": 0.06}
MOST_BLOCKS = 250
_SEED = 17


def values_of(store: Path) -> dict[str, list[float]]:
    """A store's values by cell and metric (`gru accuracy`), block by block."""
    (section,) = summarise(load([store]))
    return {
        f"{row.cell} {metric}": [
            figure
            for run in sorted(row.runs, key=lambda run: (run.seed, run.repeat))
            if (figure := run.figure(metric)) is not None
        ]
        for row in section.rows
        for metric in TARGETS
    }


class Campaigns:
    """Simulated campaigns of one population: each variable's values, and its interval after every number of blocks."""

    def __init__(self, values: Mapping[str, Sequence[float]], drawn: str, campaigns: int) -> None:
        """`drawn`: "normal" or "resampled"."""
        generator = np.random.default_rng(_SEED)
        self.names, self.drawn = list(values), drawn
        blocks = np.array([values[name] for name in self.names]).T
        if drawn == "resampled":
            sample = blocks[generator.integers(0, len(blocks), (campaigns, MOST_BLOCKS))]
        else:
            sample = generator.multivariate_normal(
                blocks.mean(axis=0), np.atleast_2d(np.cov(blocks.T)), (campaigns, MOST_BLOCKS)
            )
        self.sample = {name: sample[..., index] for index, name in enumerate(self.names)}
        self.truths = {
            name: float(np.median(column) if _is_median(name) and drawn == "resampled" else column.mean())
            for name, column in zip(self.names, blocks.T, strict=True)
        }
        self._intervals: dict[str, tuple[Floats, Floats, Floats]] = {}

    def intervals(self, name: str) -> tuple[Floats, Floats, Floats]:
        """Estimates and both ends of the table's intervals: campaigns × blocks each."""
        if name not in self._intervals:
            self._intervals[name] = (_medians if _is_median(name) else _means)(self.sample[name])
        return self._intervals[name]

    def half_widths(self, name: str) -> Floats:
        """Of the intervals while measuring: fractions of a time, points of an accuracy. Campaigns × blocks."""
        centre, low, high = self.intervals(name)
        halves: Floats = self._widening(name) * (high - low) / 2
        return halves / centre if METRICS[name.split()[1]].as_ratio else halves

    def stopped(self, targets: Mapping[str, float]) -> npt.NDArray[np.intp]:
        """The index of the block after which each campaign stops: the first where all these are narrow enough."""
        ready = np.logical_and.reduce([self.half_widths(name) <= target for name, target in targets.items()])
        ready[:, : FEWEST_BLOCKS - 1] = False
        ready[:, -1] = True
        first: npt.NDArray[np.intp] = ready.argmax(axis=1)
        return first

    def coverage(self, name: str, at: npt.NDArray[np.intp], *, widened: bool) -> dict[str, float | int]:
        """In how many the interval after these blocks holds the truth: while measuring, or as the table has it."""
        which = np.arange(len(at)), at
        centre, low, high = (each[which] for each in self.intervals(name))
        wider = self._widening(name)[at] if widened else 1.0
        truth = self.truths[name]
        held = (centre - wider * (centre - low) <= truth) & (truth <= centre + wider * (high - centre))
        return fraction(int(held.sum()), len(at))

    def _widening(self, name: str) -> Floats:
        return np.array([widening(n, METRICS[name.split()[1]]) for n in range(1, MOST_BLOCKS + 1)])


def _is_median(name: str) -> bool:
    return METRICS[name.split()[1]].replicate == "run"


def _means(sample: Floats) -> tuple[Floats, Floats, Floats]:
    """`bench.analysis.stats.mean_t` of the first 1, 2, … values of each row."""
    n = np.arange(1, sample.shape[1] + 1)
    shift = sample.mean()
    centred = sample - shift
    mean = centred.cumsum(axis=1) / n
    squares = np.maximum((centred**2).cumsum(axis=1) - n * mean**2, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        half = stdtrit(n - 1.0, (1 + CONFIDENCE) / 2) * np.sqrt(squares / (n - 1) / n)
    half[:, 0] = math.inf
    return mean + shift, mean + shift - half, mean + shift + half


def _medians(sample: Floats) -> tuple[Floats, Floats, Floats]:
    """`bench.analysis.stats.median_runs` of the first values of each row, from `FEWEST_BLOCKS` on."""
    centre, low, high = (np.full_like(sample, math.nan) for _ in range(3))
    for n in range(FEWEST_BLOCKS, sample.shape[1] + 1):
        kept = np.sort(sample[:, :n], axis=1)
        ranks = median_runs(range(n)).interval  # of the values 0, 1, … the interval is that of their ranks
        assert ranks is not None
        centre[:, n - 1] = np.median(kept, axis=1)
        low[:, n - 1], high[:, n - 1] = kept[:, int(ranks.low)], kept[:, int(ranks.high)]
    return centre, low, high


def simulate(values: Mapping[str, Sequence[float]], campaigns: int) -> list[dict[str, Any]]:
    """A row for each kind of draw, variable and target, and for all of them together.

    Args:
        values: a store's (`values_of`).
        campaigns: how many to simulate of each.
    """
    rows = []
    for drawn in ("normal", "resampled"):
        simulated = Campaigns(values, drawn, campaigns)
        together = {name: TOGETHER[name.split()[1]] for name in simulated.names}
        for name in simulated.names:
            rows += [_row(simulated, name, {name: target}) for target in TARGETS[name.split()[1]]]
            rows.append(_row(simulated, name, together))
    return rows


def _row(simulated: Campaigns, name: str, targets: Mapping[str, float]) -> dict[str, Any]:
    at = simulated.stopped(targets)
    blocks = float(at.mean()) + 1
    return {
        "drawn": simulated.drawn,
        "of": name,
        "half_width": targets[name],
        "all_together": len(targets) > 1,
        "blocks": blocks,
        "reached": fraction(int((at < MOST_BLOCKS - 1).sum()), len(at)),
        "while_measuring": simulated.coverage(name, at, widened=True),
        "in_the_table": simulated.coverage(name, at, widened=False),
        "fixed_blocks": simulated.coverage(name, np.full_like(at, round(blocks) - 1), widened=False),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The coverages in markdown, a line for each target that took more than the fewest blocks."""
    heads = ["values", "", "stopped by", "blocks", "coverage", "table's", "table's, fixed blocks"]
    cells = []
    for row in rows:
        if round(row["blocks"]) == FEWEST_BLOCKS:
            continue
        accuracy = row["of"].endswith("accuracy")
        stopped_by = f"± {100 * row['half_width']:g} {'points' if accuracy else '%'}"
        cells.append(
            [
                row["drawn"],
                row["of"].replace("train_seconds", "s/epoch"),
                "all six" if row["all_together"] else stopped_by,
                f"{row['blocks']:.0f}",
                *(f"{100 * row[key]['share']:.1f} %" for key in ("while_measuring", "in_the_table", "fixed_blocks")),
            ]
        )
    columns = tuple(Column(head, left=index < 2) for index, head in enumerate(heads))
    return render_markdown(Document((Table(columns, tuple(map(tuple, cells))),)))


def main() -> None:
    """Simulate, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--campaigns", type=int, default=10_000)
    arguments = parser.parse_args()
    values = values_of(arguments.store)
    rows = simulate(values, arguments.campaigns)
    content = {
        "what": "simulated campaigns that stop when precise; see scripts/simulate_precision.py",
        "fewest_blocks": FEWEST_BLOCKS,
        "most_blocks": MOST_BLOCKS,
        "values": values,
        "rows": rows,
    }
    arguments.out.write_text(json.dumps(content, indent=1) + "\n")
    print(table(rows), end="")


if __name__ == "__main__":
    main()
