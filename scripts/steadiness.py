"""What `scripts/record_steadiness.py` recorded: how steady each setting makes the steps of equal processes.

python -m scripts.steadiness results/reference/duels/steadiness.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from bench.analysis.stats import mean_t
from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown
from scripts.record_steadiness import ANCHOR_NAME, CELLS, EXPERIMENTS, Experiment, Setting

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Processes:
    """What the processes of a setting did, an element a process, those of one cell after the other."""

    logs: Floats
    """Natural logarithm of the median step over the anchor's."""
    cells: npt.NDArray[np.str_]
    within: Floats
    """How a process's turns scatter about their median: 1.48 times the median distance of logarithms."""
    cores: Floats
    waited: Floats
    others: Floats
    """Means over the turns, per second."""
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


def processes(groups: Sequence[Mapping[str, Any]], setting: Setting, *, by_cpu_time: bool = False) -> Processes:
    """The processes of one setting.

    Args:
        groups: of one experiment.
        setting: of the experiment.
        by_cpu_time: whether a step is the process's CPU time, or else its wall time.
    """
    ordered = sorted(groups, key=lambda group: CELLS.index(group["cell"]))
    turns = [np.array(group["turns"][setting.name]) for group in ordered]
    logs, anchors = (
        [_log_steps(group["turns"][name], by_cpu_time) for group in ordered] for name in (setting.name, ANCHOR_NAME)
    )
    return Processes(
        logs=np.array([np.median(log) - np.median(anchor) for log, anchor in zip(logs, anchors, strict=True)]),
        cells=np.array([group["cell"] for group in ordered]),
        within=np.array([1.4826 * np.median(np.abs(log - np.median(log))) for log in logs]),
        cores=np.array([of_process[:, 1].mean() for of_process in turns]),
        waited=np.array([of_process[:, 2].mean() for of_process in turns]),
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


def _log_steps(turns: Sequence[Sequence[float]], by_cpu_time: bool) -> Floats:
    """The logarithms of the seconds of a step, or of its CPU seconds, turn by turn."""
    seconds, cores = np.array(turns)[:, :2].T
    logs: Floats = np.log(seconds * cores if by_cpu_time else seconds)
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


def experiment_table(groups: Sequence[Mapping[str, Any]], experiment: Experiment) -> str:
    """In markdown, a setting a line: the median step and the spread beside the first setting's, with intervals.

    The intervals of a column hold together with 95 % (Bonferroni).

    Args:
        groups: of this experiment.
        experiment: its settings.
    """
    confidence = 1 - 0.05 / (len(experiment.settings) - 1)
    base = processes(groups, experiment.settings[0], by_cpu_time=experiment.by_cpu_time)
    lines: list[tuple[str, ...]] = []
    for setting in experiment.settings:
        here = processes(groups, setting, by_cpu_time=experiment.by_cpu_time)
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
                f"{here.cores.mean():.2f}",
                f"{100 * here.waited.mean():.0f} %",
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
        "cores used",
        "waited",
        "CPU to start",
        "huge pages",
    )
    return _table(heads, lines)


def cores_table(groups: Sequence[Mapping[str, Any]], setting: Setting) -> str:
    """In markdown: what the turns of a setting took, by how many cores they used; medians beside the process's own.

    Args:
        groups: of one experiment.
        setting: of the experiment.
    """
    lines = []
    edges = (0.0, 1.2, 1.5, math.inf)
    for cell in CELLS:
        rows = []
        for group in groups:
            if group["cell"] == cell:
                turns = np.array(group["turns"][setting.name])
                cpu = turns[:, 0] * turns[:, 1]
                relative = turns[:, 0] / np.median(turns[:, 0]), cpu / np.median(cpu)
                rows.append(np.column_stack([turns, *relative]))
        all_turns = np.concatenate(rows)
        for low, high in itertools.pairwise(edges):
            chosen = all_turns[(all_turns[:, 1] >= low) & (all_turns[:, 1] < high)]
            if len(chosen):
                words = (
                    f"fewer than {high:g}"
                    if not low
                    else f"{low:g} to {high:g}"
                    if high < math.inf
                    else f"{low:g} or more"
                )
                lines.append(
                    (
                        cell,
                        words,
                        f"{100 * len(chosen) / len(all_turns):.0f} %",
                        f"{np.median(chosen[:, 4]):.2f}",
                        f"{np.median(chosen[:, 5]):.2f}",
                        f"{100 * chosen[:, 2].mean():.0f} %",
                        f"{chosen[:, 3].mean():.2f}",
                    )
                )
    return _table(("cell", "cores used", "turns", "time", "CPU time", "waited", "cores used by others"), lines)


def followed_table(groups: Sequence[Mapping[str, Any]], setting: Setting) -> str:
    """In markdown: by how much a cell's CPU time follows the anchor's from group to group, with 95 %.

    Args:
        groups: of one experiment.
        setting: of the experiment.
    """
    here = processes(groups, setting, by_cpu_time=True)
    lines: list[tuple[str, ...]] = []
    ordered = sorted(groups, key=lambda group: CELLS.index(group["cell"]))
    anchors = np.array([np.median(_log_steps(group["turns"][ANCHOR_NAME], True)) for group in ordered])
    for cell in CELLS:
        x, y = (values[here.cells == cell] for values in (anchors, here.logs + anchors))
        x, y = x - x.mean(), y - y.mean()
        slope = float(x @ y / (x @ x))
        error = math.sqrt(float(((y - slope * x) ** 2).sum()) / (len(x) - 2) / float(x @ x))
        half = float(stdtrit(len(x) - 2, 0.975)) * error
        lines.append((cell, f"{100 * x.std(ddof=1):.1f} %", f"{slope:.2f} ({slope - half:.2f} to {slope + half:.2f})"))
    return _table(("cell", "the anchor varies by", "the cell follows by"), lines)


def tables(kept: Mapping[str, Any]) -> str:
    """All tables of a recording, each under a line that says what it is and how busy the machine was."""
    parts = []
    for name, experiment in EXPERIMENTS.items():
        groups = [group for group in kept["groups"] if group["experiment"] == name]
        if len(groups) < 3 * len(CELLS):  # a slope takes three of each cell
            continue
        first = experiment.settings[0]
        others = np.array([processes(groups, setting).others.mean() for setting in experiment.settings])
        loads = np.quantile([group["load"] for group in groups], [0, 0.5, 1])
        minutes = sum(group["seconds"] for group in groups) / 60
        parts.append(
            f"{name}: {len(groups)} groups in {minutes:.0f} min; load {loads[1]:.1f} ({loads[0]:.1f} to "
            f"{loads[2]:.1f}), others used {others.mean():.2f} cores\n\n{experiment_table(groups, experiment)}"
        )
        if first.threads == 0:
            parts.append(f"turns of: {first.name}\n\n{cores_table(groups, first)}")
        else:
            steady = experiment.settings[-2]
            parts.append(f"with {steady.name}\n\n{followed_table(groups, steady)}")
    return "\n".join(parts)


def _table(heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    columns = tuple(Column(head, left=head in ("setting", "cell")) for head in heads)
    return render_markdown(Document((Table(columns, tuple(rows)),)))


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    print(tables(json.loads(arguments.file.read_text())), end="")


if __name__ == "__main__":
    main()
