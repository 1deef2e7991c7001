"""Sides that are alive at once on one card: each gets its part of the card's memory, so that all of them fit.

By default JAX takes three quarters of a card when it starts, TensorFlow all of it, and torch whatever it comes to.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.core.protocol import MEMORY_FRACTION, MEMORY_LIMIT
from bench.duel.sides import PreparedSide
from bench.host.nvml import OpenCard, open_gpu

_ALL_SIDES = 0.9
"""The part of a card that all sides together may take; each has a context of some hundred megabytes beside it."""


def sharing_devices(
    sides: Sequence[PreparedSide], environ: Mapping[str, str] = os.environ, open_card: OpenCard = open_gpu
) -> list[PreparedSide]:
    """The sides, those on a card with their part of its memory: the same for each, so that none has more room.

    Args:
        sides: all that are alive at once, in their order; the anchor is one of them.
        environ: the harness's variables; what the user has set there stands.
        open_card: gives the card of a device.
    """
    on_device = Counter(side.case.device for side in sides if _on_card(side))
    return [
        _limited(side, _ALL_SIDES / on_device[side.case.device], environ, open_card) if _on_card(side) else side
        for side in sides
    ]


def _on_card(side: PreparedSide) -> bool:
    return side.computes_on_device and side.case.device != "cpu"


def _limited(side: PreparedSide, part: float, environ: Mapping[str, str], open_card: OpenCard) -> PreparedSide:
    card = open_card(side.case.device, {**environ, **side.environment.variables})
    memory = None if card is None else card.facts().memory_bytes
    shares = {
        "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{part:.3f}",
        MEMORY_FRACTION: f"{part:.3f}",
        # TensorFlow knows no parts: it has a limit where the card's memory is known, and takes no more than it needs
        **({} if memory is None else {MEMORY_LIMIT: str(int(part * memory) >> 20)}),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    unset = {name: value for name, value in shares.items() if name not in environ}
    return replace(side, environment=replace(side.environment, variables={**unset, **side.environment.variables}))
