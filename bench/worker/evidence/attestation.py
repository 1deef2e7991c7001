"""What ran, against what was asked: the evidence of the executed programs, and the switches as Keras has them now.

The programs are read by a backend that doesn't know what was asked; the comparison is made here.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras

from bench.catalog import dtypes, kernels, networks, tf32
from bench.catalog.kernels import jit_compile
from bench.core.case import Case
from bench.core.metric import STREAMING
from bench.worker.backends import BackendAdapter
from bench.worker.evidence.marks import Marks
from bench.worker.evidence.programs import Program, Scopes
from bench.worker.model import takes_kernel


@dataclass(frozen=True)
class Attestation:
    """The evidence of a run, by phase and layer, and what was read back of its settings."""

    evidence: Mapping[str, Program]
    phases: tuple[str, ...]
    """That were executed, and so have to have evidence."""
    settings: Mapping[str, Any]
    """`jit_compile`, a mapping for each recurrent layer, and what the backend reports."""

    @property
    def kernel(self) -> str | None:
        """The kernel of all layers in all phases of whole sequences, `mixed` where they differ; None where any phase
        shows nothing."""
        if any(phase not in self.evidence for phase in self.phases):
            return None
        ran = {shown.kernel for layers in self.of_sequences.values() for shown in layers.values()}
        return ran.pop() if len(ran) == 1 else "mixed"

    def ran(self, kernel: str) -> bool:
        """Whether a layer ran this kernel in some phase."""
        return any(kernel == shown.kernel for layers in self.evidence.values() for shown in layers.values())

    @property
    def of_sequences(self) -> Mapping[str, Program]:
        """The evidence without that of streaming: a kernel is how a loop over the steps is computed, and a step has
        none."""
        return {phase: layers for phase, layers in self.evidence.items() if phase != STREAMING}

    def to_json(self) -> str:
        """The evidence alone."""
        phases = {
            phase: {layer: asdict(shown) for layer, shown in layers.items()} for phase, layers in self.evidence.items()
        }
        return json.dumps(phases, sort_keys=True)

    def settings_json(self) -> str:
        return json.dumps(self.settings, sort_keys=True)


def watch(model: keras.Model, backend: BackendAdapter, case: Case) -> Marks | None:
    """Mark the recurrent layers of a user's network, and both directions of a layer, before anything is traced.

    None for the other networks that come with the program: there each layer's name is a scope that nothing else has;
    but not on JAX before Keras 3.9, which gave no layer's name to what JAX compiles.
    """
    if not (networks.find(case.network).factory or case.bidirectional or _leaves_unnamed(case.backend)):
        return None
    marks = Marks(model)
    backend.mark(marks.layers, marks.scopes)
    return marks


def _leaves_unnamed(backend: str) -> bool:
    """Whether Keras gives no layer's name to what the backend compiles."""
    if backend != "jax":
        return False
    scope = getattr(importlib.import_module("keras.src.backend.jax"), "name_scope", None)
    return scope is None or scope.__module__.startswith("keras.src.backend.common")


def attest(
    model: keras.Model,
    backend: BackendAdapter,
    layers: Marks | tuple[str, ...],
    steps: int,
    phases: tuple[str, ...],
) -> Attestation:
    """Read what has been executed of `model`, and how it is set. It doesn't get to know which kernel was asked for.

    Args:
        model: after its run.
        backend: the one that it ran on.
        layers: its recurrent layers: their marks, or their names.
        steps: of a sequence, where the layers have names.
        phases: those that were executed, and so have to have evidence.
    """
    if isinstance(layers, Marks):
        evidence = layers.by_path(backend.attest(model, layers.layers, layers.scopes))
        shown = {path for program in evidence.values() for path in program}
        recurrent = {path: layers.layers[mark] for mark, path in layers.paths.items() if path in shown}
    else:
        recurrent = {name: model.get_layer(name) for name in layers}
        evidence = backend.attest(model, recurrent, Scopes.of_names(layers, steps))
    return Attestation(
        evidence=evidence,
        phases=phases,
        settings={
            "jit_compile": model.jit_compile,
            **{name: _switches(layer) for name, layer in recurrent.items()},
            **backend.read_back(model),
        },
    )


def _switches(layer: keras.layers.Layer) -> dict[str, Any]:
    """The switches of a layer as it has them; a list where the layers inside it differ, None where none has it."""
    layers = list(layer._flatten_layers())
    switches: dict[str, Any] = {"dtype": layer.compute_dtype}
    for name in ("use_cudnn", "unroll"):
        values = list(dict.fromkeys(getattr(inner, name) for inner in layers if hasattr(inner, name)))
        switches[name] = values[0] if len(values) == 1 else values or None
    return switches


def contradictions(case: Case, attestation: Attestation) -> list[str]:
    """Where the attestation isn't what the case asked for, a sentence each; nothing where all agrees."""
    missing = [
        f"no program is left to show what ran in {phase}"
        for phase in attestation.phases
        if phase not in attestation.evidence
    ]
    problems = [*missing, *_of_settings(case, attestation.settings)]
    if case.kernel == "auto":
        return problems
    mismatched: dict[tuple[str, str], list[str]] = {}
    for phase, layers in attestation.of_sequences.items():
        for layer, shown in layers.items():
            if shown.kernel != case.kernel:
                mismatched.setdefault((layer, shown.kernel), []).append(phase)
    ran = [f"{layer} ran {kernel} in {' and '.join(phases)}" for (layer, kernel), phases in mismatched.items()]
    asked = [f"asked for the kernel {case.kernel}, but {', '.join(ran)}"] if ran else []
    return [*asked, *_of_switches(case, attestation.settings), *problems]


def _of_switches(case: Case, settings: Mapping[str, Any]) -> list[str]:
    kernel = kernels.find(case.kernel)
    asked = jit_compile(case.kernel, case.backend)
    problems = []
    if asked != "auto" and settings["jit_compile"] != asked:
        problems.append(f"asked for jit_compile={asked}, but Keras reads back {settings['jit_compile']}")
    if takes_kernel(case.cell):
        for layer in _layers(settings):
            has = settings[layer]["use_cudnn"]
            if has is not None and has != kernel.use_cudnn:
                problems.append(f"asked for use_cudnn={kernel.use_cudnn}, but {layer} reads back {has}")
    return problems


def _layers(settings: Mapping[str, Any]) -> list[str]:
    """The recurrent layers: those settings that are a mapping of a layer's switches."""
    return [name for name, value in settings.items() if isinstance(value, Mapping)]


def _of_settings(case: Case, settings: Mapping[str, Any]) -> list[str]:
    compute = dtypes.find(case.dtype).compute
    problems = [
        f"asked for {case.dtype}, but {layer} computes in {settings[layer]['dtype']}"
        for layer in _layers(settings)
        if settings[layer]["dtype"] != compute
    ]
    if case.deterministic and settings.get("op_determinism") is False:
        problems.append(f"asked for deterministic=true, but {case.backend} reads back that it isn't")
    if case.steady and settings.get("input_tuned") is not False:
        problems.append(f"asked for steady=true, but {case.backend} reads back that its input pipeline is tuned")
    if case.tf32 != tf32.DEFAULT and settings.get("tf32") is not (case.tf32 == "on"):
        problems.append(f"asked for tf32={case.tf32}, but {case.backend} reads back {settings.get('tf32')}")
    threads = settings["threads"]
    if case.threads and threads is not None and threads != case.threads:
        problems.append(f"asked for {case.threads} threads, but {case.backend} has {threads}")
    return problems
