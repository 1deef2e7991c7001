"""What `scripts/record_layout.py` recorded: how much a process's speed varies under each setting of its memory.

    python -m scripts.layout_table results/reference/duels/layout.json

All processes of a group are alive at once and take turns, so what the machine does to their speed they have in common.
What is left is each process's own: its memory, its threads. From the differences of the settings' processes, group by
group, follows how much of it each setting has (Grubbs, 1948, *J. Am. Stat. Assoc.* 43, 243).
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

from bench.analysis.stats import mean_t
from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown
from scripts.record_layout import ANCHOR_NAME, CELLS, SETTINGS, Setting

Floats = npt.NDArray[np.float64]
Groups = Sequence[Mapping[str, Any]]

REDRAWN = 1000


def log_steps(groups: Groups, settings: Sequence[Setting], cell: str) -> Floats:
    """The logarithm of a step's CPU time, the median over a process's turns, by group of a cell and by setting."""
    return np.array(
        [
            [np.median(_log_turns(group["turns"][setting.name])) for setting in settings]
            for group in groups
            if group["cell"] == cell
        ]
    )


def _log_turns(turns: Sequence[Sequence[float]]) -> Floats:
    seconds, cores = np.array(turns)[:, :2].T
    logs: Floats = np.log(seconds * cores)
    return logs


def own_variances(logs: Floats) -> Floats:
    """Of each column the variance that it has not in common with the others: Grubbs's estimate, which may be negative.

    Args:
        logs: by group and setting, of three settings and more.
    """
    settings = logs.shape[1]
    differences = np.var(logs[:, :, np.newaxis] - logs[:, np.newaxis, :], axis=0, ddof=1)
    of_each = differences.sum(axis=1)
    variances: Floats = (of_each - of_each.sum() / (2 * (settings - 1))) / (settings - 2)
    return variances


def pooled_deviations(by_cell: Sequence[Floats]) -> Floats:
    """Of each setting its processes' own standard deviation, pooled over the cells; 0 where the estimate is below."""
    variances: Floats = np.mean([own_variances(logs) for logs in by_cell], axis=0)
    deviations: Floats = np.sqrt(np.maximum(variances, 0.0))
    return deviations


def intervals(by_cell: Sequence[Floats], confidence: float, seed: int = 1) -> Floats:
    """The intervals of those deviations, by their ends and by setting: the groups of each cell drawn again.

    Args:
        by_cell: the logarithms of each cell, by group and setting.
        confidence: the intervals' coverage (percentiles).
        seed: of what is drawn.
    """
    generator = np.random.default_rng(seed)
    redrawn = [
        pooled_deviations([logs[generator.integers(len(logs), size=len(logs))] for logs in by_cell])
        for _ in range(REDRAWN)
    ]
    ends: Floats = np.quantile(redrawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return ends


def layout_table(groups: Groups, settings: Sequence[Setting] = SETTINGS) -> str:
    """In markdown, a setting a line: the median step beside the first setting's, and the processes' own spread.

    The intervals of a column hold together with 95 % (Bonferroni).

    Args:
        groups: that were recorded.
        settings: of those, three and more.
    """
    by_cell = [log_steps(groups, settings, cell) for cell in CELLS]
    deviations, confidence = pooled_deviations(by_cell), 1 - 0.05 / len(settings)
    lows, highs = intervals(by_cell, confidence)
    every = np.concatenate(by_cell)
    lines: list[tuple[str, ...]] = []
    for place, setting in enumerate(settings):
        step = "1"
        if place:
            estimate = mean_t(list(every[:, place] - every[:, 0]), confidence)
            step = f"{math.exp(estimate.value):.3f}"
            if estimate.interval:
                step += f" ({math.exp(estimate.interval.low):.3f} to {math.exp(estimate.interval.high):.3f})"
        started = [
            group["ready_seconds"][setting.name]
            + (group["server_seconds"][setting.name] if setting.fresh_server else 0.0)
            for group in groups
        ]
        huge = [group["huge_fraction"][setting.name] for group in groups]
        spread = f"{100 * deviations[place]:.1f} % ({100 * lows[place]:.1f} to {100 * highs[place]:.1f})"
        lines.append((setting.name, step, spread, f"{np.mean(started):.1f} s", f"{100 * np.median(huge):.0f} %"))
    return _table(("setting", "step", "spread of its own", "CPU to start", "huge pages"), lines)


def common_table(groups: Groups, settings: Sequence[Setting] = SETTINGS) -> str:
    """In markdown, a cell a line: how much from group to group is common to all settings' processes, and the anchor's.

    Args:
        groups: that were recorded.
        settings: of those.
    """
    lines = []
    for cell in CELLS:
        anchors = [np.median(_log_turns(group["turns"][ANCHOR_NAME])) for group in groups if group["cell"] == cell]
        logs = log_steps(groups, settings, cell)
        spreads = (float(values.std(ddof=1)) for values in (logs.mean(axis=1), np.array(anchors)))
        lines.append((cell, str(len(logs)), *(f"{100 * spread:.1f} %" for spread in spreads)))
    return _table(("cell", "groups", "in common", "the anchor"), lines)


def busy(groups: Groups) -> str:
    """How many groups there are, and how busy the machine was, in words."""
    rows = [row for group in groups for turns in group["turns"].values() for row in turns]
    low, median, high = np.quantile([group["load"] for group in groups], [0, 0.5, 1])
    minutes = sum(group["seconds"] for group in groups) / 60
    return (
        f"{len(groups)} groups in {minutes:.0f} minutes; load {median:.1f} ({low:.1f} to {high:.1f}), others used "
        f"{np.mean([row[3] for row in rows]):.2f} cores"
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
    print(f"{busy(groups)}\n\n{layout_table(groups)}\n{common_table(groups)}", end="")


if __name__ == "__main__":
    main()
