"""Do TensorFlow's epochs have two speeds because an iterator of `tf.data` ends late? It is switched off and on.

    python -m scripts.record_autotune results/reference/duels/autotune.csv --epochs 12 --processes 2
    python -m scripts.record_autotune results/reference/duels/autotune.csv --epochs 0

An iterator has a thread that tunes its parallelism, in passes: at once, and again after 10, 20, 40 ms and so on, twice
as long each time. An iterator that is deleted wakes the thread and waits for its end; but the thread is woken before
the flag is set that it tests, and if it is quick it sleeps on until its next pass is due, 10 (2ⁿ − 1) ms after it began
(`CancellationManager::StartCancel` and `Model::OptimizeLoop` in tensorflow/core/framework).

Plain `fit` of a cell in a fresh process, with TensorFlow's default of a thread for each core. In half of the epochs, in
a balanced order within each process, the iterator has no such thread (`Options.autotune.enabled = False`). Nothing else
differs. Each epoch's wall and CPU time, and what of it came after the last step of training, are stored when a process
has ended.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown

CELLS = ("SimpleRNN", "LSTM", "GRU")
UNITS, BATCH, STEPS, FEATURES, TRAINING_STEPS = 128, 32, 28, 28, 500
"""The notebook's network, and the steps of training of an epoch."""
ORDER = (True, False, False, True)
"""Whether the iterator is tuned, epoch by epoch, and again; every second process has the opposite."""
FIRST_PASS_SECONDS = 0.01
WAITED = 0.02
"""The fraction of an epoch after its last step from which on it counts as waiting."""
NEAR = 1.04
"""An epoch's seconds over those of the pass before, at most, where it waited until that pass."""


# --- the process that trains ---


def train(cell: str) -> None:
    """Train an epoch for each line of the standard input, `tuned` or not, and print what it took."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import numpy as np
    import tensorflow as tf

    class LastStep(keras.callbacks.Callback):  # type: ignore[misc]
        ended = 0.0

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            self.ended = time.perf_counter()

    generator = np.random.default_rng(0)
    digits = generator.random((BATCH * TRAINING_STEPS, STEPS, FEATURES), dtype=np.float32)
    labels = generator.integers(0, 10, len(digits))
    layers = [keras.Input((STEPS, FEATURES)), getattr(keras.layers, cell)(UNITS), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy")
    made, last = tf.data.Dataset.with_options, LastStep()
    tuning = tf.data.Options()
    tf.data.Dataset.with_options = lambda data, options: made(made(data, options), tuning)
    for line in sys.stdin:
        tuning.autotune.enabled = line.strip() == "tuned"
        cpu, wall = time.process_time(), time.perf_counter()
        model.fit(digits, labels, batch_size=BATCH, epochs=1, verbose=0, callbacks=[last])
        end = time.perf_counter()
        took = {"seconds": end - wall, "after_seconds": end - last.ended, "cpu_seconds": time.process_time() - cpu}
        print(json.dumps(took), flush=True)


# --- the experiment ---


def record(file: Path, epochs: int, processes: int) -> None:
    """Add the epochs of so many processes of each cell to the file, the cells taking turns."""
    for number in range(processes):
        for cell in CELLS:
            rows = list(_epochs(cell, epochs, number))
            before = [pd.read_csv(file)] if file.exists() else []
            pd.concat([*before, pd.DataFrame(rows)]).to_csv(file, index=False)
            print(f"{cell}, process {number + 1} of {processes}: {_seconds(rows)}", file=sys.stderr, flush=True)


def _epochs(cell: str, epochs: int, number: int) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "scripts.record_autotune", "--train", cell]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-3, text=True) as process:
        assert process.stdin
        assert process.stdout
        for epoch in range(epochs + 1):
            tuned = ORDER[epoch % len(ORDER)] != bool(number % 2)
            print("tuned" if tuned else "not tuned", file=process.stdin, flush=True)
            took = json.loads(process.stdout.readline())
            if epoch:  # the first compiles
                kept = {name: round(value, 4) for name, value in took.items()}
                yield {"cell": cell, "process": number, "epoch": epoch, "tuned": tuned, **kept}
        process.stdin.close()


def _seconds(rows: list[dict[str, Any]]) -> str:
    sides = {tuned: [f"{row['seconds']:.2f}" for row in rows if row["tuned"] is tuned] for tuned in (True, False)}
    return f"tuned: {' '.join(sides[True])} s; not tuned: {' '.join(sides[False])} s"


# --- the table ---


def table(epochs: pd.DataFrame) -> str:
    """In markdown, a line for each cell with and without the thread.

    An epoch has *waited* where more than a fiftieth of it came after its last step; it has done so *until a pass* where
    it ended within 4 % after 10 (2ⁿ − 1) ms.
    """
    columns = ("cell", "iterator", "epochs", "waited", "until a pass", "s", "s without waiting", "CPU s")
    rows = []
    for cell in CELLS:
        for tuned, name in ((True, "tuned"), (False, "not tuned")):
            part = epochs[(epochs["cell"] == cell) & (epochs["tuned"] == tuned)]
            waited = part[part["after_seconds"] > WAITED * part["seconds"]]
            passes = waited["seconds"] / waited["seconds"].map(pass_before)
            steps = part["seconds"] - part["after_seconds"]
            rows.append(
                (
                    *(cell, name, str(len(part)), str(len(waited)), str(int((passes < NEAR).sum()))),
                    *(f"{values.min():.2f} to {values.max():.2f}" for values in (part["seconds"], steps)),
                    f"{part['cpu_seconds'].median():.2f}",
                )
            )
    return render_markdown(
        Document((Table(tuple(Column(head, left=head == "cell") for head in columns), tuple(rows)),))
    )


def pass_before(seconds: float) -> float:
    """The thread's last pass before so many seconds."""
    return FIRST_PASS_SECONDS * float(2 ** math.floor(math.log2(seconds / FIRST_PASS_SECONDS + 1)) - 1)


def main() -> None:
    """Record, and print the table of all that is recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--epochs", type=int, default=16, help="of each process, beside the first; 0: none")
    parser.add_argument("--processes", type=int, default=3, help="of each cell")
    parser.add_argument("--train", choices=CELLS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        train(arguments.train)
        return
    if arguments.epochs:
        record(arguments.file, arguments.epochs, arguments.processes)
    print(table(pd.read_csv(arguments.file)))


if __name__ == "__main__":
    main()
