"""How CUDA numbers cards, and which of them it shows to a process.

By itself CUDA puts the fastest card first, while the driver's tools go by the PCI bus: where cards are unlike, number 0
is one card for a run and another one for what watches it. So all that a run starts from has `CUDA_ORDER`, and cards are
numbered by their bus everywhere.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER_VARIABLE, BY_BUS = "CUDA_DEVICE_ORDER", "PCI_BUS_ID"
CUDA_ORDER: Mapping[str, str] = {ORDER_VARIABLE: BY_BUS}
"""The variable that makes CUDA number cards by their bus."""

_KINDS = (r"[0-9]+", r"GPU-.+", r"MIG-.+")
"""What names a card or a partition: its number, or its identifier, or the beginning of that. All in a list are of one
kind."""


def visible_names(visible: str, cards: int | None = None) -> tuple[str, ...]:
    """The cards that a value of CUDA_VISIBLE_DEVICES shows, as it names them, in the order of their new numbers.

    As CUDA reads it (and torch after it, `torch.cuda._parse_visible_devices`): up to the first name that is no card's,
    and no card at all where one is named twice.

    Args:
        visible: the value.
        cards: how many the machine has; None where that is not known.
    """
    names = [name.strip() for name in visible.split(",")]
    kind = next((kind for kind in _KINDS if re.fullmatch(kind, names[0])), None)
    if kind is None:
        return ()
    shown = tuple(itertools.takewhile(lambda name: re.fullmatch(kind, name) and _exists(name, cards), names))
    return shown if len(set(shown)) == len(shown) else ()


def _exists(name: str, cards: int | None) -> bool:
    return cards is None or not name.isdigit() or int(name) < cards
