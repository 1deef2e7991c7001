"""The registry of cells: the ones that come with the program, entry points (`bench.cells`), and `module:factory` names.

A cell is a *factory* that returns a Keras layer:

    def factory(units: int, activation: str, return_sequences: bool, name: str) -> keras.Layer

It may also take `kernel`, the kernel asked for. It returns a layer, not a bare cell, because a bare cell would force
the generic loop. Nothing here imports a factory: that happens in the worker.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder

from bench.core.errors import UsageError, unknown

ENTRY_POINT_GROUP = "bench.cells"


@dataclass(frozen=True)
class Cell:
    """What is compared. `factory` is `module:attribute`; `gates` is None where the arithmetic is unknown."""

    name: str
    factory: str
    title: str
    gates: int | None = None
    biases: int = 1
    """Vectors of biases a gate."""

    @property
    def built_in(self) -> bool:
        """Whether it comes with the program."""
        return self.factory.startswith("bench.worker.")


BUILT_IN = {
    cell.name: cell
    for cell in (
        Cell("simple_rnn", "bench.worker.model:simple_rnn", "keras.layers.SimpleRNN", gates=1),
        Cell("lstm", "bench.worker.model:lstm", "keras.layers.LSTM", gates=4),
        Cell("gru", "bench.worker.model:gru", "keras.layers.GRU (reset_after=True)", gates=3, biases=2),
    )
}


def registered() -> dict[str, Cell]:
    """All cells with a name: built in, then entry points.

    Raises:
        UsageError: an entry point has a name that is taken, or does not name a factory.
    """
    cells = dict(BUILT_IN)
    for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        package = point.dist.name if point.dist else "?"
        origin = f"the entry point {point.name!r} of the package {package} (group {ENTRY_POINT_GROUP})"
        if point.name in cells:
            raise UsageError(
                f"{origin} has the name of another cell, {cells[point.name].title}: give it a name of its own."
            )
        factory = _POINT.fullmatch(point.value)
        if factory is None:
            raise UsageError(f"{origin} is {point.value!r}: write it as module:factory.")
        cells[point.name] = Cell(point.name, factory[1], f"entry point of {package}")
    return cells


_FACTORY = re.compile(r"[\w.]+:[^\W\d]\w*")
_POINT = re.compile(rf"({_FACTORY.pattern})\s*(?:\[.*\])?")  # an entry point may name extras of its package


def find(name: str, origin: str = "a case") -> Cell:
    """The cell of that name, or the one that `module:factory` names.

    Of a `module:factory`, only that the module can be found is checked here: importing it would import Keras.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    cells = registered()
    if name in cells:
        return cells[name]
    if ":" not in name:
        raise unknown("cell", name, cells, origin)
    if not _FACTORY.fullmatch(name) or _source(name.partition(":")[0]) is None:
        raise UsageError(
            f"no module for the cell {name!r} ({origin}): a user's own cell is named as module:factory, and the "
            f"module must be importable from the current folder or the environment."
        )
    return Cell(name, name, "named on the command line or in the suite")


def sources_digest(names: Iterable[str]) -> str:
    """A digest of the source files of those of `names` that are users' cells; empty where none is."""
    users_cells = sorted((c for c in map(find, set(names)) if not c.built_in), key=lambda cell: cell.name)
    if not users_cells:
        return ""
    whole = hashlib.sha256()
    for cell in users_cells:
        source = _source(cell.factory.partition(":")[0]) or b""
        whole.update(f"{cell.factory}\0{len(source)}\0".encode() + source)
    return whole.hexdigest()[:16]


def _source(module: str) -> bytes | None:
    """The content of the file that holds a module, found without importing it or its parents; None where there is none.

    The current folder counts.
    """
    path: list[str] = ["", *sys.path]
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
