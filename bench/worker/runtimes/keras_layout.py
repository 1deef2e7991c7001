"""The weights of torch.nn's layers as Keras lays them out, and the other way round.

torch has its matrices transposed, a GRU's reset gate before its update gate, and a second vector of biases in each
layer, which Keras has in a GRU alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from bench.worker.data import Array


def set_weights(layers: Sequence[nn.Module], weights: Sequence[Array]) -> None:
    """Give the layers these weights.

    Args:
        layers: `nn.RNN`, `nn.LSTM`, `nn.GRU` and `nn.Linear`; those without weights are passed over.
        weights: in the order, and of the shapes, in which Keras has them.
    """
    left = iter(weights)
    with torch.no_grad():
        for layer in layers:
            for direction in _directions(layer):
                for name in _matrices(layer):
                    _copy(getattr(layer, name + direction), _reordered(layer, next(left)).T)
                if layer.bias is not False:
                    first, second = _two_biases(layer, next(left))
                    _copy(getattr(layer, _biases(layer)[0] + direction), first)
                    for name in _biases(layer)[1:]:
                        _copy(getattr(layer, name + direction), second)


def gradients(layers: Sequence[nn.Module]) -> tuple[Array, ...]:
    """The gradients of the layers' weights, in the order, and of the shapes, in which Keras has those."""
    return tuple(_gradients(layers))


def _gradients(layers: Sequence[nn.Module]) -> Iterator[Array]:
    for layer in layers:
        for direction in _directions(layer):
            for name in _matrices(layer):
                yield _reordered(layer, getattr(layer, name + direction).grad.cpu().numpy().T)
            if layer.bias is not False:
                biases = [getattr(layer, name + direction).grad.cpu().numpy() for name in _biases(layer)]
                biases = [_reordered(layer, bias) for bias in biases]
                yield np.stack(biases) if isinstance(layer, nn.GRU) else biases[0]


def _directions(layer: nn.Module) -> tuple[str, ...]:
    """The ends of the names of a layer's weights, for each of its directions; none of a layer without weights."""
    if isinstance(layer, nn.RNNBase):
        return ("_l0", "_l0_reverse") if layer.bidirectional else ("_l0",)
    return ("",) if isinstance(layer, nn.Linear) else ()


def _matrices(layer: nn.Module) -> tuple[str, ...]:
    return ("weight_ih", "weight_hh") if isinstance(layer, nn.RNNBase) else ("weight",)


def _biases(layer: nn.Module) -> tuple[str, ...]:
    return ("bias_ih", "bias_hh") if isinstance(layer, nn.RNNBase) else ("bias",)


def _two_biases(layer: nn.Module, bias: Array) -> tuple[Array, Array]:
    bias = _reordered(layer, bias)
    return (bias[0], bias[1]) if isinstance(layer, nn.GRU) else (bias, np.zeros_like(bias))


def _reordered(layer: nn.Module, array: Array) -> Array:
    """A GRU's first two gates exchanged, along the last axis; what another layer has is as it was."""
    if not isinstance(layer, nn.GRU):
        return array
    update, reset, candidate = np.split(array, 3, axis=-1)
    return np.concatenate([reset, update, candidate], axis=-1)


def _copy(parameter: torch.Tensor, values: Array) -> None:
    parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))
