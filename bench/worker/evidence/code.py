"""Which of the user's code this process imported: read from `sys.modules`, not from what was asked for."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import sys
import sysconfig
from collections.abc import Collection
from pathlib import Path

import bench
from bench.core.code import ImportedModule

_INSTALLED = ("site-packages", "dist-packages")


def imported_modules(before: Collection[str], *, with_bench: bool = False) -> tuple[ImportedModule, ...]:
    """The modules of this process that neither Python nor the run's environment accounts for.

    These are the modules in no installed package, and those of installed packages which nothing had imported before
    the user's code did. Whatever found them (an editable install's hook, a namespace package, a `.pth` file), the file
    is the one that Python itself recorded.

    Args:
        before: names in `sys.modules` before the user's code was imported.
        with_bench: record bench's own modules too, for a comparison of two of its commits.
    """
    environment = {_top_level(name) for name in before} - {"bench"}
    standard = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")})
    program = str(Path(bench.__file__).parent) + os.sep
    files: dict[str, tuple[Path, bool]] = {}
    for name, module in list(sys.modules.items()):
        # as text at first: a framework has thousands of modules, and a path takes 30 µs to resolve
        text = getattr(module, "__file__", None)
        if not isinstance(text, str) or name in ("__main__", "__mp_main__"):
            continue
        installed = any(f"{os.sep}{folder}{os.sep}" in text for folder in _INSTALLED)
        if text.startswith(program):
            if not with_bench:
                continue
        elif (installed and _top_level(name) in environment) or (not installed and text.startswith(standard)):
            continue
        file = Path(text).resolve()
        if file.is_file():
            files[name] = file, installed
    distributions = _distributions({_top_level(name) for name, (_, installed) in files.items() if installed})
    return tuple(
        ImportedModule(
            name=name,
            file=str(file),
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            distribution=distributions.get(_top_level(name), "an unknown package") if installed else "",
        )
        for name, (file, installed) in sorted(files.items())
    )


def _top_level(name: str) -> str:
    return name.partition(".")[0]


def _distributions(packages: Collection[str]) -> dict[str, str]:
    """Name and version of the installed distribution of each top-level package, where one names it."""
    if not packages:
        return {}
    names = importlib.metadata.packages_distributions()
    return {
        package: f"{names[package][0]} {importlib.metadata.version(names[package][0])}"
        for package in packages
        if package in names
    }
