"""bench.host.accelerators: invented trees of /sys; vendors and classes as in the PCI ID database."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.host.accelerators import foreign_accelerator
from bench.host.hardware import Machine, device_problem


def pci(sys: Path, vendor: str, kind: str) -> Path:
    folder = sys / "bus" / "pci" / "devices" / f"0000:{len(list(sys.rglob('vendor'))):02d}:00.0"
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "class").write_text(f"{kind}\n")
    return sys


@pytest.mark.parametrize(
    ("vendor", "kind", "expected"),
    [
        ("0x1002", "0x030000", "an AMD GPU (ROCm)"),
        ("0x1002", "0x120000", "an AMD GPU (ROCm)"),  # an MI300
        ("0x1ae0", "0x120000", "a Google TPU"),
        ("0x1ae0", "0x020000", None),  # the network card of Google's machines
        ("0x1002", "0x060400", None),  # a bridge
        ("0x10de", "0x030200", None),  # NVIDIA's
        ("0x8086", "0x030000", None),
    ],
)
def test_an_accelerator_is_known_by_its_vendor_and_class(
    tmp_path: Path, vendor: str, kind: str, expected: str | None
) -> None:
    pci(tmp_path, "0x8086", "0x060000")
    assert foreign_accelerator(pci(tmp_path, vendor, kind), system="Linux", architecture="x86_64") == expected


@pytest.mark.parametrize(("architecture", "expected"), [("arm64", "Apple's GPU (Metal)"), ("x86_64", None)])
def test_apples_machines_have_metal(tmp_path: Path, architecture: str, expected: str | None) -> None:
    assert foreign_accelerator(tmp_path, system="Darwin", architecture=architecture) == expected


def test_a_device_that_is_there_and_not_nvidias_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(architecture="x86_64", cpu_model="a", usable_cores=2)
    monkeypatch.setattr("bench.host.hardware.foreign_accelerator", lambda: "an AMD GPU (ROCm)")
    assert device_problem("gpu:0", machine) == (
        "gpu:0: this machine has an AMD GPU (ROCm), whose kernels bench cannot attest, so nothing is measured on it"
    )
    monkeypatch.setattr("bench.host.hardware.foreign_accelerator", lambda: None)
    assert "no Nvidia GPU here" in (device_problem("gpu:0", machine) or "")
    assert device_problem("cpu", machine) is None
