"""Trials of `bench` in which one system call fails, or all from one on: no space, no descriptors, a read-only disk.

`failing_calls.c`, loaded before the C library (LD_PRELOAD), counts the calls of a trial that concern its folder and
makes the chosen one fail, in the harness and in all processes that it starts. A server has imported everything, and
forks a process for each trial, which then takes a fraction of a second. `bench run` has the fake worker and fake
ceilings, `bench duel` the fake side, and `bench data fetch` a task of some 9 kB.
"""

from __future__ import annotations

import atexit
import errno
import functools
import gc
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

if TYPE_CHECKING:
    from bench.catalog.tasks import Task

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "LD_PRELOAD"
CONTROL = "BENCH_FAILING_CALLS"
TINY_TASK = "tiny"
ADDRESS = "BENCH_TEST_ADDRESS"
"""Where the tiny task is downloaded from."""
_LAYOUT = struct.Struct("=6q1024s2048s")
_TRIAL_SECONDS = 600.0


class Call(IntEnum):
    """The kinds of calls, as failing_calls.c numbers them."""

    OPEN = 0
    OPEN_TO_WRITE = 1
    CREATE = 2
    WRITE = 3
    SYNC = 4
    CLOSE = 5
    LINK = 6
    RENAME = 7
    MKDIR = 8
    REMOVE = 9
    TRUNCATE = 10
    CHMOD = 11
    DESCRIPTOR = 12


_GROWING = (Call.CREATE, Call.WRITE, Call.SYNC, Call.CLOSE, Call.LINK, Call.RENAME, Call.MKDIR, Call.TRUNCATE)
_NAMES = (Call.LINK, Call.RENAME, Call.MKDIR, Call.REMOVE, Call.TRUNCATE, Call.CHMOD)


@dataclass(frozen=True)
class Failure:
    """How a call fails: the error, whether all later calls do too, and the kinds of calls that can fail so."""

    error: int
    stays: bool
    kinds: tuple[Call, ...]


FAILURES: Mapping[str, Failure] = {
    "ENOSPC": Failure(errno.ENOSPC, True, _GROWING),
    "ENOSPC once": Failure(errno.ENOSPC, False, _GROWING),
    "EDQUOT": Failure(errno.EDQUOT, True, _GROWING),
    "EIO once": Failure(errno.EIO, False, (Call.OPEN_TO_WRITE, *_GROWING, Call.REMOVE, Call.CHMOD)),
    "EROFS": Failure(errno.EROFS, True, (Call.OPEN_TO_WRITE, Call.CREATE, *_NAMES)),
    "EMFILE once": Failure(errno.EMFILE, False, (Call.OPEN, Call.OPEN_TO_WRITE, Call.CREATE, Call.DESCRIPTOR)),
}


@dataclass(frozen=True)
class Trial:
    """What came of one trial."""

    code: int
    """The exit code; below 0 the signal that ended it."""
    printed: str
    """Standard output and error; only the latter where the output went to a file of the folder."""
    failed: str
    """The first call that was made to fail, with its path; empty where the trial had fewer calls than that."""
    count: int
    """The calls that could have failed."""


def compiler() -> str | None:
    """The C compiler of this machine; None where there is none."""
    return shutil.which("cc") or shutil.which("gcc") if sys.platform == "linux" else None


def build(folder: Path) -> Path:
    """The library, built into a folder."""
    built, source, program = folder / "failing_calls.so", Path(__file__).with_suffix(".c"), compiler()
    assert program is not None
    subprocess.run([program, "-O1", "-fPIC", "-shared", "-o", str(built), str(source), "-ldl"], check=True)
    return built


class Trials:
    """The server of trials; a context manager.

    Args:
        scratch: a folder for the library, the control file and what the trials print; not that of the trials.
        environment: variables for all trials.
    """

    def __init__(self, scratch: Path, environment: Mapping[str, str]) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._control, self._printed = scratch / "control", scratch / "printed"
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.failing_calls"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, LIBRARY: str(build(scratch)), **environment},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        failure: Failure | None = None,
        number: int = 0,
        *,
        output: Path | None = None,
        errors: Path | None = None,
    ) -> Trial:
        """Run `bench` once.

        Args:
            arguments: behind `bench`.
            folder: the calls that concern what lies below it can fail; also the working folder.
            failure: how.
            number: which of the calls fails, from 1; 0 for none.
            output: where standard output goes; None leaves it to `Trial.printed`.
            errors: where standard error goes, likewise.
        """
        chosen = failure or Failure(0, False, ())
        kinds = sum(1 << kind for kind in chosen.kinds)
        values = (number, chosen.error, int(chosen.stays), kinds, 0, 0, f"{folder}/".encode(), b"")
        self._control.write_bytes(_LAYOUT.pack(*values))
        self._printed.write_bytes(b"")
        asked = {
            "arguments": list(arguments),
            "folder": str(folder),
            "control": str(self._control),
            "output": str(output or self._printed),
            "errors": str(errors or self._printed),
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(asked), file=self._server.stdin, flush=True)
        code = int(self._server.stdout.readline())
        *_, count, _, _, first = _LAYOUT.unpack(self._control.read_bytes())
        kind, _, path = first.rstrip(b"\0").decode(errors="replace").partition(" ")
        failed = f"{Call(int(kind)).name.lower()} {path}" if path else ""
        return Trial(code, self._printed.read_text(errors="replace"), failed, count)


# --- the server ---


def main() -> None:
    """Fork a process for each line of standard input; print its exit code."""
    import signal

    from bench.run import ceiling_runs, session
    from tests.support import harness

    _import_all()
    _register_tiny_task()
    fake_ceilings = functools.partial(ceiling_runs.measure_ceilings, worker="tests.support.fake_ceilings")
    setattr(session, "measure_ceilings", fake_ceilings)  # noqa: B010 - it is the session's import
    gc.freeze()  # a trial's collections must not copy all that is imported
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(asked)
            _end(harness.main)
        signal.signal(signal.SIGALRM, lambda *_, child=child: os.kill(child, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, _TRIAL_SECONDS)
        _, status = os.waitpid(child, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(asked: Mapping[str, str]) -> None:
    """Make this process that of a trial: its streams, its folder, and from now on its failing calls."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    streams = [os.open(os.devnull, os.O_RDONLY), os.open(asked["output"], flags), os.open(asked["errors"], flags)]
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the rest of the other one's buffer is the server's
    os.chdir(asked["folder"])
    sys.argv = ["bench", *asked["arguments"]]
    os.environ[CONTROL] = asked["control"]


def _end(command: Callable[[], None]) -> NoReturn:
    """Run a command, and end as the interpreter would, but for giving back the memory of all that is imported."""
    try:
        command()
        code: object = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        code = 120
    os._exit(code if isinstance(code, int) else 1)


def _import_all() -> None:
    import matplotlib.backends.backend_svg  # noqa: F401
    import seaborn  # noqa: F401

    import bench.analysis.comparison
    import bench.duel.procedure
    import bench.report.figures.history_plot
    import bench.report.page  # noqa: F401


def _register_tiny_task() -> None:
    from bench.catalog.tasks import TASKS

    TASKS[TINY_TASK] = tiny_task()[0]


def tiny_task() -> tuple[Task, bytes]:
    """MNIST with 7 images to train on and 4 to test with, and its `.npz` file."""
    import numpy as np

    from bench.catalog.tasks import TASKS, Arrays, content_digest, part_digests, write_npz
    from bench.catalog.tasks.sources import Download

    draw = np.random.default_rng(11)
    train, test = (draw.integers(0, 256, (count, 28, 28), np.uint8) for count in (7, 4))
    arrays = Arrays(train, draw.integers(0, 10, 7, np.uint8), test, draw.integers(0, 10, 4, np.uint8))
    task = replace(
        TASKS["mnist"],
        name=TINY_TASK,
        train_samples=7,
        test_samples=4,
        digest=content_digest(arrays),
        part_digests=part_digests(arrays),
        sources=(Download(os.environ.get(ADDRESS, "http://127.0.0.1:9/")),),
    )
    file = io.BytesIO()
    write_npz(file, arrays, compressed=False)
    return task, file.getvalue()


if __name__ == "__main__":
    main()
