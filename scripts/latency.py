"""What the harness adds to a latency: the median call at batch 1, harness against a bare loop, taking turns.

    python scripts/latency.py [--pairs 6] [--turns 4] [--calls 100] [--cell lstm]

Both sides are alive at once and never run at the same time. The harness's side is a run's process as `bench run` starts
it (forked, its lifeline watched, its events read), with the worker's own timing (`bench.worker.inference`); it is
stopped by a signal when it has reported a turn. The bare side is a Keras script with a loop around each call. Both time
`model.predict` and a `tf.function`. The order is A B B A, a pair's figure is the median of its turns' log-ratios of the
two sides' median calls, the unit is the pair of processes, and the interval is Student's t on the logarithms.

Both run TensorFlow with one thread, so that neither's spare threads disturb the other's turn.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the worker's process finds this module as `scripts.latency`

from bench.analysis.stats import paired_ratio  # noqa: E402
from bench.catalog import tasks  # noqa: E402
from bench.catalog.cache import obtain  # noqa: E402
from bench.catalog.tasks import TASKS  # noqa: E402
from bench.core.case import Case  # noqa: E402
from bench.core.metrics import CALL_PATHS, Observation  # noqa: E402
from bench.core.protocol import Emit, Event, Request, Started  # noqa: E402
from bench.run.pool import Workers  # noqa: E402

BARE = """
import json, statistics, sys, time
import keras, numpy as np, tensorflow as tf
cell, calls, data = sys.argv[1], int(sys.argv[2]), np.load(sys.argv[3])
x = data["x_test"] / np.float32(255)
layer = {"simple_rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell]
model = keras.Sequential([
    keras.Input((28, 28)), layer(128, activation="tanh", return_sequences=True), keras.layers.Dropout(0.2),
    layer(128, activation="relu"), keras.layers.Dropout(0.2), keras.layers.Dense(32, activation="relu"),
    keras.layers.Dropout(0.1), keras.layers.Dense(10, activation="softmax"),
])
function = tf.function(lambda x: model(x, training=False))
entries = {
    "predict": lambda x: model.predict(x, batch_size=1, verbose=0),
    "compiled": lambda x: function(tf.constant(x)).numpy(),
}
for line in sys.stdin:
    medians = {}
    for name, answer in entries.items():
        seconds = []
        for call in range(calls):
            begun = time.perf_counter()
            answer(x[call : call + 1])
            seconds.append(time.perf_counter() - begun)
        medians[name] = statistics.median(seconds)
    print(json.dumps(medians), flush=True)
"""


def preload(backend: str) -> None:
    """As every worker's: what a run needs is imported before the fork."""
    from bench.worker import session

    session.preload(backend)


def measure(request: Request, emit: Emit) -> None:
    """The harness's side: turns of timed calls without end, each reported when it is over."""
    from bench.worker.data import Data
    from bench.worker.inference import time_calls, warm_up
    from bench.worker.runtimes import load_runtime
    from bench.worker.session import start_session

    case, task = request.case, tasks.find(request.case.task, "a case")
    backend = start_session(case)
    data = Data.load(request, task)
    runtime = load_runtime(case, task, data, backend)
    runtime.build()
    entries = runtime.call_paths()
    warm_up(entries, data.x_test, {1: case.latency_calls})
    while True:
        for observation in time_calls(entries, data.x_test, 1, case.latency_calls):
            emit(observation)


class BareSide:
    """The bare script."""

    def __init__(self, case: Case, data: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", BARE, case.cell, str(case.latency_calls), str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"},
            text=True,
        )

    def turn(self) -> dict[str, float]:
        """By entry: the median call's seconds."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        medians: dict[str, float] = json.loads(self._process.stdout.readline())
        return medians

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=60)


class HarnessSide:
    """A run's process in a thread of this one, stopped after each turn."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._turns: queue.Queue[dict[str, float]] = queue.Queue()
        self._seconds: dict[str, list[float]] = {entry: [] for entry in CALL_PATHS}
        self._child = 0

    def event(self, event: Event) -> None:
        if isinstance(event, Started):
            self._child = event.pid
        if not isinstance(event, Observation) or event.entry is None or event.seconds is None:
            return
        self._seconds[event.entry].append(event.seconds)
        if all(len(own) == self._case.latency_calls for own in self._seconds.values()):
            os.kill(self._child, signal.SIGSTOP)
            self._turns.put({entry: statistics.median(own) for entry, own in self._seconds.items()})
            self._seconds = {entry: [] for entry in CALL_PATHS}

    def start(self, workers: Workers, request: Request) -> None:
        """Begin, and let it go through its first turn, which isn't counted."""
        self._thread = threading.Thread(target=workers.run, args=(request,), daemon=True)
        self._thread.start()
        self._turns.get(timeout=600)

    def turn(self) -> dict[str, float]:
        """By entry: the median call's seconds. What it did between its last report and the stop is in no turn."""
        os.kill(self._child, signal.SIGCONT)
        return self._turns.get(timeout=600)

    def close(self) -> None:
        os.kill(self._child, signal.SIGKILL)
        self._thread.join(timeout=60)


def pair(case: Case, number: int, turns: int, data: Path, folder: Path) -> dict[str, float]:
    """By entry: the harness's median call over the bare loop's, of one fresh pair of processes."""
    harness, bare = HarnessSide(case), BareSide(case, data)
    logs: dict[str, list[float]] = {entry: [] for entry in CALL_PATHS}
    with Workers(worker="scripts.latency", silence_seconds=900.0, on_event=harness.event) as workers:
        harness.start(workers, Request(case=case, data=data, log=folder / f"{number}.log"))
        bare.turn()  # traces and compiles
        for turn in range(turns):
            if turn % 2 == number % 2:
                ours, theirs = harness.turn(), bare.turn()
            else:
                theirs, ours = bare.turn(), harness.turn()
            for entry, own in logs.items():
                own.append(math.log(ours[entry] / theirs[entry]))
        bare.close()
        harness.close()
    return {entry: math.exp(statistics.median(own)) for entry, own in logs.items()}


def main() -> None:
    """Print for each entry the ratio, its interval and n."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--turns", type=int, default=4, help="turns of each side, after the first")
    parser.add_argument("--calls", type=int, default=100, help="of each entry, a turn")
    parser.add_argument("--cell", default="lstm")
    arguments = parser.parse_args()
    for variable in ("TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[variable] = "1"  # before any other process is started: they inherit it
    task = TASKS["mnist_5k"]
    data = obtain(task, data_dir=None, report=lambda line: print(line, file=sys.stderr))
    case = Case(cell=arguments.cell, task=task.name, latency_calls=arguments.calls)
    ratios: dict[str, list[float]] = {entry: [] for entry in CALL_PATHS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.pairs):
            for entry, ratio in pair(case, number, arguments.turns, data, Path(folder)).items():
                ratios[entry].append(ratio)
            told = ", ".join(f"{entry} {own[-1]:.4f}" for entry, own in ratios.items())
            print(f"pair {number + 1}: {told}", file=sys.stderr)
    print("harness / bare loop, the median call at batch 1:")
    for entry, own in ratios.items():
        estimate = paired_ratio(own, [1.0] * len(own))
        interval = estimate.interval
        limits = f"{interval.low:.4f} … {interval.high:.4f}" if interval else "none from one"
        print(f"{entry}: {estimate.value:.4f}, 95 % interval {limits}, n = {estimate.n} pairs of processes")


if __name__ == "__main__":
    main()
