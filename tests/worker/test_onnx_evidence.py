"""bench.worker.evidence.onnx: what the executed graph shows."""

from __future__ import annotations

import pytest

from bench.worker.evidence.onnx import read_nodes

# What the graph shows: types and names as ONNX Runtime 1.32 wrote them down for models that tf2onnx 1.17 had exported

LAYERS = ("recurrent_a", "recurrent_b")


@pytest.mark.parametrize(
    ("nodes", "kernels"),
    [
        ([("LSTM", "LSTM__51"), ("LSTM", "LSTM__72"), ("MatMul", "functional_1/dense_1/MatMul")], ("fused", "fused")),
        (
            [
                ("Loop", "functional_3_1/recurrent_a_1/while_loop"),
                ("Loop", "functional_3_1/recurrent_b_1/while_loop"),
            ],
            ("generic", "generic"),
        ),
        ([("LSTM", "LSTM__51"), ("Loop", "functional_3_1/recurrent_b_1/while_loop")], ("fused", "generic")),
        (
            [("MatMul", f"functional_2_1/recurrent_{x}_1/lstm_cell_{i}/MatMul") for x in "ab" for i in range(28)],
            ("unrolled", "unrolled"),
        ),
        # LiteRT 2.3: types of operations, and the names of what they give
        (
            [
                ("FULLY_CONNECTED", f"functional_1/recurrent_{x}_1/lstm_cell_{i}/MatMul")
                for x in "ab"
                for i in range(28)
            ],
            ("unrolled", "unrolled"),
        ),
        ([("WHILE", "functional_1/recurrent_a_1/while"), ("LSTM", "LSTM__51")], ("generic", "fused")),
        ([("LSTM", "LSTM__51")], ("none", "none")),  # one for two layers: whose it is, nobody knows
        ([("MatMul", "functional_1/dense_1/MatMul")], ("none", "none")),
    ],
)
def test_the_executed_graph_shows_the_kernel(nodes: list[tuple[str, str]], kernels: tuple[str, str]) -> None:
    found = read_nodes(nodes, LAYERS, 28, "digest")
    assert tuple(found[layer].kernel for layer in LAYERS) == kernels
    assert {one.artefact for one in found.values()} == {"digest"}
