"""The GPU kit from end to end on a CPU: without TensorFlow, without a network, killed in the middle and called again.

    python -m scripts.gpu_kit_dry_run PYTHON [--minutes 60]

PYTHON is the interpreter of an environment like that of the machine with the GPU: torch and JAX, no Keras and no
TensorFlow. The kit is built for its version, and its script runs in a network namespace with nothing in it, which needs
root (`unshare -n`). All its processes are killed during the second run. The cases are reduced.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.core.code import from_json
from bench.run.gpu_kit import build_kit
from bench.store import load

_REDUCED = (
    *("cells=lstm", "kernels=generic", "seeds=0", "tasks=mnist_5k", "steps=0", "features=0", "batch_size=32"),
    *("units=16", "train_samples=128", "epochs=2", "latency_calls=5", "threads=1"),
)
"""Two runs of each suite: what differs between the parts of `gpu_8min` is set alike. One thread, since torch's wait for
each other where the machine is busy: a run of one minute took sixteen."""
_LOG = Path("gpu_kit_dry_run.log")


def main() -> None:
    """Build, run, kill, run again; print what came back, and end with 1 where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python")
    parser.add_argument("--minutes", type=float, default=60.0)
    given = parser.parse_args()
    version = _said_by(given.python, "import sys; print('%d.%d' % sys.version_info[:2])")
    present = _said_by(
        given.python, "import importlib.util as u; print([n for n in ('keras', 'tensorflow') if u.find_spec(n)])"
    )
    if present != "[]":
        sys.exit(f"{given.python} has {present}: the machine with the GPU has not")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-gpu-kit-") as name:
        folder = Path(name)
        size = build_kit(folder / "kit", version)
        print(f"kit for Python {version}: {size / (1 << 20):.0f} MiB", flush=True)
        out = folder / "out"
        command = ["unshare", "-n", given.python, str(folder / "kit" / "run.py"), "--out", str(out)]
        command += ["--device", "cpu", "--minutes", str(given.minutes)]
        command += [word for text in _REDUCED for word in ("--set", text)]
        before = _killed(command, out)
        print(f"killed during the second run: {before} is stored", flush=True)
        code = _environed(command).wait()
        shutil.copyfile(out / "log.txt", _LOG)
        runs = load([out / "store"]).drop_duplicates("run_id")
        print(f"called again: exit code {code}, {len(runs)} runs in {len(list(out.glob('store/runs/*')))} file")
        print(runs.groupby(["backend", "task", "suite", "attested_kernel", "status"], observed=True).size().to_string())
        page, log = out / "report" / "index.html", _LOG.read_text(encoding="utf-8").splitlines()
        print(f"report: {page.stat().st_size >> 10} KiB; log: {len(log)} lines")
        whole = code == 0 and len(runs) == 4 and set(runs["status"]) == {"ok"}
        # what the kit brings is no user's code
        good = whole and all(runs["program_commit"].notna()) and not any(map(from_json, runs["code_json"]))
        print(f"{'all well' if good else f'NOT WELL: see {_LOG}'}, after {(time.monotonic() - started) / 60:.0f} min")
        sys.exit(not good)


def _said_by(python: str, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _environed(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """The command, with a lock of its own: the rest of the machine may be timing something."""
    lock = Path(tempfile.gettempdir()) / "bench-gpu-kit.lock"
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "BENCH_MACHINE_LOCK": str(lock)},
    )


def _killed(command: Sequence[str], out: Path) -> int:
    """Kill all that the command has started, while it does its second run; the number of runs that are stored."""
    process = _environed(command)
    while not list(out.glob("store/runs/*.parquet")):
        if process.poll() is not None:
            sys.exit(f"it ended before it was killed, with {process.returncode}: see {out / 'log.txt'}")
        time.sleep(0.5)
    time.sleep(5.0)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return len(list(out.glob("store/runs/*.parquet")))


if __name__ == "__main__":
    main()
