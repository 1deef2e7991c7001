"""A trained Keras network as a function of one step and of its recurrent layers' states."""

from __future__ import annotations

from typing import Any, Self

import keras
from keras import ops

from bench.worker.data import Array
from bench.worker.streaming import State


class StepNetwork:
    """The layers of a network in one chain: its recurrent layers' cells are called by hand, and the rest as they are.

    So what is done at a step is what the cell's own code does, whatever loop the layer has around it, and the backend
    compiles it into one program. What a network that reads the whole sequence gives after its last step, it gives after
    each.

    Args:
        layers: in the order of the data, the input left out.
    """

    def __init__(self, layers: list[keras.Layer]) -> None:
        self._layers = layers
        self._recurrent = [layer for layer in layers if _is_recurrent(layer)]

    @classmethod
    def of(cls, model: keras.Model, recurrent: tuple[str, ...]) -> Self | None:
        """None where a recurrent layer has no cell that does a single step, or reads backwards.

        Args:
            model: a chain of layers that work on each step by itself, but for the recurrent ones.
            recurrent: the names of the recurrent ones.
        """
        layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
        if not all(_has_step(layer) for layer in layers if layer.name in recurrent):
            return None
        return cls(layers)

    @property
    def cells(self) -> dict[str, keras.Layer]:
        """By name of the recurrent layer."""
        return {layer.name: layer.cell for layer in self._recurrent}

    def start(self, batch: int) -> State:
        """The states before the first step: a list of arrays for each recurrent layer."""
        return [_first_states(layer.cell, batch) for layer in self._recurrent]

    def __call__(self, x: Any, states: State) -> tuple[Any, State]:
        """The outputs after one step, and the states to carry on.

        Args:
            x: a step of each sequence, batch × features, or a batch of tokens.
            states: as `start` made them, or as the step before gave them.
        """
        before, after = iter(states), []
        for layer in self._layers:
            if _is_recurrent(layer):
                with keras.name_scope(layer.name, deduplicate=False):
                    x, state = layer.cell(x, next(before), **_inference(layer.cell))
                after.append(list(state) if isinstance(state, list | tuple) else [state])
            else:
                x = layer(x, **_inference(layer))
        return x, after

    def flat_start(self, batch: int) -> list[Array]:
        """The states before the first step in NumPy's memory, one array after another."""
        return [ops.convert_to_numpy(state) for state in keras.tree.flatten(self.start(batch))]

    def flat_call(self, x: Any, *states: Any) -> list[Any]:
        """The outputs after one step, and behind them the states to carry on: what an exported network is called by."""
        outputs, after = self(x, keras.tree.pack_sequence_as(self.start(1), states))
        return [outputs, *keras.tree.flatten(after)]

    def whole(self, x: Any) -> Any:
        """The outputs after each step, by the layers' own passes over whole sequences.

        Args:
            x: samples × steps × features, or samples × steps of tokens.
        """
        kept = [layer.return_sequences for layer in self._recurrent]
        try:
            for layer in self._recurrent:
                layer.return_sequences = True
            for layer in self._layers:
                x = layer(x, **_inference(layer))
        finally:
            for layer, returns in zip(self._recurrent, kept, strict=True):
                layer.return_sequences = returns
        return x


def _is_recurrent(layer: keras.Layer) -> bool:
    return isinstance(getattr(layer, "cell", None), keras.Layer) and hasattr(layer, "return_sequences")


def _has_step(layer: keras.Layer) -> bool:
    return _is_recurrent(layer) and not getattr(layer, "go_backwards", False)


def _inference(layer: keras.Layer) -> dict[str, bool]:
    return {"training": False} if layer._call_has_training_arg else {}


def _first_states(cell: keras.Layer, batch: int) -> list[Any]:
    if hasattr(cell, "get_initial_state"):
        states = cell.get_initial_state(batch_size=batch)
        return list(states) if isinstance(states, list | tuple) else [states]
    return [ops.zeros((batch, size), dtype=cell.compute_dtype) for size in keras.tree.flatten(cell.state_size)]
