"""The data sets that ship inside the package aeon, as `aeon:NAME`: its files are read, and nothing of it is imported.

aeon itself needs numba, and so an older NumPy than TensorFlow may have; its data need neither, nor the network.
The format `.ts` is that of the time series archive (timeseriesclassification.com): a header of `@key value` lines, then
a sequence a line: its dimensions apart by colons, their values by commas, and the target last.
"""

from __future__ import annotations

from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from bench.catalog.tasks.task import WrongDataError
from bench.core.errors import UsageError, unknown
from bench.core.task_data import Stream, TaskData

PREFIX = "aeon:"
_GAPS = ("?", "NaN")


def names() -> tuple[str, ...]:
    """The data sets of the installed package, sorted; none where it isn't installed."""
    folder = _folder()
    trains = folder.glob("*/*_TRAIN.ts") if folder else ()
    names = {path.name.removesuffix("_TRAIN.ts"): path for path in trains}
    return tuple(sorted(name for name, path in names.items() if _test_of(path).exists()))


def read(name: str, origin: str) -> TaskData:
    """A data set, its values as they are.

    Args:
        name: `aeon:NAME`.
        origin: where the name came from, for messages.

    Raises:
        UsageError: aeon isn't installed, or has no such data set, or one with gaps.
    """
    wanted, folder = name.removeprefix(PREFIX), _folder()
    if folder is None:
        raise UsageError(
            f"the data of {name} ({origin}) come inside the package aeon, which isn't installed: "
            "pip install --no-deps aeon (its data are all that is needed of it)."
        )
    if wanted not in names():
        raise unknown("aeon data set", wanted, names(), origin)
    (train,) = folder.glob(f"*/{wanted}_TRAIN.ts")
    header, samples = _parsed(train)
    _, tests = _parsed(_test_of(train))
    classes = {label: number for number, label in enumerate(header.get("classlabel", "").split()[1:])}
    title = f"{wanted}, from the time series archive"

    def stream(parsed: list[tuple[Any, str]]) -> Stream:
        return Stream([(x, classes[y] if classes else float(y)) for x, y in parsed], len(parsed))

    return TaskData(
        target="class" if classes else "number",
        train=stream(samples),
        test=stream(tests),
        classes=len(classes) or None,
        title=title,
    )


def _folder() -> Path | None:
    spec = PathFinder.find_spec("aeon")
    folders = [Path(place) / "datasets" / "data" for place in (spec.submodule_search_locations or ())] if spec else []
    return next((folder for folder in folders if folder.is_dir()), None)


def _test_of(train: Path) -> Path:
    return train.with_name(train.name.replace("_TRAIN.ts", "_TEST.ts"))


def _parsed(path: Path) -> tuple[dict[str, str], list[tuple[Any, str]]]:
    """The header, keys in lower case; and the sequences, steps × dimensions, with their target."""
    import numpy as np

    header: dict[str, str] = {}
    sequences = []
    for line in filter(None, map(str.strip, path.read_text(encoding="utf-8", errors="replace").splitlines())):
        if line.startswith("#"):
            continue
        if line.startswith("@"):
            key, _, value = line[1:].partition(" ")
            header[key.lower()] = value.strip()
            continue
        *dimensions, target = line.split(":")
        if any(gap in dimension for dimension in dimensions for gap in _GAPS):
            raise WrongDataError(f"{path.name} has sequences with gaps, which no layer here can be given")
        sequences.append((np.array([list(map(float, each.split(","))) for each in dimensions], np.float32).T, target))
    return header, sequences
