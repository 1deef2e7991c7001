"""Names of what users bring, `module:factory`: their form and the modules' sources. Nothing here imports a module."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from bench.core.errors import UsageError

FACTORY = re.compile(r"[\w.]+:[^\W\d]\w*")


def check_factory(kind: str, name: str, origin: str, folders: Sequence[str] | None = None) -> None:
    """Refuse a name that isn't `module:factory`, or whose module can't be found.

    Importing it would import Keras, which is left to the worker.

    Args:
        kind: what the factory makes: "cell", "network", …
        name: what was asked for.
        origin: where the name came from ("--set cells", "my.toml").
        folders: where the module is searched for; None: the current one, and those that this process imports from.

    Raises:
        UsageError: it names no module that can be found.
    """
    module = name.partition(":")[0]
    if not FACTORY.fullmatch(name) or source(module, folders) is None:
        raise UsageError(
            f"no module for the {kind} {name!r} ({origin}): a {kind} of your own is named as module:factory, and the "
            f"module must be importable from the current folder or the environment{_in_src(name)}."
        )


def _in_src(name: str) -> str:
    """What helps where the module lies in `src`, from which only an installed project is imported."""
    top = Path("src", name.partition(":")[0].partition(".")[0])
    is_there = FACTORY.fullmatch(name) and (top.is_dir() or top.with_suffix(".py").is_file())
    return "; it is in src, so install the project: `pip install -e .`" if is_there else ""


def sources_digest(factories: Iterable[str]) -> str:
    """A digest of the source files of `module:factory` names; empty for none."""
    names = sorted(set(factories))
    if not names:
        return ""
    whole = hashlib.sha256()
    for name in names:
        content = source(name.partition(":")[0]) or b""
        whole.update(f"{name}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()[:16]


def source(module: str, folders: Sequence[str] | None = None) -> bytes | None:
    """The content of the file that holds a module, found without importing it or its parents; None where there is none.

    Args:
        module: its dotted name.
        folders: where it is searched for; None: the current one, and those that this process imports from.
    """
    path = ["", *sys.path] if folders is None else list(folders)
    spec: ModuleSpec | None = None
    for part in module.split("."):
        # the last part of the name is enough to find it, and the whole of it would want its parents imported
        spec = PathFinder.find_spec(part, path) if part else None
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or [])
    read: Callable[[str], bytes] | None = getattr(spec and spec.loader, "get_data", None)
    # the loader reads it, since a module may lie in a zip file; a folder without __init__.py has nothing to read
    return read(spec.origin) if spec and spec.origin and read else None
