"""Trains a real model on longer sequences than its warm-up had, then infers without one; prints how each ends."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from unittest import mock


def main(backend: str, kernel: str = "auto", cell: str = "simple_rnn") -> None:
    os.environ["KERAS_BACKEND"] = backend
    import keras
    import numpy as np

    from bench.catalog import tasks
    from bench.core.case import Case
    from bench.core.protocol import InvalidRun
    from bench.worker import measure
    from bench.worker.clock import Clock
    from bench.worker.data import Data
    from bench.worker.runtimes.keras import KerasRuntime
    from bench.worker.session import start_session

    case = Case(
        cell=cell,
        kernel=kernel,
        task="noise",
        network="tests.real.user_models:any_length",
        backend=backend,
        units=3,
        epochs=1,
    )
    task = replace(tasks.of(case), steps=5, features=3)
    x, y = np.zeros((40, 5, 3), "float32"), np.zeros(40, "uint8")
    adapter = start_session(case)
    data = Data(
        x_train=x,
        y_train=y,
        x_test=x,
        y_test=y,
        x_validation=x,
        y_validation=y,
        lengths_test=None,
        per_step=False,
        digest="",
    )
    keras.utils.set_random_seed(0)
    runtime = KerasRuntime(case, task, data, adapter)
    clock = Clock(lambda event: None)
    clock.synchronise = adapter.synchronise
    runtime.build()
    runtime.warm_up(clock)
    runtime.data = replace(data, x_train=np.zeros((40, 7, 3), "float32"))
    try:
        runtime.train(clock)
    except InvalidRun as reason:
        print(reason)
    # as a call path does whose warm-up has not met what it is then called with
    with mock.patch.object(measure, "warm_up"):
        try:
            measure._infer(runtime, data, replace(case, latency_calls=1), clock)
        except InvalidRun as reason:
            print(reason)


if __name__ == "__main__":
    main(*sys.argv[1:])
