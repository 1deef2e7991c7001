"""What the harness adds to a latency: the median call at batch 1, harness against a bare loop, interleaved.

    python scripts/latency.py [--pairs 6] [--rounds 4] [--calls 100] [--cell lstm]

Both sides are alive at once and never run at the same time. The harness's side is a run's process as `bench run` starts
it (forked, its lifeline watched, its events read), with the worker's own timing (`bench.worker.inference`); it is
stopped by a signal when it has reported a round. The bare side is a Keras script with a loop around each call. Both
time `model.predict` and a `tf.function`. The order is A B B A, a pair's figure is the median of its rounds' log-ratios
of the two sides' median calls, the replicate is the process pair, and the interval is Student's t on the logarithms.

Both run TensorFlow with one thread, so that neither's spare threads disturb the other's round.
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
from bench.core.metric import SEQUENCE_PATHS  # noqa: E402
from bench.core.observation import Observation  # noqa: E402
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
call_paths = {
    "predict": lambda x: model.predict(x, batch_size=1, verbose=0),
    "compiled": lambda x: function(tf.constant(x)).numpy(),
}
for line in sys.stdin:
    medians = {}
    for name, call_path in call_paths.items():
        seconds = []
        for call in range(calls):
            begun = time.perf_counter()
            call_path(x[call : call + 1])
            seconds.append(time.perf_counter() - begun)
        medians[name] = statistics.median(seconds)
    print(json.dumps(medians), flush=True)
"""


def preload(backend: str) -> None:
    """As every worker's: what a run needs is imported before the fork."""
    from bench.worker import session

    session.preload(backend)


def measure(request: Request, emit: Emit) -> None:
    """The harness's side: rounds of timed calls without end."""
    from bench.worker.data import Data
    from bench.worker.inference import time_calls, warm_up
    from bench.worker.runtimes import load_runtime
    from bench.worker.session import start_session

    case, task = request.case, tasks.of(request.case)
    backend = start_session(case)
    data = Data.load(request, task)
    runtime = load_runtime(case, task, data, backend)
    runtime.build()
    call_paths = {name: path for name, path in runtime.call_paths().items() if name in SEQUENCE_PATHS}
    warm_up(call_paths, data.x_test, {1: case.latency_calls})
    while True:
        for observation in time_calls(call_paths, data.x_test, 1, case.latency_calls):
            emit(observation)


class BareSide:
    """The bare script."""

    def __init__(self, case: Case, data: Path | None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", BARE, case.cell, str(case.latency_calls), str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"},
            text=True,
        )

    def measure(self) -> dict[str, float]:
        """The median call's seconds, by call path."""
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
    """A run's process in a thread of this one, stopped after each round."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._rounds: queue.Queue[dict[str, float]] = queue.Queue()
        self._seconds: dict[str, list[float]] = {path: [] for path in SEQUENCE_PATHS}
        self._child = 0

    def event(self, event: Event) -> None:
        if isinstance(event, Started):
            self._child = event.pid
        if not isinstance(event, Observation) or event.entry is None or event.seconds is None:
            return
        self._seconds[event.entry].append(event.seconds)
        if all(len(calls) == self._case.latency_calls for calls in self._seconds.values()):
            os.kill(self._child, signal.SIGSTOP)
            self._rounds.put({path: statistics.median(calls) for path, calls in self._seconds.items()})
            self._seconds = {path: [] for path in SEQUENCE_PATHS}

    def start(self, workers: Workers, request: Request) -> None:
        """Begin, and let it go through its first round, which is discarded."""
        self._thread = threading.Thread(target=workers.run, args=(request,), daemon=True)
        self._thread.start()
        self._rounds.get(timeout=600)

    def measure(self) -> dict[str, float]:
        """The median call's seconds, by call path. What it did between its last report and the stop is in no round."""
        os.kill(self._child, signal.SIGCONT)
        return self._rounds.get(timeout=600)

    def close(self) -> None:
        os.kill(self._child, signal.SIGKILL)
        self._thread.join(timeout=60)


def pair(case: Case, number: int, rounds: int, data: Path | None, folder: Path) -> dict[str, float]:
    """The harness's median call over the bare loop's in one fresh process pair, by call path."""
    harness, bare = HarnessSide(case), BareSide(case, data)
    logs: dict[str, list[float]] = {path: [] for path in SEQUENCE_PATHS}
    with Workers(worker="scripts.latency", silence_seconds=900.0, on_event=harness.event) as workers:
        harness.start(workers, Request(case=case, data=data, log=folder / f"{number}.log"))
        bare.measure()  # traces and compiles
        for round_number in range(rounds):
            if round_number % 2 == number % 2:
                ours, theirs = harness.measure(), bare.measure()
            else:
                theirs, ours = bare.measure(), harness.measure()
            for path, ratios in logs.items():
                ratios.append(math.log(ours[path] / theirs[path]))
        bare.close()
        harness.close()
    return {path: math.exp(statistics.median(ratios)) for path, ratios in logs.items()}


def main() -> None:
    """Print for each call path the ratio, its interval and n."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=4, help="rounds of each side, after the first")
    parser.add_argument("--calls", type=int, default=100, help="of each call path, a round")
    parser.add_argument("--cell", default="lstm")
    arguments = parser.parse_args()
    for variable in ("TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[variable] = "1"  # before any other process is started: they inherit it
    task = TASKS["mnist_5k"]
    data = obtain(task, data_dir=None, report=lambda line: print(line, file=sys.stderr))
    case = Case(cell=arguments.cell, task=task.name, latency_calls=arguments.calls)
    ratios: dict[str, list[float]] = {path: [] for path in SEQUENCE_PATHS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.pairs):
            for path, ratio in pair(case, number, arguments.rounds, data, Path(folder)).items():
                ratios[path].append(ratio)
            latest = ", ".join(f"{path} {of_pairs[-1]:.4f}" for path, of_pairs in ratios.items())
            print(f"pair {number + 1}: {latest}", file=sys.stderr)
    print("harness / bare loop, the median call at batch 1:")
    for path, of_pairs in ratios.items():
        estimate = paired_ratio(of_pairs, [1.0] * len(of_pairs))
        interval = estimate.interval
        ends = f"{interval.low:.4f} … {interval.high:.4f}" if interval else "none from one"
        print(f"{path}: {estimate.value:.4f}, 95 % interval {ends}, n = {estimate.n} process pairs")


if __name__ == "__main__":
    main()
