"""Records how much ratios of equal sides vary where a round's sides share a processor, and where none is set for them.

    python -m scripts.record_cores results/reference/duels/cores.json --minutes 15 --docs docs/how-sure.md

Process groups of three equal sides of each of two cells, as a duel measures them; every other one has its sides left
to the scheduler, as all had until November 2026. `--minutes 0` writes the table of what is there.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from bench.catalog import tasks
from bench.catalog.cache import obtain
from bench.core.case import Case
from bench.duel import interleaved
from bench.duel.cores import move
from bench.duel.interleaved import Batching, InterleavedRunner, ProcessGroup
from bench.duel.rounds import group_log_ratio, round_log_ratios
from bench.duel.sides import PreparedSide, pinned_allocator
from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown
from bench.run.lock import machine_lock
from bench.run.server import WorkerEnvironment
from scripts.group_tables import with_tables

CELLS = ("gru", "lstm")
COPIES = 3
"""Equal sides of a cell."""

_NORMAL = 0.6745
"""The median of the absolute value of a standard normal variable."""


def row(group: ProcessGroup, cell: str, *, is_shared: bool) -> dict[str, Any]:
    """What a group gives for a cell: values of each pair of its equal sides, and seconds a step."""
    first = COPIES * CELLS.index(cell)
    sides = range(first, first + COPIES)
    ratios = {pair: group_log_ratio(group.rounds, *pair) for pair in combinations(sides, 2)}
    neighbours = [
        abs(math.log(new / old))
        for each in group.rounds
        for one, another in ratios
        for old, new in zip(each.sides[one].step_seconds, each.sides[another].step_seconds, strict=True)
    ]
    return {
        "cell": cell,
        "is_shared": is_shared,
        "step_seconds": statistics.median(
            seconds for each in group.rounds for side in sides for seconds in each.sides[side].step_seconds
        ),
        "batches": statistics.median(neighbours) / _NORMAL,
        "rounds": [statistics.stdev(round_log_ratios(group.rounds, *pair)) for pair in ratios],
        "log_ratios": [ratio for ratio in ratios.values() if ratio is not None],
        "seconds": group.seconds,
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """In markdown: standard deviations of ratios of equal sides, with and without a processor in common."""
    heads = ("cell", "a round's sides", "groups", "a step", "of neighbouring batches", "of a round", "of a group")
    made = []
    for cell in CELLS:
        for is_shared in (True, False):
            of = [each for each in rows if (each["cell"], each["is_shared"]) == (cell, is_shared)]
            made.append(
                (
                    cell,
                    "share a processor" if is_shared else "are left to the scheduler",
                    str(len(of)),
                    f"{1000 * statistics.median(each['step_seconds'] for each in of):.1f} ms",
                    f"{100 * statistics.fmean(each['batches'] for each in of):.1f} %",
                    *(f"{100 * _root_mean_square(of, key):.1f} %" for key in ("rounds", "log_ratios")),
                )
            )
    columns = tuple(Column(head, left=place < 2) for place, head in enumerate(heads))
    return render_markdown(Document((Table(columns, tuple(made)),)))


def _root_mean_square(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    return float(np.sqrt(np.mean(np.square([value for each in rows for value in each[key]]))))


def record(minutes: float, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """Measure for so long; the machine's lock is held."""
    cases = [Case(cell=cell, task="mnist_5k", epochs=1, threads=1) for cell in CELLS for _ in range(COPIES)]
    environment = pinned_allocator(WorkerEnvironment())
    sides = [PreparedSide(title=case.cell, case=case, environment=environment) for case in cases]
    data = obtain(tasks.of(cases[0], "a recording"), data_dir=None, report=report)
    rows: list[dict[str, Any]] = []
    batching: Batching | None = None
    begun = time.monotonic()
    with (
        machine_lock(report),
        tempfile.TemporaryDirectory() as logs,
        InterleavedRunner(sides, data=data, folder=Path(logs)) as runner,
    ):
        number = 0
        while (gone := time.monotonic() - begun) < 60 * minutes or number % 2:
            is_shared = number % 2 == 0
            with patch.object(interleaved, "move", move if is_shared else lambda pids, cores, number: None):
                group = runner.measure(number // 2, batching, range(len(sides)), begun=begun)
            batching = group.batching
            rows += [row(group, cell, is_shared=is_shared) for cell in CELLS]
            report(f"[{gone / 60:4.1f} of {minutes:g} min] group {number}: {rows[-1]}")
            number += 1
    return rows


def main() -> None:
    """Record, write, and put the table into the documentation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--docs", type=Path, help="the page of the documentation that has the table's markers")
    arguments = parser.parse_args()
    report = functools.partial(print, file=sys.stderr, flush=True)
    if arguments.minutes:
        rows = record(arguments.minutes, report)
        content = {"what": "ratios of equal sides; see scripts/record_cores.py", "rows": rows}
        arguments.out.write_text(json.dumps(content, indent=1) + "\n")
    made = table(json.loads(arguments.out.read_text())["rows"])
    print(made)
    if arguments.docs:
        arguments.docs.write_text(with_tables(arguments.docs.read_text(), "cores", {"noise": made}))


if __name__ == "__main__":
    main()
