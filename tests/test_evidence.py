"""The judgement of a kernel by what an executed program shows.

The counts of TensorFlow's CPU graphs were printed by runs of this project (TensorFlow 2.21). The HLO lines are composed
in the form that JAX 0.10.2 prints on a CPU, shortened; those of cuDNN follow the names in the sources of Keras, JAX and
torch, since no GPU was at hand: they are no recording.
"""

from __future__ import annotations

import pytest

from bench.worker.evidence import Evidence, agreed, judge_graph, read_hlo, read_profile, scope_of, tells_in_graph

STEPS = 28
LAYERS = ("recurrent_a", "recurrent_b")


@pytest.mark.parametrize(
    ("operations", "kernel"),
    [
        ({"MatMul": 16, "StatelessWhile": 2, "While": 2}, "generic"),  # lstm, training, two traces
        ({"MatMul": 8, "While": 2}, "generic"),  # lstm, evaluation
        ({"MatMul in XLA": 8, "While in XLA": 2}, "xla"),
        ({"MatMul": 56}, "unrolled"),
        ({"MatMul in XLA": 56}, "unrolled_xla"),
        ({"CudnnRNNV3": 1, "CudnnRNNBackpropV3": 1}, "cudnn"),
        ({"MatMul": 27}, "none"),  # fewer products than steps: not a recurrence
        ({}, "none"),
    ],
)
def test_what_operations_of_a_graph_show(operations: dict[str, int], kernel: str) -> None:
    assert judge_graph(operations, STEPS) == kernel


def test_operations_that_tell_nothing_are_not_counted() -> None:
    assert not any(map(tells_in_graph, ("Tanh", "TensorListPushBack", "Whilst", "PartitionedCall")))
    assert all(map(tells_in_graph, ("While", "CudnnRNNBackpropV3", "MatMul")))


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("functional_1/recurrent_a_1/while", True),
        ("recurrent_a/while/lstm_cell/MatMul", True),
        ("gradient_tape/functional_1/recurrent_a_1/while/x", True),
        ("jit(train_step)/transpose(jvp(recurrent_a))/while", True),
        ("functional_1/recurrent_b_1/while", False),
        ("functional_1/my_recurrent_a/while", False),
        ("functional_1/recurrent_abc/while", False),
    ],
)
def test_a_layers_scope_is_its_own(name: str, inside: bool) -> None:
    assert bool(scope_of("recurrent_a").search(name)) is inside


SCAN = """\
HloModule jit_test_step, is_scheduled=true
  %while.11 = (s32[], f32[32,8]{1,0}, f32[28,32,8]{2,1,0}) while(%tuple.7), condition=%c, body=%b, metadata={op_name="jit(test_step)/recurrent_a/while" stack_frame_id=4}, backend_config={"known_trip_count":{"n":"28"}}
  %dot.3 = f32[32,8]{1,0} dot(%x, %y), metadata={op_name="jit(test_step)/recurrent_a/while/body/closed_call/simple_rnn_cell/dot_general"}
  ROOT %while.12 = (s32[], f32[32,8]{1,0}) while(%tuple.8), condition=%c2, body=%b2, metadata={op_name="jit(test_step)/recurrent_b/while"}
"""  # noqa: E501 - lines of a compiler
UNROLLED = "\n".join(
    f'  %dot.{n} = f32[8,8]{{1,0}} dot(%x, %y), metadata={{op_name="jit(train_step)/jvp({layer})/cell/dot_general"}}'
    for layer in LAYERS
    for n in range(STEPS)
)
CUDNN = """\
  %custom-call.1 = (f32[32,28,8]{2,1,0}, u8[100]{0}) custom-call(%a), custom_call_target="cudnn_rnn_ffi", metadata={op_name="jit(train_step)/jvp(recurrent_a)/rnn_fwd"}
  %custom-call.2 = (f32[32,28,8]{2,1,0}) custom-call(%a), custom_call_target="cudnn_rnn_bwd_ffi", metadata={op_name="jit(train_step)/transpose(jvp(recurrent_a))/rnn_bwd"}
  %while.1 = (s32[]) while(%t), metadata={op_name="jit(train_step)/jvp(recurrent_b)/while"}
"""  # noqa: E501


def kernels(text: str) -> list[str]:
    return [read_hlo(text, LAYERS, STEPS)[layer].kernel for layer in LAYERS]


def test_what_a_compiled_program_shows() -> None:
    assert kernels(SCAN) == ["generic", "generic"]
    assert kernels(UNROLLED) == ["unrolled", "unrolled"]
    assert kernels(CUDNN) == ["cudnn", "generic"]
    assert kernels("") == ["none", "none"]


def test_a_product_inside_a_loop_is_the_loop_s() -> None:
    assert read_hlo(SCAN, LAYERS, STEPS)["recurrent_a"].operations == {"while": 1}


def test_a_dropouts_own_loop_is_not_the_layers() -> None:
    text = '%w.1 = (s32[]) while(%t), metadata={op_name="jit(train_step)/jvp(dropout)/jit(_bernoulli)/while"}'
    assert kernels(text) == ["none", "none"]


@pytest.mark.parametrize(
    ("operations", "kernel"),
    [
        ({"aten::mm": 56, "aten::tanh": 28}, "generic"),
        ({"aten::addmm": 30}, "generic"),
        ({"aten::_cudnn_rnn": 1, "aten::mm": 1}, "cudnn"),
        ({"aten::mkldnn_rnn_layer": 1}, "onednn"),
        ({"aten::_thnn_fused_lstm_cell": 28, "aten::mm": 29}, "fused_cells"),
        ({"aten::mm": 2}, "none"),
    ],
)
def test_what_a_profile_shows(operations: dict[str, int], kernel: str) -> None:
    evidence = read_profile({**operations, "aten::relu": 3}, STEPS)
    assert evidence.kernel == kernel
    assert evidence.operations == {name: n for name, n in operations.items() if name != "aten::tanh"}


def test_programs_that_differ_are_mixed_and_all_are_named() -> None:
    loop, unrolled = Evidence("generic", {"While": 1}, "aa"), Evidence("unrolled", {"MatMul": 28}, "bb")
    both = agreed([loop, unrolled, loop])
    assert both == Evidence("mixed", {"While": 2, "MatMul": 28}, "aa+bb")
    assert agreed([loop, loop]).kernel == "generic"
