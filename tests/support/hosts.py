"""What a host offers, for tests that need none in particular."""

from __future__ import annotations

from typing import Any

from bench.catalog.support import Capabilities


def a_host(**changes: Any) -> Capabilities:
    """A host with TensorFlow and every device, but for `changes`."""
    offered: dict[str, Any] = {"backends": {"tensorflow": None}, "runtimes": {}, "device_problem": lambda device: None}
    return Capabilities(**{**offered, **changes})
