"""Simulated duels, drawn from recorded rounds: how often they err, and what they find in how many minutes.

    python -m scripts.simulate_duels results/reference/duels/recording --out results/reference/duels \\
        --figure docs/duel-power.svg

The earlier half of each cell's recorded pairs is there to choose by: it prints, for several numbers of rounds a pair,
how much the pairs' ratios vary and how narrow ten minutes would make the interval. The later half is judged on: 2,000
duels with equal sides, and as many at each injected slowdown (B's timed batches made longer by exactly that). Each of
them is `bench.duel.procedure.measure_until_settled` itself, with pairs drawn from the recording on a clock of their
own.

Writes `duels.csv` (a row a duel), `duels.json` (the rates, with Clopper-Pearson intervals) and the figure. All of it is
conditional on the recording: another machine has another noise.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from bench.analysis.stats import mean_t
from bench.duel.procedure import measure_until_settled
from bench.duel.rounds import group_log_ratio
from bench.duel.sequential import MARGINS, Contrast, Question
from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown
from scripts.recordings import ABOUT, RECORDED_ROUNDS, Recorded, Replay, Silent, halves, machines, read

SLOWDOWNS = (0.0, 0.01, 0.02, 0.05, 0.10)
_COLOURS = ("#000000", "#e69f00", "#009e73", "#0072b2", "#d55e00")
"""Of Okabe and Ito's palette, which the colour-blind can tell apart."""


def fraction(hits: int, of: int) -> dict[str, float | int]:
    """A fraction, with its 95 % interval by Clopper and Pearson (1934)."""
    low = float(betaincinv(hits, of - hits + 1, 0.025)) if hits else 0.0
    high = float(betaincinv(hits + 1, of - hits, 0.975)) if hits < of else 1.0
    return {"hits": hits, "of": of, "share": hits / of, "low": low, "high": high}


def explore(recording: dict[str, list[Recorded]], budget_seconds: float) -> list[dict[str, Any]]:
    """By cell and number of rounds: the spread of the pairs' log-ratios, and the standard error after the budget."""
    rows = []
    for cell, pairs in recording.items():
        for rounds in (4, 8, 12, 16, 24, 32, 48, 64):
            shortened = [pair.shortened(rounds) for pair in pairs if len(pair.rounds) >= rounds]
            if not shortened:
                continue
            by_mean, by_walsh = zip(*(_others(pair) for pair in shortened), strict=True)
            ratios = [r for r in (group_log_ratio(pair.rounds, 0, 1) for pair in shortened) if r is not None]
            if len(ratios) < 2:
                continue
            seconds = statistics.mean(pair.seconds for pair in shortened)
            spread, robust = (
                statistics.stdev(ratios),
                1.4826 * float(np.median(np.abs(np.array(ratios) - np.median(ratios)))),
            )
            mean = mean_t(ratios)
            rows.append(
                {
                    "cell": cell,
                    "turns": rounds,
                    "pairs": len(ratios),
                    "pair_seconds": seconds,
                    "mean_percent": 100 * mean.value,
                    "mean_low_percent": 100 * mean.interval.low if mean.interval else None,
                    "mean_high_percent": 100 * mean.interval.high if mean.interval else None,
                    "sd_percent": 100 * spread,
                    "robust_sd_percent": 100 * robust,
                    "sd_of_means_percent": 100 * statistics.stdev(by_mean),
                    "sd_of_hodges_lehmann_percent": 100 * statistics.stdev(by_walsh),
                    "standard_error_after_budget_percent": 100 * spread / math.sqrt(budget_seconds / seconds),
                }
            )
    return rows


def _others(pair: Recorded) -> tuple[float, float]:
    """The mean of a pair's log-ratios, and Hodges and Lehmann's estimate, which the pair's own estimate is to beat."""
    ratios = [math.log(b / a) for a, b in zip(pair.times(0), pair.times(1), strict=True)]
    return statistics.mean(ratios), statistics.median((a + b) / 2 for a, b in combinations_with_replacement(ratios, 2))


def simulate(
    pairs: dict[str, list[Recorded]], slowdown: float, number: int, rounds: int, budget_seconds: float
) -> list[dict[str, Any]]:
    """So many duels, the cells in turn."""
    cells = sorted(pairs)
    shortened = {cell: [pair.shortened(rounds) for pair in recorded] for cell, recorded in pairs.items()}
    slowed = {
        cell: [(pair.slowed(slowdown), pair.swapped().slowed(slowdown)) for pair in recorded]
        for cell, recorded in shortened.items()
    }
    question = Question(contrasts=(Contrast(0, 1),), margins=MARGINS, budget_seconds=budget_seconds)
    rows = []
    for index in range(number):
        cell = cells[index % len(cells)]
        replay = Replay(slowed[cell], f"{slowdown}/{index}")
        result = measure_until_settled(replay, Silent(), question, rounds=rounds, clock=replay.clock)
        (stopped,) = result.analyses.values()
        rows.append(
            {
                "slowdown": slowdown,
                "duel": index,
                "cell": cell,
                "verdict": stopped.verdict.value,
                "minutes": result.seconds / 60,
                "pairs": stopped.groups,
                "ratio": stopped.ratio,
                "low": stopped.low,
                "high": stopped.high,
            }
        )
    return rows


def rates(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """For each slowdown: the fraction of each verdict, and of those reached within 3 and within 10 minutes."""
    rows = []
    for slowdown in SLOWDOWNS:
        duels = frame[frame["slowdown"] == slowdown]
        row: dict[str, Any] = {"slowdown": slowdown}
        for verdict in ("same", "slower", "faster", "inconclusive"):
            row[verdict] = fraction(int((duels["verdict"] == verdict).sum()), len(duels))
        slower = duels[duels["verdict"] == "slower"]
        row["slower_within_3_minutes"] = fraction(int((slower["minutes"] <= 3).sum()), len(duels))
        wrong = {"faster"}
        if slowdown == 0:
            wrong.add("slower")
        elif slowdown > MARGINS.tolerance:
            wrong.add("same")
        row["wrong"] = fraction(int(duels["verdict"].isin(wrong).sum()), len(duels))
        held = (duels["low"] <= 1 + slowdown) & (1 + slowdown <= duels["high"])
        row["interval_holds_the_truth"] = fraction(int(held.sum()), int(duels["low"].notna().sum()))
        row["median_minutes"] = float(duels["minutes"].median())
        rows.append(row)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rates in markdown, each fraction with its interval."""
    heads = ["B is slower by", "same", "slower", "slower within 3 min", "faster", "not sure", "wrong", "median"]
    keys = ("same", "slower", "slower_within_3_minutes", "faster", "inconclusive", "wrong")
    cells = [
        [
            f"{100 * row['slowdown']:g} %",
            *(_percent(row[key]) for key in keys),
            f"{row['median_minutes']:.1f} min",
        ]
        for row in rows
    ]
    columns = tuple(Column(head, left=False) for head in heads)
    return render_markdown(Document((Table(columns, tuple(map(tuple, cells))),)))


def comparison(now: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> str:
    """In markdown: what duels did by the rules of now, and by those before.

    Args:
        now: rates, a row a slowdown.
        before: rates of the same slowdowns.
    """
    keys = ("same", "slower", "slower_within_3_minutes", "inconclusive")
    heads = [
        "B is slower by",
        "same",
        "slower",
        "slower within 3 min",
        "not sure",
        "interval holds the truth",
        "median",
    ]
    cells = [
        [
            f"{100 * new['slowdown']:g} %",
            *(
                f"{100 * new[key]['share']:.1f} % ({100 * old[key]['share']:.1f})"
                for key in (*keys, "interval_holds_the_truth")
            ),
            f"{new['median_minutes']:.1f} min ({old['median_minutes']:.1f})",
        ]
        for new, old in zip(now, before, strict=True)
    ]
    columns = tuple(Column(head, left=False) for head in heads)
    return render_markdown(Document((Table(columns, tuple(map(tuple, cells))),)))


def _percent(part: Mapping[str, float]) -> str:
    """`97.0 % (96.2 to 97.7)`, and no interval where all or none are."""
    shown = f"{100 * part['share']:.1f} %"
    return (
        shown if part["hits"] in (0, part["of"]) else f"{shown} ({100 * part['low']:.1f} to {100 * part['high']:.1f})"
    )


def draw(frame: pd.DataFrame, path: Path, budget_minutes: float) -> None:
    """As SVG: the fraction of duels that have ended with the right verdict, against minutes."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    minutes = np.linspace(0, budget_minutes, 401)
    with plt.rc_context({"svg.hashsalt": "bench", "font.size": 10}):
        figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
        for slowdown, colour, labelled in zip(SLOWDOWNS, _COLOURS, (45, 75, 60, 45, 30), strict=True):
            duels = frame[frame["slowdown"] == slowdown]
            at = duels.loc[duels["verdict"] == ("slower" if slowdown else "same"), "minutes"].to_numpy()
            ended = np.array([100 * (at <= minute).sum() / len(duels) for minute in minutes])
            axes.plot(minutes, ended, color=colour, linestyle="-" if slowdown else "--", linewidth=2)
            label = f"{100 * slowdown:g} % slower" if slowdown else "equal: same"
            place = min(int(np.searchsorted(ended, min(labelled, ended[-1]))), len(minutes) - 1)
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            axes.text(minutes[place], ended[place], label, color=colour, ha="center", va="center", bbox=box)
        axes.axhline(95, color="0.5", linewidth=0.7)
        axes.text(0.1, 95.5, "95 %", color="0.4", va="bottom", fontsize=8)
        axes.set(
            xlabel="minutes since the duel began",
            ylabel=f"of {len(frame) // len(SLOWDOWNS):,} duels, % that have ended rightly",
            ylim=(0, 104),
            xlim=(0, budget_minutes),
            xticks=range(int(budget_minutes) + 1),
        )
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title("What a duel finds, in how long", loc="left", fontweight="bold")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
        plt.close(figure)


def main() -> None:
    """Explore, simulate, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path, required=True, help="an SVG file")
    parser.add_argument("--duels", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=RECORDED_ROUNDS)
    parser.add_argument("--budget", type=float, default=10.0, help="minutes")
    arguments = parser.parse_args()
    earlier, later = halves(read(arguments.recording))
    explored = explore(earlier, 60 * arguments.budget)
    print(pd.DataFrame(explored).round(3).to_string(index=False))
    rows = [
        row
        for slowdown in SLOWDOWNS
        for row in simulate(later, slowdown, arguments.duels, arguments.rounds, 60 * arguments.budget)
    ]
    frame = pd.DataFrame(rows).round(6)  # what is written, so that the rates can be counted from it again
    arguments.out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(arguments.out / "duels.csv", index=False)
    summary = {
        "what": "simulated duels, conditional on the recording; see scripts/simulate_duels.py",
        "budget_minutes": arguments.budget,
        "turns": arguments.rounds,
        "tolerance": MARGINS.tolerance,
        "floor": MARGINS.floor,
        "machines": {
            folder.name: json.loads((folder / ABOUT).read_text())["machine"] for folder in machines(arguments.recording)
        },
        "judged_pairs": {cell: len(pairs) for cell, pairs in later.items()},
        "rates": rates(frame),
        "explored_on_the_other_half": explored,
    }
    (arguments.out / "duels.json").write_text(json.dumps(summary, indent=1) + "\n")
    draw(frame, arguments.figure, arguments.budget)
    print(table(summary["rates"]), end="")


if __name__ == "__main__":
    main()
