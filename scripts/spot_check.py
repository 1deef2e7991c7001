"""Real duels of known truth: B's steps burn a share of their own time, or nothing (A against A).

    python -m scripts.spot_check results/reference/duels/spot_checks.json --percent 0 --duels 10
    python -m scripts.spot_check results/reference/duels/spot_checks.json --percent 2 --duels 4

Each duel is stored when it has ended, and those that are there count: interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.catalog import tasks
from bench.catalog.cache import obtain
from bench.cli.duel_text import Progress
from bench.core.case import Case
from bench.duel.interleaved import Arena, Side, duel_until_sure
from bench.duel.sequential import MARGINS
from bench.duel.sides import steadied
from bench.host.hardware import read_machine
from bench.report.values import markdown_table
from bench.run.lock import machine_lock
from bench.run.server import WorkerEnvironment

WORKER = "scripts.burning_side"


def fight(case: Case, percent: float, budget_seconds: float) -> dict[str, Any]:
    """One duel, and what came of it."""
    data = obtain(tasks.find(case.task, "a spot check"), data_dir=None, report=_say)

    def side(title: str, fraction: float) -> Side:
        place = WorkerEnvironment(variables={"BURN_FRACTION": str(fraction)})
        return Side(title=title, case=case, place=steadied(place), worker=WORKER)

    base, new = side("as it is", 0.0), side(f"{percent:g} % burnt", percent / 100)
    with (
        machine_lock(_say),
        tempfile.TemporaryDirectory() as logs,
        Arena(base, new, data=data, folder=Path(logs)) as ring,
    ):
        ring.prepare()
        progress = Progress(sys.stderr, budget_seconds)
        result = duel_until_sure(ring, progress, budget_seconds=budget_seconds, margins=MARGINS)
    look = result.look
    return {
        "percent": percent,
        "cell": case.cell,
        "verdict": look.verdict.value,
        "ratio": look.ratio,
        "low": look.low,
        "high": look.high,
        "pairs": look.pairs,
        "looks": list(result.schedule.looks),
        "minutes": result.seconds / 60,
        "log_ratios": list(result.log_ratios),
        "spoilt": result.spoilt,
        "dropped": result.dropped,
        "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine_fingerprint": read_machine().fingerprint,
    }


def table(done: Sequence[Mapping[str, Any]]) -> str:
    """The duels in markdown, one a line, the slowest sides last."""
    heads = ["B burns", "cell", "verdict", "ratio", "interval", "pairs", "minutes"]
    cells = [
        [
            f"{one['percent']:g} %",
            one["cell"],
            one["verdict"],
            f"{one['ratio']:.4f}",
            f"{one['low']:.4f} to {one['high']:.4f}",
            str(one["pairs"]),
            f"{one['minutes']:.1f}",
        ]
        for one in sorted(done, key=lambda one: float(one["percent"]))
    ]
    return "\n".join(markdown_table([(head, head in ("cell", "verdict")) for head in heads], cells))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Duels until there are as many as were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--percent", type=float, required=True)
    parser.add_argument("--duels", type=int, default=4)
    parser.add_argument("--cells", default="lstm,simple_rnn,gru", help="taken in turn")
    parser.add_argument("--budget", type=float, default=10.0, help="minutes")
    arguments = parser.parse_args()
    cells = arguments.cells.split(",")
    done: list[dict[str, Any]] = json.loads(arguments.file.read_text()) if arguments.file.exists() else []
    while (number := sum(one["percent"] == arguments.percent for one in done)) < arguments.duels:
        case = Case(cell=cells[number % len(cells)], task="mnist_5k", epochs=1, threads=1)
        done.append(fight(case, arguments.percent, 60 * arguments.budget))
        arguments.file.parent.mkdir(parents=True, exist_ok=True)
        part = arguments.file.with_suffix(".part")
        part.write_text(json.dumps(done, indent=1) + "\n")
        part.replace(arguments.file)
        last = done[-1]
        took = f"{last['minutes']:.1f} min"
        _say(f"{last['percent']:g} % on {last['cell']}: {last['verdict']}, {last['ratio']:.4f}, {took}")
    print(table(done))


if __name__ == "__main__":
    main()
