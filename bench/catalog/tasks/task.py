"""What a task declares: the shape of its data and the one content it may have, its sources, scaling and words.

The content is proved by hash, wherever it came from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
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
    """A task's data, all uint8: inputs (samples × steps × features), and labels from 0 (samples)."""

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.uint8]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.uint8]

    @property
    def parts(self) -> dict[str, NDArray[np.uint8]]:
        """The arrays by name, in the order of `PARTS`."""
        return {name: getattr(self, name) for name in PARTS}


class Source(Protocol):
    """Where a task's data may be had without the user's help: a file, an address, a package."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def needs_network(self) -> bool:
        """Whether it is left out offline."""

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
class Target:
    """What a network is asked about a sample: its output layer, and what training lowers and counts."""

    activation: str
    """The output layer's."""
    loss: str
    """Keras's name of it."""
    metrics: tuple[str, ...]


CLASS_LABEL = Target("softmax", "sparse_categorical_crossentropy", ("accuracy",))
"""Each sample belongs to one of the classes, and its label is that one's number."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be learnt, and the one content that its data may have."""

    name: str
    title: str
    words: Words
    steps: int
    """Steps of a sequence."""
    features: int
    """Values that a network reads at each step."""
    outputs: int
    """Values that a network gives: the classes of a label."""
    target: Target = CLASS_LABEL
    scale: float
    """Inputs are divided by it: 255 makes 0 … 1 of bytes."""
    train_samples: int
    test_samples: int
    digest: str
    """SHA-256, in hex, of the bytes of `PARTS` one after the other: uint8, C order, no headers."""
    part_digests: tuple[str, str, str, str]
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

    def shape(self, part: str) -> tuple[int, ...]:
        """The shape of one of `PARTS`: samples × steps × features for inputs, samples for labels."""
        samples = self.train_samples if part.endswith("train") else self.test_samples
        return (samples, self.steps, self.features) if part.startswith("x") else (samples,)

    def scaled(self, inputs: NDArray[np.uint8], dtype: str) -> NDArray[np.floating[Any]]:
        """Inputs as a network is given them: divided by `scale`, in `dtype`, of the same shape."""
        import numpy as np

        return np.divide(inputs, self.scale, dtype=np.dtype(dtype))


def part_digests(arrays: Arrays) -> tuple[str, str, str, str]:
    """SHA-256, in hex, of each of `PARTS` alone: uint8, C order."""
    x_train, y_train, x_test, y_test = (hashlib.sha256(_content(part)).hexdigest() for part in arrays.parts.values())
    return x_train, y_train, x_test, y_test


def content_digest(arrays: Arrays) -> str:
    """SHA-256, in hex, of the bytes of all of `PARTS`, one after the other: uint8, C order."""
    whole = hashlib.sha256()
    for part in arrays.parts.values():
        whole.update(_content(part))
    return whole.hexdigest()


def _content(part: NDArray[np.uint8]) -> memoryview:
    import numpy as np

    return np.ascontiguousarray(part).reshape(-1).data  # hashlib wants one dimension


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
