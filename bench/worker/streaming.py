"""Streaming inference: a trained network reads sequences a step at a time, and its state is carried from call to call.

Knows no framework. What a stream gives at each step is checked against a pass over the whole sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from bench.worker.inference import Inputs, Outputs, batch_starts

State: TypeAlias = Any
"""What a network has kept of the steps so far, on its device, in whatever form its runtime has it."""
Start: TypeAlias = Callable[[int], State]
"""Makes the state before the first step, of so many sequences."""
Step: TypeAlias = Callable[[Inputs, State], tuple[Outputs, State]]
"""Takes a step of each sequence (batch × features, or a batch of tokens), in NumPy's memory, and the state; gives the
outputs after the step, batch × outputs, there too, and the state to carry on."""


class StreamingCall:
    """The call path `streaming`: a call takes the next step of each of its sequences, and keeps the state.

    Args:
        start: makes the state that a sequence begins with.
        step: does a step.
    """

    def __init__(self, start: Start, step: Step) -> None:
        self._start, self._step = start, step
        self._state: State = None

    def __call__(self, inputs: Inputs) -> Outputs:
        outputs, self._state = self._step(inputs, self._state)
        return outputs

    def feed(self, x: Inputs, batch: int) -> Iterator[Inputs]:
        """The steps of some sequences, then those of the next ones; the state is put back before each first step.

        Args:
            x: samples × steps × features, or samples × steps of tokens.
            batch: sequences that are read side by side.
        """
        before = self._start(batch)
        for first in batch_starts(len(x), batch):
            self._state = before
            # as a service gets a step: in memory of its own
            yield from map(np.ascontiguousarray, np.moveaxis(x[first : first + batch], 1, 0))

    def read(self, x: Inputs) -> Outputs:
        """The outputs after each step, samples × steps × outputs.

        Args:
            x: samples × steps × features, or samples × steps of tokens.
        """
        steps = zip(self.feed(x, len(x)), range(x.shape[1]), strict=False)
        return np.stack([self(inputs) for inputs, _ in steps], axis=1)


def largest_difference(given: Outputs, exact: Outputs) -> float:
    """How far outputs are from what they should be at most; NaN where either has one.

    Absolute where all outputs are at most 1, as probabilities are; else as a fraction of the largest.

    Args:
        given: a stream's outputs, samples × steps × outputs, or another runtime's, samples × outputs too.
        exact: the same from a pass over the whole sequences, or from Keras.
    """
    wide = exact.astype(np.float64)
    return float(np.abs(given.astype(np.float64) - wide).max() / max(1.0, float(np.abs(wide).max())))
