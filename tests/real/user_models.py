"""Models as users write them: recurrent layers nested anywhere, and three of Keras's examples written anew, tiny."""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
from keras import layers

STEPS = 6


def nested() -> keras.Model:
    """A submodel, a layer that is called twice and shares its name with another, stacked cells, both directions."""
    inputs = keras.Input((STEPS, 5))
    x = keras.Sequential([keras.Input((STEPS, 5)), layers.LSTM(4, return_sequences=True, name="same")], name="sub")(
        inputs
    )
    shared = layers.GRU(4, return_sequences=True, name="same")
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both")(shared(shared(x)))
    cells = layers.StackedRNNCells([layers.LSTMCell(4), layers.GRUCell(3)])
    x = layers.RNN(cells, return_sequences=True, name="stacked")(x)
    x = layers.SimpleRNN(3, unroll=True, name="unrolled")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


def distributed() -> keras.Model:
    """A recurrent layer for each step of another one, and two kinds of convolutions in loops."""
    inputs = keras.Input((3, STEPS, 4, 4, 1))
    x = layers.TimeDistributed(layers.ConvLSTM2D(2, 3, name="images"), name="each")(inputs)
    x = layers.Reshape((3, 2, 4))(x)
    x = layers.ConvLSTM1D(2, 2, name="lines")(x)
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))


@keras.saving.register_keras_serializable()
class Subclassed(keras.Model):  # type: ignore[misc] # keras has no type information
    """A model without inputs of its own, whose layers lie in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = [layers.GRU(3, return_sequences=True, name="first"), layers.GRU(3, name="second")]
        self.head = layers.Dense(2, activation="sigmoid")

    def call(self, x: Any, training: bool = False) -> Any:
        for level in self.levels:
            x = level(x, training=training)
        return self.head(x)


def subclassed() -> keras.Model:
    """Compiled already, and built with a shape."""
    model = Subclassed()
    model.compile("sgd", "binary_crossentropy")
    model.build((None, STEPS, 4))
    return model


def text_classification() -> keras.Model:
    """Keras's `bidirectional_lstm_imdb`: words of any length, an embedding, two bidirectional LSTMs, a sigmoid."""
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(50, 4)(inputs)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="lower")(x)
    x = layers.Bidirectional(layers.LSTM(3), name="upper")(x)
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def sequence_to_sequence() -> keras.Model:
    """Keras's `lstm_seq2seq`: an encoder whose states begin the decoder; two inputs, a softmax for each character."""
    encoder_inputs, decoder_inputs = keras.Input((None, 7)), keras.Input((None, 8))
    _, *states = layers.LSTM(4, return_state=True, name="encoder")(encoder_inputs)
    x, *_ = layers.LSTM(4, return_sequences=True, return_state=True, name="decoder")(
        decoder_inputs, initial_state=states
    )
    model = keras.Model([encoder_inputs, decoder_inputs], layers.Dense(8, activation="softmax")(x))
    model.compile("rmsprop", "categorical_crossentropy", metrics=["accuracy"])
    return model


def forecasting() -> keras.Model:
    """Keras's `timeseries_weather_forecasting`: an LSTM that reads seven quantities and gives one number."""
    inputs = keras.Input((STEPS, 7))
    model = keras.Model(inputs, layers.Dense(1)(layers.LSTM(4, name="weather")(inputs)))
    model.compile("adam", "mse")
    return model


def masked() -> keras.Model:
    """Words whose padding is masked, and an activation that cuDNN has not."""
    inputs = keras.Input((None,))
    x = layers.Embedding(9, 3, mask_zero=True)(inputs)
    return keras.Model(inputs, layers.LSTM(2, activation="relu", name="reader")(x))


class OwnLoop(layers.Layer):  # type: ignore[misc] # keras has no type information
    """A loop over the steps that is no recurrent layer of Keras's."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]))

    def call(self, x: Any) -> Any:
        start = keras.ops.zeros_like(x[:, 0])
        step = lambda state, row: (keras.ops.tanh(row + state @ self.kernel), None)  # noqa: E731
        return keras.ops.scan(step, start, keras.ops.transpose(x, (1, 0, 2)))[0]


class MadeWhenCalled(layers.Layer):  # type: ignore[misc] # keras has no type information
    """Keeps a recurrent layer that it never calls, and calls another one that it doesn't keep, as keras-lmu does."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.unused = layers.SimpleRNN(2)
        self.cell = layers.SimpleRNNCell(3)

    def call(self, x: Any) -> Any:
        return layers.RNN(self.cell)(x)


def made_when_called() -> keras.Model:
    inputs = keras.Input((STEPS, 3))
    return keras.Model(inputs, MadeWhenCalled(name="maker")(inputs))


def own_loop() -> keras.Model:
    """A layer of the user's own with a loop in it."""
    inputs = keras.Input((STEPS, 3))
    return keras.Model(inputs, OwnLoop(name="own")(inputs))


def not_a_model() -> int:
    return 3


def texts() -> keras.Model:
    inputs = keras.Input((1,), dtype="string")
    return keras.Model(inputs, inputs)


def forecasting_data() -> tuple[Any, Any]:
    """What `fit` takes for `forecasting`."""
    generator = np.random.default_rng(0)
    return generator.random((20, STEPS, 7)), generator.random((20, 1))


def network(cell: Any, task: Any, units: int) -> keras.Model:
    """A network for `bench run`: a wrapper that copies its layer, and a submodel."""
    x = inputs = keras.Input((task.steps, task.features))
    x = layers.Bidirectional(cell(units, return_sequences=True, name="wide"), name="both")(x)
    x = keras.Sequential([keras.Input(x.shape[1:]), layers.AveragePooling1D(7), cell(units)], name="inner")(x)
    return keras.Model(inputs, layers.Dense(task.outputs, activation="softmax")(x))


def network_with_a_layer_of_its_own(cell: Any, task: Any, units: int) -> keras.Model:
    inputs = keras.Input((task.steps, task.features))
    x = layers.AveragePooling1D(7)(layers.GRU(units, return_sequences=True, name="other")(inputs))
    return keras.Model(inputs, layers.Dense(task.outputs)(cell(units)(x)))


def network_without_the_cell(cell: Any, task: Any, units: int) -> keras.Model:
    inputs = keras.Input((task.steps, task.features))
    return keras.Model(inputs, layers.Dense(task.outputs)(layers.LSTM(units)(inputs)))


def network_that_leaves_the_cell_out(cell: Any, task: Any, units: int) -> keras.Model:
    cell(units)
    return network_without_the_cell(cell, task, units)


def network_that_ends_its_process(cell: Any, task: Any, units: int) -> keras.Model:
    sys.exit(f"not with {units} units")


def network_that_is_too_narrow(cell: Any, task: Any, units: int) -> keras.Model:
    inputs = keras.Input((task.steps, task.features))
    return keras.Model(inputs, layers.Dense(7)(cell(units)(inputs)))


def network_with_two_outputs(cell: Any, task: Any, units: int) -> keras.Model:
    inputs = keras.Input((task.steps, task.features))
    x = cell(units)(inputs)
    return keras.Model(inputs, [layers.Dense(task.outputs)(x), layers.Dense(1)(x)])


@keras.saving.register_keras_serializable()
class SubclassedNetwork(keras.Model):  # type: ignore[misc] # keras has no type information
    """A network without inputs of its own, which is built when it is called."""

    def __init__(self, recurrent: keras.Layer, outputs: int) -> None:
        super().__init__()
        self.pooled, self.recurrent = layers.AveragePooling1D(7), recurrent
        self.readout = layers.Dense(outputs, activation="softmax")

    def call(self, x: Any) -> Any:
        return self.readout(self.recurrent(self.pooled(x)))


def subclassed_network(cell: Any, task: Any, units: int) -> keras.Model:
    return SubclassedNetwork(cell(units, name="only"), task.outputs)


def any_length(cell: Any, task: Any, units: int) -> keras.Model:
    """A network for sequences of any length."""
    inputs = keras.Input((None, task.features))
    return keras.Model(inputs, layers.Dense(task.outputs, activation="softmax")(cell(units)(inputs)))
