"""Other tools' rules on the same recorded rounds: false alarms and power of each, beside the duel's.

    python -m scripts.compare_peers results/reference/duels/recording --duels results/reference/duels/duels.json \\
        --sides results/reference/duels/sides.json --out results/reference/duels/peers.json

Needs asv, pyperf and pytest-benchmark installed beside this; each one's own code decides:

- pytest-benchmark, `--benchmark-compare-fail=mean:5%`: `pytest_benchmark.utils.parse_compare_fail(...)`'s check on the
  means of one process each, the new one of the process pair that came next: base, then head, on one runner.
- asv, `asv continuous` with its two interleaved rounds and factor 1.1: `asv.commands.compare._is_result_better` with
  `asv_runner.statistics.compute_stats` over the rounds of two processes a side, A B B A.
- pyperf, `pyperf compare_to`: `pyperf._utils.is_significant` over three values of each of twenty processes a side.

They get what suits them: neighbouring processes, a machine that was left alone, and no baseline of another day. What
they can't have by design is the pairing. A tool that says only that something changed has found a slowdown where it is
slower.

With three sides, each but the base is compared with it by the same rule, as the tools' users would: the third side's
processes are the next neighbours.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown
from scripts.recordings import Recorded, halves, read
from scripts.simulate_duels import SLOWDOWNS, fraction

Rule = Callable[[list[Recorded], random.Random, float, int], tuple[str, float]]
"""(a cell's pairs, random numbers, slowdown, the side that is compared with side 0) → the verdict (`same`, `slower`,
`faster`), and how many minutes of rounds it took."""

ONE_SLOWER = 0.03
"""Of three sides, so much is the last slower in half of the trials."""


def pytest_benchmark_rule(
    pairs: list[Recorded], draw: random.Random, slowdown: float, number: int
) -> tuple[str, float]:
    """Mean of one process against the mean of one before it; it only knows regressions."""
    from pytest_benchmark.utils import parse_compare_fail

    check = parse_compare_fail("mean:5%")
    at = draw.randrange(len(pairs) - 1)
    base = pairs[at].times(0)
    later = pairs[(at + number) % len(pairs)]
    new = [(1 + slowdown) * time for time in later.times(1)]
    failed = check.fails({"mean": statistics.mean(new)}, {"mean": statistics.mean(base)})
    return "slower" if failed else "same", _minutes(pairs[at], 0) + _minutes(later, 1)


def asv_rule(pairs: list[Recorded], draw: random.Random, slowdown: float, number: int) -> tuple[str, float]:
    """Two processes a side, interleaved; its Mann-Whitney test, and its factor."""
    from asv.commands.compare import _is_result_better
    from asv_runner.statistics import compute_stats

    at = draw.randrange(len(pairs) - 1)
    both, later = ([pairs[(at + offset + add) % len(pairs)] for add in (0, 1)] for offset in (0, 2 * (number - 1)))
    base = [time for pair in both for time in pair.times(0)]
    new = [(1 + slowdown) * time for pair in later for time in pair.times(1)]
    (a, a_stats), (b, b_stats) = compute_stats(base, 1), compute_stats(new, 1)
    spent = sum(_minutes(pair, 0) for pair in both) + sum(_minutes(pair, 1) for pair in later)
    if _is_result_better(a, b, (a_stats, base), (b_stats, new), 1.1):
        return "slower", spent
    return "faster" if _is_result_better(b, a, (b_stats, new), (a_stats, base), 1.1) else "same", spent


def pyperf_rule(pairs: list[Recorded], draw: random.Random, slowdown: float, number: int) -> tuple[str, float]:
    """Twenty processes of each, one side after the other, three values a process; its t-test."""
    from pyperf._utils import is_significant

    processes, values = 20, 3
    at = draw.randrange(len(pairs))
    order = [
        pairs[(at + offset) % len(pairs)]
        for start in (0, number)
        for offset in range(start * processes, (start + 1) * processes)
    ]
    base = [time for pair in order[:processes] for time in pair.times(0)[:values]]
    new = [(1 + slowdown) * time for pair in order[processes:] for time in pair.times(1)[:values]]
    means = (statistics.mean(side.seconds for each in pair.rounds for side in each.sides.values()) for pair in order)
    spent = values * sum(means) / 60
    if not is_significant(base, new)[0]:
        return "same", spent
    return ("slower" if statistics.mean(new) > statistics.mean(base) else "faster"), spent


def _minutes(pair: Recorded, side: int) -> float:
    return sum(each.sides[side].seconds for each in pair.rounds) / 60


RULES: dict[str, tuple[str, Rule]] = {
    "pytest-benchmark mean:5%": ("pytest-benchmark", pytest_benchmark_rule),
    "asv continuous, factor 1.1": ("asv", asv_rule),
    "pyperf compare_to, t-test": ("pyperf", pyperf_rule),
}


def main() -> None:
    """Judge as often as the duels were simulated, on the same half of the recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--duels", type=Path, required=True, help="duels.json of scripts/simulate_duels.py")
    parser.add_argument("--sides", type=Path, required=True, help="sides.json of scripts/simulate_sides.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--number", type=int, default=2000)
    arguments = parser.parse_args()
    _, later = halves(read(arguments.recording))
    ours = json.loads(arguments.duels.read_text())
    rows: list[dict[str, Any]] = [
        {
            "rule": "bench duel",
            "slowdown": row["slowdown"],
            "slower": row["slower"],
            "faster": row["faster"],
            "minutes": row["median_minutes"],
        }
        for row in ours["rates"]
    ]
    versions = {}
    for name, (package, rule) in RULES.items():
        versions[package] = importlib.metadata.version(package)
        for slowdown in SLOWDOWNS:
            verdicts, minutes = [], []
            for index in range(arguments.number):
                cell = sorted(later)[index % len(later)]
                verdict, spent = rule(later[cell], random.Random(f"{name}/{slowdown}/{index}"), slowdown, 1)
                verdicts.append(verdict)
                minutes.append(spent)
            rows.append(
                {
                    "rule": name,
                    "slowdown": slowdown,
                    "slower": fraction(verdicts.count("slower"), len(verdicts)),
                    "faster": fraction(verdicts.count("faster"), len(verdicts)),
                    "minutes": statistics.median(minutes),
                }
            )
    designs = {row["design"]: row for row in json.loads(arguments.sides.read_text())["rows"]}
    equal, one_slower = designs["three equal sides"], designs[f"three sides, one {100 * ONE_SLOWER:g} % slower"]
    three = [
        {"rule": "bench duel", "false_alarm": equal["wrong"], "right": one_slower["right"]},
        *({"rule": name, **three_sides(rule, later, arguments.number, name)} for name, (_, rule) in RULES.items()),
    ]
    content = {"versions": versions, "rows": rows, "three_sides": three}
    arguments.out.write_text(json.dumps(content, indent=1) + "\n")
    print(table(rows), three_sides_table(three), sep="\n", end="")


def three_sides(rule: Rule, recording: dict[str, list[Recorded]], number: int, seed: str) -> dict[str, Any]:
    """How often any of two equal sides is called different from the base, and one of two that is slower found alone.

    Args:
        rule: judges each of the two.
        recording: by cell and machine.
        number: of trials, as many with equal sides as with one slower.
        seed: of the random numbers.
    """
    alarms = right = 0
    for index in range(number):
        pairs = recording[sorted(recording)[index % len(recording)]]
        for slowdown in (0.0, ONE_SLOWER):
            verdicts = [
                rule(pairs, random.Random(f"{seed}/{index}"), slower, side)[0]
                for side, slower in ((1, 0.0), (2, slowdown))
            ]
            alarms += slowdown == 0 and verdicts != ["same", "same"]
            right += slowdown > 0 and verdicts == ["same", "slower"]
    return {"false_alarm": fraction(alarms, number), "right": fraction(right, number)}


def three_sides_table(rows: list[dict[str, Any]]) -> str:
    """In markdown: what the rules give of three sides."""
    heads = ("rule", "any false alarm, all equal", f"one of two {100 * ONE_SLOWER:g} % slower, rightly found alone")
    cells = tuple(
        (row["rule"], *(f"{100 * row[key]['share']:.1f} %" for key in ("false_alarm", "right"))) for row in rows
    )
    return render_markdown(Document((Table(tuple(Column(head, left=head == "rule") for head in heads), cells),)))


def table(rows: list[dict[str, Any]]) -> str:
    """In markdown: false alarms (either way) of equal sides, and the fraction of slowdowns found."""
    heads = ["rule", "false alarms", *(f"{100 * slowdown:g} % found" for slowdown in SLOWDOWNS[1:]), "minutes"]
    cells = []
    for name in dict.fromkeys(row["rule"] for row in rows):
        by_slowdown = {row["slowdown"]: row for row in rows if row["rule"] == name}
        alarms = by_slowdown[0.0]["slower"]["share"] + by_slowdown[0.0]["faster"]["share"]
        detected = (by_slowdown[slowdown]["slower"]["share"] for slowdown in SLOWDOWNS[1:])
        cells.append(
            [name, *(f"{100 * part:.1f} %" for part in (alarms, *detected)), f"{by_slowdown[0.0]['minutes']:.1f}"]
        )
    columns = tuple(Column(head, left=head == "rule") for head in heads)
    return render_markdown(Document((Table(columns, tuple(map(tuple, cells))),)))


if __name__ == "__main__":
    main()
