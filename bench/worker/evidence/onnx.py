"""What the graph that ONNX Runtime or LiteRT executes shows of a recurrent layer. Pure: the nodes are handed over.

LiteRT's operations are in capitals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bench.worker.evidence.programs import Evidence, scope_of

_FUSED = frozenset({"LSTM", "GRU", "RNN"})
_LOOPS = frozenset({"Loop", "Scan", "WHILE"})
_PRODUCTS = frozenset({"MatMul", "Gemm", "FusedMatMul", "FusedGemm", "FULLY_CONNECTED", "BATCH_MATMUL"})


def read_nodes(
    nodes: Sequence[tuple[str, str]], layers: Sequence[str], steps: int, artefact: str
) -> dict[str, Evidence]:
    """The evidence of each layer: `fused` for one node of ONNX's own, `generic` for a loop, `unrolled`, or `none`.

    A fused node bears no layer's name: where there is one for each layer without a recurrence of its own, they belong
    together in their order, which is that of the data.

    Args:
        nodes: type and name of the graph's nodes, in the order in which they are executed.
        layers: the recurrent layers, in the order in which the data goes through them.
        steps: of a sequence.
        artefact: the digest of the graph.
    """
    counts: dict[str, Counter[str]] = {layer: Counter() for layer in layers}
    scopes = {layer: scope_of(layer) for layer in layers}
    nameless = []
    for kind, name in nodes:
        owners = [layer for layer, scope in scopes.items() if scope.search(name)]
        if kind in _FUSED | _LOOPS | _PRODUCTS:
            for layer in owners:
                counts[layer][kind] += 1
        if kind in _FUSED and not owners:
            nameless.append(kind)
    without = [layer for layer in layers if _judge(counts[layer], steps) == "none"]
    if len(nameless) == len(without):
        for layer, kind in zip(without, nameless, strict=True):
            counts[layer][kind] += 1
    return {
        layer: Evidence(_judge(operations, steps), dict(operations), artefact) for layer, operations in counts.items()
    }


def _judge(operations: Mapping[str, int], steps: int) -> str:
    kernels = [name for name, kinds in (("fused", _FUSED), ("generic", _LOOPS)) if kinds & operations.keys()]
    if kernels:
        return kernels[0] if len(kernels) == 1 else "mixed"
    return "unrolled" if sum(operations.get(kind, 0) for kind in _PRODUCTS) >= steps else "none"
