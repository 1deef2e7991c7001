"""torch runs eagerly: there is no program to read, so the functions that ran are run once more under the profiler.

What torch.compile has compiled has graphs: `bench.worker.backends.torch_compile`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import torch
from keras.src.backend.torch.core import get_device
from keras.src.backend.torch.trainer import TorchEpochIterator
from torch.profiler import ProfilerActivity, profile, record_function

from bench.core.metric import STREAMING
from bench.core.protocol import MEMORY_FRACTION, FailedRun
from bench.worker.evidence.marks import mark_calls
from bench.worker.evidence.programs import BY_TWO, Program, Scopes, agreed_by_layer, read_profile
from bench.worker.evidence.retracing import Signature
from bench.worker.evidence.steps import read_phase
from bench.worker.inference import CallPath, Inputs, Outputs
from bench.worker.step import StepNetwork
from bench.worker.streaming import State, Step, StreamingCall
from bench.worker.warmup import Snapshot

if TYPE_CHECKING:
    from bench.worker.backends.torch_compile import Compilation


class TorchBackend:
    """See `bench.worker.backends.BackendAdapter`."""

    def __init__(self) -> None:
        self._batches: list[tuple[Any, Any]] = []
        """One of each shape that `fit` trains on."""
        self._compiled: CallPath | None = None
        self._step: StreamingCall | None = None
        self._cells: Mapping[str, Any] = {}
        """By name of the recurrent layer: what is called at a step."""
        self._compilation: Compilation | None = None
        """None where nothing is compiled."""

    def configure(self, device: str, threads: int) -> None:
        if device != "cpu":
            index = int(device.partition(":")[2])
            if index >= torch.cuda.device_count():
                raise FailedRun(f"torch sees no {device}: its build here is for the processor, or finds no CUDA")
            torch.cuda.set_device(index)  # what is synchronised, and whose memory is read
            if fraction := os.environ.get(MEMORY_FRACTION):
                torch.cuda.set_per_process_memory_fraction(float(fraction))
        if threads:
            torch.set_num_threads(threads)
        # Keras chooses CUDA where it is there; its device scope overrides that
        scope = keras.device("cpu" if device == "cpu" else device.replace("gpu", "cuda"))
        scope.__enter__()

    def make_deterministic(self) -> None:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
        torch.use_deterministic_algorithms(True)

    def allow_tf32(self, allowed: bool) -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed

    def build_symbolically(self, model: keras.Model, x: Any, y: Any, batch_size: int) -> None:
        if model.jit_compile:
            # imported here: it takes seconds, and most runs compile nothing
            from bench.worker.backends.torch_compile import Compilation

            self._compilation = Compilation()
        # plain `fit` draws a batch from a shuffled iterator here, once; what that takes from torch's random numbers it
        # must take here too
        model._symbolic_build(iterator=TorchEpochIterator(x=x, y=y, batch_size=batch_size, shuffle=True))
        partial = len(x) % batch_size
        self._batches = [(x[:size], y[:size]) for size in (min(batch_size, len(x)), partial) if size]

    def synchronise(self) -> None:
        if _in_cuda():
            torch.cuda.synchronize()

    def device_bytes(self) -> int | None:
        return int(torch.cuda.memory_allocated()) if _in_cuda() else None

    def peak_device_bytes(self) -> tuple[int | None, int | None]:
        if not _in_cuda():
            return None, None
        return int(torch.cuda.max_memory_allocated()), int(torch.cuda.max_memory_reserved())

    def random_state(self) -> Any:
        return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None

    def set_random_state(self, state: Any) -> None:
        processor, cuda = state
        torch.set_rng_state(processor)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)

    def programs(self, model: keras.Model) -> int:
        return self._compilation.programs if self._compilation else 0

    def signatures(self, model: keras.Model) -> list[Signature]:
        return self._compilation.signatures if self._compilation else []

    def compile_inference(self, model: keras.Model) -> CallPath:
        device = next(model.parameters()).device

        def call(x: Any) -> Any:
            return model(x, training=False)

        called = torch.compile(call) if self._compilation else call

        def infer(x: Inputs) -> object:
            with torch.inference_mode():
                return keras.ops.convert_to_numpy(called(torch.from_numpy(x).to(device)))

        self._compiled = infer
        return infer

    def compile_step(self, model: keras.Model, network: StepNetwork) -> Step:
        device = next(model.parameters()).device

        def step(x: Inputs, states: State) -> tuple[Outputs, State]:
            with torch.inference_mode():
                outputs, states = network(torch.from_numpy(x).to(device), states)
                return keras.ops.convert_to_numpy(outputs), states

        self._step, self._cells = StreamingCall(network.start, step), network.cells
        return step

    def array(self, values: Any, dtype: str) -> Any:
        return torch.as_tensor(values, dtype=getattr(torch, dtype), device=get_device())

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        made: Callable[..., Any] = torch.inference_mode()(function)
        return made

    def attest(self, model: keras.Model, layers: Mapping[str, keras.Layer], scopes: Scopes) -> dict[str, Program]:
        if self._compilation is not None:
            return self._attest_compiled(self._compilation, model, layers, scopes)
        phases: dict[str, Callable[..., object]] = {"train": model.train_on_batch, "evaluate": model.test_on_batch}
        if model.predict_function is not None:  # it was executed
            phases["predict"] = lambda x, _y: model.predict(x, batch_size=len(x), verbose=0)
        if (compiled := self._compiled) is not None:
            phases["compiled"] = lambda x, _y: compiled(x)
        trained = Snapshot(model, self)
        evidence = {
            phase: agreed_by_layer([profiled(layers, partial(run, *batch), scopes) for batch in self._batches])
            for phase, run in phases.items()
        }
        if (stream := self._step) is not None:
            # one after the other: taking a step puts the state back
            evidence[STREAMING] = agreed_by_layer(
                [profiled_step(self._cells, partial(stream, next(stream.feed(x, len(x))))) for x, _ in self._batches]
            )
        trained.restore()  # the profiled training was a step or two more
        return evidence

    def _attest_compiled(
        self, compilation: Compilation, model: keras.Model, layers: Mapping[str, keras.Layer], scopes: Scopes
    ) -> dict[str, Program]:
        from bench.worker.backends.torch_compile import program

        # `train_on_batch` would hand on NumPy's arrays, for which all is compiled anew
        phases: dict[str, Callable[..., object]] = {
            "train": lambda x, y: model.fit(x, y, len(x), epochs=1, verbose=0),
            "evaluate": lambda x, y: model.evaluate(x, y, len(x), verbose=0),
            "predict": lambda x, _y: model.predict(x, batch_size=len(x), verbose=0),
            "compiled": lambda x, _y: self._compiled(x) if self._compiled else None,
        }
        functions = {
            "train": model.train_function,
            "evaluate": model.test_function,
            "predict": model.predict_function,
            "compiled": self._compiled,
        }
        executed = [phase for phase, function in functions.items() if function is not None]
        trained = Snapshot(model, self)
        executions = {
            phase: [compilation.executed(partial(phases[phase], *batch)) for batch in self._batches]
            for phase in executed
        }
        trained.restore()
        compilation.forget_code()
        if scopes.unique:
            # called once more, since what is compiled can't bear marks
            x, _ = self._batches[0]
            take_off = mark_calls(layers, scopes, lambda _mark: nullcontext())
            with torch.inference_mode():
                model(torch.from_numpy(x[:1]).to(next(model.parameters()).device), training=False)
            take_off()
        return {phase: program(calls, model, layers, scopes) for phase, calls in executions.items()}

    def mark(self, layers: Mapping[str, keras.Layer], scopes: Scopes) -> None:
        """Nothing: the profiler's marks are set while it runs."""

    def run_attested(
        self,
        model: keras.Model,
        layers: Mapping[str, keras.Layer],
        scopes: Scopes,
        phases: Mapping[str, Callable[[], object]],
    ) -> dict[str, Program]:
        return {phase: profiled(layers, run, scopes) for phase, run in phases.items()}

    def read_back(self, model: keras.Model) -> dict[str, Any]:
        in_products, in_cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        return {
            "tf32": in_products if in_products == in_cudnn else None,
            "tf32_matmul": in_products,
            "tf32_cudnn": in_cudnn,
            "cudnn_version": torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None,
            "op_determinism": torch.are_deterministic_algorithms_enabled(),
            "memory_fraction": torch.cuda.get_per_process_memory_fraction() if _in_cuda() else None,
            "threads": torch.get_num_threads(),
            "onednn": torch.backends.mkldnn.is_available(),
            **(self._compilation.settings() if self._compilation else {}),
        }


def _in_cuda() -> bool:
    return bool(torch.cuda.is_available() and torch.cuda.is_initialized())


def profiled(layers: Mapping[str, Any], run: Callable[[], object], scopes: Scopes) -> Program:
    """Run a step under the profiler, the forward pass of each of `layers` (name → module) marked with its name."""
    if scopes.unique:
        undo = [mark_calls(layers, scopes, lambda layer: record_function(_range(layer)))]
    else:
        undo = [handle.remove for layer, module in layers.items() for handle in _mark(module, layer)]
    try:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if _in_cuda() else [])]
        # the arguments come with the shapes: their stride shows a scan
        with profile(activities=activities, record_shapes=True) as profiler:
            run()
    finally:
        for take_off in undo:
            take_off()
    events = profiler.events()
    return {
        layer: read_profile(_inside(events, _range(layer), apart=scopes.unique), scopes.steps[layer])
        for layer in layers
    }


def profiled_step(layers: Mapping[str, Any], run: Callable[[], object]) -> Program:
    """As `profiled` of what does a single step of each layer."""
    scopes = Scopes.of_names(tuple(layers), 1)
    # torch's loop over a single step is that step's operations
    return read_phase(STREAMING, scopes, lambda scopes: profiled(layers, run, scopes), unlooped="generic")


_RANGE = "layer:"


def _range(layer: str) -> str:
    """What the profiler calls the range of a layer."""
    return f"{_RANGE}{layer}"


def _mark(module: Any, layer: str) -> list[Any]:
    """Hooks that put a range with the layer's name around its forward pass."""
    ranges: list[Any] = []

    def begin(_module: Any, _inputs: Any) -> None:
        ranges.append(record_function(_range(layer)))
        ranges[-1].__enter__()

    def end(_module: Any, _inputs: Any, _output: Any) -> None:
        ranges.pop().__exit__(None, None, None)

    return [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]


def _operation(event: Any) -> str:
    """The name of an operation; one that takes every second value is marked."""
    by_two = event.name == "aten::slice" and event.concrete_inputs[-1:] == [2]
    return f"{event.name}{BY_TWO}" if by_two else str(event.name)


def _inside(events: Any, mark: str, *, apart: bool) -> Counter[str]:
    """The operations under the ranges named `mark`; `apart` from those of another layer's range inside them."""
    counts: Counter[str] = Counter()
    queue = [event for event in events if event.name == mark]
    while queue:
        event = queue.pop()
        counts[_operation(event)] += 1
        counts.update(kernel.name for kernel in event.kernels)  # those that it started on the GPU
        queue += [inner for inner in event.cpu_children if not (apart and inner.name.startswith(_RANGE))]
    return counts
