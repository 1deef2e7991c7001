"""Streaming inference: which networks can read a sequence a step at a time, and how exactly they have to do it."""

from __future__ import annotations

from bench.catalog import dtypes, networks, tasks
from bench.core.case import Case

TOLERANCE = {"float64": 1e-11, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1, "int8": 0.5}
"""By the number format that layers compute in, or that a network was exported in: how far a stream's outputs may be
from those of Keras's pass over whole sequences."""


NO_SINGLE_STEP = "its layer holds no `cell` that does a single step, or reads backwards"
"""Why a user's cell isn't streamed, known when its layer is made."""


def streaming_refusal(case: Case) -> str | None:
    """Why the case's network can't stream, as a sentence without its full stop; None where it can.

    None too for a user's cell: whether its layer has a cell that does one step is known when it is made.
    """
    if networks.find(case.network).factory:
        return f"what the layers of the network {case.network} do at a step is unknown: only those here are streamed"
    if case.kernel == "compiled":
        return "torch.compile compiles whole sequences here: ask for the kernel generic to stream"
    if case.bidirectional:
        return "a layer that reads the sequence backwards too needs its end before it gives anything"
    if case.stateful:
        return "a stateful network takes batches of one size, and inference is timed at several"
    task = tasks.known(case)
    if case.mask != "none" or (task is not None and task.mask_value is not None):
        return "steps that are padding are masked, and a stream has no padding"
    return None


def streaming_apart(case: Case, difference: float | None) -> list[str]:
    """What is wrong with a stream whose outputs are so far from those of whole sequences, as a sentence, or nothing.

    Args:
        case: what was measured.
        difference: the largest one; None where nothing was streamed.
    """
    dtype = dtypes.find(case.dtype)
    compute = dtype.name if dtype.exported else dtype.compute
    if difference is None or difference <= TOLERANCE[compute]:
        return []
    return [
        f"streaming gives outputs that differ from those of whole sequences by up to {difference:.2g}, and "
        f"{TOLERANCE[compute]:g} is allowed in {compute}"
    ]
