"""One side of a duel of inference: single calls at batch 1 through one call path, each timed by itself.

The model is as it was built: what a call takes does not hang on the weights. Each call gets other inputs than the one
before, and all sides get the same ones.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import keras

from bench.catalog.streaming import streaming_refusal
from bench.core import code
from bench.core.metric import STREAMING
from bench.core.observation import RunMetadata
from bench.core.protocol import CodeImported, Emit, FailedRun, InvalidRun, Request, TimedBatch
from bench.worker.data import Data, task_of
from bench.worker.evidence.attestation import contradictions
from bench.worker.evidence.code import imported_modules
from bench.worker.inference import feed
from bench.worker.runtimes.keras import KerasRuntime
from bench.worker.session import start_session


def time_calls(request: Request, emit: Emit, next_command: Callable[[], int]) -> None:
    """Build the model and do calls until 0 is read.

    Args:
        request: its phase names the call path.
        emit: reports an event.
        next_command: waits for how many calls to do next.

    Raises:
        FailedRun: the cell can't be built, or its network hasn't got this call path.
        InvalidRun: the kernel that ran isn't the one asked for.
    """
    case, task, path = request.case, task_of(request), request.phase.call_path
    backend = start_session(case)
    data = Data.load(request, task)
    keras.utils.set_random_seed(case.seed)
    before = frozenset(sys.modules)
    runtime = KerasRuntime(case, task, data, backend)
    parameters = runtime.build()
    emit(CodeImported(code.to_json(imported_modules(before, with_bench=True))))
    backend.build_symbolically(runtime.model, data.x_train, data.y_train, case.batch_size)
    call = runtime.call_paths().get(path)
    if call is None:
        raise FailedRun(f"its network does not stream: {streaming_refusal(case) or 'its layer has no single step'}")
    inputs_of = feed(call, data.x_test, 1)
    while calls := next_command():
        nanoseconds = []
        cpu = time.process_time_ns()
        for _ in range(calls):
            inputs = next(inputs_of)
            begun = time.perf_counter_ns()
            call(inputs)
            nanoseconds.append(time.perf_counter_ns() - begun)
        cpu_seconds = (time.process_time_ns() - cpu) / 1e9
        emit(TimedBatch(calls, sum(nanoseconds) / 1e9, cpu_seconds, tuple(each / 1e9 for each in nanoseconds)))
    attestation = runtime.attest(task.steps, (path,))
    emit(
        RunMetadata(
            parameters=parameters,
            # in a single step no kernel has its loop, by which it would be known
            attested_kernel="step" if path == STREAMING else attestation.kernel,
            attestation_json=attestation.to_json(),
            extra_json=attestation.settings_json(),
        )
    )
    if problems := contradictions(case, attestation):
        raise InvalidRun("; ".join(problems))
