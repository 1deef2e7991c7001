"""Kills a campaign on a Ray cluster at random, lets it go on, and checks what it has kept.

    python scripts/kill_cluster.py [--kills 200] [--seed 0] [--out docs/cluster-kills.json]

Real Ray on this machine: a head and four nodes of two kinds (two may use a single processor, and so have another
fingerprint), the fake worker, and `bench run --on ray` as a process of its own. At random moments one of these gets
SIGKILL: the process of a run, a worker's server, a node's process, a raylet, the head (GCS), or the driver; now and
then a node is stopped for 45 s, longer than the cluster waits for it, and continued. What died is started again, as an
administrator or a cloud would. When all kills are done the command is brought to its end. Then every case must have
exactly one last attempt, well, each block on one kind of machine, no attempt be stored twice, and nothing be running.

Each campaign adds a row to the file: interrupted, the same command goes on with the next one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil

from bench import store
from bench.cluster.local_cluster import loopback_environment
from bench.cluster.ray_nodes import SLOT
from bench.core.errors import ExitCode
from bench.run.lock import LOCK_VARIABLE
from bench.store.campaign import read_manifests
from tests.support.fake_worker import SCRIPT
from tests.support.harness import ROOT, BenchProcess, choose, fake_bench

WEIGHTS = {"run": 4.0, "server": 3.0, "node process": 5.0, "raylet": 4.0, "driver": 3.0, "head": 0.5, "stop": 0.3}
"""What is killed how often."""
KILLS_EACH = 20
"""Of a campaign."""
NODES = 4
STOPPED_SECONDS = 45.0
FINISH_SECONDS = 600.0


class Victims:
    """The cluster that things are killed in.

    Args:
        folder: for the files of its nodes.
    """

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self._folder = folder
        self.cluster = Cluster()
        self.cluster.add_node(num_cpus=0, node_ip_address="127.0.0.1", include_dashboard=False)
        self.nodes = {number: self._node(number) for number in range(NODES)}

    @property
    def address(self) -> str:
        """The head's."""
        return str(self.cluster.address)

    def _node(self, number: int) -> Any:
        """Start a node; odd ones may use one processor."""
        usable = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(usable)} if number % 2 else usable)
        try:
            return self.cluster.add_node(
                num_cpus=1,
                resources={SLOT: 1},
                node_ip_address="127.0.0.1",
                env_vars={"BENCH_TEST_NODE": f"{number} "},
            )
        finally:
            os.sched_setaffinity(0, usable)

    def mend(self) -> None:
        """Start again the nodes whose raylet is dead."""
        for number, node in self.nodes.items():
            if not node.any_processes_alive() or _raylet(node) is None:
                self.cluster.remove_node(node, allow_graceful=False)
                self.nodes[number] = self._node(number)

    def processes(self, target: str) -> list[psutil.Process]:
        """The processes that a kind of kill may be aimed at."""
        if target == "head":
            return [psutil.Process(self.cluster.head_node.all_processes["gcs_server"][0].process.pid)]
        raylets = [raylet for node in self.nodes.values() if (raylet := _raylet(node)) is not None]
        if target in ("raylet", "stop"):
            return raylets
        actors = [
            child
            for raylet in raylets
            for child in _children(raylet)
            if "NodeProcess" in " ".join(_command_line(child))
        ]
        if target == "node process":
            return actors
        servers = [child for actor in actors for child in _children(actor) if "bench.worker" in _command_line(child)]
        return servers if target == "server" else [child for server in servers for child in _children(server)]

    def close(self) -> None:
        """End everything."""
        self.cluster.shutdown()


def _raylet(node: Any) -> psutil.Process | None:
    try:
        process = psutil.Process(node.all_processes["raylet"][0].process.pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except (psutil.Error, KeyError):
        return None


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children())
    except psutil.Error:
        return []


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "cluster-kills.json")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)
    rows: list[dict[str, Any]] = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    while sum(sum(row["kills"].values()) for row in rows) < arguments.kills:
        with tempfile.TemporaryDirectory(prefix="kill-cluster-", ignore_cleanup_errors=True) as scratch:
            row = campaign(Path(scratch), f"{arguments.seed}/{len(rows)}")
            if row["wrong"]:
                shutil.copytree(scratch, f"results/local/kill-cluster-{len(rows)}", dirs_exist_ok=True)
        rows.append(row)
        print(row, flush=True)
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["wrong"] for row in rows))


def campaign(folder: Path, seed: str) -> dict[str, Any]:
    """A campaign, its kills, and what is wrong afterwards."""
    generator, kills = random.Random(seed), Counter[str]()
    script, results = folder / "script.json", folder / "results"
    script.write_text(json.dumps({"seconds": 0.3}))
    variables = {SCRIPT: str(script), LOCK_VARIABLE: str(folder / "lock")}
    wrong: list[str] = []
    begun = time.monotonic()
    with loopback_environment(), _variables(variables):
        victims = Victims(folder)
        bench = _driver(results, folder / "output", victims.address)
        try:
            bench.start("--retry-failed")
            while sum(kills.values()) < KILLS_EACH:
                time.sleep(generator.uniform(0.2, 4.0))
                if bench.harness is not None and bench.harness.poll() is not None:
                    if bench.harness.returncode == ExitCode.FAULT:
                        wrong.append(f"the driver ended with a fault: {bench.tail()}")
                        break
                    if bench.harness.returncode == 0:
                        break  # all is measured
                    bench.start("--retry-failed")
                    continue
                target = choose(generator, WEIGHTS)
                if target == "driver":
                    assert bench.harness is not None
                    bench.harness.send_signal(signal.SIGKILL)
                    bench.harness.wait()
                    kills[target] += 1
                    continue
                candidates = victims.processes(target)
                if not candidates:
                    continue
                kills[target] += 1
                victim = generator.choice(candidates)
                if target == "stop":
                    _stop_for_a_while(victim)
                else:
                    _kill(victim)
                if target == "head":
                    assert bench.harness is not None
                    code = bench.harness.wait(180)
                    if code not in (ExitCode.USAGE, -signal.SIGKILL):
                        wrong.append(f"the driver ended with {code} where the head was killed: {bench.tail()}")
                    victims.close()
                    victims = Victims(folder)
                    bench = _driver(results, folder / "output", victims.address, bench.mark)
                    bench.start("--retry-failed")
                elif target in ("raylet", "stop"):
                    victims.mend()
            if bench.harness is not None and bench.harness.poll() is None:
                bench.harness.send_signal(signal.SIGTERM)
                bench.harness.wait(60)
            script.write_text(json.dumps({"seconds": 0.0}))
            victims.mend()
            code = bench.finish("--retry-failed", timeout=FINISH_SECONDS)
            if code != 0:
                wrong.append(f"it ended with {code}: {bench.tail()}")
            wrong += bench.orphans(30)
        finally:
            bench.stop()
            victims.close()
    time.sleep(2)
    wrong += [
        f"{process.pid} {' '.join(_command_line(process))[:120]} is left"
        for process in psutil.process_iter()
        if str(folder) in _lock_of(process)
    ]
    text = (folder / "output").read_text(errors="replace")
    return {
        "seed": seed,
        "kills": dict(kills),
        "minutes": round((time.monotonic() - begun) / 60, 1),
        **stored(results, wrong),
        "lost": text.count(" was lost"),
        "quarantined": text.count(" is quarantined"),
        "wrong": wrong,
    }


def stored(results: Path, wrong: list[str]) -> dict[str, int]:
    """How much was kept; what is wrong with it is added to `wrong`."""
    runs = store.load([results], warn=wrong.append).drop_duplicates("run_id")
    attempts = store.load([results], all_attempts=True, warn=wrong.append).drop_duplicates("run_id")
    (manifest,) = read_manifests(results)
    counts = Counter(runs["case_id"])
    wrong += [f"the case {case} is there {counts[case]} times" for case in manifest.case_ids if counts[case] != 1]
    wrong += [f"{run.case_id} ended {run.status}: {run.error}" for run in runs.itertuples() if run.status != "ok"]
    wrong += [
        f"block {block} is on {of_block['machine_fingerprint'].nunique()} kinds of machine"
        for block, of_block in runs.groupby("block")
        if of_block["machine_fingerprint"].nunique() != 1
    ]
    twice = Counter(zip(attempts["case_id"], attempts["attempt"], strict=True))
    wrong += [f"attempt {key} was stored {number} times" for key, number in twice.items() if number > 1]
    well = attempts[attempts["status"] == "ok"]
    again = Counter(zip(well["case_id"], well["machine_fingerprint"], strict=True))
    wrong += [f"{key} was measured {number} times there" for key, number in again.items() if number > 2]
    return {"cases": len(runs), "attempts": len(attempts), "machines": int(runs["machine_fingerprint"].nunique())}


def _driver(results: Path, output: Path, address: str, mark: str = "") -> BenchProcess:
    sets = ("tasks=mnist_5k", "seeds=0..59", "epochs=1")
    settings = [part for setting in sets for part in ("--set", setting)]
    command = fake_bench("run", "quick", *settings, "--results", str(results), "--on", "ray", "--address", address)
    bench = BenchProcess(command, output)
    bench.mark = mark or bench.mark
    return bench


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.Error):  # it ended by itself
        process.send_signal(signal.SIGKILL)


def _stop_for_a_while(raylet: psutil.Process) -> None:
    stopped = [raylet, *raylet.children(recursive=True)]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in stopped:
            try:
                process.send_signal(number)
            except psutil.Error:
                continue
        if number == signal.SIGSTOP:
            time.sleep(STOPPED_SECONDS)
    time.sleep(3)  # a raylet that learns that it was given up ends


def _lock_of(process: psutil.Process) -> str:
    try:
        return process.environ().get(LOCK_VARIABLE, "") if process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.Error:
        return ""


@contextmanager
def _variables(variables: dict[str, str]) -> Iterator[None]:
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


if __name__ == "__main__":
    sys.exit(main())
