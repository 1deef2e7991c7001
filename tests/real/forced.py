"""Does what the catalogue says can't be done, with plain Keras, and prints what came of it as a line of JSON; and sets
what needs a GPU to have an effect, and reads it back.

KERAS_BACKEND=… python tests/real/forced.py
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import keras
import numpy as np
from keras.src.backend.common.dtypes import result_type

from bench.catalog import kernels
from bench.core.case import Case
from bench.core.protocol import MEMORY_FRACTION, MEMORY_LIMIT
from bench.worker.backends import load_backend
from bench.worker.evidence.attestation import Attestation, contradictions
from bench.worker.evidence.card_kernels import profile_cards
from bench.worker.evidence.retracing import retraced
from bench.worker.min_gru import min_gru
from scripts.record_gpu_programs import lower_without_cudnn

X = np.random.default_rng(0).random((4, 6, 3), np.float32)
Y = np.zeros(4, np.int32)
RECORDINGS, PROFILE = Path(__file__).parents[1] / "recordings", "composed_gpu_profile.xplane.pb"


def tried(action: Callable[[], Any]) -> str:
    """What an action gives, as text, or the kind of its exception."""
    try:
        return str(action())
    except Exception as error:  # whatever Keras or the backend raises
        return type(error).__name__


def outputs(cell: str, **switches: Any) -> Any:
    """A layer's outputs; the weights are those of its seed."""
    keras.utils.set_random_seed(1)
    layer = {"simple_rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell](
        4, **switches
    )
    return keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(X, dtype=layer.compute_dtype)))


def forced(cell: str) -> str:
    """What `use_cudnn=True` does: the same numbers as without, or an exception."""
    return tried(lambda: np.allclose(outputs(cell, use_cudnn=True), outputs(cell, use_cudnn=False), atol=1e-6))


def compiled_by_torch() -> int:
    """How many functions `fit` gives to torch.compile where XLA is asked for."""
    import torch

    model = keras.Sequential([keras.Input((6, 3)), keras.layers.SimpleRNN(4), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=True)
    with mock.patch.object(torch, "compile", side_effect=lambda function, *_, **__: function) as compiling:
        model.fit(X, Y, verbose=0)
    return compiling.call_count


def graphs_of_torch_nn() -> int:
    """How many graphs torch.compile captures of torch's own recurrent layers, in training."""
    import torch
    from torch._dynamo.utils import counters

    for kind in (torch.nn.RNN, torch.nn.LSTM, torch.nn.GRU):
        outputs, _ = torch.compile(kind(3, 4))(torch.from_numpy(X))
        outputs.sum().backward()
    return int(counters["stats"]["unique_graphs"])


def graph_breaks(layer: keras.Layer, *, masked: bool = False) -> int:
    """How often torch.compile breaks the graph of one of Keras's layers in training."""
    import torch
    from torch._dynamo.utils import counters

    x = keras.ops.convert_to_tensor(X[:, :2])
    mask = torch.ones(x.shape[:2], dtype=torch.bool) if masked else None
    layer(x, mask=mask, training=True)
    counters.clear()
    torch.compile(lambda sequence: layer(sequence, mask=mask, training=True), backend="eager")(x)
    return sum(counters["graph_break"].values())


def without_a_compiler() -> str:
    """What becomes of torch.compile where there is no compiler of C++."""
    import torch
    from torch._inductor import config

    with config.patch({"cpp.cxx": ("no-such-compiler",)}):
        return tried(lambda: torch.compile(lambda x: torch.tanh(x @ x))(torch.ones(4, 4)))


def compiled_anew() -> list[Any]:
    """How many graphs a longer sequence adds to those of a compiled function, and what a message names it by."""
    import torch
    from torch._dynamo.utils import counters
    from torch._functorch.aot_autograd import make_boxed_func
    from torch._inductor.compile_fx import compile_fx

    from bench.worker.backends.torch_compile import Compilation

    counters.clear()
    compilation, seen = Compilation(), []
    # Inductor up to the code that it would make
    backend = partial(compile_fx, inner_compile=lambda graph, *_, **__: make_boxed_func(graph.forward))
    step = torch.compile(lambda x: torch.tanh(x @ torch.ones(3, 4)), backend=backend)
    for steps in (5, 7):
        seen.append(compilation.programs)
        step(torch.ones(32, steps, 3))
    before, after = seen[-1], compilation.programs
    compilation.forget_code()
    return [before, after, retraced(compilation.signatures, before)]


def half_precision_for_cuda(dtype: str) -> str:
    """What becomes of Keras's LSTM on JAX where it is lowered for CUDA with cuDNN in a number format."""
    import jax

    lower_without_cudnn()
    layer = keras.layers.LSTM(4, dtype=dtype, recurrent_initializer="zeros")  # the usual one has no half precision
    x = X.astype(dtype)
    layer(x)
    with mock.patch.object(jax, "default_backend", return_value="gpu"):
        traced = jax.jit(layer).trace(x)
        return tried(lambda: "cudnn_rnn" in traced.lower(lowering_platforms=("cuda",)).as_text())


def operations(unroll: bool) -> list[tuple[str, int]]:
    """What torch executes in an LSTM's forward pass, counted."""
    from torch.profiler import ProfilerActivity, profile

    layer = keras.layers.LSTM(4, unroll=unroll)
    layer(keras.ops.convert_to_tensor(X))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        layer(keras.ops.convert_to_tensor(X))
    return sorted((event.key, event.count) for event in profiler.key_averages())


def converted(unroll: bool) -> bool:
    """Whether LiteRT's converter makes an LSTM, for batches of any size, of operations that its interpreter has."""
    import tensorflow as tf

    layer = keras.layers.LSTM(4, unroll=unroll)
    layer(X)
    function = tf.function(layer).get_concrete_function(tf.TensorSpec([None, 6, 3], tf.float32))
    return bool(tf.lite.TFLiteConverter.from_concrete_functions([function], layer).convert())


def difference_of_large_numbers() -> float:
    """How far numbers of a thousand, rounded to float32, are said to be from those that Keras gave."""
    from bench.worker.runtimes import exported

    class Rounding(exported.ExportedRuntime):
        def outputs(self) -> Any:
            return 1000 + np.random.default_rng(1).random((50, 1))

        def network(self) -> Any:
            return None

        def export(self, *_: Any) -> Any:
            return lambda x: [self.outputs()[: len(x)].astype(np.float32)]

        read = facts = export  # type: ignore[assignment]

    data, task = SimpleNamespace(x_test=np.zeros((50, 3))), SimpleNamespace(target=SimpleNamespace(is_class=False))
    runtime = Rounding(Case(cell="gru"), task, data, None)  # type: ignore[arg-type]
    runtime._compiled_call()
    assert runtime.output_difference is not None
    return runtime.output_difference


def deterministic_xla() -> bool:
    """What of `jit_compile=True` is left under op determinism, from now on in this process."""
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    model = keras.Sequential([keras.Input((6, 3)), keras.layers.SimpleRNN(4)])
    model.compile("sgd", "mse", jit_compile=True)
    return bool(model.jit_compile)


def of_torch_nn() -> dict[str, str]:
    """What torch's own layers do with what they are given."""
    import torch

    x, layer = torch.from_numpy(X), torch.nn.LSTM(3, 4, batch_first=True)
    dropping = torch.nn.LSTM(3, 4, dropout=0.9, batch_first=True)  # in training, as layers are when they are made
    return {
        "torch.nn activation": tried(lambda: torch.nn.LSTM(3, 4, nonlinearity="relu")),
        "torch.nn recurrent_activation": tried(lambda: torch.nn.GRU(3, 4, recurrent_activation="relu")),
        "torch.nn reset_after": tried(lambda: torch.nn.GRU(3, 4, reset_after=False)),
        "torch.nn kernel": tried(lambda: torch.nn.LSTM(3, 4, use_cudnn=False)),
        "torch.nn mask": tried(lambda: layer(x, mask=torch.ones(4, 6))),
        "torch.nn forgets": tried(lambda: torch.equal(layer(x)[0], layer(x)[0])),
        "torch.nn dropout": tried(lambda: torch.equal(dropping(x)[0], dropping(x)[0])),
    }


def tf32_read_back(backend: str) -> list[Any]:
    """What is read back of TF32 as it is by default, allowed, and not; and the objection where that isn't as asked."""
    adapter = load_backend(backend)
    adapter.configure("cpu", 0)
    settings = [adapter.read_back(None)]
    for allowed in (True, False):
        adapter.allow_tf32(allowed)
        settings.append(adapter.read_back(None))
    shown = Attestation(evidence={}, phases=(), settings={"jit_compile": False, **settings[-1]})
    objections = contradictions(Case(cell="lstm", backend=backend, tf32="on"), shown)
    return [*(read["tf32"] for read in settings), *objections]


def card_kernels(backend: str) -> list[list[str]]:
    """What the backend reads in a profile of a card, and how many events of its own profiler it reads as such."""
    adapter = importlib.import_module(f"bench.worker.backends.{backend}")
    recorded = [[k.name, k.operation, k.instruction] for k in adapter.read_profile_file(RECORDINGS / PROFILE)]
    trace: Any
    if backend == "tensorflow":
        import tensorflow as tf

        trace = tf.profiler.experimental.Profile
    else:
        import jax

        trace = jax.profiler.trace
    on_the_processor = partial(adapter.read_profile_file, plane="/host:", line="")
    events = profile_cards(trace, on_the_processor, lambda: outputs("gru"))
    return [*recorded, [str(len(events) > 0), "", ""]]


def second_card_of_torch() -> list[Any]:
    """Which card torch is told to take, and how much of it, where there are two; last, since Keras stays on it."""
    import torch

    os.environ[MEMORY_FRACTION] = "0.45"
    with (
        mock.patch.object(torch.cuda, "device_count", return_value=2),
        mock.patch.object(torch.cuda, "set_device") as card,
        mock.patch.object(torch.cuda, "set_per_process_memory_fraction") as fraction,
    ):
        load_backend("torch").configure("gpu:1", 0)
    return [*card.call_args.args, *fraction.call_args.args]


def second_card_of_tensorflow() -> list[Any]:
    """Which card TensorFlow is told to take, and how much memory it then allows itself there, where there are two.

    TensorFlow's own code, in a context of its own that lists two cards which are not there.
    """
    import tensorflow as tf
    from tensorflow.python.eager import context

    os.environ[MEMORY_LIMIT] = "4096"
    listed = [f"/physical_device:{name}".encode() for name in ("CPU:0", "GPU:0", "GPU:1")]
    with (
        mock.patch.object(context, "_context", context.Context()),
        mock.patch.object(context.pywrap_tfe, "TF_ListPhysicalDevices", return_value=listed),
    ):
        adapter = load_backend("tensorflow")
        adapter.configure("gpu:1", 0)
        options = context.context().config.gpu_options
        cards = [card.name for card in tf.config.get_visible_devices("GPU")]
        (limits,) = (part.memory_limit_mb for part in options.experimental.virtual_devices)
        return [*cards, options.visible_device_list, *limits, adapter.read_back(None)["memory_limit_bytes"]]


def main() -> None:
    """Print what came of everything."""
    backend = keras.config.backend()
    results: dict[str, Any] = {f"cudnn {cell}": forced(cell) for cell in ("simple_rnn", "lstm", "gru")}
    results["square float16"] = str(float(keras.ops.square(keras.ops.convert_to_tensor(1e-4, dtype="float16"))))
    results["update bfloat16"] = str(float(keras.ops.convert_to_tensor(1.0, dtype="bfloat16") - 0.001))
    results["stateful"] = tried(lambda: np.array_equal(outputs("lstm", stateful=True), outputs("lstm")))
    drawn = keras.random.dropout(keras.ops.ones(64), 0.5, seed=1)
    results["dropout"] = (keras.ops.convert_to_numpy(drawn) > 0).tolist()
    results["float64"] = result_type("float64", float), result_type("int64", float)
    if backend == "tensorflow":
        results["litert loop"] = tried(lambda: converted(unroll=False))
        results["litert unrolled"] = tried(lambda: converted(unroll=True))
        results["deterministic XLA"] = deterministic_xla()
        results["second card"] = second_card_of_tensorflow()
        results["large numbers"] = difference_of_large_numbers()
    if backend == "torch":
        results |= of_torch_nn()
        results["torch.compile"] = compiled_by_torch()
        results["graphs of torch.nn"] = graphs_of_torch_nn()
        results["graph breaks"] = {
            "gru": graph_breaks(keras.layers.GRU(4)),
            "simple_rnn": graph_breaks(keras.layers.SimpleRNN(4)),
            "recurrent_dropout": graph_breaks(keras.layers.GRU(4, recurrent_dropout=0.2)),
            "reset_after": graph_breaks(keras.layers.GRU(4, reset_after=False)),
            "mask": graph_breaks(keras.layers.GRU(4), masked=True),
            "min_gru": graph_breaks(min_gru(4, "tanh", True, "m", kernels.find("generic"))),
        }
        results["without a compiler"] = without_a_compiler()
        results["compiled anew"] = compiled_anew()
        results["unroll is ignored"] = operations(unroll=True) == operations(unroll=False)
    if backend == "jax":
        model = keras.Sequential([keras.Input((6, 3)), keras.layers.LSTM(4), keras.layers.Dense(2)])
        model.compile("sgd", "mse")
        results["jit_compile"] = model.jit_compile
        results["for CUDA"] = {dtype: half_precision_for_cuda(dtype) for dtype in ("float32", "float16", "bfloat16")}
    if backend != "torch":
        results["card kernels"] = card_kernels(backend)
    results["tf32"] = tf32_read_back(backend)
    if backend == "jax":
        from jax.experimental import rnn

        results["tf32 in cudnn"] = rnn._lstm_cudnn_allow_tf32(None)
    if backend == "torch":
        import torch

        results["tf32 in cudnn"] = torch.backends.cudnn.rnn.fp32_precision
        results["second card"] = second_card_of_torch()
    print(json.dumps(results), flush=True)
    os._exit(0)  # a backend takes its time to end in order


if __name__ == "__main__":
    main()
