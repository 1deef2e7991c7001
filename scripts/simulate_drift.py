"""Simulated comparisons of two stores on a machine that drifts: how many verdicts on time are wrong.

    python -m scripts.simulate_drift

Equal code on both sides, so that `slower` and `faster` are wrong. The machine's speed follows an Ornstein-Uhlenbeck
process, drawn at each run; runs are two minutes apart, and have a noise of 3 % of their own. Each comparison is judged
by `bench.analysis.findings` itself, as one of four intervals of a gate. Beside it stands the rule that was there
before: runs paired by seed, an interval of 95 % for all four, the drift ignored.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.findings import PendingFinding
from bench.analysis.matching import ComparisonEnvironment
from bench.analysis.occasions import DeclaredDrift, apart, measured_drift
from bench.analysis.promises import FindingRuns, RunCounts
from bench.analysis.samples import Reading, make_sample
from bench.analysis.stats import paired_ratio
from bench.analysis.verdict import Verdict, judge
from bench.core.case import Case
from bench.core.metrics import METRICS
from bench.plan.gate import Gate
from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown
from scripts.simulate_duels import fraction

METRIC = METRICS["train_seconds"]
NOISE = 0.03
INTERVALS = 4
HOUR, DAY, STEP = 3600.0, 86_400.0, 120.0
WRONG = (Verdict.SLOWER, Verdict.FASTER)


@dataclass(frozen=True)
class Scenario:
    """A machine, and how the two sides were measured on it."""

    drift: float
    """The standard deviation of the machine's speed."""
    runs: int = 5
    """Runs of each occasion."""
    hours: float = 1.0
    """The time after which the drift is forgotten, by a factor of e."""
    gap: float = DAY
    """Seconds between the sides."""
    nights: int = 0
    """Earlier occasions of the base's code, a day apart."""
    declared: float | None = None
    interleaved: bool = False
    slow_nights: float = 0.0
    """The fraction of occasions on which the machine is 20 % slower as a whole."""
    slower: float = 0.0
    """What the new side is slower by in truth."""
    noise: float = NOISE


def _scenarios() -> dict[str, Scenario]:
    given: dict[str, Scenario] = {}
    for drift in (0.1, 0.2):
        size = f"drift of {100 * drift:.0f} %"
        for runs in (5, 10):
            back_to_back = Scenario(drift, runs, gap=0.0)
            apart = Scenario(drift, runs)
            given[f"back to back, {runs} runs, {size}, 10 nights before"] = replace(back_to_back, nights=10)
            given[f"a day apart, {runs} runs, {size}, nothing known"] = apart
            for nights in (5, 10, 30):
                given[f"a day apart, {runs} runs, {size}, {nights} nights before"] = replace(apart, nights=nights)
            given[f"a day apart, {runs} runs, {size}, four times that declared"] = replace(apart, declared=4 * drift)
            given[f"a day apart, {runs} runs, {size}, twice that declared"] = replace(apart, declared=2 * drift)
            given[f"interleaved, {runs} runs, {size}"] = Scenario(drift, runs, interleaved=True)
    given["nights correlated by 0.5, drift of 10 %, 10 nights before"] = Scenario(
        0.1, hours=24 / math.log(2), nights=10
    )
    for nights in (10, 30):
        slow = Scenario(0.02, nights=nights, slow_nights=0.1)
        given[f"20 % slower one night in ten, else drift of 2 %, {nights} nights before"] = slow
    steady = Scenario(0.005, 10, nights=10, noise=0.01)
    for slower in (0.0, 0.05, 0.1):
        name = f"a steady machine (drift 0.5 %, noise 1 %), 10 nights before, new side {100 * slower:.0f} % slower"
        given[name] = replace(steady, slower=slower)
    return given


SCENARIOS = _scenarios()


def verdict(scenario: Scenario, generator: np.random.Generator) -> tuple[Verdict, Verdict]:
    """The verdict on a comparison that is drawn, and that of the rule before."""
    base, new = _drawn(scenario, generator)
    sample = make_sample(METRIC, new, base)
    if sample.drifting:
        known = (
            measured_drift([base, new], apart(base, new))
            if scenario.declared is None
            else DeclaredDrift(scenario.declared)
        )
        sample = replace(sample, drift=known)
    finding = PendingFinding(
        configuration=Case(cell="lstm"),
        environment=ComparisonEnvironment(),
        metric=METRIC,
        detail="",
        sample=sample,
        same_runs=False,
        runs=FindingRuns(base=RunCounts(), new=RunCounts()),
        remarks=(),
    )
    confidence = 1 - 0.05 / INTERVALS
    return finding.judged(Gate(), confidence).verdict, _before(base[-len(new) :], new, confidence)


def _drawn(scenario: Scenario, generator: np.random.Generator) -> tuple[list[Reading], list[Reading]]:
    """The runs of the base (its nights, and its last occasion) and of the new side."""
    last = scenario.nights * DAY
    places = np.arange(scenario.runs)
    first = (places % 2) * STEP  # A B B A
    starts = [night * DAY + STEP * places for night in range(scenario.nights)]
    if scenario.interleaved:
        starts += [last + 2 * STEP * places + first, last + 2 * STEP * places + STEP - first]
    else:
        end = last + STEP * scenario.runs
        starts += [last + STEP * places, end + scenario.gap + STEP * places]
    times = np.concatenate(starts)
    drift = scenario.drift * _ornstein_uhlenbeck(times / HOUR, scenario.hours, generator)
    slow = generator.random(len(starts)) < scenario.slow_nights
    logs = drift + generator.normal(0, scenario.noise, len(times)) + np.repeat(0.2 * slow, scenario.runs)
    logs[-scenario.runs :] += math.log1p(scenario.slower)
    campaigns = np.repeat(np.arange(len(starts)), scenario.runs)
    readings = [
        Reading(seed % scenario.runs, math.exp(log), float(time), str(campaign))
        for seed, (log, time, campaign) in enumerate(zip(logs, times, campaigns, strict=True))
    ]
    return readings[: -scenario.runs], readings[-scenario.runs :]


def _ornstein_uhlenbeck(hours: np.ndarray, memory: float, generator: np.random.Generator) -> np.ndarray:
    """A stationary process of standard deviation 1, at the given times."""
    order = np.argsort(hours)
    kept = np.exp(-np.diff(hours[order]) / memory)
    drawn = generator.normal(size=len(hours))
    level = np.empty(len(hours))
    level[order[0]] = drawn[0]
    for place in range(1, len(hours)):
        before, remains = level[order[place - 1]], kept[place - 1]
        level[order[place]] = remains * before + math.sqrt(1 - remains**2) * drawn[place]
    return level


def _before(base: list[Reading], new: list[Reading], confidence: float) -> Verdict:
    interval = paired_ratio([run.value for run in new], [run.value for run in base], confidence).interval
    assert interval is not None
    change = replace(interval, low=math.log(interval.low), high=math.log(interval.high))
    decided = judge(change, Gate().margins[METRIC.name].of_logarithm)
    return {Verdict.WORSE: Verdict.SLOWER, Verdict.BETTER: Verdict.FASTER}.get(decided, decided)


def counted(scenario: Scenario, comparisons: int, seed: int) -> tuple[Counter[Verdict], Counter[Verdict]]:
    """How often each verdict was given, by the rule and by the one before."""
    generator = np.random.default_rng(seed)
    verdicts = [verdict(scenario, generator) for _ in range(comparisons)]
    return Counter(now for now, _ in verdicts), Counter(before for _, before in verdicts)


def wrong_verdicts(scenario: Scenario, comparisons: int, seed: int) -> int:
    """How many of so many comparisons of equal code end with `slower` or `faster`."""
    now, _ = counted(scenario, comparisons, seed)
    return sum(now[each] for each in WRONG)


def main() -> None:
    """Simulate each scenario, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20261127)
    arguments = parser.parse_args()
    rows = []
    for name, scenario in SCENARIOS.items():
        now, before = counted(scenario, arguments.comparisons, arguments.seed)
        wrong = (Verdict.FASTER,) if scenario.slower else WRONG
        rate = fraction(sum(now[each] for each in wrong), arguments.comparisons)
        cells = (
            f"{100 * rate['share']:.1f} % ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})",
            *(f"{100 * now[each] / arguments.comparisons:.1f} %" for each in (Verdict.SAME, Verdict.SLOWER)),
            f"{100 * sum(before[each] for each in wrong) / arguments.comparisons:.1f} %",
        )
        rows.append((name, *cells))
    heads = ("the sides", "wrong", "same", "slower", "wrong by the rule before")
    columns = tuple(Column(head, left=head == "the sides") for head in heads)
    print(render_markdown(Document((Table(columns, tuple(rows)),))), end="")


if __name__ == "__main__":
    main()
