"""The worker server, and the process of a run.

    python -m bench.worker serve BACKEND WORKER CONTROL_FD LIFELINE_FD ISOLATION CPUS
    python -m bench.worker run   BACKEND WORKER EVENTS_FD LIFELINE_FD REQUEST

The server reads requests from its control socket, each with the write end of the run's event pipe, and for a side of a
duel, which reads commands, with the descriptor that becomes its standard input. It starts a process for each, and
reports its exit code when that has ended, with the number of the request, from 0. For `fork` it has imported the
backend, and forks; for `spawn` it has not, and starts the second command, which does. It runs no code of a user's, so
it can watch over its runs whatever these do.

The harness holds the only write end of the lifeline. When that is closed, by the harness or by its death, the server
kills the run's process group and ends; the run watches it too, since the server may have been killed before.

Import-time rule: nothing here may initialise a device, or leave a thread behind, before the fork.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn, Protocol

from bench.core.case import Status
from bench.core.protocol import Emit, Event, FailedRun, Finished, InvalidRun, Request, Started, encode, kill_group
from bench.worker.failure import failure_reason


class Worker(Protocol):
    """The module that does a run: `bench.worker.measure`, or another one in tests."""

    def preload(self, backend: str) -> None:
        """Import what every run needs; initialise no device."""

    def measure(self, request: Request, emit: Emit) -> None:
        """Do the run; report through `emit`; raise on failure."""


def main(arguments: list[str]) -> NoReturn:
    """Serve, or do one run; ends this process."""
    role, backend, name, channel, lifeline, *rest = arguments

    def load() -> Worker:
        worker: Worker = importlib.import_module(name)
        worker.preload(backend)
        return worker

    for fd in (int(channel), int(lifeline)):
        os.set_inheritable(fd, False)  # what a user's cell starts must not keep them open
    if role == "run":
        _run(Request.from_line(rest[0].encode()), int(channel), int(lifeline), load)
    isolation, cpus = rest
    if cpus:  # before the import: libraries count the processors then
        os.sched_setaffinity(0, map(int, cpus.split(",")))
    with _mortal(int(lifeline)):
        worker = load() if isolation == "fork" else None
    _Server(socket.socket(fileno=int(channel)), int(lifeline), [backend, name], worker).serve()


class _Server:
    """Starts a process for each request, however many are alive, and reports the end of each."""

    def __init__(self, control: socket.socket, lifeline: int, names: list[str], worker: Worker | None) -> None:
        self._control, self._lifeline, self._names, self._worker = control, lifeline, names, worker
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._requests = 0
        self._children: dict[int, int] = {}
        """By process id: the number of the request, from 0."""

    def serve(self) -> NoReturn:
        """Until the harness closes the lifeline, or dies."""
        signal.set_wakeup_fd(self._wake_write)
        signal.signal(signal.SIGCHLD, _ignore)
        self._report(ready=True)
        control = self._control.fileno()
        while True:
            ready, _, _ = select.select([control, self._lifeline, self._wake_read], [], [])
            if self._lifeline in ready:
                break
            if self._wake_read in ready:
                os.read(self._wake_read, 512)
                self._reap()
            if control in ready:
                received = _receive(self._control)
                if received is None:
                    break
                self._start(*received)
        for child in self._children:
            kill_group(child)
        os._exit(0)  # an interpreter that has imported a backend takes its time to end in order

    def _start(self, request: Request, events: int, commands: int | None) -> None:
        with warnings.catch_warnings():
            # "multi-threaded, use of fork() may lead to deadlocks": known, and why a silent child is tried by spawn
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                if commands is not None:
                    os.dup2(commands, 0)
                    os.close(commands)
                self._become(request, events)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(events)
        if commands is not None:
            os.close(commands)
        # on both sides of the fork: whoever comes first, the group is there before anybody would kill it
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(child, child)
        self._children[child] = self._requests
        self._requests += 1

    def _become(self, request: Request, events: int) -> None:
        """In the child: do the run, or become a fresh process that does."""
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in (self._control.detach(), self._wake_read, self._wake_write):
            os.close(fd)
        if self._worker is not None:
            worker = self._worker
            _run(request, events, self._lifeline, lambda: worker)
        for fd in (events, self._lifeline):
            os.set_inheritable(fd, True)
        values = [*self._names, str(events), str(self._lifeline), request.to_line().decode()]
        os.execv(sys.executable, [sys.executable, "-P", "-m", "bench.worker", "run", *values])

    def _reap(self) -> None:
        for child in list(self._children):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                kill_group(child)  # what the run has started itself and left behind
                self._report(run=self._children.pop(child), exit=os.waitstatus_to_exitcode(status))

    def _report(self, **values: int) -> None:
        try:
            self._control.sendall(json.dumps(values).encode() + b"\n")
        except OSError:
            os._exit(1)  # the harness is gone


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """SIGCHLD needs a Python handler for the wake-up descriptor to be written to."""


def _receive(control: socket.socket) -> tuple[Request, int, int | None] | None:
    """The next request, the write end of its event pipe, and its standard input; None when the harness is gone."""
    try:
        message, fds, _, _ = socket.recv_fds(control, 1 << 20, 2)
        while not message.endswith(b"\n"):
            more = control.recv(1 << 20) if message else b""
            if not more:
                return None
            message += more
    except ConnectionResetError:
        return None
    for fd in fds:
        os.set_inheritable(fd, False)  # received descriptors are inheritable
    return Request.from_line(message), fds[0], fds[1] if len(fds) > 1 else None


@contextlib.contextmanager
def _mortal(lifeline: int) -> Iterator[None]:
    """Let this process die with the harness while it imports; no thread is left of it afterwards."""
    stop_read, stop_write = os.pipe()
    thread = _watch(lifeline, stop_read)
    try:
        yield
    finally:
        os.close(stop_write)
        thread.join()
        os.close(stop_read)


def _watch(lifeline: int, stop: int | None = None) -> threading.Thread:
    """Kill this process's group when the harness is gone. The thread sleeps and costs nothing until then."""
    watched = [lifeline] if stop is None else [lifeline, stop]

    def wait() -> None:
        ready, _, _ = select.select(watched, [], [])
        if lifeline in ready:
            os.killpg(0, signal.SIGKILL)

    thread = threading.Thread(target=wait, daemon=True, name="lifeline")
    thread.start()
    return thread


def _run(request: Request, events: int, lifeline: int, load: Callable[[], Worker]) -> NoReturn:
    """Do one run in this process, and end the process."""

    def emit(event: Event) -> None:
        line = encode(event)
        while line:
            line = line[os.write(events, line) :]

    status, text, started = Status.OK, None, time.process_time()
    try:
        _watch(lifeline)
        _redirect(request.log)
        # a crash, and a kill for silence (`bench.run.server`), leave in the log what each thread was doing
        faulthandler.enable()
        faulthandler.register(signal.SIGUSR1)
        worker = load()
        emit(Started(os.getpid()))
        started = time.process_time()
        worker.measure(request, emit)
    except BaseException as error:  # whatever a user's cell raises is this run's failure, and only this run's
        traceback.print_exc()
        status = Status.INVALID if isinstance(error, InvalidRun) else Status.FAILED
        text = str(error) if isinstance(error, InvalidRun | FailedRun) else failure_reason(error)
    try:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # closed by the user's code, or the disk is full
                stream.flush()
        emit(Finished(status, text, time.process_time() - started))
    finally:
        os._exit(0)  # not sys.exit: the server's exit handlers and the backend's teardown are not this run's business


def _redirect(log: Path) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for target in (1, 2):
        os.dup2(out, target)
    os.close(out)


if __name__ == "__main__":
    main(sys.argv[1:])
