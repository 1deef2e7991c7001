"""Simulated comparisons of two stores by a step's time over the anchor's: how many verdicts are right, how many wrong.

    python -m scripts.simulate_anchor results/reference/duels/anchored.json
    python -m scripts.simulate_anchor results/reference/duels/anchored.json --record STORE STORE …

`--record` adds the process groups of stores' interleaved measurements (`bench run --interleave`) to the recording. A
comparison is of three cells, and each is judged by `bench.analysis.findings` itself, as one of the twelve intervals of
a gate. The groups of either store are drawn with replacement from those recorded, each as it lay about
the mean of its cell and session, scaled to the standard deviation that a scenario gives. To these is added what a day
between the stores may do: the machine becomes slower or faster as a whole, and a cell follows it by its sensitivity, of
which the anchor's is 1; and the ratio differs between two sessions though the anchor does not ("unseen").
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.analysis.findings import PendingFinding
from bench.analysis.matching import ComparisonEnvironment
from bench.analysis.occasions import AnchoredDrift, apart, measured_drift
from bench.analysis.promises import FindingRuns, RunCounts
from bench.analysis.samples import Reading, make_sample
from bench.analysis.verdict import Verdict
from bench.core.case import Case
from bench.core.metrics import METRICS
from bench.duel.interleaved_cells import load_interleaved
from bench.plan.gate import Gate
from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown
from scripts.simulate_duels import fraction

METRIC = METRICS["step_over_anchor"]
CELLS, INTERVALS = 3, 12
DAY, GROUP = 86_400.0, 33.0
WRONG = (Verdict.SLOWER, Verdict.FASTER)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What two stores are measured with, and what lies between them."""

    groups: int = 18
    """Process groups of a store: three cells have 18 in ten minutes."""
    spread: float = 0.015
    """The standard deviation of a group's log-ratio."""
    drift: float = 0.0
    """The standard deviation of the machine's speed from one store to another."""
    sensitivity: float = 1.0
    """By how much a cell's time follows the machine's, beside the anchor's."""
    neighbours: float = 0.0
    """The standard deviation of the machine's speed from one group to the next."""
    to_neighbours: float | None = None
    """By how much a cell's time follows that; None: as it follows what lies between the stores."""
    unseen: float = 0.0
    """The standard deviation of a ratio from one store to another, though the anchor is the same."""
    nights: int = 0
    """Earlier stores of the base's code, a day apart."""
    slower: float = 0.0
    """What the new side is slower by in truth."""


def _scenarios() -> dict[str, Scenario]:
    given = {}
    for groups, spread in ((8, 0.045), (18, 0.03), (72, 0.03), (18, 0.015), (18, 0.005), (18, 0.0025)):
        for slower in (0.0, 0.05, 0.1, 0.2):
            words = f"{groups} groups of {100 * spread:g} %{f', {100 * slower:g} % slower' if slower else ''}"
            given[words] = Scenario(groups=groups, spread=spread, slower=slower)
    for drift in (0.03, 0.08):
        for sensitivity in (0.85, 0.7, 1.3):
            place = Scenario(drift=drift, sensitivity=sensitivity)
            words = f"18 groups of 1.5 %, drift of {100 * drift:.0f} %, sensitivity {sensitivity}"
            given[words] = place
            if sensitivity == 0.85:
                given[f"{words}, 5 % slower"] = replace(place, slower=0.05)
                given[f"{words}, 10 nights before"] = replace(place, nights=10)
    for sensitivity in (2.0, 3.0):
        place = Scenario(drift=0.02, neighbours=0.02, sensitivity=sensitivity)
        words = f"18 groups of 1.5 %, drift of 2 % between stores and groups, sensitivity {sensitivity:g}"
        given[words] = place
        given[f"{words}, 5 % slower"] = replace(place, slower=0.05)
    for drift in (0.01, 0.03):
        place = Scenario(drift=drift, neighbours=0.02, to_neighbours=3.0)
        given[f"18 groups of 1.5 %, drift of {100 * drift:.0f} % between stores, sensitivity 3 to groups alone"] = place
    for unseen in (0.005, 0.01, 0.02):
        place = Scenario(unseen=unseen)
        given[f"18 groups of 1.5 %, unseen {100 * unseen:g} %"] = place
        given[f"18 groups of 1.5 %, unseen {100 * unseen:g} %, 10 nights before"] = replace(place, nights=10)
    return given


SCENARIOS = _scenarios()


# --- the recording ---


def record(file: Path, stores: Sequence[Path]) -> None:
    """Add the process groups of stores to the recording, a session for each of their measurements."""
    sessions: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for (case, campaign_id), figures in load_interleaved(stores).items():
        session = sessions.setdefault(campaign_id, {"anchor": figures.anchor, "cells": {}})
        session["started_at"] = min(session.get("started_at", math.inf), *(g.started_at for g in figures.groups))
        session["cells"][case.cell] = [
            {"log_ratio": round(group.log_ratio, 6), "anchor_seconds": float(f"{group.anchor_seconds:.6g}")}
            for group in figures.groups
        ]
    file.write_text(json.dumps(sessions, indent=1) + "\n")


def residuals(sessions: Mapping[str, Any]) -> Floats:
    """How the groups' log-ratios lie about the mean of their cell and session, of standard deviation 1."""
    standard = []
    for session in sessions.values():
        for groups in session["cells"].values():
            logs = np.array([group["log_ratio"] for group in groups])
            if len(logs) > 2:
                standard.append((logs - logs.mean()) / logs.std())
    return np.concatenate(standard)


# --- comparisons ---


def verdicts(scenario: Scenario, noise: Floats, generator: np.random.Generator) -> list[Verdict]:
    """The verdicts on the cells of one comparison."""
    speeds = scenario.drift * generator.normal(size=scenario.nights + 2)
    return [_verdict(scenario, noise, speeds, generator) for _ in range(CELLS)]


def _verdict(scenario: Scenario, noise: Floats, speeds: Floats, generator: np.random.Generator) -> Verdict:
    stores = [_drawn(scenario, noise, number, float(speed), generator) for number, speed in enumerate(speeds)]
    *nights, new = stores
    return verdict_between([reading for night in nights for reading in night], new)


def verdict_between(base: Sequence[Reading], new: Sequence[Reading]) -> Verdict:
    """The verdict on a cell, as one of a gate's `INTERVALS`.

    Args:
        base: process groups of the base's stores.
        new: those of the new side's.
    """
    sample = make_sample(METRIC, new, base)
    drift = measured_drift([base], apart(base, new)) or AnchoredDrift.between(base, new)
    finding = PendingFinding(
        configuration=Case(cell="lstm"),
        environment=ComparisonEnvironment(),
        metric=METRIC,
        detail="",
        sample=replace(sample, drift=drift),
        same_runs=False,
        runs=FindingRuns(base=RunCounts(), new=RunCounts()),
        remarks=(),
    )
    return finding.judged(Gate(), 1 - 0.05 / INTERVALS).verdict


def _drawn(
    scenario: Scenario, noise: Floats, number: int, speed: float, generator: np.random.Generator
) -> list[Reading]:
    """The process groups of a store; the last one is the new side's."""
    is_new = number == scenario.nights + 1
    offset = scenario.unseen * generator.normal() + (math.log1p(scenario.slower) if is_new else 0.0)
    logs = offset + scenario.spread * generator.choice(noise, scenario.groups)
    anchors = np.exp(speed + 0.01 * generator.normal(size=scenario.groups))
    of_groups = scenario.neighbours * generator.normal(size=scenario.groups) if scenario.neighbours else 0.0
    followed = scenario.sensitivity if scenario.to_neighbours is None else scenario.to_neighbours
    logs = logs + (scenario.sensitivity - 1) * speed + (followed - 1) * of_groups
    anchors = anchors * np.exp(of_groups)
    return [
        Reading(0, math.exp(log), number * DAY + GROUP * place, str(number), 0, float(anchor), anchor_is_trained=True)
        for place, (log, anchor) in enumerate(zip(logs, anchors, strict=True))
    ]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Of so many comparisons of all cells."""

    comparisons: int
    all_same: int
    """Those in which every cell is `same`."""
    all_slower: int
    any_wrong: int
    """Those with a verdict that isn't true: `slower` or `faster` of equal sides, `faster` or `same` of one that is
    slower."""


def counted(scenario: Scenario, noise: Floats, comparisons: int, seed: int) -> Counts:
    """How the comparisons end.

    Args:
        scenario: what is compared.
        noise: what groups vary by, of standard deviation 1.
        comparisons: how many.
        seed: of what is drawn.
    """
    generator = np.random.default_rng(seed)
    ended = [Counter(verdicts(scenario, noise, generator)) for _ in range(comparisons)]
    wrong = (Verdict.FASTER, Verdict.SAME) if scenario.slower else WRONG
    return Counts(
        comparisons=comparisons,
        all_same=sum(of_all[Verdict.SAME] == CELLS for of_all in ended),
        all_slower=sum(of_all[Verdict.SLOWER] == CELLS for of_all in ended),
        any_wrong=sum(any(of_all[each] for each in wrong) for of_all in ended),
    )


def main() -> None:
    """Record, or simulate each scenario and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--record", type=Path, nargs="+", metavar="STORE", default=[])
    parser.add_argument("--comparisons", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20261127)
    arguments = parser.parse_args()
    if arguments.record:
        record(arguments.recording, arguments.record)
        return
    sessions = json.loads(arguments.recording.read_text())
    noise = residuals(sessions)
    print(_table(("session", "cell", "groups", "sd of a group"), _spreads(sessions)))
    rows = []
    for name, scenario in SCENARIOS.items():
        counts = counted(scenario, noise, arguments.comparisons, arguments.seed)
        rate = fraction(counts.any_wrong, counts.comparisons)
        rows.append(
            (
                name,
                f"{100 * counts.all_same / counts.comparisons:.1f} %",
                f"{100 * counts.all_slower / counts.comparisons:.1f} %",
                f"{100 * rate['share']:.1f} % ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})",
            )
        )
    print(_table(("two stores", "all three same", "all three slower", "any wrong"), rows))


def _spreads(sessions: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (name[:8], cell, str(len(groups)), f"{100 * float(np.std([g['log_ratio'] for g in groups], ddof=1)):.1f} %")
        for name, session in sessions.items()
        for cell, groups in session["cells"].items()
    ]


def _table(heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    columns = tuple(Column(head, left=head == heads[0]) for head in heads)
    return render_markdown(Document((Table(columns, tuple(rows)),)))


if __name__ == "__main__":
    main()
