"""What a measuring slot of a cluster is: a machine, or a GPU of one."""

from __future__ import annotations

from enum import StrEnum


class Slot(StrEnum):
    """What one run has to itself on a node."""

    MACHINE = "machine"
    """The whole machine."""
    GPU = "gpu"
    """One of its GPUs, beside runs on the others."""
