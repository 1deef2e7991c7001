"""A fresh process for each run, cheaply: worker servers, the lock of the machine, and the killing of the silent.

Nothing here knows what a run measures: it sends a `Request` and collects events until the run has ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Self

from bench.core.case import Case, Status
from bench.core.errors import UsageError
from bench.core.metrics import Observation, RunMetadata
from bench.core.protocol import Event, Finished, Request, Started, decode, kill_group

WORKER = "bench.worker.measure"
"""The module whose `measure` does a run; tests name another."""

_IMPORT_SECONDS = 300.0
"""A backend that has not been imported by then never will be: 10 to 25 s is usual on a small machine."""
_EXIT_SECONDS = 10.0
"""A process that has reported its end is gone well before: giving back 1 GB takes 0.1 s."""
_CLOSE_SECONDS = 1.0
"""A server that has not ended by then hangs in an import, or is stopped, and is killed."""
_DUMP_SECONDS = 0.1
"""For writing down what each thread is doing."""
_TICK_SECONDS = 1.0
_WRITE_SECONDS = 0.01
"""For who holds the lock to write down who it is."""


class Isolation(StrEnum):
    """How a run gets its process: forked from a server that has imported the backend, or started from nothing."""

    FORK = "fork"
    SPAWN = "spawn"


def default_isolation(device: str, platform: str = sys.platform) -> Isolation:
    """Spawn on a GPU, until a test there proves forking, and on macOS, whose frameworks don't survive a fork."""
    return Isolation.SPAWN if device.startswith("gpu") or platform == "darwin" else Isolation.FORK


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a worker's interpreter, modules and settings come from; by default all are the harness's own."""

    python: str = sys.executable
    path: tuple[Path, ...] | None = None
    """What stands before the interpreter's own packages; None: all that the harness imports from."""
    folder: Path | None = None
    """Where the process stands: a user's cells are found there."""
    variables: Mapping[str, str] = field(default_factory=dict)


HERE = Place()


@dataclass(kw_only=True)
class Ended:
    """What came of one run's process."""

    isolation: Isolation
    status: Status = Status.FAILED
    error: str | None = None
    facts: RunMetadata = field(default_factory=RunMetadata)
    observations: list[Observation] = field(default_factory=list)
    cpu_seconds: float | None = None
    """Processor time of the run's process; None when it was killed."""


class Workers:
    """The worker servers of one `bench run`; a context manager that leaves no process behind.

    Args:
        worker: the module that does a run.
        isolation: None takes each device's default.
        silence_seconds: a run that reports nothing for so long is killed.
        cpus: processors to run on; empty: all that the harness has.
        on_event: told what a run reports.
        on_tick: called about once a second while a run or an import reports nothing.
        clock: seconds.
    """

    def __init__(
        self,
        *,
        worker: str = WORKER,
        isolation: Isolation | None = None,
        silence_seconds: float,
        cpus: tuple[int, ...] = (),
        on_event: Callable[[Event], None] = lambda event: None,
        on_tick: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker, self._isolation, self._silence_seconds, self._cpus = worker, isolation, silence_seconds, cpus
        self._on_event, self._on_tick, self._clock = on_event, on_tick, clock
        self._servers: dict[tuple[str, Isolation], Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.close()

    def prepare(self, case: Case) -> None:
        """Wait until the server for a case has imported its backend, so that this is in no run's time."""
        self._server(case.backend, self._isolation_of(case))

    def run(self, request: Request) -> Ended:
        """Do one run in a process of its own; a forked one that falls silent is tried once more, spawned."""
        isolation = self._isolation_of(request.case)
        ended = self._run_once(request, isolation)
        if ended.status is Status.TIMEOUT and isolation is Isolation.FORK:
            first = ended.error
            ended = self._run_once(request, Isolation.SPAWN)
            if ended.error:
                ended.error = f"{ended.error} (and before, forked: {first})"
        return ended

    def _isolation_of(self, case: Case) -> Isolation:
        return self._isolation or default_isolation(case.device)

    def _server(self, backend: str, isolation: Isolation) -> Server:
        server = self._servers.get((backend, isolation))
        if server is not None and server.problem is None and not server.settle():
            self._discard(server)
            server = None
        if server is None:
            server = self._started(backend, isolation)
            if server.killed:
                self._discard(server)
                server = self._started(backend, isolation)  # killed again, it is what this machine does to it
        return server

    def _started(self, backend: str, isolation: Isolation) -> Server:
        server = self._servers[backend, isolation] = Server(backend, self._worker, isolation, self._cpus)
        server.wait_ready(self._clock, self._on_tick)
        return server

    def _discard(self, server: Server) -> None:
        self._servers = {key: other for key, other in self._servers.items() if other is not server}
        server.close()

    def _run_once(self, request: Request, isolation: Isolation) -> Ended:
        server, ended = self._asked(request, isolation)
        if ended.status is Status.FAILED and not server.run_began and not server.usable and server.problem is None:
            server, ended = self._asked(request, isolation)  # somebody had killed the server while it was idle
        return ended

    def _asked(self, request: Request, isolation: Isolation) -> tuple[Server, Ended]:
        server = self._server(request.case.backend, isolation)
        ended = Ended(isolation=isolation, error=server.problem)
        keep = False
        try:
            keep = server.problem is None and self._collect(server, request, ended)
            if ended.status is not Status.OK and not request.log.exists():
                with contextlib.suppress(OSError):  # where the disk is full, the store says so next
                    request.log.write_bytes(server.output())
        finally:
            if not keep:
                self._discard(server)
        return server, ended

    def _collect(self, server: Server, request: Request, ended: Ended) -> bool:
        """Fill in what the run reports, until it has ended; False where it has to be killed, with its server."""
        # a spawned run imports first, and can say nothing meanwhile
        patience = self._silence_seconds + (_IMPORT_SECONDS if ended.isolation is Isolation.SPAWN else 0.0)
        heard, finished = self._clock(), False
        with contextlib.closing(server.events(request)) as events:
            for event in events:
                if event is None:
                    self._on_tick()
                    if self._clock() - heard > patience:
                        server.dump()
                        ended.status = Status.TIMEOUT
                        ended.error = (
                            f"silent for {patience:g} s, killed "
                            f"(--set silence_seconds=… gives a slow configuration longer)"
                        )
                        return False
                    continue
                heard = self._clock()
                if isinstance(event, Started):
                    patience = self._silence_seconds
                elif isinstance(event, Finished):
                    finished = True
                    ended.status, ended.error, ended.cpu_seconds = event.status, event.error, event.cpu_seconds
                elif isinstance(event, Observation):
                    ended.observations.append(event)
                elif isinstance(event, RunMetadata):
                    ended.facts = event
                self._on_event(event)
        if not finished:
            code = server.exit_code()
            if code is None:
                ended.error = "the run's process died, and its server with it"
            elif code < 0:
                ended.error = f"the run's process was {killed_by(-code)}"
            else:
                ended.error = f"the run's process ended with exit code {code} before it had finished"
        return True


def killed_by(number: int) -> str:
    """What a process died of, in words."""
    hint = "; the system may have run out of memory" if number == signal.SIGKILL else ""
    return f"killed by signal {number} ({signal.strsignal(number) or 'unknown'}){hint}"


class Server:
    """One `python -m bench.worker`, and the one run that it may be doing.

    It lives in a session of its own, so that Ctrl-C reaches the harness alone.
    """

    def __init__(
        self, backend: str, worker: str, isolation: Isolation, cpus: tuple[int, ...], place: Place = HERE
    ) -> None:
        self.problem: str | None = None
        """Why it did not start."""
        self.ready = False
        """Whether it has imported its backend."""
        self.run_began = False
        """Whether the run that it was asked for last has reported anything."""
        self._child: int | None = None
        self._busy = False
        self._code: int | None = None
        self._connected = True
        self._buffer = b""
        self._control, theirs = socket.socketpair()
        lifeline, write = os.pipe()
        self._lifeline: IO[bytes] = os.fdopen(write, "wb", 0)  # an object, and no number: lost is closed
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
        fds = (theirs.fileno(), lifeline)
        values = [backend, worker, *map(str, fds), isolation.value, ",".join(map(str, cpus))]
        try:
            self._process = subprocess.Popen(
                # -P: a folder `bench` of the user's, where he stands, is not ours
                [place.python, "-P", "-m", "bench.worker", "serve", *values],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,
                cwd=place.folder,
                env=_environment(backend, place),
            )
        finally:
            theirs.close()
            os.close(lifeline)

    @property
    def killed(self) -> bool:
        """Whether somebody, or the system short of memory, has killed it."""
        return self._process.poll() == -signal.SIGKILL

    @property
    def usable(self) -> bool:
        """Whether it lives, as far as is known without asking it."""
        return self._connected and self._process.poll() is None

    def wait_ready(self, clock: Callable[[], float], on_tick: Callable[[], None]) -> None:
        """Wait for the import to end; sets `problem` if it went wrong."""
        deadline = clock() + _IMPORT_SECONDS
        while self._message(_TICK_SECONDS) is None:
            on_tick()
            if not self._connected:
                code, lines = self._process.wait(), self.output().decode(errors="replace").strip().splitlines()
                last_line = lines[-1][:500] if lines else f"exit code {code}"
                self.problem = f"the worker's server did not start: {killed_by(-code) if code < 0 else last_line}"
                return
            if clock() > deadline:
                self.problem = f"the worker's server did not import its backend within {_IMPORT_SECONDS:g} s"
                return
        self.ready = True

    def output(self) -> bytes:
        """What it has printed itself."""
        # not read(): its place in the file is the server's too
        return os.pread(self._output.fileno(), 1 << 20, 0)

    def events(self, request: Request, commands: int | None = None) -> Generator[Event | None, None, None]:
        """Ask for a run, at once; its events as they come, and None once a second while there are none, until its end.

        Args:
            request: the run.
            commands: what becomes the run's standard input; closed here.
        """
        self._child, self._code, self.run_began = None, None, False
        read, write = os.pipe()
        try:
            self._busy = True
            self._control.settimeout(_EXIT_SECONDS)
            given = [write] if commands is None else [write, commands]
            socket.send_fds(self._control, [request.to_line()], given)
        except OSError:
            self._connected = False
        finally:
            os.close(write)
            if commands is not None:
                os.close(commands)
        return self._events(os.fdopen(read, "rb", 0))  # an object, and no number: unread it is closed too

    def _events(self, pipe: IO[bytes]) -> Generator[Event | None, None, None]:
        read = pipe.fileno()
        buffer = b""
        with pipe, selectors.DefaultSelector() as selector:
            selector.register(read, selectors.EVENT_READ)
            selector.register(self._control, selectors.EVENT_READ)
            while True:
                ready = [key.fd for key, _ in selector.select(_TICK_SECONDS)]
                if read in ready:
                    chunk = os.read(read, 1 << 16)
                    if not chunk:
                        return
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    for line in lines:
                        event = decode(line)
                        self.run_began = True
                        if isinstance(event, Started):
                            self._child = event.pid
                        yield event
                        if isinstance(event, Finished):
                            return
                elif ready:
                    if self._told_exit(0):  # what the run has started itself may hold the pipe open
                        return
                    if not self._connected:
                        selector.unregister(self._control)  # the run goes on without its server
                else:
                    yield None

    def exit_code(self) -> int | None:
        """The exit code of the last run's process; None when the server is dead or doesn't tell."""
        return self._code if self._code is not None or self._told_exit(_EXIT_SECONDS) else None

    def settle(self) -> bool:
        """Wait until the last run's process is gone; False where this server is of no more use."""
        self._told_exit(_EXIT_SECONDS if self._busy else 0)
        return self.usable and not self._busy

    def dump(self) -> None:
        """Let the run write into its log what each of its threads is doing."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGUSR1)
                time.sleep(_DUMP_SECONDS)

    def close(self) -> None:
        """End the server and the run that it does, now."""
        if self._busy and self._child is not None:
            kill_group(self._child)
        self._lifeline.close()
        self._control.close()
        self._output.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if self._process.poll() is None:
                kill_group(self._process.pid)
                self._process.wait()

    def _told_exit(self, timeout: float) -> bool:
        message = self._message(timeout)
        if message is not None:
            self._busy, self._code = False, message["exit"]
        return message is not None

    def _message(self, timeout: float) -> dict[str, Any] | None:
        """The server's next answer; None when none comes in time, or none any more (then not `_connected`)."""
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
        answer: dict[str, Any] = json.loads(line)
        return answer


def _environment(backend: str, place: Place) -> dict[str, str]:
    path = sys.path if place.path is None else place.path
    return {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONUNBUFFERED": "1",  # the log of a killed run is whole
        "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in path),
        **place.variables,
    }


@contextlib.contextmanager
def machine_lock(waiting: Callable[[str], None], path: Path | None = None) -> Iterator[None]:
    """Keep two timed runs on one machine from overlapping: the system drops the lock when its holder dies.

    Args:
        waiting: told who holds the lock, when it isn't free.
        path: the lock's file; by default one for all users of the machine.

    Raises:
        UsageError: the file cannot be opened or locked.
    """
    path = path or Path(tempfile.gettempdir()) / "rnn-bench.lock"
    try:
        fd = _open_shared(path)
    except OSError as error:
        raise _lock_refused(path, error) from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_WRITE_SECONDS)
            holder = os.pread(fd, 64, 0).decode(errors="replace").strip()
            waiting(f"another bench (process {holder or 'unknown'}) is timing on this machine: waiting for it")
            fcntl.flock(fd, fcntl.LOCK_EX)
        except OSError as error:
            raise _lock_refused(path, error) from None
        with contextlib.suppress(OSError):  # another user's file, or a full disk: it only says who holds the lock
            os.pwrite(fd, f"{os.getpid():<20}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def _open_shared(path: Path) -> int:
    """Open or make a file that each user may lock. Never a link: it lies in a folder of everybody's, and is written."""
    try:
        # no O_CREAT at first: in a sticky folder the system refuses it for another user's file
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with contextlib.suppress(PermissionError):
            os.fchmod(fd, 0o666)  # whatever the umask
        return fd


def _lock_refused(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot use {path}, the lock that keeps timed runs apart ({error.strerror}): remove it if it is in the way, "
        f"or set TMPDIR to another folder."
    )
