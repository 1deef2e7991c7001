"""The judgement of a kernel by what an executed program shows.

The counts of TensorFlow's CPU graphs were printed by runs of this project (TensorFlow 2.21). The HLO lines here are
composed in the form that JAX 0.10.2 prints on a CPU, shortened. What stands in `tests/recordings` was recorded.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.catalog.cudnn_names import cudnn_kernel_words
from bench.worker.evidence.card_kernels import CardKernel, add_kernels, scopes_of_instructions, with_kernels
from bench.worker.evidence.programs import (
    OUTSIDE,
    Evidence,
    Node,
    Scopes,
    agreed,
    agreed_by_layer,
    counts_in_graph,
    judge_compiled,
    judge_graph,
    read_graph,
    read_hlo,
    read_profile,
    scope_of,
)

STEPS = 28
LAYERS = ("recurrent_a", "recurrent_b")
SCOPES = Scopes.of_names(LAYERS, STEPS)


@pytest.mark.parametrize(
    ("operations", "kernel"),
    [
        ({"MatMul in a loop": 12, "MatMul": 4, "StatelessWhile": 2, "While": 2}, "generic"),  # lstm, training
        # an LSTM with recurrent dropout, in both directions: each gate's products once more before the loop
        ({"MatMul in a loop": 32, "MatMul": 32, "While": 4}, "generic"),
        ({"MatMul in a loop": 60, "While": 2}, "generic"),  # a loop's products are the loop's, however many
        ({"MatMul in a loop in XLA": 8, "While in XLA": 2}, "xla"),
        ({"MatMul": 56}, "unrolled"),
        ({"MatMul in XLA": 56}, "unrolled_xla"),
        ({"CudnnRNNV3": 1, "CudnnRNNBackpropV3": 1}, "cudnn"),
        ({"MatMul": 27}, "none"),  # fewer products than steps: not a recurrence
        ({}, "none"),
        ({"EagerPyFunc": 1, "MatMul": 2}, "opaque"),
        # decoys: whatever else is there is seen too
        ({"MatMul": 56, "While": 1}, "mixed"),
        ({"CudnnRNNV3": 1, "While": 1}, "mixed"),
        ({"MatMul": 28, "MatMul in XLA": 28}, "mixed"),
        ({"While": 1, "While in XLA": 1}, "mixed"),
        ({"MapDefun": 1}, "generic"),
        # a scan of 28 steps takes every second value at 28, 14, 7 and 3 of them
        ({"MatMul": 2, "StridedSlice by 2": 4}, "parallel"),
        ({"MatMul": 2, "StridedSlice by 2": 3}, "none"),
        ({"MatMul": 2, "StridedSlice by 2 in XLA": 38}, "parallel_xla"),
        ({"CumulativeLogsumexp": 1}, "parallel"),
        ({"While": 1, "StridedSlice by 2 in a loop": 40}, "generic"),
        ({"MatMul": 56, "StridedSlice by 2": 38}, "mixed"),
        ({"While": 1, "Cumsum": 1}, "mixed"),
    ],
)
def test_what_operations_of_a_graph_show(operations: dict[str, int], kernel: str) -> None:
    assert judge_graph(operations, STEPS) == kernel


def test_operations_that_tell_nothing_are_not_counted() -> None:
    assert not any(map(counts_in_graph, ("Tanh", "TensorListPushBack", "Whilst", "PartitionedCall")))
    assert all(map(counts_in_graph, ("While", "CudnnRNNBackpropV3", "MatMul")))


def test_a_graph_is_read_by_the_outermost_layer_and_what_lies_outside_is_seen() -> None:
    def shown(*named: tuple[str, str, int]) -> dict[str, str]:
        nodes = [Node(name, operation, False, "body" in name) for name, operation, n in named for _ in range(n)]
        return {layer: one.kernel for layer, one in read_graph(nodes, "aa", SCOPES).items()}

    # a layer inside recurrent_a that was given the other one's name: its loop is recurrent_a's
    nested = ("functional_1/recurrent_a_1/recurrent_b_1/while", "While", 1)
    unrolled = ("functional_1/recurrent_b_1/MatMul", "MatMul", 56)
    assert shown(nested, unrolled) == {"recurrent_a": "generic", "recurrent_b": "unrolled"}
    # products for show in the layer's scope, and the loop somewhere else
    decoy = ("functional_1/recurrent_a_1/MatMul", "MatMul", 56)
    assert shown(decoy, unrolled, ("elsewhere/while", "While", 1)) == {
        "recurrent_a": "unrolled",
        "recurrent_b": "unrolled",
        OUTSIDE: "generic",
    }
    # a cumulative sum outside the layers is no recurrence; inside one it is
    assert OUTSIDE not in shown(decoy, unrolled, ("elsewhere/Cumsum", "Cumsum", 1))
    assert shown(("functional_1/recurrent_a_1/Cumsum", "Cumsum", 1))["recurrent_a"] == "parallel"
    # the dense layers' products are no recurrence
    assert OUTSIDE not in shown(decoy, unrolled, ("functional_1/dense_1/MatMul", "MatMul", 6))


def test_in_a_short_sequence_few_products_beside_a_loop_or_outside_are_no_recurrence() -> None:
    """As many as steps: of all inputs at once, with their gradients, and of two dense layers in training."""

    def shown(steps: int, *named: tuple[str, str, int]) -> dict[str, str]:
        nodes = [Node(name, operation, False, False) for name, operation, n in named for _ in range(n)]
        program = read_graph(nodes, "aa", Scopes.of_names(("recurrent_a",), steps))
        return {layer: each.kernel for layer, each in program.items()}

    loop = ("functional_1/recurrent_a_1/while", "While", 1)
    of_inputs, dense = ("functional_1/recurrent_a_1/MatMul", "MatMul", 3), ("functional_1/dense_1/MatMul", "MatMul", 6)
    for steps in (1, 2, 3):
        assert shown(steps, loop, of_inputs, dense) == {"recurrent_a": "generic"}
        assert shown(steps, of_inputs, dense) == {"recurrent_a": "unrolled"}
    # a second recurrence is seen all the same
    assert shown(3, of_inputs, ("elsewhere/while", "While", 1)) == {"recurrent_a": "unrolled", OUTSIDE: "generic"}
    assert shown(28, loop, ("functional_1/recurrent_a_1/MatMul", "MatMul", 28)) == {"recurrent_a": "mixed"}


def test_of_unique_marks_the_innermost_decides_and_each_layer_has_steps_of_its_own() -> None:
    scopes = Scopes({"bench-0-": 28, "bench-1-": 5}, unique=True)

    def shown(*named: tuple[str, str, int]) -> dict[str, str]:
        nodes = [Node(name, operation, False, False) for name, operation, n in named for _ in range(n)]
        return {layer: one.kernel for layer, one in read_graph(nodes, "aa", scopes).items()}

    # a layer that is called within another's loop, a second time in a scope that TensorFlow made unique
    inner = ("functional_1/outer_1/bench-0-/while/body/inner_1/bench-1-_1/while", "While", 1)
    assert shown(inner) == {"bench-0-": "none", "bench-1-": "generic"}
    convolutions = (("model/a/bench-0-/convolution", "Conv2D", 27), ("model/b/bench-1-_2/convolution", "Conv2D", 5))
    assert shown(*convolutions) == {"bench-0-": "none", "bench-1-": "unrolled"}
    # a model of any kind has products enough elsewhere
    assert shown(("model/dense_1/MatMul", "MatMul", 500)) == {"bench-0-": "none", "bench-1-": "none"}


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
SCANNED = """\
  %slice.22 = f32[32,14,8]{2,1,0} slice(%slice.23), slice={[0:32:1], [0:27:2], [0:8:1]}, metadata={op_name="jit(train_step)/transpose(jvp(recurrent_a))/slice" stack_frame_id=94}
  %slice.23 = f32[32,7,8]{2,1,0} slice(%slice.22), slice={[0:32:1], [1:14:2], [0:8:1]}, metadata={op_name="jit(train_step)/jvp(recurrent_a)/slice"}
  %slice.24 = f32[32,3,8]{2,1,0} slice(%slice.23), slice={[0:32:1], [0:6:2], [0:8:1]}, metadata={op_name="jit(train_step)/jvp(recurrent_a)/slice"}
  %slice.25 = f32[32,1,8]{2,1,0} slice(%slice.24), slice={[0:32:1], [0:2:2], [0:8:1]}, metadata={op_name="jit(train_step)/jvp(recurrent_a)/slice"}
  %slice.26 = f32[32,27,8]{2,1,0} slice(%slice.24), slice={[0:32], [0:27], [0:8]}, metadata={op_name="jit(train_step)/jvp(recurrent_b)/slice"}
  %slice.27 = f32[32,27,8]{2,1,0} slice(%slice.24), slice={[0:32:2], [0:27], [0:8]}, metadata={op_name="jit(train_step)/elsewhere/slice"}
"""  # noqa: E501 - in the form that JAX 0.10.2 printed for a layer of 28 steps, three lines made up
CUDNN = """\
  %custom-call.1 = (f32[32,28,8]{2,1,0}, u8[100]{0}) custom-call(%a), custom_call_target="cudnn_rnn_ffi", metadata={op_name="jit(train_step)/jvp(recurrent_a)/rnn_fwd"}
  %custom-call.2 = (f32[32,28,8]{2,1,0}) custom-call(%a), custom_call_target="cudnn_rnn_bwd_ffi", metadata={op_name="jit(train_step)/transpose(jvp(recurrent_a))/rnn_bwd"}
  %while.1 = (s32[]) while(%t), metadata={op_name="jit(train_step)/jvp(recurrent_b)/while"}
"""  # noqa: E501


def kernels(text: str) -> list[str]:
    return [read_hlo(text, "", SCOPES)[layer].kernel for layer in LAYERS]


def test_a_scan_in_hlo_is_told_by_its_halvings() -> None:
    assert kernels(SCANNED) == ["parallel", "none"]
    without_last = "\n".join(line for line in SCANNED.splitlines() if "%slice.25" not in line)
    assert kernels(without_last) == ["none", "none"]
    summed = '  %r = f32[32,28,8]{2,1,0} reduce-window(%x), metadata={op_name="jit(f)/jvp(recurrent_b)/cumsum"}'
    assert kernels(summed) == ["none", "parallel"]
    assert set(read_hlo(SCANNED, "", Scopes.of_names(LAYERS, STEPS))) == set(
        LAYERS
    )  # what lies outside the layers doesn't count


def test_a_scan_in_a_profile_is_told_by_its_halvings() -> None:
    # as profiled of 28 steps: every slice, and those of them that take every second value
    assert read_profile({"aten::slice": 67, "aten::slice by 2": 19, "aten::mm": 1}, STEPS).kernel == "parallel"
    assert read_profile({"aten::slice": 67, "aten::slice by 2": 3, "aten::mm": 1}, STEPS).kernel == "none"
    assert read_profile({"aten::slice by 2": 19, "aten::mm": 28}, STEPS).kernel == "mixed"
    assert read_profile({"aten::logcumsumexp": 1}, STEPS).kernel == "parallel"


def test_what_a_compiled_program_shows() -> None:
    assert kernels(SCAN) == ["generic", "generic"]
    assert kernels(UNROLLED) == ["unrolled", "unrolled"]
    assert kernels(CUDNN) == ["cudnn", "generic"]
    assert kernels("") == ["none", "none"]


def test_a_product_inside_a_loop_is_the_loop_s() -> None:
    assert read_hlo(SCAN, "", SCOPES)["recurrent_a"].operations == {"while": 1}


@pytest.mark.parametrize("scope", ["jvp(dropout)", "jvp(recurrent_a)"])
def test_a_random_generators_own_loop_is_nobodys(scope: str) -> None:
    """A dropout's, and a recurrent dropout's too."""
    text = f'%w.1 = (s32[]) while(%t), metadata={{op_name="jit(train_step)/{scope}/jit(_bernoulli)/while"}}'
    shown = read_hlo(text, "", SCOPES)
    assert [one.kernel for one in shown.values()] == ["none", "none"]


def test_what_a_compiled_program_does_besides_is_seen() -> None:
    elsewhere = UNROLLED + '\n %w.1 = (s32[]) while(%t), metadata={op_name="jit(train_step)/jvp(mine)/while"}'
    assert {layer: one.kernel for layer, one in read_hlo(elsewhere, "", SCOPES).items()} == {
        "recurrent_a": "unrolled",
        "recurrent_b": "unrolled",
        OUTSIDE: "generic",
    }
    decoy = SCAN + UNROLLED.replace("train_step", "test_step")
    assert kernels(decoy) == ["mixed", "mixed"]
    callback = (
        '%c.1 = (f32[8]) custom-call(%t), custom_call_target="xla_ffi_python_cpu_callback", '
        'metadata={op_name="jit(train_step)/jvp(recurrent_a)/pure_callback"}'
    )
    assert kernels(callback) == ["opaque", "none"]
    # the compiler's own loop, of a scatter, is no recurrence
    assert kernels('%w.1 = (s32[]) while(%t), metadata={op_name="jit(f)/jvp(recurrent_a)/scatter-add"}')[0] == "none"


@pytest.mark.parametrize(
    ("operations", "kernel"),
    [
        ({"aten::mm": 56, "aten::tanh": 28}, "generic"),
        ({"aten::addmm": 30}, "generic"),
        ({"aten::_cudnn_rnn": 1, "aten::mm": 1}, "cudnn"),
        ({"aten::mkldnn_rnn_layer": 1}, "onednn"),
        ({"aten::_thnn_fused_lstm_cell": 28, "aten::mm": 29}, "fused_cells"),
        ({"aten::mm": 2}, "none"),
        ({"aten::_cudnn_rnn": 1, "aten::mm": 56}, "mixed"),  # one for show
    ],
)
def test_what_a_profile_shows(operations: dict[str, int], kernel: str) -> None:
    evidence = read_profile({**operations, "aten::relu": 3}, STEPS)
    assert evidence.kernel == kernel
    assert evidence.operations == {name: n for name, n in operations.items() if name != "aten::tanh"}


@pytest.mark.parametrize(
    ("operations", "kernel"),
    [
        ({"matmul": 57, "tanh": 28}, "compiled"),
        ({"linear": 28}, "compiled"),
        ({"matmul": 1}, "none"),  # the inputs' product alone: the loop is not in a graph
        ({"aten::mm": 56}, "generic"),
        ({"matmul": 29, "aten::addmm": 28}, "mixed"),  # half of it fell back
        ({"cumsum": 1, "matmul": 1}, "parallel"),
        ({"getitem by 2": 19, "matmul": 1}, "parallel"),
    ],
)
def test_what_the_graphs_of_torch_compile_show(operations: dict[str, int], kernel: str) -> None:
    assert judge_compiled(operations, STEPS) == kernel


def test_programs_that_differ_are_mixed_and_all_are_named() -> None:
    loop, unrolled = Evidence("generic", {"While": 1}, "aa"), Evidence("unrolled", {"MatMul": 28}, "bb")
    both = agreed([loop, unrolled, loop])
    assert both == Evidence("mixed", {"While": 2, "MatMul": 28}, "aa+bb")
    assert agreed([loop, loop]).kernel == "generic"


def test_what_only_some_programs_show_outside_the_layers_is_kept() -> None:
    loop, unrolled = Evidence("generic", {"While": 1}, "aa"), Evidence("unrolled", {"MatMul": 28}, "bb")
    found = agreed_by_layer([{"recurrent_a": unrolled}, {"recurrent_a": unrolled, OUTSIDE: loop}])
    assert {layer: one.kernel for layer, one in found.items()} == {"recurrent_a": "unrolled", OUTSIDE: "generic"}


@pytest.mark.parametrize("piece", ["= ", "= f[]( ", "x = while"])
def test_a_long_line_takes_no_quadratic_time(piece: str) -> None:
    def seconds(length: int) -> float:
        began = time.process_time()
        read_hlo(piece * length, "", SCOPES)
        return time.process_time() - began

    assert seconds(8_000) < 20 * seconds(1_000) + 0.05  # 64 times as long, if it were


# Programs that a GPU would be given: tests/recordings/README.md says where they come from

RECORDINGS = Path(__file__).parents[1] / "recordings"


@pytest.mark.parametrize(("cell", "kernel"), [("simple_rnn", "generic"), ("lstm", "cudnn"), ("gru", "generic")])
def test_what_jax_is_given_for_a_gpu(cell: str, kernel: str) -> None:
    """Its GRU takes `use_cudnn`, and is a scan."""
    program = read_hlo((RECORDINGS / f"jax_cuda_{cell}.hlo").read_text(), "", SCOPES)
    assert {layer: one.kernel for layer, one in program.items()} == dict.fromkeys(LAYERS, kernel)
    if kernel == "cudnn":
        assert program["recurrent_a"].operations == {"cudnn_rnn_ffi": 1, "cudnn_rnn_bwd_ffi": 1}


@pytest.mark.parametrize(("cell", "kernel"), [("simple_rnn", "generic"), ("lstm", "cudnn"), ("gru", "cudnn")])
def test_what_tensorflow_is_given_for_a_gpu(cell: str, kernel: str) -> None:
    recorded = json.loads((RECORDINGS / "tensorflow_gpu_graph.json").read_text())[cell]
    program = read_graph([Node(name, kind, False, looped) for name, kind, looped in recorded], "aa", SCOPES)
    assert {layer: one.kernel for layer, one in program.items()} == dict.fromkeys(LAYERS, kernel)


@pytest.mark.parametrize(
    "keys",
    [
        {"aten::lstm": 1, "aten::_cudnn_rnn": 1, "void RNN_blockPersist_fp_LSTM<float, float, float, 128>(": 8},
        {
            **{"aten::gru": 10, "aten::_cudnn_rnn": 10, "RNN_blockPersist_fp_GRU<f,f,f,128>": 20},
            **{"persistRNN_addBias<f,f>": 20, "cutlass_80_tensorop_s1688gemm_128x256_16x3_tn_align4": 20},
        },
    ],
)
def test_what_torch_profiled_on_a_gpu(keys: dict[str, int]) -> None:
    evidence = read_profile(keys, STEPS)
    assert evidence.kernel == "cudnn"
    assert any("blockPersist" in name for name in evidence.operations), "which of cuDNN's kernels it was is kept"
    assert "aten::gru" not in evidence.operations
    assert cudnn_kernel_words(evidence.kernel, evidence.operations).startswith("cudnn (persistent")
    assert ("tensor cores, TF32" in cudnn_kernel_words(evidence.kernel, evidence.operations)) == ("aten::gru" in keys)


KERNEL, PRODUCT = "RNN_blockPersist_fp_LSTM<float, float, float, 128>", "cutlass_80_tensorop_s1688gemm_128x256"


def test_cudnns_kernels_are_those_of_the_layer_that_started_them() -> None:
    """Of TensorFlow's operations by their scopes, of JAX's by those of their instructions."""
    hlo = (RECORDINGS / "jax_cuda_lstm.hlo").read_text()
    program = {**read_hlo(hlo, "", SCOPES), OUTSIDE: Evidence("generic", {"while": 1}, "aa")}
    of_a = next(name for name, scope in scopes_of_instructions(hlo).items() if "jvp(recurrent_a)" in scope)
    kernels = [
        *(CardKernel(KERNEL, instruction=of_a), CardKernel(KERNEL, instruction=of_a)),
        CardKernel(PRODUCT, operation="gradient_tape/functional/recurrent_b_1/CudnnRNNBackpropV3:CudnnRNNBackpropV3"),
        CardKernel("loop_add_fusion", instruction=of_a),
        CardKernel("sm80_xmma_gemm_f32f32_tf32f32", operation="functional/dense_1/MatMul:MatMul"),
    ]
    shown = with_kernels(program, kernels, SCOPES, scopes_of_instructions(hlo))
    cudnn = {"cudnn_rnn_ffi": 1, "cudnn_rnn_bwd_ffi": 1}
    assert shown["recurrent_a"].operations == {**cudnn, KERNEL: 2}
    assert shown["recurrent_b"].operations == {**cudnn, PRODUCT: 1}
    assert shown[OUTSIDE] == program[OUTSIDE]
    assert cudnn_kernel_words("cudnn", shown["recurrent_a"].operations) == "cudnn (persistent)"
    # a recurrence's kernels that bear no scope are of the layers in cuDNN; products may be anybody's
    bare = with_kernels(program, [CardKernel(KERNEL), CardKernel(PRODUCT)], SCOPES, {})
    assert [bare[layer].operations for layer in LAYERS] == [{**cudnn, KERNEL: 1}] * 2


def test_a_profiler_that_does_not_work_leaves_the_evidence_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    def refused(_: object) -> list[CardKernel]:
        raise RuntimeError("CUPTI_ERROR_INSUFFICIENT_PRIVILEGES")

    asked: list[str] = []
    phases = {phase: lambda phase=phase: asked.append(phase) for phase in ("train", "evaluate")}
    evidence = {
        "train": {"recurrent_a": Evidence("cudnn", {"CudnnRNNV3": 1}, "aa")},
        "evaluate": {"recurrent_a": Evidence("generic", {"While": 1}, "aa")},
    }
    assert add_kernels(evidence, phases, refused, SCOPES) == evidence
    assert "CUPTI_ERROR_INSUFFICIENT_PRIVILEGES" in capfd.readouterr().err

    def profiled(run: Callable[[], object]) -> list[CardKernel]:
        run()
        return [CardKernel(KERNEL)]

    shown = add_kernels(evidence, phases, profiled, SCOPES)
    assert asked == ["train"]  # where cuDNN was seen
    assert shown["train"]["recurrent_a"].operations == {"CudnnRNNV3": 1, KERNEL: 1}
    assert shown["evaluate"] == evidence["evaluate"]
