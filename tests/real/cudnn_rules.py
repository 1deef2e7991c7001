"""Asks Keras itself, over all combinations of options, whether it would take cuDNN; prints where the rules differ.

    KERAS_BACKEND=jax python tests/real/cudnn_rules.py

A GPU is pretended; what would call cuDNN only notes that it was reached, and nothing else is computed either. The last
line gives how many combinations were asked, and in how many cuDNN was reached.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn

import keras
import numpy as np

from bench.catalog import kernels, masks, networks
from bench.catalog.kernels import cudnn_obstacle, is_made_for_cudnn
from bench.catalog.layer_rules import cudnn_obstacles
from bench.core.case import Case
from bench.worker.model import gru, lstm

BACKEND = keras.backend.backend()
SAMPLES, STEPS, FEATURES, UNITS = 4, 5, 3, 2
OPTIONS: dict[str, tuple[Any, ...]] = {
    "cell": ("lstm", "gru"),
    "activation": ("tanh", "relu"),
    "recurrent_activation": ("sigmoid", "hard_sigmoid"),
    "bias": (True, False),
    "reset_after": (True, False),
    "dropout": (0.0, 0.3),
    "recurrent_dropout": (0.0, 0.3),
    "mask": tuple(masks.MASKS),
}
reached: list[str] = []


class LoopReached(Exception):  # noqa: N818 - it is no error
    """Keras has come to a loop over the steps."""


def pretend() -> Any:
    """Makes Keras see a GPU; what turns an array into one of it."""
    # the module: the package has a function of that name
    rnn: Any = importlib.import_module(f"keras.src.backend.{BACKEND}.rnn")
    rnn._is_gpu_available = rnn._is_cuda_cudnn_available = lambda: True

    def reach(*_: Any, **__: Any) -> NoReturn:
        reached.append("cudnn")
        raise NotImplementedError

    def loop(*_: Any, **__: Any) -> NoReturn:
        raise LoopReached

    rnn._cudnn_lstm = rnn._cudnn_gru = reach
    keras.src.backend.rnn = rnn._fallback_lstm = rnn._fallback_gru = loop
    if BACKEND == "jax":
        rnn.lax = SimpleNamespace(scan=loop)
        importlib.import_module("jax.experimental.rnn").lstm = reach  # type: ignore[attr-defined]
    if BACKEND == "torch":
        import torch

        class OnCuda(torch.Tensor):  # type: ignore[misc] # torch has no type information here
            device = property(lambda self: torch.device("cuda"))

        return lambda values: torch.from_numpy(values).as_subclass(OnCuda)
    return keras.ops.convert_to_tensor


def reaches_cudnn(layer: Any, inputs: Any, states: Any, mask: Any) -> bool:
    """Whether Keras would give the layer to cuDNN."""
    reached.clear()
    with contextlib.suppress(LoopReached):
        layer.inner_loop(inputs, states, mask, training=True)
    return bool(reached)


def while_compiling(ask: Callable[[], bool]) -> bool:
    """The answer that Dynamo gets while it traces, where `torch.compiler.is_compiling` is a constant, true."""
    import torch

    original = torch.compiler.is_compiling
    torch.compiler.is_compiling = lambda: True
    try:
        return ask()
    finally:
        torch.compiler.is_compiling = original


def main() -> None:
    to_device = pretend()
    inputs = np.random.default_rng(0).random((SAMPLES, STEPS, FEATURES), dtype=np.float32)
    asked, in_cudnn = 0, 0
    for values in itertools.product(*OPTIONS.values()):
        case = Case(backend=BACKEND, device="gpu:0", layers=1, **dict(zip(OPTIONS, values, strict=True)))
        if case.cell == "lstm" and not case.reset_after:
            continue
        (described,) = networks.of(case).recurrent
        given: dict[str, Any] = {"units": UNITS, "activation": described.activation, "return_sequences": True}
        layer = (lstm if case.cell == "lstm" else gru)(described, kernels.find("auto"), name="recurrent_a", **given)
        if BACKEND == "tensorflow" and layer.supports_jit is is_made_for_cudnn(case, described):
            print(f"made for cuDNN: {values}")
        layer.build((SAMPLES, STEPS, FEATURES))
        kept = masks.kept_steps(case.mask, SAMPLES, STEPS)
        kept[0, 1] = case.mask != "gaps"  # a gap at least
        states = [keras.ops.zeros((SAMPLES, UNITS))] * (2 if case.cell == "lstm" else 1)
        mask = None if case.mask == "none" else keras.ops.convert_to_tensor(kept)
        took_cudnn = reaches_cudnn(layer, to_device(inputs), states, mask)
        if BACKEND == "torch" and while_compiling(partial(reaches_cudnn, layer, to_device(inputs), states, mask)):
            print(f"cuDNN under torch.compile: {values}")
        obstacle = cudnn_obstacle(case, described)
        # with gaps TensorFlow takes cuDNN, and its own check of the mask ends the run
        picked = obstacle is None or (BACKEND == "tensorflow" and obstacle.startswith("mask=gaps"))
        if picked is not took_cudnn:
            print(f"picked: {values}: {obstacle}")
        asked, in_cudnn = asked + 1, in_cudnn + took_cudnn
    for option in ({"unroll": True}, {"use_cudnn": False}):  # no axes, but options of a model of the user's
        layer = keras.layers.LSTM(UNITS, return_sequences=True, **option)
        layer.build((SAMPLES, STEPS, FEATURES))
        states = [keras.ops.zeros((SAMPLES, UNITS))] * 2
        took_cudnn = reaches_cudnn(layer, to_device(inputs), states, None)
        if took_cudnn is any(cudnn_obstacles("LSTM", option, BACKEND)):
            print(f"picked: {option}")
        asked, in_cudnn = asked + 1, in_cudnn + took_cudnn
    if BACKEND == "tensorflow":
        from keras.src.backend.tensorflow.rnn import _is_sequence_right_padded

        for name in ("right", "gaps"):
            padded = bool(_is_sequence_right_padded(keras.ops.convert_to_tensor(masks.kept_steps(name, 64, STEPS))))
            if padded is not (name == "right"):
                print(f"right padding: {name}")
    print(f"{asked} asked, {in_cudnn} in cuDNN")


if __name__ == "__main__":
    main()
