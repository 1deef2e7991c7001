"""What `bench gpu-kit` puts into its folder as `run.py`: checks, measures, folds and reports, on a machine with a GPU.

    python3.12 run.py [--minutes 8] [--out DIR] [--device gpu:0] [--precision train_seconds=2%] [--set axis=value …]

Python's standard library alone: nothing of bench can be imported before this has unpacked it. Whatever cuts it off, the
same command goes on from there: what is measured is in the store, run by run, and what was tested is kept beside it.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

KIT = Path(__file__).resolve().parent
REPORT_SECONDS = 45.0
"""What folding and the report may take at the end: of the minutes that are given, so much is not measured in."""
KEPT = ".kit"
"""The folder, beside the store, of what was unpacked, and of what was tested once."""
_BENCH = "from bench.cli import main; main()"
_END_SECONDS = 15.0
"""How long a command may take to end that is interrupted."""
_PR_SET_PDEATHSIG = 1
_PATIENCE_SECONDS = 120.0
"""How long the last run may go on behind its time."""


class CannotRunError(Exception):
    """Why nothing can be measured here, in a sentence."""


def main(arguments: Sequence[str]) -> int:
    """Do all of it; the exit code is 0 where the report was made, 2 where nothing can be measured here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="all that it may take (8)")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="where store, log and report are left")
    parser.add_argument("--device", default="gpu:0", help="gpu:0; cpu tries it all without a GPU")
    parser.add_argument(
        "--precision",
        default="train_seconds=2%",
        help="how narrow gpu_duel's intervals are to become; not asked for where --set has seeds or repeats",
    )
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="as bench run takes it")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    out: Path = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with (out / "log.txt").open("a", encoding="utf-8") as log:

        def report(text: str) -> None:
            print(text, flush=True)
            print(text, file=log, flush=True)

        facts = json.loads((KIT / "kit.json").read_text(encoding="utf-8"))
        report(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} bench {facts['version']} {facts['commit'] or ''}")
        try:
            check(facts)
        except CannotRunError as refusal:
            report(f"cannot run: {refusal}")
            return 2
        # named as Python names it, by which what was imported from there is known to be installed, and no user's code
        site = unpack(out / KEPT / "site-packages", report)
        steps = Steps(out, [site, KIT / "program"], report, deadline=started + 60 * given.minutes - REPORT_SECONDS)
        return steps.run(given.device, given.overrides, given.precision)


def check(facts: dict[str, object]) -> None:
    """See that this machine can use the kit.

    Args:
        facts: those of `kit.json`.

    Raises:
        CannotRunError: it cannot; the sentence has the way out.
    """
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if here != facts["python"]:
        raise CannotRunError(
            f"the wheels are for Python {facts['python']}, and this is {here}: python{facts['python']} run.py"
        )
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise CannotRunError(
            f"the wheels are for Linux on x86_64, and this is {platform.system()} on {platform.machine()}"
        )
    there = [str(name) for name in list(facts["there"])]  # type: ignore[call-overload]
    missing = [name for name in there if importlib.util.find_spec(name) is None]
    backends = [name for name in ("torch", "jax") if name not in missing]
    needed = [name for name in missing if name not in ("torch", "jax")]
    if needed or not backends:
        names = ", ".join(needed or ["torch or jax"])
        raise CannotRunError(
            f"this Python lacks {names}, which are too large for the kit: install them, or name another Python"
        )


def unpack(site: Path, report: Callable[[str], None]) -> Path:
    """Unpack those of the kit's wheels that this Python lacks, or has in an older version; once for a folder."""
    if site.exists():
        return site
    begun = site.with_name(site.name + ".tmp")
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir(parents=True)
    for wheel in sorted((KIT / "wheels").glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        if is_lacking(name, version):
            report(f"unpacking {name} {version}")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(begun)
    begun.rename(site)
    return site


def is_lacking(distribution: str, version: str) -> bool:
    """Whether this Python has no such distribution, or an older one."""
    try:
        return _numbers(metadata.version(distribution)) < _numbers(version)
    except metadata.PackageNotFoundError:
        return True


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version.partition("+")[0])]


class Steps:
    """The commands of bench, one after another, each with what is left of the time.

    Args:
        out: where store, log and report are left.
        path: the folders that modules are imported from before the interpreter's own.
        report: is given each line of what goes on.
        deadline: when measuring ends, by `time.monotonic`.
    """

    def __init__(self, out: Path, path: Sequence[Path], report: Callable[[str], None], deadline: float) -> None:
        self._out, self._report, self._deadline = out, report, deadline
        self._store = out / "store"
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "PYTHONUNBUFFERED": "1",
            "BENCH_CACHE_DIR": str(out / KEPT / "cache"),
        }

    def run(self, device: str, overrides: Sequence[str], precision: str) -> int:
        """Measure as long as there is time, then fold, show the table and report; the exit code of the report."""
        self._tool(["nvidia-smi"])
        self._bench(["env"])
        chosen = ["--set", f"devices={device}", *(word for text in overrides for word in ("--set", text))]
        # the first block shows what was asked first, before anything that makes the others faster
        if not any(self._store.glob("runs/*.parquet")):
            self._measure("gpu_8min", chosen, minutes=1e-3)
        if device != "cpu" and self._left() > 0 and not any((self._out / KEPT / "cache" / "forking").glob("*.json")):
            self._bench(["env", "--forking", device])
        self._measure("gpu_8min", chosen)
        # which goes on with a new seed in each block, so that what sets the seeds excludes it
        until = [] if any(text.startswith(("seeds=", "repeats=")) for text in overrides) else ["--precision", precision]
        self._measure("gpu_duel", [*chosen, *until])
        self._bench(["compact", "--results", str(self._store)], seconds=_PATIENCE_SECONDS)
        self._bench(["table", str(self._store)], seconds=_PATIENCE_SECONDS)
        return self._bench(["report", str(self._store), "--out", str(self._out / "report")], seconds=_PATIENCE_SECONDS)

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _measure(self, suite: str, chosen: Sequence[str], minutes: float | None = None) -> None:
        """Run a suite's blocks that fit into the time that is left, or its first one."""
        if self._left() > 0:
            limit = self._left() / 60 if minutes is None else minutes
            self._bench(["run", suite, *chosen, "--results", str(self._store), "--minutes", f"{limit:.4f}"])

    def _bench(self, arguments: Sequence[str], seconds: float | None = None) -> int:
        """A command of bench; interrupted, as Ctrl-C does, where it goes on behind its time."""
        self._report(f"$ bench {' '.join(arguments)}")
        limit = max(0.0, self._left()) + _PATIENCE_SECONDS if seconds is None else seconds
        return self._tool([sys.executable, "-c", _BENCH, *arguments], limit)

    def _tool(self, command: Sequence[str], seconds: float = _PATIENCE_SECONDS) -> int:
        """Run a command, each line of which is reported as it comes; 127 where there is none of that name."""
        try:
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=self._environment,
                cwd=self._out,
                preexec_fn=_interrupted_with_its_parent,
            ) as process:
                timers = [
                    threading.Timer(seconds, process.send_signal, [signal.SIGINT]),
                    threading.Timer(seconds + _END_SECONDS, process.kill),
                ]
                for timer in timers:
                    timer.start()
                assert process.stdout is not None
                for line in process.stdout:
                    self._report(line.rstrip("\n"))
                process.wait()
                for timer in timers:
                    timer.cancel()
        except FileNotFoundError as error:
            self._report(f"{error.filename} is not here")
            return 127
        return process.returncode


def _interrupted_with_its_parent() -> None:
    """In a command's process: let it end where this script is killed, or it would go on, and own the campaign."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
