"""Accelerators that are not NVIDIA's, by what the system shows of them: named plainly, and not measured.

Keras's backends can compute on them (torch calls an AMD card `cuda`, TensorFlow has a plug-in for Metal, JAX one for
TPUs). What bench could not do is prove which kernel ran: no evidence of MIOpen's, Metal's or a TPU's kernels has been
seen, and a time without it is one that nobody can rely on. So a device of theirs is refused, with its name.
"""

from __future__ import annotations

import platform
from pathlib import Path

from bench.host.procfs import SYS, read_text

_AMD, _GOOGLE = "0x1002", "0x1ae0"
_ACCELERATOR_CLASS, _DISPLAY_CLASS = "0x12", "0x03"
"""Beginnings of the class of a PCI device: a processing accelerator, a display controller."""


def foreign_accelerator(
    sys: Path = SYS, *, system: str = platform.system(), architecture: str = platform.machine()
) -> str | None:
    """The accelerator of this machine that bench cannot attest, in words; None where the system shows none.

    Args:
        sys: the folder that stands for /sys.
        system: the operating system, as `platform.system` names it.
        architecture: the processor's, as `platform.machine` names it.
    """
    if system == "Darwin" and architecture == "arm64":
        return "Apple's GPU (Metal)"
    for folder in sorted((sys / "bus" / "pci" / "devices").glob("*")):
        vendor, kind = ((read_text(folder / name) or "").strip() for name in ("vendor", "class"))
        if vendor == _AMD and kind.startswith((_DISPLAY_CLASS, _ACCELERATOR_CLASS)):
            return "an AMD GPU (ROCm)"
        if vendor == _GOOGLE and kind.startswith(_ACCELERATOR_CLASS):
            return "a Google TPU"
    return None
