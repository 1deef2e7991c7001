"""The anchor of stores: a fixed training step in the cells' own backend that does timed batches as a side does.

What a machine does to the cells from one occasion to the next (its neighbours, its memory, its clock), it does to this
step too: small products, many small operations between them, and the backend's own runtime. Neither Keras nor a cell
nor a user's code is in it, so a side's time divided by the anchor's compares stores of one machine and one release of
the backend. `bench.worker.anchor`, which needs no backend, serves duels.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.core.observation import RunMetadata
from bench.core.protocol import CodeImported, Emit, Request, TimedBatch
from bench.worker.backends import BackendAdapter
from bench.worker.session import start_session

BACKEND_ANCHOR_VERSION = 2
"""The version of what is computed: times of different versions do not compare. 1 is `bench.worker.anchor`'s."""

_STEPS, _BATCH, _INPUTS, _UNITS = 28, 32, 28, 64
_RATE = 1e-9
"""The learning rate: the weights move, and stay what they are for millions of steps."""

TrainingStep = Callable[[], Any]
"""Does a step, and gives the loss before it, in the backend's own type."""


def time_anchor(request: Request, emit: Emit, next_command: Callable[[], int]) -> None:
    """Do timed batches until there are no more; report which release of the backend did them.

    Args:
        request: of its case, the backend, its device and its settings count.
        emit: reports.
        next_command: waits for the number of steps of the next timed batch; 0 ends.

    Raises:
        FailedRun: the backend does not see the device.
    """
    backend = start_session(request.case)
    step = training_step(backend)
    step()
    emit(CodeImported("[]"))
    while steps := next_command():
        backend.synchronise()
        cpu, start = time.process_time_ns(), time.perf_counter_ns()
        for _ in range(steps):
            step()
        backend.synchronise()
        emit(TimedBatch(steps, (time.perf_counter_ns() - start) / 1e9, (time.process_time_ns() - cpu) / 1e9))
    name = request.case.backend
    facts = {"anchor": BACKEND_ANCHOR_VERSION, "backend": f"{name} {sys.modules[name].__version__}"}
    emit(RunMetadata(extra_json=json.dumps(facts)))


def training_step(backend: BackendAdapter) -> TrainingStep:
    """A step of gradient descent on an LSTM of 64 units, over 32 sequences of 28 steps with 28 features, in float32.

    Args:
        backend: has the step, and puts the arrays on the device.
    """
    random = np.random.default_rng(0)
    shapes = ((_INPUTS, 4 * _UNITS), (_UNITS, 4 * _UNITS), (4 * _UNITS,))
    weights = [backend.array(random.standard_normal(shape) / np.sqrt(shape[0]), "float32") for shape in shapes]
    inputs = backend.array(random.standard_normal((_STEPS, _BATCH, _INPUTS)), "float32")
    state = backend.array(np.zeros((_BATCH, _UNITS)), "float32")
    return backend.descent(weights, inputs, state, _RATE)
