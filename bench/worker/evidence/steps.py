"""What the program of a single step shows of a recurrent layer: the products of one step, and no loop. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bench.core.metric import STREAMING
from bench.worker.evidence.programs import OUTSIDE, Program, Scopes

STEP = "step"
"""The kernel of a layer of which a single step is computed, by products as in an unrolled loop. Fused ones keep their
names, and so does a loop, which has no business there."""


def read_phase(phase: str, scopes: Scopes, read: Callable[[Scopes], Program], *, unlooped: str = "unrolled") -> Program:
    """What a program shows, by the steps that its phase does in it.

    Args:
        phase: in which it was executed: in `streaming` each layer does one step.
        scopes: which layer an operation belongs to.
        read: reads the program.
        unlooped: what products without a loop are judged to be.
    """
    if phase != STREAMING:
        return read(scopes)
    program = read(Scopes.of_names(tuple(scopes.steps), 1))
    of_step = {unlooped: STEP, f"{unlooped}_xla": f"{STEP}_xla"}
    return {
        layer: replace(shown, kernel=of_step.get(shown.kernel, shown.kernel))
        for layer, shown in program.items()
        # the products of the dense layers are as many as a step's
        if layer != OUTSIDE or shown.kernel not in of_step
    }
