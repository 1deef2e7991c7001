"""Records process groups of several cells and the anchor, each cell twice: what simulated measurements are drawn from.

    python -m scripts.record_groups results/reference/duels/groups --minutes 30

A group is what `bench run --interleave` measures of one: a fresh process of each side, all alive at once, from a fresh
server that they share (until 28 November 2026 each had its own), timed batches in a balanced order, and the anchor.
Since each cell is there twice, a group holds a ratio of equal sides for each cell, ratios of different cells, and each
side's ratio to the anchor, a GRU that Keras trains (in `groups` the anchor is NumPy's; in `groups_xeon` an LSTM in
TensorFlow alone, and NumPy's is one more side, the cell `numpy`). The rows are those of `scripts/record_rounds.py`: a
cell's two sides are `a` and `b`; those of a group have the same `pair` and the same `recorded_at`; the anchor is a cell
too. `pair_seconds` is the group's time, the anchor included, over its cells, and `server_seconds` the part of the
group's time until its servers had imported their backend.

Each call is a session, of so many minutes; a group that has ended is stored. The machine's lock is held for all of it.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from bench.catalog import tasks
from bench.catalog.cache import obtain
from bench.core.case import Case
from bench.duel.interleaved import ROUNDS, Batching, InterleavedRunner, ProcessGroup
from bench.duel.record import ROUNDS_FILE
from bench.duel.rounds import ANCHOR, group_log_ratio, rows_of, side_key
from bench.duel.sides import PreparedSide, pinned_allocator, trained_anchor_facts, trained_anchor_side
from bench.host.software import read_software
from bench.run.lock import machine_lock
from bench.run.server import WorkerEnvironment
from bench.store.files import publish
from scripts.recordings import ABOUT, PARTS, fold, machine_folder, recorded

COPIES = 2
"""Sides of a cell."""


def _rows(group: ProcessGroup, cells: list[str]) -> pd.DataFrame:
    names = {side_key(ANCHOR): ("anchor", side_key(ANCHOR))} | {
        side_key(number): (cells[number // COPIES], side_key(number % COPIES)) for number in range(COPIES * len(cells))
    }
    frame = pd.DataFrame(rows_of(group.rounds))
    return frame.assign(
        cell=[names[side][0] for side in frame["side"]],
        side=[names[side][1] for side in frame["side"]],
        pair_seconds=group.seconds / len(cells),
        server_seconds=group.server_seconds,
        recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _store(folder: Path, number: int, rows: pd.DataFrame) -> None:
    publish(folder / PARTS / f"{number:04d}.parquet", lambda out: rows.to_parquet(out, index=False))


def _line(group: ProcessGroup, cells: list[str]) -> str:
    def ratio(base: int, side: int) -> str:
        logarithm = group_log_ratio(group.rounds, base, side)
        return "discarded" if logarithm is None else f"{math.exp(logarithm):.4f}"

    equal = (f"{cell} {ratio(COPIES * place, COPIES * place + 1)}" for place, cell in enumerate(cells))
    return f"B / A: {', '.join(equal)}; {cells[-1]} / {cells[0]} {ratio(0, COPIES * len(cells) - 1)}"


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Record a session."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0, help="of this session; its last group may be later")
    parser.add_argument("--cells", default="simple_rnn,lstm,gru")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each process group")
    arguments = parser.parse_args()
    cells = arguments.cells.split(",")
    folder = machine_folder(
        arguments.recording,
        "rounds of process groups, each cell twice; see scripts/record_groups.py",
        {"anchor": trained_anchor_facts(read_software("tensorflow"))},
    )
    cases = [Case(cell=cell, task="mnist_5k", epochs=1, threads=1) for cell in cells for _ in range(COPIES)]
    environment = pinned_allocator(WorkerEnvironment())
    sides = [PreparedSide(title=case.cell, case=case, environment=environment) for case in cases]
    anchor = trained_anchor_side(sides[0])
    data = obtain(tasks.of(cases[0], "a recording"), data_dir=None, report=_report)
    before = recorded(folder)
    first = 0 if before.empty else int(before["pair"].max()) + 1
    batching: Batching | None = None
    begun, number = time.monotonic(), first
    with (
        machine_lock(_report),
        tempfile.TemporaryDirectory() as logs,
        InterleavedRunner(sides, anchor=anchor, data=data, folder=Path(logs)) as runner,
    ):
        while (gone := time.monotonic() - begun) < 60 * arguments.minutes:
            group = runner.measure(number, batching, range(len(sides)), arguments.rounds, begun)
            batching = group.batching
            _store(folder, number, _rows(group, cells))
            _report(f"[{gone / 60:4.1f} of {arguments.minutes:g} min] group {number}: {_line(group, cells)}")
            number += 1
    fold(folder)
    _report(f"{number - first} groups more in {folder / ROUNDS_FILE}; {ABOUT} says of which machine")


if __name__ == "__main__":
    main()
