"""What makes times on a GPU less reliable before anything runs there, each with advice. None is a verdict."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from bench.host.noise import Remark, RemarkKind
from bench.host.nvml import Gpu, OpenCard, open_gpu


def gpu_remarks(devices: Iterable[str], open_card: OpenCard = open_gpu) -> tuple[Remark, ...]:
    """The remarks on each card among the devices that the driver can be asked about.

    Args:
        devices: `cpu`, `gpu:0`, …
        open_card: gives the card of a device.
    """
    cards = [(device, card) for device in devices if (card := open_card(device, os.environ)) is not None]
    return tuple(remark for device, card in cards for remark in _of_card(device, card))


def _of_card(device: str, card: Gpu) -> Iterator[Remark]:
    facts, reading = card.facts(), card.read()
    if reading.process_bytes:
        number = len(reading.process_bytes)
        yield Remark(
            RemarkKind.CARD_SHARED,
            f"{number} process{'es' if number > 1 else ''} hold{'s' if number == 1 else ''} memory on {device}",
            "end what else uses the card (`nvidia-smi` lists it), or take another one",
        )
    if reading.throttling:
        yield Remark(
            RemarkKind.CARD_THROTTLED,
            f"{device} is slower than it could be: {', '.join(reading.throttling)}",
            "let it cool down, or raise its power limit (`sudo nvidia-smi -pl`)",
        )
    if facts.persistence is False:
        yield Remark(
            RemarkKind.CARD_UNLOADED,
            f"the driver of {device} is unloaded whenever nobody uses it, so that each process waits for it",
            "`sudo nvidia-smi -pm 1` keeps it loaded",
        )
