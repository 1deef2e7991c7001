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
    step = training_step(request.case.backend, backend)
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


def training_step(name: str, backend: BackendAdapter) -> TrainingStep:
    """A step of gradient descent on an LSTM of 64 units, over 32 sequences of 28 steps with 28 features, in float32.

    Args:
        name: of the backend.
        backend: puts the arrays on the device.
    """
    random = np.random.default_rng(0)
    shapes = ((_INPUTS, 4 * _UNITS), (_UNITS, 4 * _UNITS), (4 * _UNITS,))
    weights = [backend.array(random.standard_normal(shape) / np.sqrt(shape[0]), "float32") for shape in shapes]
    inputs = backend.array(random.standard_normal((_STEPS, _BATCH, _INPUTS)), "float32")
    state = backend.array(np.zeros((_BATCH, _UNITS)), "float32")
    return _STEPS_OF[name](weights, inputs, state)


def _of_tensorflow(values: list[Any], inputs: Any, zeros: Any) -> TrainingStep:
    import tensorflow as tf

    weights = [tf.Variable(value) for value in values]
    kernel, recurrent, bias = weights

    def gates(inputs_now: Any, hidden: Any) -> list[Any]:
        together = tf.matmul(inputs_now, kernel) + tf.matmul(hidden, recurrent) + bias
        return list(tf.split(together, 4, axis=1))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator] # TensorFlow has no type information
    def step() -> Any:
        with tf.GradientTape() as tape:
            rows = tf.TensorArray(tf.float32, _STEPS).unstack(inputs)

            def body(now: Any, hidden: Any, cell: Any) -> tuple[Any, Any, Any]:
                enter, forget, candidate, leave = gates(rows.read(now), hidden)
                cell = tf.sigmoid(forget) * cell + tf.sigmoid(enter) * tf.tanh(candidate)
                return now + 1, tf.sigmoid(leave) * tf.tanh(cell), cell

            _, hidden, _ = tf.while_loop(lambda now, *_: now < _STEPS, body, (0, zeros, zeros))
            loss = tf.reduce_mean(tf.square(hidden))
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(_RATE * gradient)
        return loss

    return step  # type: ignore[no-any-return]


def _of_jax(values: list[Any], inputs: Any, zeros: Any) -> TrainingStep:
    import jax

    def loss(weights: list[Any]) -> Any:
        kernel, recurrent, bias = weights

        def body(state: tuple[Any, Any], now: Any) -> tuple[tuple[Any, Any], None]:
            hidden, cell = state
            enter, forget, candidate, leave = jax.numpy.split(now @ kernel + hidden @ recurrent + bias, 4, axis=1)
            cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jax.numpy.tanh(candidate)
            return (jax.nn.sigmoid(leave) * jax.numpy.tanh(cell), cell), None

        (hidden, _), _ = jax.lax.scan(body, (zeros, zeros), inputs)
        return (hidden**2).mean()

    @jax.jit  # type: ignore[untyped-decorator]
    def descended(weights: list[Any]) -> tuple[Any, list[Any]]:
        before, gradients = jax.value_and_grad(loss)(weights)
        return before, [weight - _RATE * gradient for weight, gradient in zip(weights, gradients, strict=True)]

    weights = values

    def step() -> Any:
        nonlocal weights
        before, weights = descended(weights)
        return before

    return step


def _of_torch(values: list[Any], inputs: Any, zeros: Any) -> TrainingStep:
    import torch

    weights = [value.detach().clone().requires_grad_() for value in values]
    kernel, recurrent, bias = weights

    def step() -> Any:
        hidden = cell = zeros
        for now in inputs:
            enter, forget, candidate, leave = (now @ kernel + hidden @ recurrent + bias).chunk(4, dim=1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
            hidden = leave.sigmoid() * cell.tanh()
        loss = (hidden**2).mean()
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= _RATE * gradient
        return loss.detach()

    return step


_STEPS_OF: dict[str, Callable[[list[Any], Any, Any], TrainingStep]] = {
    "tensorflow": _of_tensorflow,
    "jax": _of_jax,
    "torch": _of_torch,
}
