"""The kernels that a step started on a card, by the recurrent layer that started them, out of a profile of XLA's kind.

A program names cuDNN, and not which of its kernels it takes: that shows in a profile alone. TensorFlow's and JAX's
profilers write the same file, an XSpace; each kernel in it bears TensorFlow's operation, or the HLO instruction that
started it.
"""

from __future__ import annotations

import re
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from bench.catalog.cudnn_names import is_of_recurrence, is_telling
from bench.core.scratch import ScratchFolder
from bench.worker.evidence.programs import OUTSIDE, Program, Scopes

PLANE = "/device:GPU"
"""How the name of a card's plane begins."""
LINE = "Stream"
"""How the name of a line begins that holds kernels; others hold operations, which were derived from them."""

_INSTRUCTION = re.compile(r'^\s*(?:ROOT )?%?([\w.-]+) = .*op_name="([^"]*)"', re.MULTILINE)


@dataclass(frozen=True)
class CardKernel:
    """A kernel's execution."""

    name: str
    operation: str = ""
    """TensorFlow's operation with its scopes and its type, `functional/recurrent_a/CudnnRNNV3:CudnnRNNV3`."""
    instruction: str = ""
    """The HLO instruction, `custom-call.5`."""


def profile_cards(
    trace: Callable[[str], AbstractContextManager[object]],
    read: Callable[[Path], Iterable[CardKernel]],
    run: Callable[[], object],
) -> list[CardKernel]:
    """What `run` executes on cards.

    Args:
        trace: profiles what is done in the context that it is, and writes the file into a folder.
        read: the file.
        run: does what was done before.
    """
    with ScratchFolder("profile") as folder:
        with trace(str(folder)):
            run()
        return [kernel for file in sorted(folder.rglob("*.xplane.pb")) for kernel in read(file)]


def scopes_of_instructions(hlo: str) -> dict[str, str]:
    """The scopes of an HLO module's instructions, by their names."""
    return dict(_INSTRUCTION.findall(hlo))


def with_kernels(
    program: Program, kernels: Iterable[CardKernel], scopes: Scopes, instructions: Mapping[str, str]
) -> Program:
    """A program's evidence, with the kernels among the operations of each layer that cuDNN computed.

    Kernels of a recurrence that bear no layer's scope are cuDNN's all the same: then each such layer has them.

    Args:
        program: the evidence by layer.
        kernels: those that its execution started.
        scopes: which layer an operation belongs to.
        instructions: the scopes of HLO instructions.
    """
    counts = scopes.counts()
    for kernel in kernels:
        if is_telling(kernel.name):
            counts[scopes.owner(kernel.operation or instructions.get(kernel.instruction, ""))][kernel.name] += 1
    nowhere = Counter({name: count for name, count in counts[OUTSIDE].items() if is_of_recurrence(name)})
    return {
        layer: replace(shown, operations={**shown.operations, **(counts.get(layer) or nowhere)})
        if shown.kernel == "cudnn"
        else shown
        for layer, shown in program.items()
    }


def add_kernels(
    evidence: Mapping[str, Program],
    phases: Mapping[str, Callable[[], object]],
    profile: Callable[[Callable[[], object]], Iterable[CardKernel]],
    scopes: Scopes,
    instructions: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> dict[str, Program]:
    """The evidence, in the phases that cuDNN was seen in with its kernels.

    A profiler that does not work on a machine is no reason to lose a run: its error is in the log, and the evidence is
    what it was.

    Args:
        evidence: phase → layer → evidence.
        phases: what executes a step of each.
        profile: gives the kernels that a call starts.
        scopes: which layer an operation belongs to.
        instructions: by phase: the scopes of its program's HLO instructions.
    """

    def completed() -> Iterator[tuple[str, Program]]:
        for phase, program in evidence.items():
            if phase in phases and any(shown.kernel == "cudnn" for shown in program.values()):
                yield phase, with_kernels(program, profile(phases[phase]), scopes, instructions.get(phase, {}))
            else:
                yield phase, program

    try:
        return dict(completed())
    except Exception:
        traceback.print_exc()
        return dict(evidence)
