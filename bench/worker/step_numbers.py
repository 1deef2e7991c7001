"""The numbers of one training step: what a batch's outputs and gradients are with given weights, by a case's kernel."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from bench.catalog import dtypes
from bench.core.observation import RunMetadata
from bench.core.protocol import Emit, InvalidRun, Request
from bench.worker.data import Array, Data, task_of
from bench.worker.evidence.attestation import contradictions
from bench.worker.runtimes import load_runtime
from bench.worker.session import preload as preload
from bench.worker.session import start_session

RESULT = "numbers.npz"
"""Where the numbers are written, in the folder of the run's log."""


def measure(request: Request, emit: Emit) -> None:
    """Compute a batch with the weights of the file `request.data`, and write what came of it beside the run's log.

    Raises:
        FailedRun: the network can't be built.
        InvalidRun: the kernel that ran isn't the one asked for.
    """
    case, task = request.case, task_of(request)
    assert request.data is not None
    with np.load(request.data) as given:
        x, y = given["x"], given["y"]
        weights = [given[name] for name in sorted(set(given.files) - {"x", "y"})]
    backend = start_session(case)
    dtype = dtypes.find(case.dtype).variables
    runtime = load_runtime(case, task, _batch(x.astype(dtype), y if task.target.is_class else y.astype(dtype)), backend)
    keras.utils.set_random_seed(case.seed)
    parameters = runtime.build()
    numbers = runtime.step_numbers(weights)
    attestation = runtime.attest(task.steps, numbers.phases)
    emit(
        RunMetadata(
            parameters=parameters,
            attested_kernel=attestation.kernel,
            attestation_json=attestation.to_json(),
            extra_json=attestation.settings_json(),
        )
    )
    if problems := contradictions(case, attestation):
        raise InvalidRun("; ".join(problems))
    gradients = {f"gradient {number:03}": array for number, array in enumerate(numbers.gradients or ())}
    # NumPy has no bfloat16 to write
    named = {name: array.astype(dtype) for name, array in {"outputs": numbers.outputs, **gradients}.items()}
    np.savez(request.log.parent / RESULT, allow_pickle=False, **named)


def _batch(x: Array, y: Array) -> Data:
    whole: dict[str, Any] = {"x_train": x, "y_train": y, "x_test": x, "y_test": y, "x_validation": x, "y_validation": y}
    return Data(**whole, lengths_test=None, per_step=False, digest="")
