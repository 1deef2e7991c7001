"""What a network is asked about a sequence: the kinds of targets, and the output layer, loss and scores of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A kind of target: what its arrays hold, the output layer, and what training lowers and counts."""

    name: str
    """As a user's data name it."""
    title: str
    activation: str
    """The output layer's."""
    loss: str
    """Keras's name of it."""
    metrics: tuple[str, ...]
    """Keras's names of them; each is a column of the store."""
    per_step: bool = False
    """Whether there is a target for each step, and so an output for each."""

    @property
    def is_class(self) -> bool:
        """Whether it is the number of a class, from 0; else it is numbers."""
        return self.activation == "softmax"


_CLASSES = ("softmax", "sparse_categorical_crossentropy", ("accuracy",))
_NUMBERS = ("linear", "mean_squared_error", ("mae",))

CLASS_LABEL = Target("class", "a class per sequence", *_CLASSES)
"""Whole numbers, n_samples: the class of each sample, from 0."""
CLASS_PER_STEP = Target("class_per_step", "a class per step", *_CLASSES, per_step=True)
"""Whole numbers, samples × steps."""
NUMBERS = Target("number", "numbers per sequence", *_NUMBERS)
"""Samples × outputs."""
NUMBERS_PER_STEP = Target("number_per_step", "numbers per step", *_NUMBERS, per_step=True)
"""Samples × steps × outputs."""

TARGETS = {target.name: target for target in (CLASS_LABEL, CLASS_PER_STEP, NUMBERS, NUMBERS_PER_STEP)}
