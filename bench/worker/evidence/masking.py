"""Whether a trained network skips the steps that are padding: its loss can't depend on where these are. Pure.

The loss is that of the evaluation's executed program, for the same sequences with their padding behind or between, as
the data have it, and in front. A kernel that ignores the mask computes those steps too, and then it matters where.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_ROUNDINGS = 16
_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}


def padded_batch(x: Array, mask_value: float, size: int) -> Array | None:
    """The numbers of `size` samples that have padding, again and again where there are fewer; None where none has.

    Args:
        x: samples × steps × features, or samples × steps of tokens.
        mask_value: what stands in a step that is padding.
        size: how many.
    """
    padded = np.flatnonzero(~_kept(x, mask_value).all(axis=1))
    return np.resize(padded, size) if len(padded) else None


def padding_in_front(x: Array, y: Array, mask_value: float, *, per_step: bool) -> tuple[Array, Array]:
    """The same sequences, and their targets, with all padding before the first step that is none.

    Args:
        x: samples × steps × features, or samples × steps of tokens.
        y: their targets.
        mask_value: what stands in a step that is padding.
        per_step: whether there is a target for each step, which goes where its step goes.
    """
    order = np.argsort(_kept(x, mask_value), axis=1, kind="stable")

    def reordered(array: Array) -> Array:
        return np.take_along_axis(array, order.reshape(*order.shape, *[1] * (array.ndim - 2)), axis=1)

    return reordered(x), reordered(y) if per_step else y


def mask_problem(before: float, after: float, compute: str) -> str | None:
    """What is wrong where the place of the padding changes a loss, as a sentence; None where it doesn't.

    Args:
        before: the loss with the padding where the data have it.
        after: the loss with the padding in front.
        compute: the number format that layers compute in, whose roundings may differ.
    """
    if abs(after - before) <= _ROUNDINGS * _ROUNDOFF[compute] * max(1.0, abs(before)):
        return None
    return (
        f"the mask is ignored: the loss of a batch is {before:.6g} with its padding where the data have it, and "
        f"{after:.6g} with the same padding in front"
    )


def _kept(x: Array, mask_value: float) -> Array:
    differs = np.asarray(x != mask_value).reshape(*x.shape[:2], -1)
    return np.asarray(differs.any(axis=2))
