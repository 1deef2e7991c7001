"""The protocol twice: as a plain Keras script that knows nothing of bench, and as bench's worker does it.

    python tests/real/plain_fit.py plain|bench CASES_JSON DATA

Prints a line of JSON for each case, which has a fresh process forked from this one: losses and accuracies by epoch, of
the evaluation, and a digest of the final weights.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

Result = dict[str, Any]


def plain(case: dict[str, Any], data: Path) -> Result:
    """What a notebook would do: no warm-up, no callback, validation by `fit`."""
    arrays = np.load(data)
    count = case.get("train_samples") or len(arrays["x_train"])
    x_train, y_train = arrays["x_train"][:count] / np.float32(255), arrays["y_train"][:count]
    x_test, y_test = arrays["x_test"] / np.float32(255), arrays["y_test"]
    keras.utils.set_random_seed(case["seed"])
    layer = {"simple_rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[case["cell"]]
    switches: dict[str, Any] = {"unroll": True} if case.get("kernel") == "unrolled" else {}
    if case.get("kernel", "auto") != "auto" and case["cell"] != "simple_rnn":
        switches["use_cudnn"] = False
    second = "relu" if case.get("network", "notebook") == "notebook" else "tanh"
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            layer(case["units"], activation="tanh", return_sequences=True, **switches),
            keras.layers.Dropout(0.2),
            layer(case["units"], activation=second, **switches),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    rate = keras.optimizers.schedules.InverseTimeDecay(0.001, decay_steps=1, decay_rate=1e-6)
    switch: dict[str, bool | str] = {"auto": "auto", "xla": True}
    # JAX always compiles
    compiled = "auto" if keras.config.backend() == "jax" else switch.get(case.get("kernel", "auto"), False)
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=compiled
    )
    fitted = model.fit(
        x_train, y_train, case["batch_size"], epochs=case["epochs"], verbose=0, validation_data=(x_test, y_test)
    )
    history = fitted.history
    final = model.evaluate(x_test, y_test, case["batch_size"], verbose=0)
    return {
        "train": list(zip(history["loss"], history["accuracy"], strict=True)),
        "validate": list(zip(history["val_loss"], history["val_accuracy"], strict=True)),
        "evaluate": [list(final)],
        "weights": _digest(model),
    }


def bench(case: dict[str, Any], data: Path) -> Result:
    """The same through `bench.worker`."""
    from bench.core.case import Case
    from bench.core.observation import Observation
    from bench.core.protocol import Began, Event, Request
    from bench.worker import measure
    from bench.worker.runtimes import keras as runtime

    result: Result = {"train": [], "validate": [], "evaluate": []}
    models: list[keras.Model] = []
    build = vars(runtime)["build"]

    def keep(*arguments: Any) -> keras.Model:
        models.append(build(*arguments))
        return models[0]

    def emit(event: Event) -> None:
        if isinstance(event, Observation) and event.phase in result:
            result[event.phase].append([event.loss, event.accuracy])
        if event == Began("finish") or (isinstance(event, Observation) and event.phase == "finish"):
            counted = [type(each).__name__ for each in gc.get_objects()].count("OwnedIterator")
            result["iterators"] = [*result.get("iterators", []), counted]

    vars(runtime)["build"] = keep
    measure.measure(Request(case=Case(**case), data=data, log=Path("unused")), emit)
    return {**result, "weights": _digest(models[0])}


def _digest(model: keras.Model) -> str:
    return hashlib.sha256(b"".join(np.asarray(weight).tobytes() for weight in model.get_weights())).hexdigest()


if __name__ == "__main__":
    which, cases_json, data_path = sys.argv[1:]
    for case in json.loads(cases_json):
        if not (child := os.fork()):
            print(json.dumps({"plain": plain, "bench": bench}[which](case, Path(data_path))), flush=True)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit(f"{which} failed for {case}")
