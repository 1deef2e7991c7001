"""Commands of `bench` with the fake worker, forked from a process that has imported it: a start takes some 20 ms.

`python -m tests.support.zygote` reads a request a line: `{"start": …}` forks and prints the process id, `{"wait": pid}`
prints the exit code of a process that has ended, or null. A started command may raise a signal at one call of a
function by which files are written (`STEPS`): so production code needs no switch for it.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import harness
from tests.support.harness import ROOT, BenchProcess

STEPS = ("Path.open", "os.fsync", "os.link", "os.utime", "Path.unlink", "Path.replace", "Path.write_bytes")
"""The calls by which parts, manifests, leases, tables and reports are published, one after another."""
IMPORTED = (
    "bench.cli.run bench.run.session bench.store.compact bench.report.measured bench.report.markers bench.duel.record "
    "bench.duel.procedure bench.analysis.comparison bench.report.page bench.cli.progress bench.report.duel"
)


class ForkedProcess:
    """What `BenchProcess` needs of a `subprocess.Popen`, for a process that the zygote started."""

    def __init__(self, zygote: Zygote, pid: int) -> None:
        self._zygote, self.pid = zygote, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code; None while it lives."""
        if self.returncode is None:
            self.returncode = self._zygote.request({"wait": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end."""
        import time

        deadline = time.monotonic() + (timeout or 1e9)
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("bench", timeout or 0)
            time.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Zygote:
    """The process that others are forked from; a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def request(self, content: Mapping[str, Any]) -> Any:
        """Send a request; the reply."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(content) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@functools.cache
def shared_zygote() -> Zygote:
    """One for all tests of a file (`end_shared_zygote`)."""
    return Zygote()


def end_shared_zygote() -> None:
    """End it, where it was started: tests of other files count their processes and descriptors."""
    if shared_zygote.cache_info().currsize:
        with shared_zygote():
            shared_zygote.cache_clear()


def run_bench(
    *arguments: str, cwd: Path = ROOT, variables: Mapping[str, str] | None = None, timeout: float = 300.0
) -> subprocess.CompletedProcess[str]:
    """A command of `bench` with the fake worker, to its end: what `subprocess.run` would give, a second sooner.

    Args:
        arguments: of `bench`.
        cwd: the folder that it is given in.
        variables: of the environment, beside this process's.
        timeout: seconds, after which it is killed.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(variables or {})}
    with tempfile.TemporaryDirectory() as folder:
        output, errors = (Path(folder) / name for name in ("output", "errors"))
        request = {"argv": arguments, "env": environment, "output": str(output), "errors": str(errors), "cwd": str(cwd)}
        process = ForkedProcess(shared_zygote(), shared_zygote().request({"start": request}))
        try:
            code = process.wait(timeout)
        finally:
            process.send_signal(signal.SIGKILL)
        return subprocess.CompletedProcess([*arguments], code, output.read_text(), errors.read_text())


class ForkedBench(BenchProcess):
    """A command of `bench` that the zygote starts. Its `command` is the arguments alone."""

    zygote: Zygote

    def start(self, *more: str, step: Sequence[Any] | None = None) -> ForkedProcess:  # type: ignore[override]
        """Start the command.

        Args:
            more: arguments behind the command's.
            step: the function at whose call the process sends itself a signal, "before" or "after" the call, the number
                of the call from 1, and that of the signal.
        """
        self.output.touch()  # for who reads it before the process does anything
        environment = {**os.environ, **self.environment, "BENCH_TEST_MARK": self.mark}
        request = {"argv": [*self.command, *more], "env": environment, "output": str(self.output), "step": step}
        process = ForkedProcess(self.zygote, self.zygote.request({"start": request}))
        self.harness = process  # type: ignore[assignment]
        return process

    def stop(self) -> None:
        """See `BenchProcess`; a forked process does not bear the mark that its own processes have."""
        if self.harness is not None:
            self.harness.send_signal(signal.SIGKILL)
        super().stop()


def _signal_at(name: str, when: str, nth: int, number: int) -> None:
    """Let this process send itself a signal at the nth call of a function."""
    owner: Any = {"os": os, "Path": Path}[name.partition(".")[0]]
    attribute = name.partition(".")[2]
    real: Callable[..., Any] = getattr(owner, attribute)
    calls = 0

    @functools.wraps(real)
    def signalling(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        creates = attribute != "open" or "xb" in arguments
        calls += creates
        due = creates and calls == nth
        if due and when == "before":
            os.kill(os.getpid(), number)
        value = real(*arguments, **options)
        if due and when == "after":
            os.kill(os.getpid(), number)
        return value

    setattr(owner, attribute, signalling)


def _run(
    argv: list[str],
    env: dict[str, str],
    output: str,
    errors: str | None = None,
    cwd: str = str(ROOT),
    step: list[Any] | None = None,
) -> int:
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    writing = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    for target, source, flags in ((0, os.devnull, os.O_RDONLY), (1, output, writing), (2, errors or output, writing)):
        descriptor = os.open(source, flags, 0o666)
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[0] = cwd  # as `python -m` has it, and behind it what PYTHONPATH has
    sys.path[1:1] = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    tempfile.tempdir = None
    sys.argv = ["bench", *argv]
    if step is not None:
        _signal_at(*step)
    try:
        importlib.reload(harness).main()  # it has read its own variables when the zygote started
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        atexit._run_exitfuncs()
    return 0


def serve() -> None:
    """Do what standard input asks for, until it ends."""
    for name in IMPORTED.split():
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if not pid:
                code = 1
                try:
                    code = _run(**request["start"])
                    sys.stdout.flush()
                    sys.stderr.flush()
                finally:
                    os._exit(code)
            reply: int | None = pid
        else:
            ended, status = os.waitpid(request["wait"], os.WNOHANG)
            reply = os.waitstatus_to_exitcode(status) if ended else None
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    serve()
