"""What `scripts/record_layout.py` recorded: how much a process's speed varies under each setting of its memory.

python -m scripts.layout_table results/reference/duels/layout.json
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.analysis.stats import mean_t
from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown
from scripts.record_layout import ANCHOR_NAME, CELLS, SETTINGS, Setting

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Processes:
    """What the processes of a setting did, an element a process, those of one cell after the other."""

    logs: Floats
    """Natural logarithm of the median step's CPU time over the anchor's."""
    cells: npt.NDArray[np.str_]
    within: Floats
    """How a process's turns scatter about their median: 1.48 times the median distance of logarithms."""
    others: Floats
    """Cores that others used meanwhile, in the mean over the turns."""
    cpu_seconds: Floats
    """CPU time until the first turn, its part of a server's import included."""
    huge: Floats

    def spread(self, chosen: npt.NDArray[np.intp] | None = None) -> float:
        """The standard deviation between processes of a cell, pooled over the cells.

        Args:
            chosen: places of those that count, some perhaps twice; None for all.
        """
        logs, cells = (self.logs, self.cells) if chosen is None else (self.logs[chosen], self.cells[chosen])
        squares = [logs[cells == cell] - logs[cells == cell].mean() for cell in np.unique(cells)]
        left = np.concatenate(squares)
        return float(math.sqrt((left**2).sum() / max(1, len(left) - len(squares))))


def processes(groups: Sequence[Mapping[str, Any]], setting: Setting) -> Processes:
    """The processes of one setting."""
    ordered = sorted(groups, key=lambda group: CELLS.index(group["cell"]))
    turns = [np.array(group["turns"][setting.name]) for group in ordered]
    logs, anchors = ([_log_steps(group["turns"][name]) for group in ordered] for name in (setting.name, ANCHOR_NAME))
    return Processes(
        logs=np.array([np.median(log) - np.median(anchor) for log, anchor in zip(logs, anchors, strict=True)]),
        cells=np.array([group["cell"] for group in ordered]),
        within=np.array([1.4826 * np.median(np.abs(log - np.median(log))) for log in logs]),
        others=np.array([of_process[:, 3].mean() for of_process in turns]),
        cpu_seconds=np.array(
            [
                group["ready_seconds"][setting.name]
                + (group["server_seconds"][setting.name] if setting.fresh_server else 0.0)
                for group in ordered
            ]
        ),
        huge=np.array([group["huge_fraction"][setting.name] for group in ordered]),
    )


def _log_steps(turns: Sequence[Sequence[float]]) -> Floats:
    """The logarithms of a step's CPU seconds, turn by turn."""
    seconds, cores = np.array(turns)[:, :2].T
    logs: Floats = np.log(seconds * cores)
    return logs


def bootstrap(base: Processes, new: Processes, confidence: float, seed: int = 1) -> tuple[float, float]:
    """The interval of the ratio of two settings' spreads, the groups of each cell drawn again (percentiles).

    Args:
        base: of the setting that is compared with.
        new: of the other, in the same groups.
        confidence: the interval's coverage.
        seed: of what is drawn.
    """
    generator = np.random.default_rng(seed)
    places = [np.flatnonzero(base.cells == cell) for cell in np.unique(base.cells)]
    ratios = []
    for _ in range(1000):
        chosen = np.concatenate([generator.choice(of_cell, len(of_cell)) for of_cell in places])
        below = base.spread(chosen)
        ratios.append(new.spread(chosen) / below if below else math.nan)
    low, high = np.nanquantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def layout_table(groups: Sequence[Mapping[str, Any]], settings: Sequence[Setting] = SETTINGS) -> str:
    """In markdown, a setting a line: the median step and the spread beside the first setting's, with intervals.

    The intervals of a column hold together with 95 % (Bonferroni).
    """
    confidence = 1 - 0.05 / (len(settings) - 1)
    base = processes(groups, settings[0])
    lines: list[tuple[str, ...]] = []
    for setting in settings:
        here = processes(groups, setting)
        step, spread = "1", "1"
        if lines:
            estimate = mean_t(here.logs - base.logs, confidence)
            step = f"{math.exp(estimate.value):.2f}"
            if estimate.interval:
                step += f" ({math.exp(estimate.interval.low):.2f} to {math.exp(estimate.interval.high):.2f})"
            low, high = bootstrap(base, here, confidence)
            spread = f"{here.spread() / base.spread():.2f} ({low:.2f} to {high:.2f})"
        by_cell = ", ".join(f"{100 * np.std(here.logs[here.cells == cell], ddof=1):.1f}" for cell in CELLS)
        lines.append(
            (
                setting.name,
                step,
                f"{100 * here.spread():.1f} % ({by_cell})",
                spread,
                f"{100 * np.median(here.within):.1f} %",
                f"{here.cpu_seconds.mean():.1f} s",
                f"{100 * np.median(here.huge):.0f} %",
            )
        )
    heads = (
        "setting",
        "step",
        f"spread between processes ({', '.join(CELLS)})",
        "beside the first",
        "within a process",
        "CPU to start",
        "huge pages",
    )
    return _table(heads, lines)


def busy(groups: Sequence[Mapping[str, Any]]) -> str:
    """How many groups there are, and how busy the machine was, in words."""
    others = np.mean([processes(groups, setting).others.mean() for setting in SETTINGS])
    low, median, high = np.quantile([group["load"] for group in groups], [0, 0.5, 1])
    minutes = sum(group["seconds"] for group in groups) / 60
    return (
        f"{len(groups)} groups in {minutes:.0f} minutes; load {median:.1f} ({low:.1f} to {high:.1f}), others used "
        f"{others:.2f} cores"
    )


def _table(heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    columns = tuple(Column(head, left=head in ("setting", "cell")) for head in heads)
    return render_markdown(Document((Table(columns, tuple(rows)),)))


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    groups = json.loads(arguments.file.read_text())["groups"]
    print(f"{busy(groups)}\n\n{layout_table(groups)}", end="")


if __name__ == "__main__":
    main()
