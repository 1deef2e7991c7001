"""Measures both ceilings of `bench.store.ceilings`: a worker like `bench.worker.measure`, in a process of its own.

Reports an observation of the phase `peak`, a large product's seconds, and one of the phase `serial`, those of a forward
pass's chain of products. Each is the least of several: what disturbs a measurement only ever makes it longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.catalog import dtypes, tasks
from bench.core.observation import Observation
from bench.core.protocol import Began, Emit, FailedRun, Request
from bench.store.ceilings import PEAK_SIZE, ProductShape
from bench.worker.session import preload as preload
from bench.worker.session import start_session

_SECONDS = 1.0
"""How long each is tried."""
_FEWEST_CALLS = 5
"""How often each is called at least, after a first call that isn't counted."""


def measure(request: Request, emit: Emit) -> None:
    """Measure both ceilings of the request's case.

    Raises:
        FailedRun: the cell's arithmetic is unknown.
    """
    case = request.case
    shape = ProductShape.of(case, tasks.of(case))
    if shape is None:
        raise FailedRun(f"the arithmetic of the cell {case.cell!r} is unknown, and so is its serial chain")
    compute = dtypes.find(case.dtype).compute
    backend = start_session(case)
    random = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> Any:
        # small enough that no product of products overflows
        return backend.array(random.standard_normal((rows, columns)) / np.sqrt(rows * shape.gates), compute)

    square = matrix(PEAK_SIZE, PEAK_SIZE)
    product = backend.compiled(lambda a, b: a @ b)
    emit(Began("peak"))
    emit(Observation(phase="peak", seconds=_least(lambda: product(square, square), backend.synchronise)))
    wide = shape.gates * shape.units
    # every step's inputs of a layer in one product: hoisted out of the chain, as Keras's layers do it where they can
    inputs = [matrix(shape.batch_size * shape.steps, width) for width in shape.input_widths]
    kernels = [matrix(width, shape.directions * wide) for width in shape.input_widths]
    chains = range(shape.directions)
    states = [matrix(shape.batch_size, shape.units) for _ in chains]
    recurrents = [matrix(shape.units, wide) for _ in chains]

    def step(state: Any, recurrent: Any) -> Any:
        # every column is used, so that no compiler leaves any out
        gates = state @ recurrent
        return sum(gates[:, gate * shape.units : (gate + 1) * shape.units] for gate in range(shape.gates))

    def forward(*matrices: Any) -> Any:
        states, recurrents = list(matrices[: len(chains)]), matrices[len(chains) : 2 * len(chains)]
        hoisted = matrices[2 * len(chains) :]
        products = [x @ kernel for x, kernel in zip(hoisted[: shape.layers], hoisted[shape.layers :], strict=True)]
        for _ in range(shape.layers * shape.steps):
            states = [step(state, recurrent) for state, recurrent in zip(states, recurrents, strict=True)]
        return states, products

    chain = backend.compiled(forward)
    emit(Began("serial"))
    seconds = _least(lambda: chain(*states, *recurrents, *inputs, *kernels), backend.synchronise)
    emit(Observation(phase="serial", seconds=seconds))


def _least(call: Callable[[], object], synchronise: Callable[[], None]) -> float:
    call()
    synchronise()
    least, begun, calls = float("inf"), time.perf_counter(), 0
    while calls < _FEWEST_CALLS or time.perf_counter() - begun < _SECONDS:
        started = time.perf_counter()
        result = call()
        synchronise()
        least = min(least, time.perf_counter() - started)
        del result
        calls += 1
    return least
