"""Wheels and virtual environments made on the spot, offline: a wheel is a zip with a few files."""

from __future__ import annotations

import subprocess
import sysconfig
import zipfile
from pathlib import Path

import uv


def a_wheel(folder: Path, name: str, version: str, module: str) -> Path:
    """A pure wheel with one module of the package's name."""
    folder.mkdir(parents=True, exist_ok=True)
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": module,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{inside},,\n" for inside in [*files, f"{info}/RECORD"]))
    return path


def an_environment(folder: Path, wheel: Path) -> Path:
    """A virtual environment that uv makes, with the wheel in it, and behind it all that is installed here."""
    import sys

    for command in (
        ["venv", "-q", "--python", sys.executable, str(folder)],
        ["pip", "install", "-q", "--offline", "--no-deps", "--python", str(folder / "bin" / "python"), str(wheel)],
    ):
        subprocess.run([uv.find_uv_bin(), *command], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "here.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder
