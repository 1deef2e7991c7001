"""Prints, as JSON, a model's scores on padded sequences by Keras, and the same computed by hand without any padding.

    python -m tests.real.masked_scores TARGET

The backend is that of KERAS_BACKEND. Each sequence is given to the model alone, as long as it is.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import keras
import numpy as np

from bench import TaskData
from bench.catalog.tasks.users import task_of
from bench.core.case import Case
from bench.worker.data import r2, with_padding
from bench.worker.model import build

SAMPLES, STEPS, FEATURES = 24, 7, 3


def main(target: str) -> None:
    random = np.random.default_rng(5)
    x = random.normal(size=(SAMPLES, STEPS, FEATURES))
    y = (
        random.integers(0, 4, (SAMPLES, STEPS))
        if target == "class_per_step"
        else random.normal(size=(SAMPLES, STEPS, 2))
    )
    lengths = random.integers(1, STEPS + 1, SAMPLES)
    task, arrays = task_of("a:test", TaskData(target=target, train=(x, y, lengths), test=(x, y, lengths)))
    # one batch: of several, Keras weighs each batch by its samples, and not by its steps
    case = Case(cell="gru", network="cudnn_ready", units=5, batch_size=SAMPLES)
    model = build(case, task)
    padded = with_padding(task.scaled(arrays.x_test, "float32"), arrays.lengths_test, task.mask_value)
    scores = model.evaluate(padded, arrays.y_test, SAMPLES, verbose=0, return_dict=True)
    alone = {length: build(case, replace(task, steps=length, mask_value=None)) for length in set(lengths.tolist())}
    for of_length in alone.values():
        of_length.set_weights(model.get_weights())
    outputs = np.concatenate(
        [
            keras.ops.convert_to_numpy(alone[length](padded[n : n + 1, :length], training=False))[0]
            for n, length in enumerate(lengths.tolist())
        ]
    ).astype(np.float64)
    targets = np.concatenate([arrays.y_test[n, :length] for n, length in enumerate(lengths)])
    if target == "class_per_step":
        chosen = outputs[np.arange(len(targets)), targets]
        by_hand = {"loss": -np.log(chosen).mean(), "accuracy": (outputs.argmax(axis=1) == targets).mean()}
    else:
        by_hand = {"loss": np.square(outputs - targets).mean(), "mae": np.abs(outputs - targets).mean()}
        by_hand["r2"] = 1 - np.square(outputs - targets).sum() / np.square(targets - targets.mean(axis=0)).sum()
        kept = np.arange(STEPS) < lengths[:, None]
        whole = keras.ops.convert_to_numpy(model(padded, training=False))
        scores["r2"] = r2(arrays.y_test[kept], whole[kept])
    print(json.dumps({"keras": scores, "by hand": {name: float(value) for name, value in by_hand.items()}}))


if __name__ == "__main__":
    main(sys.argv[1])
