"""The test set's labels and predicted probabilities, small enough to be kept with every run.

Scores beyond accuracy (F1, ROC AUC, the confusion matrix) are computed when a report is read, so what they need has to
be stored: 10,000 digits with ten probabilities each take some 90 kB of text, and less where parts are folded.

A probability is kept as the `asinh` of its logit, in 112 even steps from the smallest to the largest there is: fine
where classes meet, coarse where the network is sure. On a trained GRU's 10,000 digits no class's ROC AUC moved by more
than 1e-4; half-precision floats would take more than twice the space. The predicted class, on which accuracy, F1 and
the confusion matrix rest, is kept beside it and is exact.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FORMAT = "p1"
_STEPS = 112
_LEAST = 2.0**-149
"""The smallest float32 above 0, which stands for 0."""
MOST_CLASSES = 256
"""Classes are bytes: no predictions are kept where there are more."""
_MOST_BYTES = 256 << 20
"""What packed predictions may hold: a hundred test sets of 10,000 samples and 256 classes."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a trained network predicts for each sample of the test set (`n_samples`, in its order)."""

    labels: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    """The class with the largest probability, as it was before packing."""
    codes: NDArray[np.uint8]
    """The step that each probability is on, `n_samples × n_classes`; they order as the probabilities do."""
    scale: tuple[float, float]
    """The `asinh` of the smallest and of the largest logit, which the steps 0 and 112 stand for."""

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Predicted probabilities, `n_samples × n_classes`, to half a step; a row's sum is not exactly 1."""
        low, high = self.scale
        logits = np.sinh(low + self.codes.astype(np.float64) * ((high - low) / _STEPS))
        # the sign is the exponential's that cannot overflow
        small = np.exp(-np.abs(logits))
        return np.where(logits >= 0, 1.0, small) / (1.0 + small)


def pack(labels: NDArray[Any], probabilities: NDArray[Any]) -> str:
    """Labels (samples) and probabilities (samples × classes) as text.

    Raises:
        ValueError: their shapes don't belong together, a label is no class, or a probability is no number.
    """
    samples, classes = probabilities.shape
    if labels.shape != (samples,) or not 1 < classes <= MOST_CLASSES:
        raise ValueError(f"labels {labels.shape} and probabilities {probabilities.shape} don't belong together")
    if samples and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels from {labels.min()} to {labels.max()}, and {classes} classes")
    values = probabilities.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a probability isn't finite")
    wrong = (values.argmax(axis=1) - labels.astype(np.int64)) % classes  # mostly zeros, which take no space
    values = values.clip(_LEAST, 1 - 2.0**-25)  # as near to 1 as the rounding of float32 lets it be
    scaled = np.arcsinh(np.log(values) - np.log1p(-values))
    low, high = (float(scaled.min()), float(scaled.max())) if samples else (0.0, 0.0)
    codes = np.rint((scaled - low) * (_STEPS / ((high - low) or 1.0)))
    content = b"".join(part.astype(np.uint8).tobytes() for part in (labels, wrong, codes))
    return f"{_FORMAT} {samples} {classes} {low!r} {high!r} {base64.b64encode(zlib.compress(content, 9)).decode()}"


def unpack(text: str) -> Predictions:
    """What `pack` packed.

    Raises:
        ValueError: the text is not whole, or of a newer format.
    """
    try:
        kind, *numbers, low, high, content = text.split(" ")
        samples, classes = map(int, numbers)
        scale = float(low), float(high)
        held = samples * (2 + classes)
        if kind != _FORMAT or not 1 < classes <= MOST_CLASSES or not 0 <= held <= _MOST_BYTES:
            raise ValueError(f"no predictions of format {_FORMAT}: {text[:40]!r}")
        # no more than its header promises: a megabyte of text may unpack to a gigabyte
        unpacking = zlib.decompressobj()
        raw = np.frombuffer(unpacking.decompress(base64.b64decode(content, validate=True), held + 1), np.uint8)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"damaged predictions: {error}") from error
    if raw.size != held or not unpacking.eof or not np.isfinite(scale).all():
        raise ValueError(f"damaged predictions: {text[:40]!r}")
    labels, wrong, codes = np.split(raw, [samples, 2 * samples])
    if samples and (int(labels.max()) >= classes or int(codes.max()) > _STEPS):
        raise ValueError("damaged predictions: a label is no class, or a probability is on no step")
    predicted = (labels.astype(np.int64) + wrong) % classes
    return Predictions(labels, predicted.astype(np.uint8), codes.reshape(samples, classes), scale)
