"""What an executed program shows of a recurrent layer. Pure: the backends hand over what they have read.

The judge doesn't know which kernel was asked for.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.catalog.cudnn_names import is_telling


@dataclass(frozen=True)
class Evidence:
    """What the executed programs of one phase show of one recurrent layer."""

    kernel: str
    """`generic`, `unrolled`, `xla`, `cudnn`, `onednn`; `compiled` for a loop in torch.compile's graphs; `parallel` for
    a scan or a transform over all steps, without a loop; `step` for the products of a single step
    (`bench.worker.evidence.steps`); `unrolled_xla`, `parallel_xla`, `step_xla` for those inside XLA; `fused_cells` for
    torch's fused cells in a loop; `opaque` for Python called from within the program, which shows nothing of what it
    does; `none` where no recurrence is seen; `mixed` where several of these are, or programs differ."""
    operations: Mapping[str, int]
    """The operations in the layer's scope that the judgement rests on, counted."""
    artefact: str
    """Digest of the program that was read, `+` between several."""


Program = Mapping[str, Evidence]
"""What one program shows: layer → evidence, and `OUTSIDE` → evidence where there is any."""

OUTSIDE = "outside the recurrent layers"
"""Where a recurrence is seen that no recurrent layer's scope holds: a layer that computes elsewhere, or another one."""


def agreed(programs: Sequence[Evidence]) -> Evidence:
    """One piece of evidence for all executed programs of a phase."""
    operations: Counter[str] = Counter()
    for program in programs:
        operations.update(program.operations)
    return Evidence(
        _only({program.kernel for program in programs}),
        dict(operations),
        "+".join(sorted({program.artefact for program in programs})),
    )


def agreed_by_layer(programs: Sequence[Program]) -> Program:
    """The same for each layer; what only some programs show outside the layers is kept."""
    layers = dict.fromkeys(layer for program in programs for layer in program)
    return {layer: agreed([program[layer] for program in programs if layer in program]) for layer in layers}


def _only(kernels: set[str]) -> str:
    return kernels.pop() if len(kernels) == 1 else "mixed"


def scope_of(layer: str) -> re.Pattern[str]:
    """What the names of a layer's operations match: its own name as a scope, made unique by a number behind it."""
    return re.compile(rf"(?:^|[/(]){re.escape(layer)}(?:_\d+)?[/)]")


Shape = tuple[int | None, ...]
"""Sizes of an array; None where the program was traced for any."""

NOT_UNROLLED = sys.maxsize
"""The steps of a layer whose products are no sign of a recurrence, however many there are."""


_FEW_BESIDE_A_LOOP = 6
"""So many products a layer may have beside its loop: that of all inputs at once, and those of its gradients."""
_FEW_OUTSIDE = 16
"""So many products outside the recurrent layers are no sign of a recurrence: a dense layer has three in training."""


class Scopes:
    """The scopes of a model's recurrent layers in the names of a program's operations.

    Args:
        steps: by scope, how many steps its layer reads.
        unique: whether no other layer can have the scopes, as `bench.worker.evidence.marks` makes them: then the
            innermost decides whose an operation is. Where they are names of layers the outermost does, because a layer
            inside another may have been given any, that of the other recurrent layer too.
        around: the scopes of layers that hold recurrent ones: however many products they have beside, those are no sign
            of a recurrence.
    """

    def __init__(self, steps: Mapping[str, int], *, unique: bool = False, around: Collection[str] = ()) -> None:
        self.steps, self.unique = dict(steps), unique
        self._around = frozenset(around)
        self.shapes: dict[str, list[Shape]] = {layer: [] for layer in steps}
        """The distinct shapes of the inputs that a layer was called with, the batch left out; `saw` notes them."""
        self.masked: set[str] = set()
        """The layers that were called with a mask; `saw` notes them."""
        self._patterns = {layer: scope_of(layer) for layer in steps}

    @classmethod
    def of_names(cls, layers: Sequence[str], steps: int) -> Scopes:
        """The scopes of layers that are looked up by their names, and all read `steps` steps."""
        return cls(dict.fromkeys(layers, steps))

    def saw(self, layer: str, shape: Shape, *, masked: bool) -> None:
        """Note a call of a layer: the first size of its inputs' shape, without the batch, is its number of steps."""
        if shape not in self.shapes[layer]:
            self.shapes[layer].append(shape)
        self.masked |= {layer} if masked else set()
        if layer in self._around:
            return
        known = [steps for steps, *_ in filter(None, self.shapes[layer]) if steps]
        self.steps[layer] = min(known, default=NOT_UNROLLED)

    def counts(self) -> dict[str, Counter[str]]:
        """A counter for each layer, and for what lies outside them."""
        return {layer: Counter() for layer in (*self.steps, OUTSIDE)}

    def owner(self, name: str) -> str:
        """The layer that an operation belongs to, or `OUTSIDE`."""
        matches = [(match.start(), layer) for layer, scope in self._patterns.items() if (match := scope.search(name))]
        if not matches:
            return OUTSIDE
        return (max if self.unique else min)(matches)[1]

    def count(self, counts: Mapping[str, Counter[str]], name: str, operation: str, *, scan: bool) -> None:
        """Add an operation to the counter of its layer.

        Args:
            counts: as `counts` made them.
            name: the operation's, with its scopes.
            operation: as it is counted.
            scan: whether it is a sign of a scan. Outside the layers it isn't: cumulative sums are everywhere.
        """
        layer = self.owner(name)
        if layer != OUTSIDE or not scan:
            counts[layer][operation] += 1

    def program(
        self, counts: Mapping[str, Counter[str]], artefact: str, judge: Callable[[Mapping[str, int], int], str]
    ) -> Program:
        """Evidence for each layer; for what lies outside them only where it amounts to a recurrence."""
        # a model of any kind has products enough outside its recurrent layers; a network of ours has a few
        outside = NOT_UNROLLED if self.unique else max(_FEW_OUTSIDE, max(self.steps.values(), default=NOT_UNROLLED))

        def kernel(layer: str, operations: Mapping[str, int]) -> str:
            steps = self.steps.get(layer, outside)
            # a layer of any kind may have products enough beside its loop, of its gates' convolutions for one
            looped = judge(operations, NOT_UNROLLED) if self.unique or steps <= _FEW_BESIDE_A_LOOP else "none"
            return looped if looped != "none" else judge(operations, steps)

        program = {
            layer: Evidence(kernel(layer, operations), dict(operations), artefact)
            for layer, operations in counts.items()
        }
        return {layer: shown for layer, shown in program.items() if layer != OUTSIDE or shown.kernel != "none"}


def _halves(count: int, steps: int) -> bool:
    """Whether taking every second step so many times makes an associative scan.

    The scan of n values combines neighbours and scans the n // 2 results (Blelloch 1990, section 1.2), so that it
    takes every second one of them floor(log2(n)) times at least.
    """
    return count >= max(1, steps.bit_length() - 1)


# TensorFlow: operations of the graph

IN_XLA = " in XLA"
"""Behind the type of an operation that XLA compiles."""
BY_TWO = " by 2"
"""Behind the type of an operation that takes every second value."""
IN_LOOP = " in a loop"
"""Behind the type of an operation in a loop's body, before `IN_XLA`."""
_TF_LOOPS = frozenset({"While", "StatelessWhile", "For", "MapDefun"})
_TF_PRODUCTS = frozenset(
    {"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "_FusedMatMul", "Conv2D", "Conv3D"}
)
_TF_OPAQUE = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
_TF_HALVING = f"StridedSlice{BY_TWO}"
_TF_TRANSFORMS = frozenset({"Cumsum", "Cumprod", "CumulativeLogsumexp", "FFT", "IFFT", "RFFT", "IRFFT"})
_TF_SCANS = _TF_TRANSFORMS | {_TF_HALVING}


@dataclass(frozen=True)
class Node:
    """An operation that a TensorFlow graph can reach."""

    name: str
    operation: str
    """Its type: `MatMul`, `While`, …; `StridedSlice by 2` where that takes every second value."""
    compiled: bool
    """By XLA."""
    looped: bool
    """Inside a loop's body or condition."""


def read_graph(nodes: Iterable[Node], artefact: str, scopes: Scopes) -> Program:
    """What a TensorFlow graph shows of each layer: its loops, its products, cuDNN's operations."""
    counts = scopes.counts()
    for node in nodes:
        if counts_in_graph(node.operation):
            kind = f"{node.operation}{IN_LOOP if node.looped else ''}{IN_XLA if node.compiled else ''}"
            scopes.count(counts, node.name, kind, scan=node.operation in _TF_SCANS)
    return scopes.program(counts, artefact, judge_graph)


def counts_in_graph(operation: str) -> bool:
    """Whether a TensorFlow operation's type is a sign of a kernel."""
    known = _TF_LOOPS | _TF_PRODUCTS | _TF_OPAQUE | _TF_SCANS
    return operation in known or operation.startswith("CudnnRNN")


def is_loop(operation: str) -> bool:
    """Whether a TensorFlow operation runs a function again and again."""
    return operation in _TF_LOOPS


def judge_graph(operations: Mapping[str, int], steps: int) -> str:
    """The kernel that the operations in a layer's scope of a TensorFlow graph show."""
    seen: set[str] = set()
    products: Counter[str] = Counter()
    halvings: Counter[str] = Counter()
    for operation, count in operations.items():
        name, in_xla, _ = operation.partition(IN_XLA)
        kind, looped, _ = name.partition(IN_LOOP)
        if kind.startswith("CudnnRNN"):
            seen.add("cudnn")
        elif kind in _TF_OPAQUE:
            seen.add("opaque")
        elif kind in _TF_LOOPS:
            seen.add("xla" if in_xla else "generic")
        elif looped:
            # it is the loop that counts; Keras traces the products of a step once more before it, to know its shapes
            if kind in _TF_PRODUCTS:
                products["unrolled_xla" if in_xla else "unrolled"] -= count
        elif kind in _TF_TRANSFORMS:
            seen.add("parallel_xla" if in_xla else "parallel")
        elif kind == _TF_HALVING:
            halvings["parallel_xla" if in_xla else "parallel"] += count
        else:
            products["unrolled_xla" if in_xla else "unrolled"] += count
    # a product with the state for every step, or there is no recurrence here
    seen |= {kernel for kernel, count in products.items() if count >= steps}
    seen |= {kernel for kernel, count in halvings.items() if _halves(count, steps)}
    return _only(seen) if seen else "none"


# JAX: the text of an HLO module

_INSTRUCTION = re.compile(
    r"^(?:[^=\n]|=(?! ))*= .*? "
    r"(?P<opcode>while|dot|convolution|custom-call|fusion|call|slice|fft|reduce-window)\((?P<rest>.*)$",
    re.MULTILINE,
)
"""From the start of its line: begun at each "= " of it, a long line would take quadratic time."""
_SCOPE = re.compile(r'op_name="([^"]*)"')
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_CUDNN_TARGET = "cudnn_rnn"  # of `jax.experimental.rnn`: cudnn_rnn_ffi, cudnn_rnn_bwd_ffi
_CALLBACK_TARGET = "callback"  # xla_ffi_python_cpu_callback, xla_python_gpu_callback and their like
_PRODUCT = "dot_general"
_CONVOLUTION = "conv_general_dilated"
_HLO_HALVING = "slice" + BY_TWO
_EVERY_SECOND = re.compile(r"slice=\{[^}]*\[\d+:\d+:2\]")
_HLO_TRANSFORMS = frozenset({"cumsum", "cumprod", "cumlogsumexp", "fft"})
_TRANSFORM = re.compile(rf"/({'|'.join(sorted(_HLO_TRANSFORMS))})$")
_HLO_SCANS = _HLO_TRANSFORMS | {_HLO_HALVING}
_RANDOM = re.compile(r"threefry|random_bits|jit\(_(?:bernoulli|uniform|normal|randint|shuffle|truncated_normal)\)")
"""In the scope of a random generator's own loop."""


def read_hlo(text: str, artefact: str, scopes: Scopes) -> Program:
    """What an HLO module shows of each layer: its loops, its products, cuDNN's custom calls."""
    counts = scopes.counts()
    for instruction in _INSTRUCTION.finditer(text):
        named = _SCOPE.search(instruction["rest"])
        scope = named[1] if named else ""
        operation = _hlo_operation(instruction["opcode"], instruction["rest"], scope)
        if operation:
            scopes.count(counts, scope, operation, scan=operation in _HLO_SCANS)
    return scopes.program(counts, artefact, _judge_hlo)


def _hlo_operation(opcode: str, rest: str, scope: str) -> str | None:
    if opcode == "while":
        # the compiler makes loops of its own, of a scatter for one: those bear that operation's name
        return opcode if scope.endswith("/while") and not _RANDOM.search(scope) else None
    if "/while/" not in scope:  # inside a loop's body it is the loop that counts
        if opcode == "slice" and _EVERY_SECOND.search(rest):
            return _HLO_HALVING
        if transform := _TRANSFORM.search(scope):
            return transform[1]
    target = _TARGET.search(rest)
    if target and (_CUDNN_TARGET in target[1] or _CALLBACK_TARGET in target[1]):
        return target[1]
    # a product inside a loop's body bears the loop's scope too: there it is the loop that counts
    return next((name for name in (_PRODUCT, _CONVOLUTION) if name in scope and "/while/" not in scope), None)


def _judge_hlo(operations: Mapping[str, int], steps: int) -> str:
    seen = {"cudnn" for name in operations if _CUDNN_TARGET in name}
    seen |= {"opaque" for name in operations if _CALLBACK_TARGET in name}
    if operations.get("while"):
        seen.add("generic")  # JAX's scan, which XLA always compiles
    if operations.get(_PRODUCT, 0) + operations.get(_CONVOLUTION, 0) >= steps:
        seen.add("unrolled")
    if _halves(operations.get(_HLO_HALVING, 0), steps) or operations.keys() & _HLO_TRANSFORMS:
        seen.add("parallel")
    return _only(seen) if seen else "none"


# torch: the operations of a layer's forward pass under the profiler

_TORCH_FUSED = {
    "cudnn": frozenset({"aten::_cudnn_rnn"}),
    "onednn": frozenset({"aten::mkldnn_rnn_layer"}),
    "fused_cells": frozenset({"aten::_thnn_fused_lstm_cell", "aten::_thnn_fused_gru_cell"}),
}
_TORCH_HALVING = "aten::slice" + BY_TWO
_TORCH_TRANSFORMS = frozenset(
    {"aten::cumsum", "aten::cumprod", "aten::logcumsumexp", "aten::_fft_r2c", "aten::_fft_c2r", "aten::_fft_c2c"}
)
_TORCH_PRODUCTS = frozenset({"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::convolution"})


_COMPILED_PRODUCTS = frozenset(
    {"matmul", "mm", "addmm", "bmm", "baddbmm", "linear", "einsum", "tensordot", "conv1d", "conv2d", "conv3d"}
)
"""What the graphs that torch.compile captures call them."""
_COMPILED_TRANSFORMS = frozenset({"cumsum", "cumprod", "logcumsumexp", "rfft", "irfft", "fft"})
_COMPILED_HALVING = "getitem" + BY_TWO


def is_torch_product(operation: str) -> bool:
    """Whether torch's profiler calls a product so."""
    return operation in _TORCH_PRODUCTS


def counts_in_compiled(operation: str) -> bool:
    """Whether what a graph of torch.compile calls an operation is a sign of a kernel."""
    return operation in _COMPILED_PRODUCTS | _COMPILED_TRANSFORMS | {_COMPILED_HALVING}


def judge_compiled(operations: Mapping[str, int], steps: int) -> str:
    """The kernel that the operations of a layer show in the graphs of torch.compile that were executed.

    A loop is unrolled there: each step has a product with the state. What no graph holds, under the profiler's names,
    has run step by step.
    """
    seen = set()
    if sum(operations.get(name, 0) for name in _COMPILED_PRODUCTS) >= steps:
        seen.add("compiled")
    if sum(operations.get(name, 0) for name in _TORCH_PRODUCTS) >= steps:
        seen.add("generic")
    if _halves(operations.get(_COMPILED_HALVING, 0), steps) or operations.keys() & _COMPILED_TRANSFORMS:
        seen.add("parallel")
    return _only(seen) if seen else "none"


def read_profile(operations: Mapping[str, int], steps: int) -> Evidence:
    """What the profiled operations show. torch's loop and an unrolled layer are the same operations: both `generic`."""
    telling = _TORCH_PRODUCTS.union(_TORCH_TRANSFORMS, {_TORCH_HALVING}, *_TORCH_FUSED.values())
    artefact = hashlib.sha256(repr(sorted(operations.items())).encode()).hexdigest()[:16]
    seen = {kernel for kernel, names in _TORCH_FUSED.items() if names & operations.keys()}
    # the product with the state at each step; a fused cell is called at each step too, beside such products
    if "fused_cells" not in seen and sum(operations.get(name, 0) for name in _TORCH_PRODUCTS) >= steps:
        seen.add("generic")
    if _halves(operations.get(_TORCH_HALVING, 0), steps) or operations.keys() & _TORCH_TRANSFORMS:
        seen.add("parallel")
    telling |= {name for name in operations if is_telling(name)}
    counted = {name: count for name, count in sorted(operations.items()) if name in telling}
    return Evidence(_only(seen) if seen else "none", counted, artefact)
