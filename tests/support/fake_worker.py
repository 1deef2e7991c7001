"""A worker without Keras. What a run does is said by a JSON file: by its label ("lstm seed=1"), its cell, or "*".

A user's task is read as in a real run; of one that is about numbers it gives the scores of numbers.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.catalog import tasks
from bench.core.case import Case
from bench.core.code import ImportedModule, to_json
from bench.core.observation import Observation, RunMetadata
from bench.core.protocol import Began, Emit, FailedRun, InvalidRun, Request
from bench.worker.data import task_of

SCRIPT = "BENCH_FAKE_SCRIPT"
"""The environment variable that names the file; read anew by each run."""

SECONDS = {"simple_rnn": 1.0, "lstm": 2.0, "gru": 1.5}
"""What a training epoch of each cell is said to take."""
ACCURACY = {"simple_rnn": 0.93, "lstm": 0.97, "gru": 0.98}


def forked() -> bool:
    """Whether this run was forked from a server that has imported this module."""
    return sys.argv[1] == "serve"


def preload(backend: str) -> None:
    print(f"importing {backend}")
    obey(read_script().get("import", "nothing"))


def measure(request: Request, emit: Emit) -> None:
    case, script = request.case, read_script()
    task = task_of(request) if ":" in case.task else None
    learns_numbers = task is not None and not task.target.is_class
    r2: float | None = None
    what = script.get(case.label()) or script.get(case.cell) or script.get("*", "nothing")
    # as in real runs: the machine's state is known from the start, and reported however the run ends
    emit(Began("build"))
    emit(Observation(phase="build", seconds=0.1, cpu_seconds=0.1))
    try:
        time.sleep(script.get("seconds", 0.0))
        obey(what)
        wrong = what == "lose more forked" and forked()
        loss = _train(case, emit, math.nan if what == "nan" else 0.5 if wrong else 0.0, learns_numbers)
        r2 = 1 - loss if learns_numbers else None
    finally:
        emit(
            RunMetadata(
                parameters=1_000 + len(case.cell),
                r2=r2,
                task_json=tasks.to_json(task) if task else None,
                attested_kernel="generic",
                data_digest=request.data.name if request.data else "generated",
                rss_start_bytes=2**20,
                peak_rss_bytes=2**21,
                load_start=0.5,
                code_json=to_json(
                    ImportedModule(name=Path(name).stem, file=name, sha256=sha256(Path(name).read_bytes()).hexdigest())
                    for name in script.get("imports", ())
                ),
                extra_json=json.dumps(
                    {
                        "cpus": sorted(os.sched_getaffinity(0)),
                        "keras": os.environ["KERAS_BACKEND"],
                        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
                    }
                ),
            )
        )


def _train(case: Case, emit: Emit, more_loss: float, learns_numbers: bool) -> float:
    accuracy = ACCURACY[case.cell] + 0.001 * (case.seed * len(case.cell) % 7)
    loss = 1 - accuracy + more_loss
    score: dict[str, Any] = {"mae": loss} if learns_numbers else {"accuracy": accuracy}
    emit(Began("compile"))
    emit(Observation(phase="compile", seconds=2.0, cpu_seconds=3.0))
    for epoch in range(1, case.epochs + 1):
        directions = 2 if case.bidirectional else 1
        for phase, seconds in (("train", directions * SECONDS[case.cell]), ("validate", 0.25)):
            emit(Began(phase, epoch))
            emit(Observation(phase=phase, epoch=epoch, seconds=seconds, samples=4_000, loss=loss, **score))
            if not math.isfinite(loss):
                raise FailedRun(f"the loss isn't finite: {loss} in {phase} of epoch {epoch}")
    emit(Observation(phase="evaluate", seconds=0.5, samples=1_000, loss=loss, **score))
    return loss


def read_script() -> dict[str, Any]:
    """What the file says, which may have changed since this process began."""
    script: dict[str, Any] = json.loads(Path(os.environ[SCRIPT]).read_text()) if SCRIPT in os.environ else {}
    return script


def obey(what: str) -> None:
    """Do what the script says."""
    match what:
        case "nothing" | "nan" | "lose more forked":
            pass
        case "raise":
            raise ValueError("the shapes (3, 4) and (5,) don't fit\nand more on a second line")
        case "fail":
            raise FailedRun("the cell cannot be built")
        case "invalid":
            raise InvalidRun("asked for the kernel cudnn, but generic ran")
        case "leave":
            sys.exit(0)
        case "exit":
            os._exit(7)
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill server":
            os.kill(os.getppid(), signal.SIGKILL)
        case "hang":
            _sleep()
        case "raise forked":
            if forked():
                raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")
        case "hang forked":
            if forked():
                _sleep()
        case "hold the GIL":
            print("holding", flush=True)
            ctypes.PyDLL(None).sleep(1_000)
        case "print much":
            for number in range(5_000):
                print(f"line {number} of what a user's cell prints " + "x" * 60)
            os.system(f"{sys.executable} -c \"print('from a program of its own')\"")
        case "print and raise":
            print("about to go wrong")
            raise OSError(28, "No space left on device")
        case "close stdout":
            sys.stdout.close()
            os.close(1)
        case "leave a program":
            # neither of them closes what it has inherited, and both outlive the run
            subprocess.Popen(["sleep", "1000"], close_fds=False)
            if os.fork() == 0:
                _sleep()
        case "leave a program and die":
            obey("leave a program")
            os._exit(7)
        case "leave a program and hang":
            obey("leave a program")
            _sleep()
        case "many threads":
            for _ in range(20):
                threading.Thread(target=_sleep).start()
        case _:
            raise AssertionError(f"the script says {what!r}")


def _sleep() -> None:
    while True:
        time.sleep(1_000)
