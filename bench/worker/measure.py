"""One run: build, compile, warm up, train and validate epoch by epoch, evaluate, and prove which kernel ran."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from typing import Any

import keras
import numpy as np

from bench.catalog import cells, networks, tasks
from bench.catalog.networks import Arithmetic, arithmetic
from bench.catalog.runtimes import outputs_apart
from bench.catalog.streaming import streaming_apart
from bench.catalog.tasks import Task
from bench.core import code, predictions
from bench.core.case import Case
from bench.core.metric import STREAMING
from bench.core.observation import RunMetadata
from bench.core.protocol import Began, Emit, InvalidRun, Request
from bench.host import noise
from bench.worker.clock import Clock
from bench.worker.data import Array, Data, r2, task_of
from bench.worker.evidence.attestation import contradictions
from bench.worker.evidence.code import imported_modules
from bench.worker.evidence.retracing import retraced
from bench.worker.inference import CallPath, plan_calls, time_calls, warm_up
from bench.worker.model import build
from bench.worker.runtimes import RuntimeAdapter, load_runtime
from bench.worker.session import preload as preload
from bench.worker.session import start_session
from bench.worker.streaming import StreamingCall, largest_difference


def measure(request: Request, emit: Emit) -> None:
    """Do one run and report each observation as it is made; of one that only builds, nothing.

    Raises:
        FailedRun: the cell can't be built, or a loss isn't finite.
        InvalidRun: the kernel that ran isn't the one asked for, a setting reads back as another, a timed epoch traced
            or compiled something, or a mask was ignored.
    """
    case, task = request.case, task_of(request)
    if request.build_only:
        start_session(case)
        build(case, task)
        return
    clock, earlier = Clock(emit, scored=task.scored), noise.read_cpu_times()
    with clock.phase("setup"):
        backend = start_session(case)
        clock.synchronise = backend.synchronise
        data = Data.load(request, task)
        runtime = load_runtime(case, task, data, backend)
    usage = noise.UsageMeter(earlier)
    phases: tuple[str, ...] = ("train", "evaluate")
    metadata = RunMetadata(
        rss_start_bytes=noise.resident_bytes(), data_digest=data.digest, task_json=tasks.to_json(task)
    )
    try:
        keras.utils.set_random_seed(case.seed)
        before = frozenset(sys.modules)
        with clock.phase("build"):
            parameters = runtime.build()
        # now, and not after the training: by then a file may have been edited
        with clock.phase("attest"):
            modules = {*imported_modules(before), *code.from_json(task.code_json)}
            metadata = replace(metadata, code_json=code.to_json(modules))
        flops = _arithmetic(case, task)
        metadata = replace(
            metadata,
            parameters=parameters,
            forward_flops_per_sample=flops.forward if flops else None,
            training_flops_per_sample=flops.training if flops else None,
        )
        runtime.warm_up(clock)
        noise.reset_peak()
        metadata = replace(metadata, rss_train_bytes=noise.resident_bytes())
        runtime.train(clock)
        with clock.phase("evaluate", samples=len(data.x_test), targets=len(data.targets_test(data.y_test))) as results:
            results.update(runtime.evaluate())
        in_use, held = backend.peak_device_bytes()
        metadata = replace(
            metadata, peak_rss_bytes=noise.peak_bytes(), device_memory_bytes=in_use, device_reserved_bytes=held
        )
        if case.latency_calls:
            call_paths, streamed = _infer(runtime, data, case, clock)
            phases += call_paths
            metadata = replace(
                metadata,
                output_difference=runtime.output_difference,
                accuracy_lost=runtime.accuracy_lost,
                streaming_difference=streamed,
            )
        if task.scored:
            with clock.phase("outputs", samples=len(data.x_test)):
                metadata = replace(metadata, **_judged(task, data, runtime.outputs()))
        with clock.phase("attest"):
            attestation = runtime.attest(task.steps, phases)
            ignored_mask = runtime.mask_problem(attestation)
        metadata = replace(
            metadata,
            attested_kernel=attestation.kernel,
            attestation_json=attestation.to_json(),
            extra_json=attestation.settings_json(),
        )
    finally:
        emit(replace(metadata, **asdict(usage.stop())))
    problems = [
        *contradictions(case, attestation),
        *outputs_apart(case, metadata.output_difference),
        *streaming_apart(case, metadata.streaming_difference),
        *([ignored_mask] if ignored_mask else []),
    ]
    if problems:
        raise InvalidRun("; ".join(problems))


def _judged(task: Task, data: Data, outputs: Array) -> dict[str, Any]:
    """What is kept of the trained network's outputs for the test set, by the kind of target."""
    if not task.target.is_class:
        return {"r2": r2(data.targets_test(data.y_test), data.targets_test(outputs))}
    if task.target.per_step or task.outputs > predictions.MOST_CLASSES:
        return {}
    return {"test_predictions": predictions.pack(data.y_test, outputs)}


def _infer(runtime: RuntimeAdapter, data: Data, case: Case, clock: Clock) -> tuple[tuple[str, ...], float | None]:
    """Time the trained network's inference through each of its call paths.

    Returns:
        The call paths, and how far streaming is from whole sequences; None where the network does not stream.
    """
    x, streamed = data.x_test, None
    calls = plan_calls(case.latency_calls, len(x))
    with clock.phase("warmup"):
        call_paths = runtime.call_paths()
        warm_up(call_paths, x, calls)
        if isinstance(stream := call_paths.get(STREAMING), StreamingCall):
            streamed = _streaming_difference(runtime, stream, call_paths["compiled"], x[: sorted(calls)[:2][-1]])
    programs = runtime.programs()
    clock.emit(Began("predict"))
    for batch, count in calls.items():
        for observation in time_calls(call_paths, x, batch, count, runtime.device_bytes):
            clock.emit(observation)
    if runtime.programs() != programs:
        shapes = retraced(runtime.signatures(), programs)
        raise InvalidRun(f"something was traced or compiled inside the timed calls of inference{shapes}")
    return tuple(call_paths), streamed


def _streaming_difference(runtime: RuntimeAdapter, stream: StreamingCall, infer: CallPath, x: Array) -> float:
    """The largest difference of a stream's outputs: after each step from a pass over the whole sequences, and after the
    last one from what the network gives for them."""
    streamed = stream.read(x)
    at_the_end = np.asarray(infer(x))
    difference = largest_difference(streamed, runtime.outputs_by_step(x))
    if at_the_end.ndim < streamed.ndim:
        streamed = streamed[:, -1]
    # not `max`, which would lose a NaN
    return float(np.maximum(difference, largest_difference(streamed, at_the_end)))


def _arithmetic(case: Case, task: Task) -> Arithmetic | None:
    """None for a cell or a network whose arithmetic is unknown: it is not guessed."""
    cell, network = cells.find(case.cell), networks.of(case)
    if cell.gates is None or network.factory:
        return None
    return arithmetic(network, cell.gates, case.units, task, state_gates=cell.state_gates)
