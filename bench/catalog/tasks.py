"""The registry of tasks: what is learnt from which data, and how that data is read and verified.

A task's data is one `.npz` of four uint8 arrays, proved by hash; `bench.catalog.fetch` gets it, `load` reads it in
each run.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bench.core.errors import UsageError, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTS = ("x_train", "y_train", "x_test", "y_test")
"""The arrays of a task, in the order in which they enter its digest."""


class WrongDataError(UsageError):
    """A data file is damaged, or holds something else; its text names the file and says what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be learnt, and the one content that its data may have."""

    name: str
    title: str
    steps: int = 28
    features: int = 28
    classes: int = 10
    train_samples: int
    test_samples: int
    digest: str
    """SHA-256, in hex, of the bytes of `PARTS` one after the other: uint8, C order, no headers."""
    part_digests: tuple[str, str, str, str]
    """The same of each of `PARTS` alone, so that a refusal can name the file that is wrong."""
    embedded: bool = False
    """Whether the data comes with the package, as `bench/catalog/data/NAME.npz`."""
    source: str
    licence: str

    def shape(self, part: str) -> tuple[int, ...]:
        """The shape of one of `PARTS`: samples × steps × features for digits, samples for labels."""
        samples = self.train_samples if part.endswith("train") else self.test_samples
        return (samples, self.steps, self.features) if part.startswith("x") else (samples,)


@dataclass(frozen=True, eq=False)
class Arrays:
    """A task's data, all uint8: digits of 0 to 255, labels from 0."""

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.uint8]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.uint8]

    @property
    def parts(self) -> dict[str, NDArray[np.uint8]]:
        """The arrays by name, in the order of `PARTS`."""
        return {name: getattr(self, name) for name in PARTS}


_SOURCE = "the MNIST database of handwritten digits, by Yann LeCun, Corinna Cortes and Christopher J. C. Burges"
_LICENCE = "commonly distributed under CC BY-SA 3.0"

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="mnist",
            title="MNIST digits, read row by row",
            train_samples=60_000,
            test_samples=10_000,
            digest="06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16",
            part_digests=(
                "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
                "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
                "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
                "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
            ),
            source=_SOURCE,
            licence=_LICENCE,
        ),
        Task(
            name="mnist_5k",
            title="5,000 MNIST digits, stratified, read row by row",
            train_samples=4_000,
            test_samples=1_000,
            digest="3a1f5c3d07e915a5a344e36d0783f03d8ba219d9d2e145e4c235418a5848ca7a",
            part_digests=(
                "7772b08d2b767014b7c2a18f5d6c3cbae7025914d85098d3553f1cfb8d75e992",
                "8bab8a729046d8ad01d625e5ba04ad6ff9bb3d45b6a24ca2e4b9c88b948441c1",
                "1f0078cdf1872b8829d8b43efaa56f06d29651459cc1f4d6c306f22f25d8a643",
                "ccb067f8f769045aadcc8650809197427e501f8f957ec2f83d5d090b6bc84c00",
            ),
            embedded=True,
            source=f"{_SOURCE}; selected by scripts/make_mnist_5k.py",
            licence=_LICENCE,
        ),
    )
}


def find(name: str, origin: str = "a case") -> Task:
    """The task of that name.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS, origin)
    return TASKS[name]


def part_digests(arrays: Arrays) -> tuple[str, str, str, str]:
    """SHA-256, in hex, of each of `PARTS` (see `Task.part_digests`)."""
    x_train, y_train, x_test, y_test = (hashlib.sha256(_content(part)).hexdigest() for part in arrays.parts.values())
    return x_train, y_train, x_test, y_test


def content_digest(arrays: Arrays) -> str:
    """SHA-256, in hex, of all of `PARTS` in order (see `Task.digest`)."""
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
        found = zip(PARTS, part_digests(arrays), task.part_digests, strict=True)
        wrong = [files[name] for name, here, expected in found if here != expected]
        raise WrongDataError(f"{' and '.join(wrong)}: the content isn't that of {task.name} (SHA-256 differs)")
    return arrays


def sizes(shape: tuple[int, ...]) -> str:
    """A shape as messages show it: 60000 × 28 × 28."""
    return " × ".join(map(str, shape)) or "a single number"


def read_npz(path: Path, task: Task) -> Arrays:
    """Reads and verifies an `.npz` with the arrays `PARTS`, compressed or not.

    Raises:
        WrongDataError: it cannot be read, lacks an array, or isn't the task's data.
    """
    import numpy as np

    try:
        # Members are read whole, so that zipfile checks their CRC; numpy alone would stop at an array's last byte.
        with zipfile.ZipFile(path) as archive:
            parts = {}
            for name in PARTS:
                with archive.open(f"{name}.npy") as member:
                    parts[name] = np.lib.format.read_array(member, allow_pickle=False)
                    if member.read(1):
                        raise WrongDataError(f"{path}: {name} has bytes after its last value")
    except WrongDataError:
        raise
    except KeyError:
        raise WrongDataError(f"{path} has no array {name!r}") from None
    except OSError as error:
        raise WrongDataError(f"{path} cannot be read: {error.strerror or error}") from error
    # What zipfile and numpy raise over damaged bytes is no closed set: fuzzing gave BadZipFile, zlib.error, ValueError,
    # EOFError, NotImplementedError, RuntimeError, even tokenize.TokenError from numpy's header parser.
    except Exception as error:
        raise WrongDataError(f"{path} is not a whole .npz file: {str(error) or type(error).__name__}") from error
    return verify(parts, task, {name: f"{path}: {name}" for name in PARTS})


def write_npz(file: IO[bytes], arrays: Arrays, *, compressed: bool) -> None:
    """Writes what `read_npz` reads; the same arrays give the same bytes. Uncompressed reads faster."""
    import numpy as np

    save = np.savez_compressed if compressed else np.savez
    save(file, x_train=arrays.x_train, y_train=arrays.y_train, x_test=arrays.x_test, y_test=arrays.y_test)


def load(path: Path, task: Task) -> Arrays:
    """Reads and verifies a file that `bench.catalog.fetch.obtain` gave.

    Raises:
        UsageError: it is gone, damaged or not this task's data; says how to get it again.
    """
    try:
        return read_npz(path, task)
    except WrongDataError as error:
        raise UsageError(f"{error}; delete it, and `bench data fetch` makes it again.") from error
