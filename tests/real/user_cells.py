"""Cells as users write them: right, wrong, and deceitful."""

from __future__ import annotations

from typing import Any

import keras


def good(units: int, activation: str, return_sequences: bool, name: str) -> keras.layers.Layer:
    return keras.layers.GRU(
        units, activation=activation, return_sequences=return_sequences, name=name, reset_after=False
    )


class _ScalesItsSequence(keras.layers.SimpleRNN):  # type: ignore[misc] # keras has no type information
    """Does more with a sequence than its cell does at each step: what it streams is something else."""

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        return 0.5 * super().call(sequences, initial_state, mask, training)


def scales_its_sequence(units: int, activation: str, return_sequences: bool, name: str) -> keras.layers.Layer:
    return _ScalesItsSequence(units, activation=activation, return_sequences=return_sequences, name=name)


def reads_backwards(units: int, activation: str, return_sequences: bool, name: str) -> keras.layers.Layer:
    return keras.layers.SimpleRNN(
        units, activation=activation, return_sequences=return_sequences, name=name, go_backwards=True
    )


def last_step_only(units: int, activation: str, return_sequences: bool, name: str) -> keras.layers.Layer:
    """The notebook's slip: `return_sequences` isn't passed on."""
    return keras.layers.LSTM(units, activation=activation, name=name)


def bare_cell(units: int, activation: str, return_sequences: bool, name: str) -> Any:
    return keras.layers.LSTMCell(units, activation=activation, name=name).state_size


def own_width(units: int, activation: str, return_sequences: bool, name: str) -> keras.layers.Layer:
    return keras.layers.GRU(units // 2, activation=activation, return_sequences=return_sequences, name=name)


class a_class(keras.layers.Layer):  # type: ignore[misc] # noqa: N801 - keras has no type information; named as a cell is
    """A layer in the place of a factory, whose signature only running it shows."""


def nameless(units: int, activation: str, return_sequences: bool, name: str) -> keras.layers.Layer:
    return keras.layers.LSTM(units, activation=activation, return_sequences=return_sequences)


def raises(**options: Any) -> keras.layers.Layer:
    raise RuntimeError(f"no such cell for {options['units']} units\nand a second line")


class _RaisesInCall(keras.layers.Layer):  # type: ignore[misc] # keras has no type information
    """A slip inside of `call`, which Keras meets when it builds the network."""

    def call(self, x: Any) -> Any:
        raise ValueError(f"no gate for {self.name}")


def raises_in_call(units: int, activation: str, return_sequences: bool, name: str) -> keras.layers.Layer:
    return _RaisesInCall(name=name)


def claims_unrolled(units: int, activation: str, return_sequences: bool, name: str, kernel: str) -> keras.layers.Layer:
    """Is told `kernel="unrolled"`, and loops."""
    return keras.layers.SimpleRNN(units, activation=activation, return_sequences=return_sequences, name=name)


class _LoopsInTraining(keras.layers.Layer):  # type: ignore[misc] # keras has no type information
    """A loop in training, unrolled in inference: the same weights, another program."""

    def __init__(self, units: int, activation: str, return_sequences: bool, name: str) -> None:
        super().__init__(name=name)
        self._layers_of = [
            keras.layers.SimpleRNN(units, activation=activation, return_sequences=return_sequences, unroll=unroll)
            for unroll in (False, True)
        ]
        self.loop, self.unrolled = self._layers_of

    def build(self, shape: Any) -> None:
        self.loop.build(shape)
        self.unrolled.build(shape)

    def compute_output_shape(self, shape: Any) -> Any:
        return self.loop.compute_output_shape(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.loop(x) if training else self.unrolled(x)


def loops_in_training(units: int, activation: str, return_sequences: bool, name: str) -> keras.layers.Layer:
    return _LoopsInTraining(units, activation, return_sequences, name)


def resets_cudnn(units: int, activation: str, return_sequences: bool, name: str, kernel: str) -> keras.layers.Layer:
    """Is made with the switch that the kernel pins, which is then quietly reset."""
    layer = keras.layers.LSTM(
        units, activation=activation, return_sequences=return_sequences, name=name, use_cudnn=False
    )
    layer.use_cudnn = "auto"
    return layer


def cloned(units: int, activation: str, return_sequences: bool, name: str, kernel: str) -> keras.layers.Layer:
    """A clone, as fine-tuning code makes them: `use_cudnn` isn't serialised, and comes back as "auto"."""
    layer = keras.layers.GRU(
        units, activation=activation, return_sequences=return_sequences, name=name, use_cudnn=False
    )
    features = 28 if return_sequences else units  # of the rows, or of the first layer's outputs
    model = keras.Sequential([keras.Input((28, features)), layer])
    return keras.models.clone_model(model).layers[0]


def refuses_jit(units: int, activation: str, return_sequences: bool, name: str) -> keras.layers.Layer:
    """One layer that XLA can't compile, and Keras turns it off for the whole model, with a warning."""
    layer = keras.layers.SimpleRNN(units, activation=activation, return_sequences=return_sequences, name=name)
    layer.supports_jit = False
    return layer


class _LoopsElsewhere(keras.layers.Layer):  # type: ignore[misc] # keras has no type information
    """As many products as an unrolled layer has, for show, and the loop under another name."""

    def __init__(self, units: int, activation: str, return_sequences: bool, name: str) -> None:
        super().__init__(name=name)
        self.loop = keras.layers.SimpleRNN(units, activation=activation, return_sequences=return_sequences)

    def build(self, shape: Any) -> None:
        self.loop.build(shape)

    def compute_output_shape(self, shape: Any) -> Any:
        return self.loop.compute_output_shape(shape)

    def call(self, x: Any) -> Any:
        import tensorflow as tf

        shown = sum(keras.ops.mean(keras.ops.matmul(x[:, step], self.loop.cell.kernel)) for step in range(28))
        with tf.name_scope("elsewhere/"):
            return self.loop(x) + 0.0 * shown


def loops_elsewhere(units: int, activation: str, return_sequences: bool, name: str) -> keras.layers.Layer:
    return _LoopsElsewhere(units, activation, return_sequences, name)


class _Diverges(keras.layers.Layer):  # type: ignore[misc] # keras has no type information
    def __init__(self, units: int, activation: str, return_sequences: bool, name: str) -> None:
        super().__init__(name=name)
        self.inner = keras.layers.SimpleRNN(units, activation=activation, return_sequences=return_sequences)

    def build(self, shape: Any) -> None:
        self.inner.build(shape)

    def compute_output_shape(self, shape: Any) -> Any:
        return self.inner.compute_output_shape(shape)

    def call(self, x: Any) -> Any:
        # a loss of its own: an activation that isn't finite can be lost in the next layer's relu
        self.add_loss(keras.ops.log(keras.ops.mean(x) - 2.0))
        return self.inner(x)


def not_finite(units: int, activation: str, return_sequences: bool, name: str) -> keras.layers.Layer:
    """Its loss is the logarithm of a negative number."""
    return _Diverges(units, activation, return_sequences, name)
