"""Trains small networks with options of their recurrent layers, in one process; a line of JSON for each.

    KERAS_BACKEND=jax python tests/real/option_runs.py '[{"cell": "lstm", "bidirectional": true}]'

What support refuses is tried all the same: a test holds its sentences to what Keras does.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np

from bench.catalog import masks, networks, tasks
from bench.core.case import Case
from bench.worker.evidence.attestation import attest, contradictions, watch
from bench.worker.model import build
from bench.worker.session import start_session

SIZES = {"units": 4, "batch_size": 8, "backend": keras.backend.backend()}


def forget() -> None:
    """Let go of the network before: JAX's programs are all those that the process still has."""
    keras.backend.clear_session()
    gc.collect()
    if keras.backend.backend() == "jax":
        importlib.import_module("jax").clear_caches()


def main() -> None:
    task = replace(tasks.find("mnist_5k"), steps=14, features=3, outputs=4)
    random = np.random.default_rng(0)
    inputs = random.random((16, task.steps, task.features), dtype=np.float32)
    labels = random.integers(0, task.outputs, 16)
    model: Any = None
    for options in json.loads(sys.argv[1]):
        case = Case(**SIZES | options)
        model = None
        forget()
        backend = start_session(case)
        try:
            model = build(case, task)
            layers = watch(model, backend, case) or networks.of(case).recurrent_names
            x = masks.padded(inputs, case.mask)
            backend.build_symbolically(model, x, labels, case.batch_size)
            model.fit(x, labels, case.batch_size, verbose=0)
            model.evaluate(x, labels, case.batch_size, verbose=0)
            first, again = (model.predict(x[:8], case.batch_size, verbose=0) for _ in range(2))
            backend.compiled(partial(model, training=False))(backend.array(x[:8], "float32"))
            for variable in model.variables:
                keras.ops.convert_to_numpy(variable)  # it has a value still, and not a tracer
        except Exception as error:  # what Keras raises is what is asked
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
            continue
        shown = attest(model, backend, layers, task.steps, ("train", "evaluate", "predict"))
        kernels = {
            f"{phase} {layer}": program[layer].kernel for phase, program in shown.evidence.items() for layer in program
        }
        print(
            json.dumps(
                {
                    "kernels": kernels,
                    "contradictions": contradictions(case, shown),
                    "parameters": model.count_params(),
                    "carries_state": not np.array_equal(first, again),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
