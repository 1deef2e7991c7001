"""What a task declares: the shape of its data and the one content it may have, its sources, scaling and words.

The content is proved by hash, wherever it came from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench.catalog.tasks.target import CLASS_LABEL, Target
from bench.core.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS = ("x_train", "y_train", "x_test", "y_test")
"""The arrays of a task, in the order in which they enter its digest."""


Report = Callable[[str], None]
"""Called with a sentence for the user."""


class WrongDataError(UsageError):
    """A data file is damaged, or holds something else; its text names the file and what is wrong."""


class SourceError(Exception):
    """One source doesn't have the data; its text is the reason."""


@dataclass(frozen=True, eq=False)
class Arrays:
    """A task's data. Inputs are samples × steps × features, or samples × steps where they are tokens.

    Targets are those that `bench.catalog.tasks.target` describes. Steps beyond a sample's length are padding.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    x_validation: NDArray[Any] | None = None
    """None where the test set is validated on, as the protocol does."""
    y_validation: NDArray[Any] | None = None
    lengths_train: NDArray[Any] | None = None
    """Steps of each sample, n_samples; None where all have all of them."""
    lengths_test: NDArray[Any] | None = None
    lengths_validation: NDArray[Any] | None = None

    @property
    def parts(self) -> dict[str, NDArray[Any]]:
        """The arrays that there are, by name: those of `PARTS` in their order, then the others."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in arrays.items() if array is not None}


class Source(Protocol):
    """Where a task's data may be had without the user's help: a file, an address, a package."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def needs_network(self) -> bool:
        """Whether it is left out offline."""

    @property
    def is_present(self) -> bool:
        """Whether it is on this machine, as far as is known without reading it."""

    def read(self, task: Task, scratch: Path, report: Report) -> Arrays:
        """The verified data.

        Args:
            task: whose data.
            scratch: a folder for what is downloaded; it is gone afterwards.
            report: called with a sentence about what takes time, or is wrong beyond this source.

        Raises:
            SourceError: the source doesn't have it.
            WrongDataError: it has something else.
        """


@dataclass(frozen=True)
class Words:
    """What messages and reports call the parts of a task."""

    label: str
    """One of the classes: "digit", where each digit is a class of its own."""
    step: str
    """What the network reads at each step of a sequence."""


@dataclass(frozen=True)
class Baseline:
    """The loss of somebody who knows nothing of the inputs: a network that has no less has learnt nothing."""

    loss: float
    words: str
    """What gives it: "always giving the mean"."""


@dataclass(frozen=True)
class Recipe:
    """How data that no file holds are made, and which axes set their size."""

    version: int
    """Counted up where the same axes give other data than before: runs of different versions are never compared."""
    make: Callable[[Task, Arrays | None], Arrays]
    """The data of a task, from those of the task `source`."""
    takes: tuple[str, ...] = ()
    """The fields of `Case` that it can be sized by."""
    sized: Callable[[Task, Mapping[str, Any]], Task] = lambda task, axes: replace(task, **axes)
    """The task of these axes, which are among `takes`; raises `ValueError` with the reason where there is none."""
    source: str = ""
    """The task whose data they are made of; empty where they come from a generator of random numbers."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be learnt, from which data: those of one content, proved by hash, or those that a recipe makes."""

    name: str
    title: str
    words: Words
    steps: int
    """Steps of a sequence."""
    features: int
    """Values that a network reads at each step."""
    outputs: int
    """Values that a network gives, at each step where the target has one for each: classes, or numbers."""
    target: Target = CLASS_LABEL
    scale: float = 1.0
    """Inputs are divided by it: 255 makes 0 … 1 of bytes."""
    vocabulary: int = 0
    """Where inputs are tokens: how many there are. They are embedded in `features` values. 0 for inputs of numbers."""
    mask_value: float | None = None
    """What stands in every feature of a step that is padding, so that the layers skip it; None without padding."""
    scored: bool = True
    """Whether a loss or an accuracy means anything; of noise neither does, and none is kept."""
    baseline: Baseline | None = None
    train_samples: int
    test_samples: int
    validation_samples: int = 0
    """Those of a validation set of its own; 0 where it is validated on the test set."""
    recipe: Recipe | None = None
    """How the data are made; None where they have one content, `digest`."""
    file: Path | None = None
    """The file of data that were prepared by this process or for it; None for those that are obtained or made."""
    code_json: str = ""
    """The code that was imported to prepare them (`bench.core.code`)."""
    digest: str = ""
    """SHA-256, in hex, of the bytes of `PARTS` one after the other: uint8, C order, no headers."""
    part_digests: tuple[str, str, str, str] = ("", "", "", "")
    """SHA-256, in hex, of each of `PARTS` alone, so that a refusal can name the file that is wrong."""
    embedded: bool = False
    """Whether the data comes with the package, as `bench/catalog/data/NAME.npz`."""
    sources: tuple[Source, ...] = ()
    """Where the data may be had, in the order in which they are tried; none are needed for embedded data."""
    read_folder: Callable[[Path, Task], Arrays] | None = None
    """How a folder that the user names is read and verified; None reads `NAME.npz` there."""
    stand_in: str = ""
    """The embedded task to offer where the data can't be had."""
    credit: str
    licence: str

    @property
    def family(self) -> str | None:
        """What data of several sizes have in common, as a digest: the recipe's name and version.

        None for data of one content.
        """
        if self.recipe is None:
            return None
        return hashlib.sha256(f"{self.name} {self.recipe.version}".encode()).hexdigest()

    def shape(self, part: str) -> tuple[int, ...]:
        """The shape of one of `PARTS`: samples × steps × features for inputs, samples for labels."""
        samples = self.train_samples if part.endswith("train") else self.test_samples
        return (samples, self.steps, self.features) if part.startswith("x") else (samples,)

    def scaled(self, inputs: NDArray[Any], dtype: str) -> NDArray[Any]:
        """Inputs as a network is given them, of the same shape: divided by `scale`, in `dtype`; tokens as int32."""
        import numpy as np

        if self.vocabulary:
            return inputs.astype(np.int32)
        scaled: NDArray[Any] = np.divide(inputs, self.scale, dtype=np.dtype(dtype))
        return scaled


def part_digests(arrays: Arrays) -> tuple[str, str, str, str]:
    """SHA-256, in hex, of each of `PARTS` alone: uint8, C order."""
    x_train, y_train, x_test, y_test = (hashlib.sha256(_content(arrays.parts[name])).hexdigest() for name in PARTS)
    return x_train, y_train, x_test, y_test


def content_digest(arrays: Arrays) -> str:
    """SHA-256, in hex, of the content of all parts, in C order.

    Of bytes alone, one part after the other. Before a part of another type stand its name, type and shape.
    """
    whole = hashlib.sha256()
    for name, part in arrays.parts.items():
        if part.dtype != "uint8":
            whole.update(f"{name} {part.dtype.str} {part.shape}\n".encode())
        whole.update(_content(part))
    return whole.hexdigest()


def _content(part: NDArray[Any]) -> memoryview:
    import numpy as np

    return np.ascontiguousarray(part).reshape(-1).view(np.uint8).data  # hashlib wants one dimension, and bytes


def verify(parts: Mapping[str, NDArray[Any]], task: Task, files: Mapping[str, str]) -> Arrays:
    """Proves that `parts` are this task's data.

    Args:
        parts: an array for each of `PARTS`.
        task: what they should be.
        files: how a message calls the file (or the member of a file) that each part came from.

    Raises:
        WrongDataError: type, shape or content isn't the task's; names what in `files` is wrong.
    """
    for name in PARTS:
        part = parts[name]
        if part.dtype != "uint8" or part.shape != task.shape(name):
            raise WrongDataError(
                f"{files[name]} holds {part.dtype} {sizes(part.shape)} where {task.name} has uint8 "
                f"{sizes(task.shape(name))}"
            )
    arrays = Arrays(**{name: parts[name] for name in PARTS})
    if content_digest(arrays) != task.digest:
        digests = zip(PARTS, part_digests(arrays), task.part_digests, strict=True)
        wrong = [files[name] for name, here, expected in digests if here != expected]
        raise WrongDataError(f"{' and '.join(wrong)}: the content isn't that of {task.name} (SHA-256 differs)")
    return arrays


def sizes(shape: tuple[int, ...]) -> str:
    """A shape as messages show it: 60000 × 28 × 28."""
    return " × ".join(map(str, shape)) or "a single number"
