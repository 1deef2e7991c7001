"""minGRU: a recurrent cell whose gate doesn't see the state, so that it can be computed as a scan or as a loop.

Feng, Tung, Ahmed, Bengio and Hajimirsadeghi 2024, "Were RNNs all we needed?" (arXiv 2410.01201), section 3.1:

    z[t] = sigmoid(x[t] · W_z + b_z)        c[t] = x[t] · W_c + b_c        h[t] = (1 - z[t]) · h[t-1] + z[t] · c[t]

The paper's candidate has no activation, or a positive one (appendix B); here it has the network's. Each step maps h to
a · h + b, and such maps compose to another one, (a', b') after (a, b) being (a · a', a' · b + b'): associative, so that
all of h[1 … T] come from a prefix scan in some 2 · log2(T) dependent operations (Blelloch 1990). a lies between 0 and
1, so nothing overflows, and the paper's form in logarithms isn't needed.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from bench.catalog.kernels import Kernel


def min_gru(units: int, activation: str, return_sequences: bool, name: str, kernel: Kernel) -> keras.layers.Layer:
    """minGRU by the kernel asked for: by a scan for `parallel` and `auto`, else by Keras's loop over the steps."""
    cell = MinGRUCell(units, activation)
    if kernel.scan:
        return ScannedRNN(cell, return_sequences=return_sequences, name=name)
    return keras.layers.RNN(cell, return_sequences=return_sequences, unroll=kernel.unroll, name=name)


class MinGRUCell(keras.layers.Layer):  # type: ignore[misc] # keras has no type information
    """One step of minGRU, for `keras.layers.RNN`; its input product is computed at each step."""

    def __init__(self, units: int, activation: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.state_size = self.output_size = units
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        units = self.state_size
        self.kernel = self.add_weight(shape=(input_shape[-1], 2 * units), initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=(2 * units,), initializer="zeros", name="bias")

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        kept, added = self.step_map(inputs)
        state = kept * states[0] + added
        return state, [state]

    def step_map(self, inputs: Any) -> tuple[Any, Any]:
        """The map h → a · h + b of each step.

        Args:
            inputs: … × features.

        Returns:
            a and b, each … × units.
        """
        gate, candidate = ops.split(ops.matmul(inputs, self.kernel) + self.bias, 2, axis=-1)
        gate = ops.sigmoid(gate)
        return 1 - gate, gate * self.activation(candidate)


class ScannedRNN(keras.layers.Layer):  # type: ignore[misc] # keras has no type information
    """All steps of a `MinGRUCell` at once: one input product, then an associative scan."""

    def __init__(self, cell: MinGRUCell, return_sequences: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cell, self.return_sequences = cell, return_sequences

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.cell.build((input_shape[0], input_shape[-1]))

    def call(self, sequence: Any) -> Any:
        _, states = ops.associative_scan(_compose, self.cell.step_map(sequence), axis=1)
        # on TensorFlow the scan's result has no static shape, which the next layer needs
        states = ops.reshape(states, (-1, sequence.shape[1], self.cell.state_size))
        return states if self.return_sequences else states[:, -1]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        steps = input_shape[1:2] if self.return_sequences else ()
        return (input_shape[0], *steps, self.cell.state_size)


def _compose(earlier: tuple[Any, Any], later: tuple[Any, Any]) -> tuple[Any, Any]:
    (kept, added), (kept_later, added_later) = earlier, later
    return kept * kept_later, kept_later * added + added_later
