"""What the harness costs: training seconds an epoch, harness against a plain `fit` script, in interleaved rounds.

    python scripts/overhead.py [--pairs 8] [--rounds 4]

Both sides are alive at once and never run at the same time. The harness's side is a real run (`bench.run.server`: a
forked child, its events read, the progress line drawn), stopped and continued with signals between epochs, outside what
it times. The plain side is a Keras script with `verbose=0` and no callbacks. The order is A B B A, the replicate is the
process pair, and the interval is Student's t on the logarithms of the pairs.

Both sides run TensorFlow with one thread (`TF_NUM_INTEROP_THREADS`, `TF_NUM_INTRAOP_THREADS`): with more, it runs whole
epochs in one of two modes, 1.8 times apart in wall time, which would drown a difference of a percent. What the harness
adds (its hooks, a thread that sleeps) doesn't depend on TensorFlow's threads. A pair's figure is the median of its
rounds' log-ratios, because other programs disturb single rounds. CPU seconds stand beside the wall time: they
hardly feel what else the machine does.

A call of `fit` has a start that no epoch has (data handed over, iterator made): 46 ms on one machine, 1 % of a round.
The plain side has no callback that would tell it apart, so it times a `fit` of a single step after each round, and
takes that off.
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
from typing import NamedTuple

from bench.analysis.stats import paired_ratio
from bench.catalog.cache import obtain
from bench.catalog.tasks import TASKS
from bench.cli.progress import CampaignProgress
from bench.core.case import Case, Status
from bench.core.observation import Observation
from bench.core.protocol import Event, Request, Started
from bench.plan.plan import Plan, ScheduledCase
from bench.run.pool import RunOutcome, Workers

EPOCHS_A_ROUND = 2
SAMPLES = 8_000

PLAIN = """
import json, math, sys, time
import keras, numpy as np
case, data = json.loads(sys.argv[1]), np.load(sys.argv[2])
x, y = data["x_train"][:case["train_samples"]] / np.float32(255), data["y_train"][:case["train_samples"]]
keras.utils.set_random_seed(case["seed"])
layer = {"simple_rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[case["cell"]]
model = keras.Sequential([
    keras.Input((28, 28)), layer(128, activation="tanh", return_sequences=True), keras.layers.Dropout(0.2),
    layer(128, activation="relu"), keras.layers.Dropout(0.2), keras.layers.Dense(32, activation="relu"),
    keras.layers.Dropout(0.1), keras.layers.Dense(10, activation="softmax"),
])
rate = keras.optimizers.schedules.InverseTimeDecay(0.001, decay_steps=1, decay_rate=1e-6)
model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
def timed(**options):
    begun, busy = time.perf_counter(), time.process_time()
    model.fit(x, y, 32, verbose=0, **options)
    return np.array([time.perf_counter() - begun, time.process_time() - busy])
for line in sys.stdin:
    epochs = int(line)
    steps = epochs * math.ceil(len(x) / 32)
    whole, start_and_step = timed(epochs=epochs), timed(steps_per_epoch=1)
    print(*(whole - start_and_step) * steps / (steps - 1), flush=True)
"""


class Seconds(NamedTuple):
    """Wall and CPU seconds of one side's round."""

    wall: float
    cpu: float


class PlainSide:
    """The plain script: a round is one call of `fit`."""

    def __init__(self, case: Case, data: Path | None) -> None:
        values = json.dumps({"cell": case.cell, "seed": case.seed, "train_samples": case.train_samples})
        self._process = subprocess.Popen(
            [sys.executable, "-c", PLAIN, values, str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"},
            text=True,
        )

    def measure(self) -> Seconds:
        """Time one round."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{EPOCHS_A_ROUND}\n")
        self._process.stdin.flush()
        wall, cpu = map(float, self._process.stdout.readline().split())
        return Seconds(wall, cpu)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=60)


class HarnessSide:
    """A real run of the harness, in a thread of this process; its child is stopped after each round's epochs.

    One server forks the children of all pairs, as in a campaign.
    """

    def __init__(self, progress: CampaignProgress) -> None:
        self._progress = progress
        self._epochs: list[Seconds] = []
        self._rounds: queue.Queue[Seconds] = queue.Queue()
        self._outcome: RunOutcome | None = None
        self.workers = Workers(silence_seconds=900.0, on_event=self._event, on_tick=progress.tick)

    def _event(self, event: Event) -> None:
        self._progress.event(event)
        if isinstance(event, Started):
            self._child = event.pid
        if isinstance(event, Observation) and event.phase == "train":
            assert event.seconds is not None
            assert event.cpu_seconds is not None
            self._epochs.append(Seconds(event.seconds, event.cpu_seconds))
            if len(self._epochs) == EPOCHS_A_ROUND:
                os.kill(self._child, signal.SIGSTOP)
                walls, cpus = zip(*self._epochs, strict=True)
                self._rounds.put(Seconds(sum(walls), sum(cpus)))
                self._epochs = []

    def start(self, request: Request) -> None:
        """Begin a run, and let it go through its first round, which is discarded."""
        self._progress.run_started(ScheduledCase(request.case, 0, 0), 1, 1, 0.0)
        self._thread = threading.Thread(target=lambda: setattr(self, "_outcome", self.workers.run(request)))
        self._thread.start()
        self._rounds.get(timeout=300)

    def measure(self) -> Seconds:
        """Time one round."""
        os.kill(self._child, signal.SIGCONT)
        return self._rounds.get(timeout=300)

    def close(self) -> None:
        """Let the run end."""
        os.kill(self._child, signal.SIGCONT)
        self._thread.join(timeout=120)
        if self._outcome is None or self._outcome.status is not Status.OK:
            raise SystemExit(f"the harness's run went wrong: {self._outcome}")


def pair(harness: HarnessSide, cell: str, number: int, rounds: int, data: Path | None, folder: Path) -> Seconds:
    """The harness's training seconds over the plain script's, wall and CPU, of one fresh pair of processes."""
    case = Case(
        cell=cell,
        task="mnist",
        train_samples=SAMPLES,
        epochs=EPOCHS_A_ROUND * (rounds + 1),
        seed=number,
    )
    plain = PlainSide(case, data)
    plain.measure()  # traces and compiles
    harness.start(Request(case=case, data=data, log=folder / f"{number}.log"))
    logs: list[Seconds] = []
    for number_of_round in range(rounds):
        if number_of_round % 2 == number % 2:
            ours, theirs = harness.measure(), plain.measure()
        else:
            theirs, ours = plain.measure(), harness.measure()
        logs.append(Seconds(*(math.log(a / b) for a, b in zip(ours, theirs, strict=True))))
    plain.close()
    harness.close()
    return Seconds(*(math.exp(statistics.median(kind)) for kind in zip(*logs, strict=True)))


def main() -> None:
    """Print the ratio, its interval and n."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=4, help="rounds of each side, after the first")
    parser.add_argument("--cell", default="simple_rnn", help="the cell with the shortest steps shows a cost the most")
    arguments = parser.parse_args()
    # before any other process is started: they inherit it
    os.environ["TF_NUM_INTEROP_THREADS"] = os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
    data = obtain(TASKS["mnist"], data_dir=None, report=lambda line: print(line, file=sys.stderr))
    plan = Plan("overhead", "", 0, 900.0, (), ())
    ratios: list[Seconds] = []
    with tempfile.TemporaryDirectory() as folder, CampaignProgress(sys.stderr) as progress:
        progress.campaign_started(plan)
        harness = HarnessSide(progress)
        with harness.workers:
            for number in range(arguments.pairs):
                ratios.append(pair(harness, arguments.cell, number, arguments.rounds, data, Path(folder)))
                progress.note(f"pair {number + 1}: harness / plain {ratios[-1].wall:.4f} ({ratios[-1].cpu:.4f})")
    print("harness / plain fit, training an epoch:")
    for name, kind in zip(("wall seconds", "CPU seconds"), zip(*ratios, strict=True), strict=True):
        estimate = paired_ratio(kind, [1.0] * len(kind))
        interval = f"{estimate.interval.low:.4f} … {estimate.interval.high:.4f}" if estimate.interval else "none"
        print(f"{name}: {estimate.value:.4f}, 95 % interval {interval}, n = {estimate.n} process pairs")


if __name__ == "__main__":
    main()
