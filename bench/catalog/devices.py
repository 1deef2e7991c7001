"""The names of devices: the processor, and NVIDIA's cards by number. Whether one is there is the host's to know."""

from __future__ import annotations

import re

from bench.core.errors import unknown


def find(name: str, origin: str = "a case") -> str:
    """The device's name, if it is one: `cpu`, `gpu:0`, `gpu:1`, …

    Raises:
        UsageError: it is not.
    """
    if re.fullmatch(r"cpu|gpu:(0|[1-9][0-9]*)", name):
        return name
    raise unknown("device", name, ("cpu", "gpu:0"), origin)
