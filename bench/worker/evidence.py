"""What an executed program says of a recurrent layer. Pure: the backends hand over what they have read.

The judge isn't told which kernel was asked for.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Evidence:
    """What the executed programs of one phase show of one recurrent layer."""

    kernel: str
    """`generic`, `unrolled`, `xla`, `cudnn`, `onednn`; `unrolled_xla` for an unrolled layer inside XLA; `fused_cells`
    for torch's fused cells in a loop; `none` where no recurrence is seen; `mixed` where programs differ."""
    operations: Mapping[str, int]
    """The operations in the layer's scope that the judgement rests on, counted."""
    artefact: str
    """Digest of the program that was read, `+` between several."""


def agreed(programs: Sequence[Evidence]) -> Evidence:
    """One piece of evidence for all executed programs of a phase."""
    kernels = {program.kernel for program in programs}
    operations: Counter[str] = Counter()
    for program in programs:
        operations.update(program.operations)
    return Evidence(
        kernels.pop() if len(kernels) == 1 else "mixed",
        dict(operations),
        "+".join(sorted({program.artefact for program in programs})),
    )


def scope_of(layer: str) -> re.Pattern[str]:
    """What the names of a layer's operations match: its own name as a scope, made unique by a number behind it."""
    return re.compile(rf"(?:^|[/(]){re.escape(layer)}(?:_\d+)?[/)]")


# TensorFlow: operations of the graph

IN_XLA = " in XLA"
"""Behind the type of an operation that XLA compiles."""
_TF_LOOPS = frozenset({"While", "StatelessWhile"})
_TF_PRODUCTS = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "_FusedMatMul"})


def tells_in_graph(operation: str) -> bool:
    """Whether a TensorFlow operation's type says anything of the kernel."""
    return operation in _TF_LOOPS or operation in _TF_PRODUCTS or operation.startswith("CudnnRNN")


def judge_graph(operations: Mapping[str, int], steps: int) -> str:
    """The kernel that the operations in a layer's scope of a TensorFlow graph show."""
    loops = products = cudnn = 0
    compiled = False
    for operation, count in operations.items():
        name = operation.removesuffix(IN_XLA)
        compiled |= name != operation
        loops += count if name in _TF_LOOPS else 0
        products += count if name in _TF_PRODUCTS else 0
        cudnn += count if name.startswith("CudnnRNN") else 0
    if cudnn:
        return "cudnn"
    if loops:
        return "xla" if compiled else "generic"
    # a product with the state for every step, or there is no recurrence here
    if products >= steps:
        return "unrolled_xla" if compiled else "unrolled"
    return "none"


# JAX: the text of an optimised HLO module

_INSTRUCTION = re.compile(r"= .*? (?P<opcode>while|dot|custom-call|fusion|call)\((?P<rest>.*)$", re.MULTILINE)
_SCOPE = re.compile(r'op_name="([^"]*)"')
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_CUDNN_TARGET = "cudnn_rnn"  # of `jax.experimental.rnn`: cudnn_rnn_ffi, cudnn_rnn_bwd_ffi
_PRODUCT = "dot_general"


def read_hlo(text: str, layers: Sequence[str], steps: int) -> dict[str, Evidence]:
    """What an optimised HLO module shows of each layer: its loops, its products, cuDNN's custom calls."""
    counts: dict[str, Counter[str]] = {layer: Counter() for layer in layers}
    scopes = {layer: scope_of(layer) for layer in layers}
    for instruction in _INSTRUCTION.finditer(text):
        named = _SCOPE.search(instruction["rest"])
        operation = named and _hlo_operation(instruction["opcode"], instruction["rest"], named[1])
        for layer, scope in scopes.items():
            if named and operation and scope.search(named[1]):
                counts[layer][operation] += 1
    artefact = hashlib.sha256(text.encode()).hexdigest()[:16]
    return {layer: Evidence(_judge_hlo(counts[layer], steps), dict(counts[layer]), artefact) for layer in layers}


def _hlo_operation(opcode: str, rest: str, scope: str) -> str | None:
    if opcode == "while":
        return opcode
    target = _TARGET.search(rest)
    if target and _CUDNN_TARGET in target[1]:
        return target[1]
    # a product inside a loop's body bears the loop's scope too: there it is the loop that counts
    return _PRODUCT if _PRODUCT in scope and "/while/" not in scope else None


def _judge_hlo(operations: Mapping[str, int], steps: int) -> str:
    if any(_CUDNN_TARGET in name for name in operations):
        return "cudnn"
    if operations.get("while"):
        return "generic"  # JAX's scan, which XLA always compiles
    return "unrolled" if operations.get(_PRODUCT, 0) >= steps else "none"


# torch: the operations of a layer's forward pass under the profiler

_TORCH_FUSED = {
    "cudnn": frozenset({"aten::_cudnn_rnn"}),
    "onednn": frozenset({"aten::mkldnn_rnn_layer"}),
    "fused_cells": frozenset({"aten::_thnn_fused_lstm_cell", "aten::_thnn_fused_gru_cell"}),
}
_TORCH_PRODUCTS = frozenset({"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"})


def read_profile(operations: Mapping[str, int], steps: int) -> Evidence:
    """What the profiled operations show. torch's loop and an unrolled layer are the same operations: both `generic`."""
    telling = _TORCH_PRODUCTS.union(*_TORCH_FUSED.values())
    artefact = hashlib.sha256(repr(sorted(operations.items())).encode()).hexdigest()[:16]
    kernel = next((kernel for kernel, names in _TORCH_FUSED.items() if names & operations.keys()), None)
    if kernel is None:
        products = sum(operations.get(name, 0) for name in _TORCH_PRODUCTS)
        kernel = "generic" if products >= steps else "none"
    return Evidence(kernel, {name: count for name, count in sorted(operations.items()) if name in telling}, artefact)
