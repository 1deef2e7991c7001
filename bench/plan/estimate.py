"""How long cases will take: a model of training steps, for the plan that is shown before anything has been measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.catalog import backends, networks, tasks
from bench.catalog.cells import BUILT_IN
from bench.catalog.device_profiles import ANY_GPU
from bench.catalog.kernels import default_kernels
from bench.catalog.networks import Arithmetic, arithmetic
from bench.core.case import Case

# The model of `estimate_seconds`, fitted to this protocol's training steps (batch 32, 128 units) on a 2-core machine:
# about 13 ms for SimpleRNN and 27 ms for LSTM, which leaves 74 µs for each of the 112 dependent steps and 59 GFLOP/s.
_SECONDS_PER_DEPENDENT_STEP = 74e-6
_FLOPS_PER_SECOND = 59e9
_PREDICT_SECONDS = 0.1
_CALL_SECONDS = 0.02
"""A call of inference through Keras's `predict` and through a compiled call, on a processor that leads a GPU."""
_EVALUATION = 1 / 3
"""The part of the time of a training step's dependent steps that evaluation takes, which goes forward alone."""
_UNKNOWN_GATES = 4  # a cell whose arithmetic is unknown is expected to cost what an LSTM does


def estimate_seconds(case: Case) -> float:
    """A first guess at a run's wall time, seconds; `bench run` corrects it by what it sees.

    Raises:
        UsageError: the case names a task, a network or a backend that doesn't exist.
    """
    task = tasks.of(case)
    known = BUILT_IN.get(case.cell)
    network = networks.of(case)
    if network.factory:
        network = networks.NETWORKS["notebook"]  # whose cost stands for what is unknown
    gates, state_gates = (known.gates, known.state_gates) if known else (None, None)
    flops = arithmetic(network, gates or _UNKNOWN_GATES, case.units, task, state_gates=state_gates)
    chains = max(layer.directions for layer in network.recurrent)  # which take their time one after another
    dependent = network.dependent_steps(task) * chains
    train = case.train_samples or task.train_samples
    steps, test_steps = math.ceil(train / case.batch_size), math.ceil(task.test_samples / case.batch_size)
    if case.device != "cpu":
        return _on_gpu(case, flops, dependent, steps, test_steps)
    serial = _SECONDS_PER_DEPENDENT_STEP * dependent
    step = serial + case.batch_size * flops.training / _FLOPS_PER_SECOND
    test_step = serial / 2 + case.batch_size * flops.forward / _FLOPS_PER_SECOND
    work = case.epochs * steps * step + (case.epochs + 1) * test_steps * test_step
    # through Keras's `predict` and compiled; the larger batches together are about 30 calls of 1,024 samples each
    call = _PREDICT_SECONDS + serial
    large_call = call + 2 * 1024 * flops.forward / _FLOPS_PER_SECOND
    inference = case.latency_calls * call + min(case.latency_calls, 30) * large_call
    cost = backends.find(case.backend).cost(case.kernel)
    return cost.compile_seconds + (work + inference) * cost.step_factor


def _on_gpu(case: Case, flops: Arithmetic, dependent: int, steps: int, test_steps: int) -> float:
    """The same on a GPU, where each run starts a process of its own."""
    kernels = (case.kernel,) if case.kernel != "auto" else default_kernels(case) or ("generic",)
    costs = [ANY_GPU.cost(case.backend, kernel) for kernel in kernels]
    serial = dependent * sum(cost.step_seconds for cost in costs) / len(costs)
    step = serial + case.batch_size * flops.training / ANY_GPU.flops_per_second
    test_step = _EVALUATION * serial + case.batch_size * flops.forward / ANY_GPU.flops_per_second
    work = case.epochs * steps * step + (case.epochs + 1) * test_steps * test_step
    inference = case.latency_calls * (_CALL_SECONDS + 2 * _EVALUATION * serial)
    return ANY_GPU.start_seconds[case.backend] + max(cost.compile_seconds for cost in costs) + work + inference


def estimate_all(cases: Sequence[Case]) -> float:
    """The sum of the estimates, seconds, each distinct configuration reckoned once: plans have thousands of cases.

    Raises:
        UsageError: a case names a task, a network or a backend that doesn't exist.
    """
    known: dict[Case, float] = {}
    total = 0.0
    for case in cases:
        configuration = case.configuration
        if configuration not in known:
            known[configuration] = estimate_seconds(configuration)
        total += known[configuration]
    return total
