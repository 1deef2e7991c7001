"""Masks: which steps of a sequence are padding. A network with a mask begins with Keras's `Masking` layer.

Which steps are padding is drawn from `MASK_SEED`, the same for every seed of a case: all runs see the same sequences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.core.errors import unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MASKS = {
    "none": "no step is padding, and the network has no Masking layer",
    "right": "sequences of a half to all of the steps, padded behind",
    "gaps": "a quarter of the steps, wherever they are, but for the first",
}

PADDING = -1.0
"""What stands in all features of a step that is padding."""

MASK_SEED = 0
"""What the padding is drawn from."""

_GAPS = 0.25


def find(name: str, origin: str = "a case") -> str:
    """The mask of that name, if there is one.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    if name in MASKS:
        return name
    raise unknown("mask", name, MASKS, origin)


def kept_steps(mask: str, samples: int, steps: int) -> NDArray[np.bool_]:
    """Which steps are no padding, samples × steps. Fewer samples are the first of more.

    Args:
        mask: one of `MASKS`.
        samples: how many sequences.
        steps: of each.
    """
    import numpy as np

    random = np.random.default_rng(MASK_SEED)
    if mask == "right":
        lengths = random.integers((steps + 1) // 2, steps + 1, size=samples)
        return np.arange(steps) < lengths[:, None]
    kept = np.ones((samples, steps), dtype=np.bool_)
    if mask == "gaps":
        kept[:, 1:] = random.random((samples, steps))[:, 1:] >= _GAPS
    return kept


def padded(inputs: NDArray[np.floating[Any]], mask: str) -> NDArray[np.floating[Any]]:
    """Inputs, samples × steps × features, with `PADDING` in the steps that the mask leaves out."""
    import numpy as np

    if mask == "none":
        return inputs
    samples, steps, _ = inputs.shape
    return np.where(kept_steps(mask, samples, steps)[:, :, None], inputs, inputs.dtype.type(PADDING))
