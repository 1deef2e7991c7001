"""A task's data as one `.npz` of four uint8 arrays: how it is kept, and read and verified in each run."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

from bench.catalog.tasks.task import PARTS, Arrays, Task, WrongDataError, verify
from bench.core.errors import UsageError

_WIDEST = 8
"""Bytes of a value: arrays that were saved as float64 are refused for their type, not for their size."""
_HEADER = 1 << 17
"""Bytes that an array's header may have."""


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
                _check_member(archive.getinfo(f"{name}.npy"), f"{path}: {name}", math.prod(task.shape(name)))
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


def _check_member(member: zipfile.ZipInfo, name: str, values: int) -> None:
    """A few bytes of a file may unpack to more than there is memory for; what isn't the task's is never read whole."""
    largest = values * _WIDEST + _HEADER
    if member.file_size > largest:
        raise WrongDataError(f"{name} has {member.file_size:,} bytes where at most {largest:,} are expected")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # zipfile unpacks the others without a limit
        raise WrongDataError(f"{name} is compressed as no .npz is (method {member.compress_type}): save it with NumPy")


def write_npz(file: IO[bytes], arrays: Arrays, *, compressed: bool) -> None:
    """Writes what `read_npz` reads; the same arrays give the same bytes.

    Args:
        file: open for writing bytes.
        arrays: the data.
        compressed: smaller, and slower to read.
    """
    import numpy as np

    save = np.savez_compressed if compressed else np.savez
    save(file, x_train=arrays.x_train, y_train=arrays.y_train, x_test=arrays.x_test, y_test=arrays.y_test)


def load_npz(path: Path, task: Task) -> Arrays:
    """Reads and verifies a file that `bench.catalog.cache.obtain` gave.

    Raises:
        UsageError: it is gone, damaged or not this task's data; names the way to get it again.
    """
    try:
        return read_npz(path, task)
    except WrongDataError as error:
        raise UsageError(f"{error}; delete it, and `bench data fetch` makes it again.") from error
