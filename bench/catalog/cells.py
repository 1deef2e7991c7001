"""The registry of cells: the ones that come with the program, entry points (`bench.cells`), and `module:factory` names.

A cell is a *factory* that returns a Keras layer:

    def factory(units: int, activation: str, return_sequences: bool, name: str) -> keras.Layer

It may also take `kernel`, the kernel asked for. It returns a layer, not a bare cell, because a bare cell would force
the generic loop. Nothing here imports a factory: that happens in the worker.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from bench.catalog.factories import FACTORY, check_factory
from bench.core.errors import UsageError, unknown

ENTRY_POINT_GROUP = "bench.cells"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """What is compared. `factory` is `module:attribute`; `gates` is None where the arithmetic is unknown."""

    name: str
    factory: str
    title: str
    gates: int | None = None
    biases: int = 1
    """Vectors of biases a gate."""
    has_options: bool = False
    """Whether its layers take the options of Keras's (`bench.catalog.support.OPTIONS`)."""
    scannable: bool = False
    """Whether it can be computed by an associative scan: no gate of it sees the state."""

    @property
    def state_gates(self) -> int | None:
        """How often it multiplies its state by [units, units] at each step; None where the arithmetic is unknown."""
        return 0 if self.scannable else self.gates

    @property
    def built_in(self) -> bool:
        """Whether it comes with the program."""
        return self.factory.startswith("bench.worker.")


REFERENCE_CELL = "simple_rnn"
"""The cell that training times are divided by."""

BUILT_IN = {
    cell.name: cell
    for cell in (
        Cell("simple_rnn", "bench.worker.model:simple_rnn", "keras.layers.SimpleRNN", gates=1, has_options=True),
        Cell("lstm", "bench.worker.model:lstm", "keras.layers.LSTM", gates=4, has_options=True),
        Cell(
            "gru", "bench.worker.model:gru", "keras.layers.GRU (reset_after=True)", gates=3, biases=2, has_options=True
        ),
        Cell(
            "min_gru",
            "bench.worker.min_gru:min_gru",
            "minGRU (Feng et al. 2024), as a scan or a loop",
            gates=2,
            scannable=True,
        ),
    )
}


@dataclass(frozen=True)
class _Registry:
    """The cells with a name, and those entry points that can't be used."""

    cells: Mapping[str, Cell]
    problems: Mapping[str, str]
    """Why an entry point can't be used, as a sentence, by its name."""


def registered() -> Mapping[str, Cell]:
    """All cells with a name: built in, then entry points.

    An entry point that can't be used is left out, and a warning is logged once: a package that somebody installed
    stops no command that doesn't ask for its cell.
    """
    return _registry(tuple(sys.path)).cells


@lru_cache(maxsize=1)
def _registry(_path: tuple[str, ...]) -> _Registry:
    """The registry, read once for each path that packages are looked for on."""
    registered_as = defaultdict[str, list[tuple[str, EntryPoint]]](list)
    for package, point in _entry_points():
        registered_as[point.name].append((package, point))
    cells, problems = dict(BUILT_IN), {}
    for name, points in registered_as.items():
        packages = " and ".join(package for package, _ in points)
        what = f"the entry point {name!r} of the package {packages} (group {ENTRY_POINT_GROUP})"
        factories = [match[1] for _, point in points if (match := _POINT.fullmatch(point.value))]
        if len(factories) < len(points):
            values = " and ".join(repr(point.value) for _, point in points)
            problem = f"{what} is {values}: it must be written as module:factory"
        elif name in BUILT_IN:
            problem = f"{what} has the name of another cell, {BUILT_IN[name].title}: name it as {factories[0]}"
        elif len(points) > 1:
            problem = f"{what} is no name of a single cell: name the cell as {' or '.join(factories)}"
        else:
            cells[name] = Cell(name, factories[0], f"entry point of {packages}")
            continue
        problems[name] = problem
        _log.warning("ignored: %s.", problem)
    return _Registry(cells, problems)


def _entry_points() -> Iterator[tuple[str, EntryPoint]]:
    """The entry points of the group, each with its package's name; of two copies of a package, the first's on the path.

    They are read package by package: a single malformed file would end `importlib.metadata.entry_points`.
    """
    packages = set()
    for distribution in importlib.metadata.distributions():
        try:
            if ENTRY_POINT_GROUP not in (distribution.read_text("entry_points.txt") or ""):
                continue
            package, points = distribution.name, distribution.entry_points.select(group=ENTRY_POINT_GROUP)
        except Exception as error:  # whatever a package's metadata hold
            where = getattr(distribution, "_path", "a package")
            _log.warning("ignored: the entry points of %s can't be read (%s).", where, error)
            continue
        normalized = re.sub(r"[-_.]+", "-", package).lower()
        if normalized not in packages:
            packages.add(normalized)
            yield from ((package, point) for point in points)


_POINT = re.compile(rf"({FACTORY.pattern})\s*(?:\[.*\])?")  # an entry point may name extras of its package


def find(name: str, origin: str = "a case") -> Cell:
    """The cell of that name, or the one that `module:factory` names.

    Of a `module:factory`, only that the module can be found is checked here: importing it would import Keras.

    Raises:
        UsageError: there is none, and the message gives the nearest one; or an entry point of the name can't be used.
    """
    registry = _registry(tuple(sys.path))
    if name in registry.cells:
        return registry.cells[name]
    if name in registry.problems:
        raise UsageError(f"the cell {name!r} ({origin}) can't be used: {registry.problems[name]}.")
    if ":" not in name:
        if _declared_here(name):
            raise UsageError(
                f"the cell {name!r} ({origin}) is an entry point of this project that isn't installed: "
                f"`pip install -e .` makes its name known, or write it as module:factory."
            )
        raise unknown("cell", name, registry.cells, origin)
    check_factory("cell", name, origin)
    return Cell(name, name, "named on the command line or in the suite")


def _declared_here(name: str) -> bool:
    """Whether the pyproject.toml of the current folder registers a cell by this name."""
    try:
        project: Any = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8")).get("project")
        return name in project["entry-points"][ENTRY_POINT_GROUP]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def users_factories(names: Iterable[str]) -> list[str]:
    """The `module:factory` of those of `names` that are users' cells."""
    return [cell.factory for cell in map(find, set(names)) if not cell.built_in]
