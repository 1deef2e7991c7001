"""A node with another environment than the driver's is refused, and equipped with `--provision`: for real, and timed.

    python -m scripts.provision_node [--warm]

The node is a Ray cluster of one node on this machine, started from an environment with Ray and uv alone, with caches of
its own, so that uv has to fetch everything (`--warm`: from this user's cache of uv). The driver is `bench run quick`,
reduced, with this Python environment. In turn: without --provision; two drivers at once, with it; again, when the
environment is there; killed, with the process that builds, while uv installs, and again at once; without a network;
with a full disk; and on a node that has everything, but another Keras. Ends with 1 where one of these ended otherwise
than it should.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.cluster.local_cluster import environment, loopback_environment
from bench.core.errors import ExitCode
from bench.host.environments import installed_lock, run_uv
from bench.run.lock import LOCK_VARIABLE
from tests.support.harness import ROOT

OTHER_KERAS = "3.12.0"
WHAT = "the node's environment"
_SMALL_DISK = "64m"
_RAY = """
import sys
from ray.cluster_utils import Cluster
for attempt in range(5):  # Ray gives a node 30 s, which are too few where the machine is busy
    cluster = Cluster(shutdown_at_exit=True)
    try:
        cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1", include_dashboard=False, object_store_memory=10**8)
        break
    except Exception:
        pass
print("address", cluster.address, flush=True)
sys.stdin.read()
"""
_REDUCED = ("cells=simple_rnn,lstm", "backends=torch", "epochs=1", "train_samples=320", "units=16")


@dataclass
class Driver:
    """A call of `bench run`."""

    process: subprocess.Popen[str]
    begun: float

    def end(self) -> tuple[int, float, str]:
        """The exit code, seconds, and what it printed as messages."""
        printed = self.process.communicate()[1]
        return self.process.returncode, time.monotonic() - self.begun, printed


class Trials:
    """What was tried, and what ended otherwise than it should.

    Args:
        folder: for results.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self.problems: list[str] = []

    def driver(self, address: str, *options: str) -> Driver:
        """Start a call, of a seed and a results folder of its own."""
        self._number += 1
        settings = [word for text in (*_REDUCED, f"seeds={self._number}") for word in ("--set", text)]
        where = ["--results", str(self._folder / f"results-{self._number}"), "--on", "ray", "--address", address]
        process = subprocess.Popen(
            [sys.executable, "-m", "bench", "run", "quick", *settings, *where, *options],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        return Driver(process, time.monotonic())

    def check(self, what: str, driver: Driver, code: ExitCode, *words: str) -> None:
        """Wait for a call to end, and report it with the lines that have the words it should have printed."""
        ended, seconds, printed = driver.end()
        print(f"{what}: exit code {ended}, {seconds:.0f} s", flush=True)
        for word in words:
            lines = [line.strip() for line in printed.splitlines() if word in line]
            print(f"    {lines[-1]}" if lines else f"    nothing with {word!r}", flush=True)
        if ended != code or any(word not in printed for word in words):
            self.problems.append(f"{what}:\n{printed}")

    def require(self, what: str, holds: bool) -> None:
        """Report a fact that should hold."""
        print(f"    {what}: {'yes' if holds else 'NO'}", flush=True)
        if not holds:
            self.problems.append(what)


@contextlib.contextmanager
def a_node(interpreter: Path, **variables: str) -> Iterator[tuple[str, psutil.Process]]:
    """A cluster of one node that this interpreter starts: its address, and its process."""
    process = subprocess.Popen(
        [str(interpreter), "-c", _RAY],
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
    )
    assert process.stdout is not None
    try:
        words = next((line.split() for line in process.stdout if line.startswith("address ")), None)
        if words is None:
            raise OSError("Ray could not start the node")
        yield words[1], psutil.Process(process.pid)
    finally:
        process.kill()  # the kernel ends what it has started
        process.wait()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of its own in the folder; False where none can be mounted."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SMALL_DISK}", "none", str(folder)])
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def environment_of(folder: Path, requirements: str, *options: str) -> Path:
    """The interpreter of an environment with these requirements, installed with these options of uv."""
    listed = folder.with_suffix(".txt")
    listed.write_text(requirements)
    interpreter = folder / "bin" / "python"
    run_uv(WHAT, "venv", "-q", "--python", sys.executable, str(folder))
    run_uv(WHAT, "pip", "install", "-q", *options, "--python", str(interpreter), "-r", str(listed))
    return interpreter


def _installing(node: psutil.Process, environments: Path) -> psutil.Process | None:
    """The uv that installs into an environment, if there is one."""
    for process in node.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if "install" in words and any(word.startswith(str(environments)) for word in words):
                return process
    return None


def killed(trials: Trials, address: str, node: psutil.Process, environments: Path) -> None:
    """Kill the driver, and the process on the node that builds, while uv installs."""
    driver = trials.driver(address, "--provision")
    while (uv := _installing(node, environments)) is None:
        if driver.process.poll() is not None:
            trials.problems.append(f"ended before it was killed:\n{driver.end()[2]}")
            return
        time.sleep(0.05)
    parent = uv.parent()
    driver.process.kill()
    if parent is not None:
        parent.kill()
    driver.end()
    print("killed, with the process that builds, while uv installs", flush=True)
    trials.require("no half environment counts as complete", not list(environments.glob("*/complete")))


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warm", action="store_true", help="take packages from this user's cache of uv")
    warm: bool = parser.parse_args().warm
    with tempfile.TemporaryDirectory(prefix="prov-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        variables = {"RAY_TMPDIR": name, LOCK_VARIABLE: str(folder / "lock"), "RAY_USAGE_STATS_ENABLED": "0"}
        with loopback_environment(), environment(variables):
            trials = Trials(folder)
            try_all(trials, folder, {} if warm else {"UV_CACHE_DIR": str(folder / "uv")})
    print("\n".join(trials.problems) or "all well")
    return bool(trials.problems)


def try_all(trials: Trials, folder: Path, uv: dict[str, str]) -> None:
    """Try everything.

    Args:
        trials: does it.
        folder: for all files.
        uv: environment variables of the nodes on which uv may fetch.
    """
    bare = environment_of(folder / "bare", f"ray=={importlib.metadata.version('ray')}\nuv\n")
    cache, environments = {"BENCH_CACHE_DIR": str(folder / "cache")}, folder / "cache" / "environments"
    with a_node(bare, **cache, **uv) as (address, node):
        trials.check("without --provision", trials.driver(address), ExitCode.USAGE, "has no such program")
        pair = [trials.driver(address, "--provision") for _ in range(2)]
        for driver in pair:
            trials.check("two drivers at once, the first time", driver, ExitCode.OK)
        (complete,) = environments.glob("*/complete")
        trials.check("again", trials.driver(address, "--provision"), ExitCode.OK)
        complete.unlink()
        killed(trials, address, node, environments)
        trials.check("again, at once", trials.driver(address, "--provision"), ExitCode.OK)
        trials.require("the environment is complete", complete.exists())
    offline = {"BENCH_CACHE_DIR": str(folder / "offline"), "UV_CACHE_DIR": str(folder / "empty"), "UV_OFFLINE": "1"}
    with a_node(bare, **offline) as (address, _):
        trials.check("no network", trials.driver(address, "--provision"), ExitCode.USAGE, "cannot be built", "UV_INDEX")
    with small_disk(folder / "disk") as mounted:
        if mounted:
            with a_node(bare, BENCH_CACHE_DIR=str(folder / "disk")) as (address, _):
                full = trials.driver(address, "--provision")
                trials.check("a full disk", full, ExitCode.USAGE, "cannot be built", "No space left")
            left = [path.suffix for path in (folder / "disk" / "environments").iterdir()]
            trials.require("nothing of it is left", left == [".lock"])
    lock = "".join(
        f"keras=={OTHER_KERAS}\n" if line.startswith("keras==") else f"{line}\n"
        for line in installed_lock()[0].splitlines()
    )
    other = environment_of(folder / "other", lock, "--no-deps")
    with a_node(other, PYTHONPATH=str(ROOT), **cache, **uv) as (address, _):
        trials.check("another Keras", trials.driver(address), ExitCode.USAGE, f"→ {OTHER_KERAS}")
        trials.check("another Keras, equipped", trials.driver(address, "--provision"), ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
