"""Records real rounds, A against A, as data: what simulated duels are drawn from (`scripts/simulate_duels.py`).

    python -m scripts.record_rounds results/reference/duels/recording --minutes 75

Each process pair is what a pair of `bench duel` is: two fresh processes of the same case, interleaved A B B A; with
more rounds than a duel has (`--rounds 16`), fewer can be tried on the same data. The cells take their pairs in turn, so
that a disturbance of an hour hits all of them. Each pair is stored when it has ended; interrupted, the same command
goes on where it was, on this machine or beside what another one recorded, until the rounds, and nothing else, add up to
so many minutes. Then this machine's parts become one file. The machine's lock is held for a pair at a time.
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
from bench.core.errors import BenchError
from bench.duel.interleaved import ROUNDS, InterleavedRunner
from bench.duel.record import ROUNDS_FILE
from bench.duel.rounds import group_log_ratio, rounds_of, rows_of
from bench.duel.sides import PreparedSide, pinned_allocator
from bench.run.lock import machine_lock
from bench.run.server import WorkerEnvironment
from bench.store.files import publish
from scripts.recordings import PARTS, batching_of, fold, machine_folder, minutes, recorded

_MOST_FAILURES = 5


class Recorder:
    """Records a pair at a time, with fresh servers, as duels do."""

    def __init__(self, folder: Path, cells: list[str], rounds: int, logs: Path) -> None:
        self._folder, self._rounds = folder, rounds
        self._runners: dict[str, InterleavedRunner] = {}
        for cell in cells:
            case = Case(cell=cell, task="mnist_5k", epochs=1, threads=1)
            data = obtain(tasks.of(case, "a recording"), data_dir=None, report=_report)
            side = PreparedSide(title="A", case=case, environment=pinned_allocator(WorkerEnvironment()))
            (logs / cell).mkdir()
            self._runners[cell] = InterleavedRunner((side, side), data=data, folder=logs / cell)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        for runner in self._runners.values():
            runner.close()

    def record(self, frame: pd.DataFrame) -> str:
        """Record one more pair of the cell that has fewest; a line about it."""
        counts = {cell: int(frame.loc[frame["cell"] == cell, "pair"].nunique()) for cell in self._runners}
        cell = min(counts, key=lambda name: counts[name])
        number, rows = counts[cell], frame[frame["cell"] == cell]
        batching = None
        if number:
            batching = batching_of(rounds_of(rows[rows["pair"] == rows["pair"].iloc[0]].to_dict("records"))[0])
        with machine_lock(_report):
            begun = time.monotonic()
            pair = self._runners[cell].measure(number, batching, (0, 1), self._rounds, begun)
        rounds = pd.DataFrame(rows_of(pair.rounds)).assign(
            cell=cell,
            pair_seconds=pair.seconds,
            recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        publish(
            self._folder / PARTS / f"{cell}-{number:04d}.parquet",
            lambda file: rounds.to_parquet(file, index=False),
        )
        ratio = group_log_ratio(pair.rounds, 0, 1)
        outcome = "discarded" if ratio is None else f"B / A {math.exp(ratio):.4f}"
        return f"{cell} pair {number + 1}: {outcome} in {pair.seconds:.0f} s"


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Record until there is enough; may be interrupted and called again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--minutes", type=float, default=75.0, help="of rounds, summed up over both sides")
    parser.add_argument("--cells", default="simple_rnn,lstm,gru")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each process pair")
    arguments = parser.parse_args()
    folder = machine_folder(arguments.recording, "rounds of duels, A against A; see scripts/record_rounds.py")
    failures = 0
    with (
        tempfile.TemporaryDirectory() as logs,
        Recorder(folder, arguments.cells.split(","), arguments.rounds, Path(logs)) as recorder,
    ):
        while (so_far := minutes(arguments.recording)) < arguments.minutes:
            try:
                line = recorder.record(recorded(folder))
            except BenchError as error:  # a pair that went wrong is no data
                failures += 1
                _report(f"left out: {error}")
                if failures == _MOST_FAILURES:
                    raise
                continue
            _report(f"[{so_far:5.1f} of {arguments.minutes:g} min] {line}")
    fold(folder)
    frame = recorded(folder)
    _report(f"{frame.groupby('cell')['pair'].nunique().to_dict()} pairs in {folder / ROUNDS_FILE}")


if __name__ == "__main__":
    main()
