"""Sides that are alive at once on one card: each gets its part of the card's memory, so that all of them fit.

By default JAX takes three quarters of a card when it starts, TensorFlow all of it, and torch whatever it comes to.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.core.protocol import MEMORY_FRACTION
from bench.duel.sides import PreparedSide

_ALL_SIDES = 0.9
"""The part of a card that all sides together may take; each has a context of some hundred megabytes beside it."""


def sharing_devices(sides: Sequence[PreparedSide], environ: Mapping[str, str] = os.environ) -> list[PreparedSide]:
    """The sides, those on a card with their part of its memory: the same for each, so that none has more room.

    Args:
        sides: all that are alive at once, in their order.
        environ: the harness's variables; what the user has set there stands.
    """
    on_device = Counter(side.case.device for side in sides)
    return [
        side if side.case.device == "cpu" else _limited(side, on_device[side.case.device], environ) for side in sides
    ]


def _limited(side: PreparedSide, sides: int, environ: Mapping[str, str]) -> PreparedSide:
    fraction = f"{_ALL_SIDES / sides:.3f}"
    shares = {
        "XLA_PYTHON_CLIENT_MEM_FRACTION": fraction,
        # TensorFlow has no variable for a limit: it takes what it needs, and no more
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        MEMORY_FRACTION: fraction,
    }
    unset = {name: value for name, value in shares.items() if name not in environ}
    return replace(side, environment=replace(side.environment, variables={**unset, **side.environment.variables}))
