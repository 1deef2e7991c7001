"""How the commands that read a store cope with a large one: 2,000 runs and 1,000,000 observations.

    python scripts/large_store.py [--runs 2000] [--folder DIR]

Makes a realistic store (most of its rows are single calls of inference), as parts, and prints for it, before and after
compaction, the wall time and the highest resident memory of `bench table` and `bench report`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from bench.core.case import Case
from bench.core.metric import SEQUENCE_PATHS
from bench.core.observation import Observation
from bench.core.predictions import pack
from bench.store.compact import compact
from bench.store.parts import Run, write_run
from tests.support.stored import CAMPAIGN, a_run

CELLS = ("simple_rnn", "lstm", "gru")
KERNELS = ("generic", "unrolled")
CALLS = {1: 150, 8: 60, 64: 30}
"""Calls of each entry by batch: with the other rows of a run they make it 500 rows long."""
DIGITS = 1_000
"""Digits of the test set: those of mnist_5k, on which so many runs would be made."""


def a_large_run(number: int, draw: np.random.Generator) -> Run:
    """A run whose figures depend on its cell and kernel, with the spread that a shared machine has."""
    cell, kernel = CELLS[number % 3], KERNELS[number // 3 % 2]
    case = Case(cell=cell, task="mnist_5k", kernel=kernel, epochs=5, latency_calls=150, seed=number // 6)
    slow = {"simple_rnn": 1.0, "lstm": 2.2, "gru": 2.6}[cell] * {"generic": 1.0, "unrolled": 1.3}[kernel]
    labels = draw.integers(0, 10, DIGITS)
    logits = draw.normal(0, 2, (DIGITS, 10))
    logits[np.arange(DIGITS), labels] += draw.normal(7 + slow, 2, DIGITS)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    accuracy = float((shares.argmax(axis=1) == labels).mean())
    seconds = slow * float(np.exp(draw.normal(0, 0.05)))
    observations = [
        Observation(phase="build", seconds=0.05),
        Observation(phase="compile", seconds=3 * slow),
        Observation(phase="warmup", seconds=0.2 * slow),
    ]
    for epoch in range(1, 6):
        share = accuracy * (1 - 0.4 * 0.5**epoch)
        loss = 1.5 * (1.05 - share)
        observations.append(
            Observation(phase="train", epoch=epoch, seconds=seconds, samples=4000, loss=loss, accuracy=share)
        )
        observations.append(
            Observation(phase="validate", epoch=epoch, seconds=0.1, samples=1000, loss=loss, accuracy=share)
        )
    observations.append(Observation(phase="evaluate", seconds=0.1, samples=1000, loss=0.1, accuracy=accuracy))
    for batch, count in CALLS.items():
        for entry, base in zip(SEQUENCE_PATHS, (0.05, 0.004), strict=True):
            times = base * (1 + batch / 50) * slow * np.exp(draw.gamma(1.0, 0.1, count))
            observations += [
                Observation(phase="predict", entry=entry, predict_batch=batch, call=call, seconds=t, samples=batch)
                for call, t in enumerate(map(float, times), 1)
            ]
    observations.append(Observation(phase="run", seconds=10 * slow))
    metadata = replace(a_run(0, case).metadata, attested_kernel=kernel, test_predictions=pack(labels, shares))
    return a_run(
        number,
        case,
        campaign=CAMPAIGN,
        metadata=metadata,
        block=number // 6,
        observations=tuple(observations),
        log=None,
    )


def make(folder: Path, runs: int) -> int:
    """Write the store; how many observations it has."""
    draw = np.random.default_rng(0)
    rows = 0
    for number in range(runs):
        run = a_large_run(number, draw)
        write_run(folder, run)
        rows += len(run.observations)
    return rows


def measured(*arguments: str) -> tuple[float, float]:
    """Seconds and MiB of a command."""
    started, highest = time.monotonic(), 0
    command = [sys.executable, "-c", "from bench.cli import main; main()", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            try:
                highest = max(highest, process.memory_info().rss)
            except psutil.Error:
                break
            time.sleep(0.02)
    if running.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {running.returncode}")
    return time.monotonic() - started, highest / 1024**2


def main() -> None:
    """Make the store and print what each command took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="where the store is made, or is already; a temporary one if not")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        store = given.folder or Path(temporary) / "store"
        if not store.exists():
            print(f"{make(store, given.runs):,} observations of {given.runs:,} runs")
        for state in ("as parts", "compacted"):
            if state == "compacted":
                started = time.monotonic()
                compact(store)
                print(f"compacting took {time.monotonic() - started:.1f} s")
            for command in (["table", str(store)], ["report", str(store), "--out", f"{temporary}/page"]):
                seconds, mib = measured(*command)
                print(f"{state}: bench {command[0]}: {seconds:.1f} s, {mib:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
