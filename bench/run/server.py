"""The server of a worker environment: a process that has imported a backend, and gives each run a process of its own.

The other end is `bench.worker.__main__`, which documents the commands; what crosses is in `bench.core.protocol`.
Nothing here knows what a run measures.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from bench.core.protocol import Event, Finished, Request, Started, decode, kill_group
from bench.host.cuda_devices import CUDA_ORDER
from bench.store.files import refused

IMPORT_SECONDS = 300.0
"""The longest that importing a backend may take: 10 to 25 s is usual on a small machine."""
_EXIT_SECONDS = 10.0
"""The longest that a process may live after it has reported its end: giving back 1 GB takes 0.1 s."""
_CLOSE_SECONDS = 1.0
"""The longest that a server may take to end; one that hangs in an import, or is stopped, is killed then."""
_DUMP_SECONDS = 0.1
"""The time that a run gets to write down what each of its threads is doing."""
_TICK_SECONDS = 1.0


class Isolation(StrEnum):
    """How a run gets its process: forked from a server that has imported the backend, or started from nothing."""

    FORK = "fork"
    SPAWN = "spawn"


def default_isolation(device: str, platform: str = sys.platform, *, forking_works: bool = False) -> Isolation:
    """Spawn on macOS, whose frameworks don't survive a fork, and on a GPU.

    Args:
        device: of the run.
        platform: `sys.platform`.
        forking_works: whether the test of `bench.run.forking` has shown that runs may fork on the GPUs here.
    """
    on_gpu = device != "cpu" and not forking_works
    return Isolation.SPAWN if on_gpu or platform == "darwin" else Isolation.FORK


@dataclass(frozen=True, kw_only=True)
class WorkerEnvironment:
    """Where a worker's interpreter, modules and settings come from; by default all are the harness's."""

    python: str = sys.executable
    path: tuple[Path, ...] | None = None
    """Folders to import from before the interpreter's packages; None: all that the harness imports from."""
    folder: Path | None = None
    """Working folder of the process, where a user's cells are found; None: the harness's."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables to set beside the harness's."""


HARNESS_ENVIRONMENT = WorkerEnvironment()


def killed_by(number: int) -> str:
    """The signal that ended a process, in words."""
    hint = "; the system may have run out of memory" if number == signal.SIGKILL else ""
    return f"killed by signal {number} ({signal.strsignal(number) or 'unknown'}){hint}"


class Server:
    """One `python -m bench.worker`, and the runs that it is doing.

    It lives in a session of its own, so that Ctrl-C reaches the harness alone.
    """

    def __init__(
        self,
        backend: str,
        worker: str,
        isolation: Isolation,
        cpus: tuple[int, ...],
        environment: WorkerEnvironment = HARNESS_ENVIRONMENT,
    ) -> None:
        self.problem: str | None = None
        """Why the server did not start; None while nothing is wrong."""
        self.ready = False
        """Whether the backend is imported."""
        self._requests = 0
        self._running: dict[int, ServedRun] = {}
        """By the number of their request: the runs whose end was not reported yet."""
        self._codes: dict[int, int] = {}
        """By the number of its request: the exit code of each run that has ended."""
        self._connected = True
        self._buffer = b""
        self._control, theirs = socket.socketpair()
        lifeline, write = os.pipe()
        self._lifeline: IO[bytes] = os.fdopen(write, "wb", 0)  # an object, and no number: lost is closed
        with refused(Path(tempfile.gettempdir()), "set TMPDIR to another folder"):
            self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
        fds = (theirs.fileno(), lifeline)
        values = [backend, worker, *map(str, fds), isolation.value, ",".join(map(str, cpus))]
        try:
            self._process = subprocess.Popen(
                # -P: a folder `bench` of the user's, where he stands, is not ours
                [environment.python, "-P", "-m", "bench.worker", "serve", *values],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,
                cwd=environment.folder,
                env=_variables(backend, environment),
            )
        finally:
            theirs.close()
            os.close(lifeline)

    @property
    def killed(self) -> bool:
        """Whether somebody, or the system short of memory, has killed the server."""
        return self._process.poll() == -signal.SIGKILL

    @property
    def usable(self) -> bool:
        """Whether the server lives, as far as is known without asking it."""
        return self._connected and self._process.poll() is None

    def wait_ready(self, clock: Callable[[], float], on_tick: Callable[[], None]) -> None:
        """Wait for the import to end; sets `problem` where it failed."""
        deadline = clock() + IMPORT_SECONDS
        while self._message(_TICK_SECONDS) is None:
            on_tick()
            if not self._connected:
                code, lines = self._process.wait(), self.output().decode(errors="replace").strip().splitlines()
                last_line = lines[-1][:500] if lines else f"exit code {code}"
                self.problem = f"the worker's server did not start: {killed_by(-code) if code < 0 else last_line}"
                return
            if clock() > deadline:
                self.problem = f"the worker's server did not import its backend within {IMPORT_SECONDS:g} s"
                return
        self.ready = True

    def output(self) -> bytes:
        """Everything that the server itself has printed."""
        # not read(): its place in the file is the server's too
        return os.pread(self._output.fileno(), 1 << 20, 0)

    def request(self, request: Request, commands: int | None = None) -> ServedRun:
        """Request a run at once.

        Args:
            request: the run.
            commands: a descriptor that becomes the run's standard input; closed here.
        """
        read, write = os.pipe()
        run = ServedRun(self, self._requests, os.fdopen(read, "rb", 0))  # an object, and no number: lost is closed
        self._running[self._requests] = run
        self._requests += 1
        try:
            self._control.settimeout(_EXIT_SECONDS)
            descriptors = [write] if commands is None else [write, commands]
            socket.send_fds(self._control, [request.to_line()], descriptors)
        except OSError:
            self._connected = False
        finally:
            os.close(write)
            if commands is not None:
                os.close(commands)
        return run

    def settle(self) -> bool:
        """Wait until the process of each run is gone; False where this server is of no more use."""
        while self._running and self._exit_reported(_EXIT_SECONDS):
            pass
        self._exit_reported(0)
        return self.usable and not self._running

    def close(self) -> None:
        """End the server and the runs that it does, now."""
        for run in self._running.values():
            run.kill()
        for kept in (self._lifeline, self._control, self._output):
            with contextlib.suppress(OSError):  # a full disk may report then what it could not keep of the output
                kept.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if self._process.poll() is None:
                kill_group(self._process.pid)
                self._process.wait()

    def _exit_reported(self, timeout: float) -> bool:
        """Whether the end of a run, or of several, is reported in time, and noted."""
        is_reported = False
        while (message := self._message(0 if is_reported else timeout)) is not None:
            # an earlier commit's server does one run at a time, and does not number it
            number = message.get("run", next(iter(self._running), 0))
            self._running.pop(number, None)
            self._codes[number] = message["exit"]
            is_reported = True
        return is_reported

    def _message(self, timeout: float) -> dict[str, Any] | None:
        """Receive the server's next message; None for none in time, or for none any more (then not `_connected`)."""
        self._control.settimeout(timeout)
        while b"\n" not in self._buffer:
            try:
                received = self._control.recv(4096)
            except (TimeoutError, BlockingIOError):
                return None
            except OSError:
                received = b""
            if not received:
                self._connected = False
                return None
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


class ServedRun:
    """A run that was requested of a server: its events, and how its process ended.

    Args:
        server: does it.
        number: of its request.
        pipe: the read end of its event pipe.
    """

    def __init__(self, server: Server, number: int, pipe: IO[bytes]) -> None:
        self._server, self._number = server, number
        self._child: int | None = None
        self.began = False
        """Whether it has reported anything."""
        self.events = self._events(pipe)
        """Its events as they come, None once a second meanwhile, until it has ended."""

    def exit_code(self) -> int | None:
        """The exit code of its process; None when the server is dead or doesn't report it."""
        while self._number not in self._server._codes and self._server._exit_reported(_EXIT_SECONDS):
            pass
        return self._server._codes.get(self._number)

    def dump(self) -> None:
        """Let it write into its log what each of its threads is doing."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGUSR1)
                time.sleep(_DUMP_SECONDS)

    def kill(self) -> None:
        """End its process, and all that it has started."""
        if self._child is not None:
            kill_group(self._child)

    def _events(self, pipe: IO[bytes]) -> Generator[Event | None, None, None]:
        read, control = pipe.fileno(), self._server._control
        buffer = b""
        with pipe, selectors.DefaultSelector() as selector:
            selector.register(read, selectors.EVENT_READ)
            selector.register(control, selectors.EVENT_READ)
            while True:
                ended = self._number in self._server._codes
                ready = [key.fd for key, _ in selector.select(0 if ended else _TICK_SECONDS)]
                if read in ready:
                    chunk = os.read(read, 1 << 16)
                    if not chunk:
                        return
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    for line in lines:
                        event = decode(line)
                        self.began = True
                        if isinstance(event, Started):
                            self._child = event.pid
                        yield event
                        if isinstance(event, Finished):
                            return
                elif ended:  # what the run has started itself may hold the pipe open
                    return
                elif ready:
                    if not self._server._exit_reported(0) and not self._server._connected:
                        selector.unregister(control)  # the run goes on without its server
                else:
                    yield None


def _variables(backend: str, environment: WorkerEnvironment) -> dict[str, str]:
    """Every environment variable of the server's process."""
    path = sys.path if environment.path is None else environment.path
    return {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONUNBUFFERED": "1",  # the log of a killed run is whole
        # Keras asks torch at import whether there is a GPU, and without this that makes CUDA's state, which can't fork
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        **CUDA_ORDER,
        "PYTHONPATH": os.pathsep.join(str(Path(folder).absolute()) for folder in path),
        **environment.variables,
    }
