"""JAX: the programs that ran are the loaded executables of the client, whose HLO names the layers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
from jax._src.lib import cuda_versions
from keras.src.backend.jax.trainer import JAXEpochIterator

from bench.core.metric import STREAMING
from bench.core.protocol import FailedRun
from bench.worker.evidence.canonical import hlo_digest
from bench.worker.evidence.card_kernels import (
    LINE,
    PLANE,
    CardKernel,
    add_kernels,
    profile_cards,
    scopes_of_instructions,
)
from bench.worker.evidence.marks import mark_calls
from bench.worker.evidence.programs import Program, Scopes, agreed_by_layer, read_hlo
from bench.worker.evidence.retracing import Signature, shape_text
from bench.worker.evidence.steps import read_phase
from bench.worker.inference import CallPath, Inputs, Outputs
from bench.worker.step import StepNetwork
from bench.worker.streaming import State, Step
from bench.worker.warmup import Snapshot, steps_again

try:
    from jaxlib._hlo import HloPrintOptions
except ImportError:  # an earlier release, of the time of an earlier Keras
    from jaxlib.xla_extension import HloPrintOptions

_PROGRAMS = {
    "train": ("jit_train_step", "jit_compiled_train_step"),
    "evaluate": ("jit_test_step", "jit_compiled_test_step"),
    "predict": ("jit_predict_step", "jit_compiled_predict_step"),
    "compiled": ("jit_infer_of_bench",),
    STREAMING: ("jit_step_of_bench",),
}
"""The names that Keras's step functions, and our own for inference, get when they are compiled; the second ones are
those of Keras before 3.6."""
_PARAMETERS = re.compile(r'(op_name="[^"\[]*)\[[^"]*"')
"""The parameters of a primitive, which an earlier JAX wrote behind its name: `while[cond_nconsts=0 body_nconsts=0]`."""
_TAKES_PRODUCT = re.compile(r"^(.* )bitcast\((?=.*/dot_general\")", re.MULTILINE)


class JaxBackend:
    """See `bench.worker.backends.BackendAdapter`."""

    def __init__(self) -> None:
        self._compiled: CallPath | None = None
        self._step: Step | None = None
        """Both are kept, because their programs are among the client's only as long as they live."""
        self._batch: tuple[Any, Any] = ((), ())
        """What `fit` trains on in a step."""

    def configure(self, device: str, threads: int) -> None:
        if threads:
            # read when the client is made, which is now: JAX has no setting for it
            os.environ["PJRT_NPROC"] = str(threads)
        kind, _, index = device.partition(":")
        try:
            chosen = jax.devices(kind)[int(index or 0)]
        except (RuntimeError, IndexError):
            raise FailedRun(f"JAX sees no {device}: its build here is for the processor, or finds no CUDA") from None
        jax.config.update("jax_default_device", chosen)

    def make_deterministic(self) -> None:
        # read at each compilation; on a processor XLA's programs give the same numbers as they are
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_DETERMINISTIC}".strip()

    def allow_tf32(self, allowed: bool) -> None:
        # cuDNN's LSTM goes by it too (`jax.experimental.rnn`)
        jax.config.update("jax_default_matmul_precision", _PRECISION[allowed])

    def build_symbolically(self, model: keras.Model, x: Any, y: Any, batch_size: int) -> None:
        # plain `fit` draws a batch from a shuffled iterator here, once; what that takes from NumPy's random numbers it
        # must take here too
        self._batch = x[:batch_size], y[:batch_size]
        model._symbolic_build(iterator=JAXEpochIterator(x=x, y=y, batch_size=batch_size, shuffle=True))

    def synchronise(self) -> None:
        # the CPU's client runs what doesn't depend on each other in any order, so the results themselves are waited for
        jax.block_until_ready(jax.live_arrays())
        jax.effects_barrier()

    def device_bytes(self) -> int | None:
        in_use = (jax.config.jax_default_device.memory_stats() or {}).get("bytes_in_use")
        return None if in_use is None else int(in_use)

    def peak_device_bytes(self) -> tuple[int | None, int | None]:
        # what it holds is no figure: by default it takes three quarters of the card at once
        peak = (jax.config.jax_default_device.memory_stats() or {}).get("peak_bytes_in_use")
        return None if peak is None else int(peak), None

    def random_state(self) -> Any:
        return None  # Keras keeps its keys in seed generators, which are variables

    def set_random_state(self, state: Any) -> None:
        """There is none."""

    def programs(self, model: keras.Model) -> int:
        return sum(len(_modules(*names)) for names in _PROGRAMS.values())

    def signatures(self, model: keras.Model) -> list[Signature]:
        # the client gives the newest first
        return [_signature(module.to_string()) for module in reversed(_modules(*chain(*_PROGRAMS.values())))]

    def compile_inference(self, model: keras.Model) -> CallPath:
        def infer_of_bench(trainable: Any, fixed: Any, x: Any) -> Any:
            return model.stateless_call(trainable, fixed, x, training=False)[0]

        compiled = jax.jit(infer_of_bench)
        # copies: `predict` donates the model's own arrays to its program, and they are gone then
        trainable, fixed = (
            [jax.numpy.array(variable.value, copy=True) for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        )
        self._compiled = lambda x: np.asarray(compiled(trainable, fixed, x))
        return self._compiled

    def compile_step(self, model: keras.Model, network: StepNetwork) -> Step:
        variables = model.variables

        def step_of_bench(values: Any, x: Any, states: State) -> tuple[Any, State]:
            with keras.StatelessScope(state_mapping=zip(variables, values, strict=True)):
                return network(x, states)

        compiled = jax.jit(step_of_bench)
        values = [jax.numpy.array(variable.value, copy=True) for variable in variables]

        def step(x: Inputs, states: State) -> tuple[Outputs, State]:
            outputs, states = compiled(values, x, states)
            return np.asarray(outputs), states

        self._step = step
        return step

    def array(self, values: Any, dtype: str) -> Any:
        return jax.numpy.asarray(values, dtype=dtype)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def traced(*arguments: Any) -> Any:
            # what a layer assigns when it is called, as the state of its seeds, is of the trace, and must not stay
            with keras.StatelessScope():
                return function(*arguments)

        made: Callable[..., Any] = jax.jit(traced)
        return made

    def attest(self, model: keras.Model, layers: Mapping[str, keras.Layer], scopes: Scopes) -> dict[str, Program]:
        loaded = {
            phase: [read_phase(phase, scopes, partial(_read_module, module)) for module in _modules(*names)]
            for phase, names in _PROGRAMS.items()
        }
        evidence = {phase: agreed_by_layer(programs) for phase, programs in loaded.items() if programs}
        if _client().platform == "cpu":
            return evidence
        instructions = {
            phase: scopes_of_instructions("".join(module.to_string() for module in _modules(*names)))
            for phase, names in _PROGRAMS.items()
        }
        profile = partial(profile_cards, jax.profiler.trace, read_profile_file)
        trained = Snapshot(model, self)
        evidence = add_kernels(evidence, steps_again(model, *self._batch), profile, scopes, instructions)
        trained.restore()
        return evidence

    def mark(self, layers: Mapping[str, keras.Layer], scopes: Scopes) -> None:
        mark_calls(layers, scopes, jax.named_scope)

    def run_attested(
        self,
        model: keras.Model,
        layers: Mapping[str, keras.Layer],
        scopes: Scopes,
        phases: Mapping[str, Callable[[], object]],
    ) -> dict[str, Program]:
        for run in phases.values():
            run()
        return self.attest(model, layers, scopes)

    def read_back(self, model: keras.Model) -> dict[str, Any]:
        client = _client()
        return {
            "platform": client.platform,
            "platform_version": client.platform_version,
            "default_matmul_precision": jax.config.jax_default_matmul_precision,
            "tf32": next(
                (on for on, name in _PRECISION.items() if name == jax.config.jax_default_matmul_precision), None
            ),
            "enable_x64": jax.config.jax_enable_x64,
            "op_determinism": _DETERMINISTIC in os.environ.get("XLA_FLAGS", ""),
            "memory_limit_bytes": (jax.config.jax_default_device.memory_stats() or {}).get("bytes_limit"),
            "threads": _threads() if client.platform == "cpu" else None,
            "cudnn_version": cuda_versions.cudnn_get_version() if cuda_versions else None,
        }


def read_profile_file(file: Path, plane: str = PLANE, line: str = LINE) -> Iterator[CardKernel]:
    """The kernels in a file of JAX's profiler.

    Args:
        file: an XSpace.
        plane: how the names of the planes that are read begin.
        line: the same of the lines.
    """
    for device in jax.profiler.ProfileData.from_file(str(file)).planes:
        for stream in device.lines if device.name.startswith(plane) else ():
            for event in stream.events if stream.name.startswith(line) else ():
                stats = dict(event.stats)
                yield CardKernel(event.name, str(stats.get("tf_op", "")), str(stats.get("hlo_op", "")))


_PRECISION = {True: "tensorfloat32", False: "float32"}
"""What JAX calls the precision of products by whether they may be TF32."""
_DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def _client() -> Any:
    """The client of the chosen device: a machine with a GPU has the processor's beside it."""
    return jax.config.jax_default_device.client


def _threads() -> int | None:
    """The threads that XLA on a processor shares one operation out to, counted by their name; None where none has one.

    JAX gives their number nowhere.
    """
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return names.count("tf_XLAEigen") or None


def _signature(text: str) -> Signature:
    """The shapes of an HLO module's parameters."""
    layout = text.partition("entry_computation_layout={(")[2].partition(")->")[0]
    sizes = re.findall(r"\b[a-z]+[0-9]*\[([0-9,]*)\]", layout)
    return tuple(shape_text([int(size) for size in shape.split(",") if size]) for shape in sizes)


def _modules(*names: str) -> list[Any]:
    modules = (module for executable in _client().live_executables() for module in executable.hlo_modules())
    return [module for module in modules if module.name in names]


def _read_module(module: Any, scopes: Scopes) -> Program:
    text, artefact = _PARAMETERS.sub(r'\1"', module.to_string()), hlo_digest(_bare_text(module))
    program = read_hlo(text, artefact, scopes)
    if all(shown.operations for shown in program.values()):
        return program
    # of a single sequence XLA makes products of a vector, without a name: what takes their results has it
    by_results = read_hlo(_TAKES_PRODUCT.sub(r"\1dot(", text), artefact, scopes)
    return {layer: shown if shown.operations else by_results[layer] for layer, shown in program.items()}


def _bare_text(module: Any) -> str:
    """An HLO module as text without the lines of source that it comes from, and with its constants in full."""
    options = HloPrintOptions()
    options.print_metadata = False
    options.print_program_shape = False
    options.print_large_constants = True
    text: str = module.to_string(options)
    return text
