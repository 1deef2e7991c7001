"""Real duels of known truth: a side's steps burn a fraction of their own time, or nothing (A against A).

    python -m scripts.spot_check results/reference/duels/spot_checks.json --percent 0 --duels 10
    python -m scripts.spot_check results/reference/duels/spot_checks.json --percent 2 --duels 4
    python -m scripts.spot_check results/reference/duels/spot_checks_of_four.json --percent 3 --duels 4 --sides 4

A row for each ratio to the base, which burns nothing; of several other sides one burns, the last first.
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
from bench.cli.progress import DuelProgress
from bench.core.case import Case
from bench.core.protocol import TimedPhase
from bench.duel.interleaved import InterleavedRunner
from bench.duel.procedure import measure_until_settled
from bench.duel.sequential import MARGINS, Contrast, Question
from bench.duel.sides import PreparedSide, anchor_side, pinned_allocator
from bench.duel.specification import DuelSpecification, SideKind
from bench.host.hardware import read_machine
from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown
from bench.run.lock import machine_lock
from bench.run.server import WorkerEnvironment

WORKER = "scripts.burning_side"


def duel(case: Case, percents: Sequence[float], budget_seconds: float) -> list[dict[str, Any]]:
    """One duel, and what came of each ratio to the base.

    Args:
        case: of all sides.
        percents: of its own time that each other side burns.
        budget_seconds: that it may take.
    """
    data = obtain(tasks.of(case, "a spot check"), data_dir=None, report=_report)

    def side(title: str, percent: float) -> PreparedSide:
        environment = pinned_allocator(WorkerEnvironment(variables={"BURN_FRACTION": str(percent / 100)}))
        return PreparedSide(title=title, name=title, case=case, environment=environment, worker=WORKER)

    others = [side(f"{percent:g} % burnt ({number})", percent) for number, percent in enumerate(percents, start=1)]
    contrasts = tuple(Contrast(0, number) for number in range(1, len(others) + 1))
    specification = DuelSpecification(
        kind=SideKind.SETTINGS,
        sides=(side("as it is", 0.0), *others),
        anchor=anchor_side(case),
        phase=TimedPhase.TRAIN,
        question=Question(contrasts=contrasts, margins=MARGINS, budget_seconds=budget_seconds),
        machine=read_machine(),
    )
    with (
        machine_lock(_report),
        tempfile.TemporaryDirectory() as logs,
        InterleavedRunner(specification.sides, anchor=specification.anchor, data=data, folder=Path(logs)) as runner,
    ):
        progress = DuelProgress(sys.stderr)
        progress.duel_began(specification)
        result = measure_until_settled(runner, progress, specification.question)
    ended_at = datetime.now(UTC).isoformat(timespec="seconds")
    rows = []
    for contrast, percent in zip(contrasts, percents, strict=True):
        stopped = result.analyses[contrast]
        rows.append(
            {
                "percent": percent,
                "cell": case.cell,
                "sides": len(specification.sides),
                "verdict": stopped.verdict.value,
                "ratio": stopped.ratio,
                "low": stopped.low,
                "high": stopped.high,
                "pairs": stopped.groups,
                "analysed_at": list(result.analysed_at),
                "minutes": result.seconds / 60,
                "log_ratios": list(result.log_ratios[contrast]),
                "discarded_groups": result.discarded_groups,
                "dropped": sum(part.contaminated for each in result.rounds for part in each.sides.values()),
                "ended_at": ended_at,
                "machine_fingerprint": specification.machine.fingerprint,
            }
        )
    return rows


def table(done: Sequence[Mapping[str, Any]]) -> str:
    """The ratios in markdown, one a line, the slowest sides last; those of several sides by duel."""
    heads = ["B burns", "cell", "verdict", "ratio", "interval", "pairs", "minutes"]
    if any(row.get("sides", 2) > 2 for row in done):
        heads[0], heads[-2] = "a side burns", "groups"
    else:
        done = sorted(done, key=lambda row: float(row["percent"]))
    cells = [
        [
            f"{ended['percent']:g} %",
            ended["cell"],
            ended["verdict"],
            f"{ended['ratio']:.4f}",
            f"{ended['low']:.4f} to {ended['high']:.4f}",
            str(ended["pairs"]),
            f"{ended['minutes']:.1f}",
        ]
        for ended in done
    ]
    columns = tuple(Column(head, left=head in ("cell", "verdict")) for head in heads)
    return render_markdown(Document((Table(columns, tuple(map(tuple, cells))),)))


def _duels(done: Sequence[Mapping[str, Any]], percent: float) -> int:
    """In how many duels a side burnt so much, and none burnt more."""
    by_duel: dict[str, float] = {}
    for row in done:
        by_duel[row["ended_at"]] = max(row["percent"], by_duel.get(row["ended_at"], 0.0))
    return list(by_duel.values()).count(percent)


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Duels until there are as many as were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--percent", type=float, required=True)
    parser.add_argument("--duels", type=int, default=4)
    parser.add_argument("--cells", default="lstm,simple_rnn,gru", help="taken in turn")
    parser.add_argument("--sides", type=int, default=2)
    parser.add_argument("--budget", type=float, default=10.0, help="minutes")
    arguments = parser.parse_args()
    cells = arguments.cells.split(",")
    done: list[dict[str, Any]] = json.loads(arguments.file.read_text()) if arguments.file.exists() else []
    others = arguments.sides - 1
    while (number := _duels(done, arguments.percent)) < arguments.duels:
        case = Case(cell=cells[number % len(cells)], task="mnist_5k", epochs=1, threads=1)
        burning = others - 1 - number % others
        percents = [arguments.percent if place == burning else 0.0 for place in range(others)]
        rows = duel(case, percents, 60 * arguments.budget)
        done += rows
        arguments.file.parent.mkdir(parents=True, exist_ok=True)
        part = arguments.file.with_suffix(".part")
        part.write_text(json.dumps(done, indent=1) + "\n")
        part.replace(arguments.file)
        for row in rows:
            took = f"{row['minutes']:.1f} min"
            _report(f"{row['percent']:g} % on {row['cell']}: {row['verdict']}, {row['ratio']:.4f}, {took}")
    print(table(done), end="")


if __name__ == "__main__":
    main()
