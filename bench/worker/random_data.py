"""Random data of the shapes that a model takes, and targets that its losses take: enough to train it for a step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from bench.core.protocol import FailedRun

BATCH = 4
"""Samples, where the model leaves that open."""
_WAY_OUT = "give data of your own with --data module:factory"


def random_inputs(model: keras.Model, steps: int) -> Any:
    """One batch of random inputs, in the structure in which the model takes them.

    Integers, and the places of an `Embedding`'s input, lie within the smallest vocabulary; where one of the embeddings
    masks zeros, every second sequence is padded on the right.

    Args:
        model: functional, sequential, or one that was built with a shape.
        steps: every size but the batch that the model leaves open.

    Raises:
        FailedRun: the model doesn't state what it takes, or takes what can't be made up.
    """
    generator = np.random.default_rng(0)
    embeddings = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
    vocabulary = min((int(layer.input_dim) for layer in embeddings), default=2)
    pads = any(layer.mask_zero for layer in embeddings)

    def made(spec: Any) -> np.ndarray[Any, Any]:
        batch, *sizes = spec.shape
        shape = (batch or BATCH, *(size or steps for size in sizes))
        dtype = keras.backend.standardize_dtype(spec.dtype)
        if dtype == "string":
            raise FailedRun(f"the model takes texts, which can't be made up: {_WAY_OUT}")
        places = bool(embeddings) and len(shape) == 2
        if not places and dtype != "bool" and "int" not in dtype:
            return generator.random(shape).astype(dtype)
        values = generator.integers(min(1, vocabulary - 1), vocabulary, shape)
        if pads and places:
            values[1::2, shape[1] - max(1, shape[1] // 4) :] = 0
        return values.astype(dtype)

    return keras.tree.map_structure(made, _taken(model))


def open_sizes(model: keras.Model) -> bool:
    """Whether the model leaves a size of its inputs open, beside the batch."""
    return any(size is None for spec in keras.tree.flatten(_taken(model)) for size in spec.shape[1:])


def _taken(model: keras.Model) -> Any:
    """The structure of the model's inputs, a shape and a dtype each."""
    if isinstance(model, keras.Sequential):
        if model.built:
            (only,) = model.inputs
            return only
    elif isinstance(model, keras.src.models.Functional):
        return model.input
    shapes = list((model._build_shapes_dict or {}).values())
    if len(shapes) != 1 or not isinstance(shapes[0], tuple | list) or not all(_is_size(size) for size in shapes[0]):
        raise FailedRun(
            "the model doesn't state what it takes: begin it with keras.Input, or call its build((None, steps, "
            f"features)) in the factory, or {_WAY_OUT}"
        )
    return keras.KerasTensor(tuple(shapes[0]))


def _is_size(value: object) -> bool:
    return value is None or isinstance(value, int)


def random_targets(model: keras.Model, outputs: Any) -> Any:
    """Targets that the losses of a compiled model take, in the structure of its outputs.

    Args:
        model: compiled.
        outputs: of one batch.
    """
    generator = np.random.default_rng(1)
    asked = model._compile_loss._user_loss if model._compile_loss is not None else None
    flat = keras.tree.flatten(outputs)
    losses = keras.tree.flatten(asked)
    if isinstance(asked, dict) and isinstance(outputs, dict):
        losses = [asked.get(name) for name in sorted(outputs)]  # the order in which a tree flattens a dictionary
    if len(losses) != len(flat):
        losses = losses[:1] * len(flat)

    def made(output: Any, loss: object) -> np.ndarray[Any, Any]:
        name = loss if isinstance(loss, str) else getattr(loss, "name", None) or getattr(loss, "__name__", "")
        if "sparse" in str(name).lower():
            return generator.integers(0, output.shape[-1], tuple(output.shape[:-1]))
        return generator.random(tuple(output.shape)).astype("float32")

    return keras.tree.pack_sequence_as(outputs, [made(*pair) for pair in zip(flat, losses, strict=True)])


def fitting_losses(model: keras.Model) -> list[str]:
    """A loss for each output, by the activation that it ends with: for a model that isn't compiled."""
    if isinstance(model, keras.src.models.Functional):
        last = [tensor._keras_history.operation for tensor in model.outputs]
    else:
        last = [layer for layer in model._flatten_layers() if hasattr(layer, "activation")][-1:]
    by_activation = {"softmax": "sparse_categorical_crossentropy", "sigmoid": "binary_crossentropy"}
    names = [getattr(getattr(layer, "activation", None), "__name__", "") for layer in last]
    return [by_activation.get(name, "mean_squared_error") for name in names] or ["mean_squared_error"]
