"""Kills a campaign on a Ray cluster at random, lets it go on, and checks what it has kept.

    python -m scripts.kill_cluster [--kills 200] [--seed 0] [--out docs/cluster-kills.json]

Real Ray on this machine: a head and four nodes of two kinds (two may use a single processor, and so have another
fingerprint), the fake worker, and `bench run --on ray` as a process of its own. At random moments one of these gets
SIGKILL: the process of a run, a worker's server, a node's process, a raylet, the head (GCS), or the driver; now and
then a node is stopped for 45 s, longer than the cluster waits for it, and continued. What died is started again, as an
administrator or a cloud would. When all kills are done the command is brought to its end. Then every case must have
exactly one last attempt, well, each block on one kind of machine, no attempt be stored twice, none be repeated on a
machine where it was well, and no process, lock, lease, temporary file or folder be left.

Each campaign adds a row to the file: interrupted, the same command goes on with the next one.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from bench import store
from bench.cluster.local_cluster import environment, loopback_environment
from bench.cluster.ray_nodes import SLOT
from bench.core.errors import ExitCode
from bench.run.lock import LOCK_VARIABLE
from bench.store.campaign import read_manifests
from tests.support.fake_worker import SCRIPT
from tests.support.harness import ROOT, BenchProcess, choose, fake_bench

WEIGHTS = {"run": 4.0, "server": 3.0, "node process": 5.0, "raylet": 4.0, "driver": 3.0, "head": 0.8, "stop": 0.3}
"""What is killed how often."""
KILLS_EACH = 20
"""Of a campaign."""
NODES = 4
STOPPED_SECONDS = 45.0
GIVEN_UP_SECONDS = 15.0
"""So long may a raylet that is continued take to learn that it was given up, and end."""
FINISH_SECONDS = 600.0
MEASURING = 0.75
"""The probability that a kill waits until a run is stored: else all would come while things start."""
START_SECONDS = 180.0
START_ATTEMPTS = 5
LEFT_SECONDS = 60.0
"""So long may what was killed, or has ended, take to go."""
CLUSTER_LEFT_SECONDS = 150.0
"""So long may Ray's own processes take: they wait a minute and more for a head that is gone."""
_EXPECTED = (ExitCode.OK, ExitCode.USAGE, ExitCode.RUNS_FAILED)
"""How a call of the command may end while things die: 2 where no node could measure, 4 where runs have failed."""


class Cluster:
    """A cluster whose nodes are processes of this machine, under a process of its own: that may die with its head.

    Args:
        folder: for the files of its nodes.
    """

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "cluster.log").open("ab")
        self._state: dict[str, Any] = {}
        for attempt in range(START_ATTEMPTS):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scripts.kill_cluster", "--serve"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
            )
            try:
                self._read()
                return
            except OSError:  # Ray gives a node 30 s, which are too few where the machine is busy
                self._process.kill()
                self._process.wait()
                if attempt == START_ATTEMPTS - 1:
                    raise

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self._state = json.loads(line)
                return
        raise OSError("the cluster could not be started, or its nodes not again")

    @property
    def address(self) -> str:
        """The head's."""
        return str(self._state["address"])

    def mend(self) -> None:
        """Start again the nodes whose raylet is dead.

        Raises:
            OSError: they can't be started.
        """
        assert self._process.stdin is not None
        self._process.stdin.write("mend\n")
        self._process.stdin.flush()
        self._read()

    def processes(self, target: str) -> list[psutil.Process]:
        """The processes that a kind of kill may be aimed at."""
        if target == "head":
            return _living([self._state["head"]])
        raylets = _living(self._state["raylets"])
        if target in ("raylet", "stop"):
            return raylets
        actors = [child for raylet in raylets for child in _children(raylet) if "NodeProcess" in command_line(child)]
        if target == "node process":
            return actors
        servers = [child for actor in actors for child in _children(actor) if "bench.worker" in command_line(child)]
        return servers if target == "server" else [child for server in servers for child in _children(server)]

    def close(self) -> None:
        """End everything, as where the power is cut: the kernel ends what the process has started."""
        self._process.kill()
        self._process.wait()
        self._log.close()


def serve() -> int:
    """Have a cluster, write its processes' ids to standard output, and mend it for each line of standard input."""
    from ray.cluster_utils import Cluster as RayCluster

    from bench.cluster.ray_nodes import import_ray

    import_ray()
    cluster = RayCluster(shutdown_at_exit=True)
    cluster.add_node(num_cpus=0, node_ip_address="127.0.0.1", include_dashboard=False)
    usable = os.sched_getaffinity(0)

    def started(number: int) -> Any:
        """Start a node; odd ones may use one processor."""
        os.sched_setaffinity(0, {max(usable)} if number % 2 else usable)
        try:
            return cluster.add_node(
                wait=False, num_cpus=1, resources={SLOT: 1}, node_ip_address="127.0.0.1", include_dashboard=False
            )
        finally:
            os.sched_setaffinity(0, usable)

    def tell() -> None:
        state = {
            "address": cluster.address,
            "head": cluster.head_node.all_processes["gcs_server"][0].process.pid,
            "raylets": [node.all_processes["raylet"][0].process.pid for node in nodes.values()],
        }
        print(json.dumps(state), flush=True)

    nodes = {number: started(number) for number in range(NODES)}
    cluster.wait_for_nodes(START_SECONDS)
    tell()
    for _ in sys.stdin:
        for number, node in nodes.items():
            if node.all_processes["raylet"][0].process.poll() is not None:
                node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
                cluster.worker_nodes.discard(node)
                nodes[number] = started(number)
        tell()
    return 0


def _living(ids: list[int]) -> list[psutil.Process]:
    living = []
    for each in ids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(each)
            if process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
    return living


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children())
    except psutil.Error:
        return []


def command_line(process: psutil.Process) -> str:
    """Of a process that may end while it is asked."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "cluster-kills.json")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cluster goes
    rows: list[dict[str, Any]] = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    while sum(sum(row["kills"].values()) for row in rows) < arguments.kills:
        with tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True) as scratch:
            row = campaign(Path(scratch), f"{arguments.seed}/{len(rows)}")
            if row["wrong"]:
                kept = ROOT / "results" / "local" / f"kill-cluster-{len(rows)}"
                shutil.copytree(scratch, kept, dirs_exist_ok=True, ignore=lambda *_: {"sockets", "temporary"})
        rows.append(row)
        print(row, flush=True)
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["wrong"] for row in rows))


def campaign(folder: Path, seed: str) -> dict[str, Any]:
    """A campaign, its kills, and what is wrong afterwards."""
    begun = time.monotonic()
    script, results, temporary = folder / "script.json", folder / "results", folder / "temporary"
    temporary.mkdir()
    script.write_text(json.dumps({"seconds": 1.0}))
    variables = {
        "PYTHONPATH": str(ROOT),
        "RAY_TMPDIR": str(folder),
        "TMPDIR": str(temporary),
        SCRIPT: str(script),
        LOCK_VARIABLE: str(folder / "lock"),
    }
    with loopback_environment(), environment(variables):
        episode = Episode(folder, random.Random(seed))
        try:
            episode.kill_some()
            script.write_text(json.dumps({"seconds": 0.0}))
            episode.finish()
        finally:
            episode.close()
    wrong = episode.wrong
    wrong += gone(
        lambda: [f"{each.pid} {command_line(each).strip()[:120]} is left" for each in processes_of(folder)],
        CLUSTER_LEFT_SECONDS,
    )
    wrong += left_behind(folder)
    text = (folder / "output").read_text(errors="replace")
    return {
        "seed": seed,
        "kills": dict(episode.kills),
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "load": round(os.getloadavg()[1], 1),
        **stored(results, wrong),
        "lost": text.count(" was lost"),
        "quarantined": text.count(" is quarantined"),
        "wrong": wrong,
    }


class Episode:
    """A campaign whose processes are killed.

    Args:
        folder: for all its files.
        generator: says what is killed, and when.
    """

    def __init__(self, folder: Path, generator: random.Random) -> None:
        self._folder, self._generator = folder, generator
        self.kills = Counter[str]()
        self.wrong: list[str] = []
        self._cluster = Cluster(folder)
        self._bench = self._driver()

    def _driver(self) -> BenchProcess:
        sets = ("tasks=mnist_5k", "seeds=0..79", "epochs=1")
        settings = [part for setting in sets for part in ("--set", setting)]
        options = ("--results", str(self._folder / "results"), "--on", "ray", "--address", self._cluster.address)
        return BenchProcess(fake_bench("run", "quick", *settings, *options), self._folder / "output")

    def kill_some(self) -> None:
        """Kill until it has been done often enough, or all is measured."""
        self._bench.start("--retry-failed")
        while sum(self.kills.values()) < KILLS_EACH:
            if self._generator.random() < MEASURING:
                self._let_it_measure()
            time.sleep(self._generator.uniform(0.0, 4.0))
            assert self._bench.harness is not None
            code = self._bench.harness.poll()
            if code is None:
                self._kill(choose(self._generator, WEIGHTS))
            elif code == ExitCode.OK:
                return
            else:
                self._check(code, *_EXPECTED)
                self._bench.start("--retry-failed")

    def _let_it_measure(self) -> None:
        """Wait until the command has stored a run more, or has ended."""
        driver, parts = self._bench.harness, self._folder / "results" / "runs"
        before, deadline = len(list(parts.glob("*.parquet"))), time.monotonic() + START_SECONDS
        while driver is not None and driver.poll() is None and time.monotonic() < deadline:
            if len(list(parts.glob("*.parquet"))) > before:
                return
            time.sleep(0.1)

    def _check(self, code: int, *expected: int) -> None:
        if code not in expected:
            self.wrong.append(f"the driver ended with {code}: {self._bench.tail()}")

    def _kill(self, target: str) -> None:
        driver = self._bench.harness
        assert driver is not None
        if target == "driver":
            self.kills[target] += 1
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            self.wrong += self._bench.orphans(LEFT_SECONDS)
            self._bench.start("--retry-failed")
            return
        candidates = self._cluster.processes(target)
        if not candidates:
            return
        self.kills[target] += 1
        victim = self._generator.choice(candidates)
        if target == "stop":
            _stop_for_a_while(victim)
        else:
            with contextlib.suppress(psutil.Error):  # it ended by itself
                victim.send_signal(signal.SIGKILL)
        if target == "head":
            self._check(driver.wait(180), *_EXPECTED)
            self._start_again()
        elif target in ("raylet", "stop"):
            gone(lambda: ["it lives"] if _living([victim.pid]) else [], GIVEN_UP_SECONDS)
            self._mend()

    def _mend(self) -> None:
        try:
            self._cluster.mend()
        except OSError:
            self._start_again()

    def _start_again(self) -> None:
        """Start the whole cluster again; the driver of before has ended, or ends now."""
        self._cluster.close()
        if self._bench.harness is not None:
            self._check(self._bench.harness.wait(180), *_EXPECTED)
        self.wrong += self._bench.orphans(LEFT_SECONDS)
        self._cluster = Cluster(self._folder)
        self._bench = self._driver()
        self._bench.start("--retry-failed")

    def finish(self) -> None:
        """Bring the command to its end; afterwards no node has a process of bench."""
        driver = self._bench.harness
        assert driver is not None
        if driver.poll() is None:
            driver.send_signal(signal.SIGTERM)
            # a signal that comes before the handlers are installed ends it as it ends any process
            self._check(driver.wait(LEFT_SECONDS), ExitCode.INTERRUPTED, -signal.SIGTERM, *_EXPECTED)
        if driver.returncode != ExitCode.OK:  # else all is measured, and another call would begin a new campaign
            self._mend()
            self._check(self._bench.finish("--retry-failed", timeout=FINISH_SECONDS), ExitCode.OK)
        self.wrong += self._bench.orphans(LEFT_SECONDS)
        self.wrong += gone(
            lambda: [
                f"a {target} is left"
                for target in ("node process", "server", "run")
                for _ in self._cluster.processes(target)
            ]
        )

    def close(self) -> None:
        """End everything."""
        self._bench.stop()
        self._cluster.close()


def gone(look: Callable[[], list[str]], seconds: float = LEFT_SECONDS) -> list[str]:
    """What is still there after a time in which it should go."""
    deadline = time.monotonic() + seconds
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def left_behind(folder: Path) -> list[str]:
    """The files of bench that its end should have removed, and a lock that is still held."""
    names = [path for path in (folder / "results").rglob("*") if path.suffix in (".lease", ".tmp")]
    names += (folder / "temporary").iterdir()
    wrong = [f"left behind: {path.relative_to(folder)}" for path in names]
    with (folder / "lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wrong.append("the lock is still held")
    return wrong


def stored(results: Path, wrong: list[str]) -> dict[str, int]:
    """How much was kept; what is wrong with it is added to `wrong`."""
    runs = store.load([results], warn=wrong.append).drop_duplicates("run_id")
    attempts = store.load([results], all_attempts=True, warn=wrong.append).drop_duplicates("run_id")
    manifests = read_manifests(results)
    wrong += [f"{len(manifests)} campaigns where one was begun"] if len(manifests) != 1 else []
    counts = Counter(runs["case_id"])
    wrong += [f"the case {case} is there {counts[case]} times" for case in manifests[0].case_ids if counts[case] != 1]
    wrong += [f"{run.case_id} ended {run.status}: {run.error}" for run in runs.itertuples() if run.status != "ok"]
    wrong += [
        f"block {block} is on {of_block['machine_fingerprint'].nunique()} kinds of machine"
        for block, of_block in runs.groupby("block")
        if of_block["machine_fingerprint"].nunique() != 1
    ]
    twice = Counter(zip(attempts["case_id"], attempts["attempt"], strict=True))
    wrong += [f"attempt {key} was stored {number} times" for key, number in twice.items() if number > 1]
    for case, of_case in attempts.sort_values("attempt").groupby("case_id"):
        ended = list(zip(of_case["status"], of_case["machine_fingerprint"], strict=True))
        again = sum(first == second and first[0] == "ok" for first, second in itertools.pairwise(ended))
        wrong += [f"{case} was measured again where it was well: {ended}"] if again else []
    return {"cases": len(runs), "attempts": len(attempts), "machines": int(runs["machine_fingerprint"].nunique())}


def _stop_for_a_while(raylet: psutil.Process) -> None:
    stopped = [raylet, *raylet.children(recursive=True)]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in stopped:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        if number == signal.SIGSTOP:
            time.sleep(STOPPED_SECONDS)


def processes_of(folder: Path) -> Iterator[psutil.Process]:
    """The living processes that were started with the lock in this folder."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_of_folder = process.environ().get(LOCK_VARIABLE, "").startswith(f"{folder}/")
            if is_of_folder and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                yield process


if __name__ == "__main__":
    sys.exit(main())
