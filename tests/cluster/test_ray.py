"""Real Ray, real processes, and the fake worker: a small cluster on this machine, and what is killed in it.

`scripts/kill_cluster.py` kills far more of it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from bench import store
from bench.cli.options import check_cluster_options
from bench.cluster import ray_nodes
from bench.cluster.engine import ClusterAddress
from bench.cluster.local_cluster import LOOPBACK
from bench.cluster.node import SHARED, SHARED_BY_CARDS
from bench.cluster.ray_nodes import RayNodes
from bench.core.errors import ExitCode, UsageError
from bench.run.lock import LOCK_VARIABLE
from tests.support.fake_worker import SCRIPT
from tests.support.harness import BenchProcess, fake_bench, violations

pytestmark = pytest.mark.extra("ray")

PLAN = ("run", "quick", "--set", "tasks=mnist_5k", "--set", "seeds=0..5", "--set", "epochs=1")


def raylets(bench: BenchProcess) -> list[psutil.Process]:
    """Those of a command's cluster, the head's first: it was started first."""
    found = [process for process in bench.marked() if process.name() == "raylet"]
    return sorted(found, key=lambda process: process.create_time())


def listening(processes: Iterable[psutil.Process]) -> set[str]:
    """The addresses on which these processes take connections."""
    addresses = set()
    for process in processes:
        with suppress(psutil.Error):
            connections = process.net_connections("tcp")
            listeners = {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
            # as a socket of IPv6 has an address of IPv4, where the machine has both
            addresses |= {address.removeprefix("::ffff:") for address in listeners}
    return addresses


def wait_until(condition: Callable[[], bool], bench: BenchProcess) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, bench.tail()
        assert bench.harness is None or bench.harness.poll() is None, bench.tail()
        time.sleep(0.02)


def test_a_node_and_then_the_driver_are_killed_and_each_case_is_measured_once(tmp_path: Path) -> None:
    results, script, temporary = tmp_path / "results", tmp_path / "script.json", tmp_path / "temporary"
    script.write_text(json.dumps({"seconds": 0.2}))
    temporary.mkdir()
    bench = BenchProcess(
        fake_bench(*PLAN, "--results", str(results), "--on", "ray-local:2"),
        tmp_path / "output",
        {SCRIPT: str(script), LOCK_VARIABLE: str(tmp_path / "lock"), "TMPDIR": str(temporary)},
    )
    try:
        bench.start()
        wait_until(lambda: len(list((results / "runs").glob("*.parquet"))) >= 2, bench)
        head, second = raylets(bench)
        nodes = [each for each in bench.marked() if "NodeProcess" in BenchProcess.command_line(each)]
        assert {each.nice() for each in nodes} == {head.nice()}, "runs don't come behind all else"
        assert listening(bench.marked()) == {LOOPBACK}, "nobody else reaches what is started here"
        logs = re.findall(r"/tmp/bench-ray-\w+\.scratch", " ".join(head.cmdline()))[0]
        for process in (*second.children(recursive=True), second):  # as where a machine dies
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        wait_until(lambda: "was lost" in bench.output.read_text(), bench)
        assert bench.harness is not None
        bench.harness.send_signal(signal.SIGKILL)
        bench.harness.wait()
        assert bench.orphans(90) == []
        script.write_text(json.dumps({"seconds": 0.0}))
        assert bench.finish(timeout=120) == ExitCode.OK, bench.tail()
        assert bench.orphans(90) == []
    finally:
        bench.stop()
    assert violations(results) == []
    assert not Path(logs).exists()
    assert list(temporary.glob("*.scratch")) == []
    assert "resuming the campaign" in bench.output.read_text()
    runs = store.load([results]).drop_duplicates("run_id")
    assert runs["machine_fingerprint"].nunique() == 1
    assert json.loads(runs["machine_json"].iloc[0])["shared_by"] == SHARED


NVIDIA_SMI = """#!/bin/sh
echo "NVIDIA H100 80GB HBM3, 580.95.05"
echo "NVIDIA H100 80GB HBM3, 580.95.05"
"""


def test_the_gpus_of_a_node_measure_a_block_each_side_by_side(tmp_path: Path) -> None:
    """Stand-ins: Ray counts two GPUs, as the driver's tool does, and the worker computes nothing."""
    results, script, programs = tmp_path / "results", tmp_path / "script.json", tmp_path / "programs"
    script.write_text(json.dumps({"seconds": 0.5}))
    programs.mkdir()
    (programs / "nvidia-smi").write_text(NVIDIA_SMI)
    (programs / "nvidia-smi").chmod(0o755)
    few = [word.replace("seeds=0..5", "seeds=0,1") for word in PLAN]
    plan = (*few, "--set", "devices=gpu:0", "--results", str(results))
    bench = BenchProcess(
        fake_bench(*plan, "--on", "ray-local:1", "--slot", "gpu"),
        tmp_path / "output",
        {SCRIPT: str(script), LOCK_VARIABLE: str(tmp_path / "lock"), "PATH": f"{programs}:{os.environ['PATH']}"},
    )
    try:
        assert bench.finish(timeout=180) == ExitCode.OK, bench.tail()
        assert bench.orphans(90) == []
    finally:
        bench.stop()
    assert violations(results) == []
    runs = store.load([results]).drop_duplicates("run_id")
    runs["card"] = [json.loads(text)["visible"] for text in runs["extra_json"]]
    assert set(runs["card"]) == {"0", "1"}
    assert set(runs.groupby("block")["card"].nunique()) == {1}
    assert runs["machine_fingerprint"].nunique() == runs["software_fingerprint"].nunique() == 1
    machine = json.loads(runs["machine_json"].iloc[0])
    assert (machine["shared_by"], len(machine["gpus"])) == (SHARED_BY_CARDS, 1)
    assert max(json.loads(text).get("neighbour_runs", 0) for text in runs["host_json"]) == 1
    assert "beside up to 1 other run in" in " ".join(bench.output.read_text().split())


def test_an_address_where_nothing_listens_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_nodes, "_HEAD_SECONDS", 0.01)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UsageError, match=rf"cannot join the Ray cluster at {address} \(nothing listens there\)"):
            RayNodes(address, {})

    def unknown(*_: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "create_connection", unknown)
    with pytest.raises(UsageError, match=r"at n1:6379 \(the name n1 is not known here\)"):
        RayNodes("n1:6379", {})


class AdvisingError(Exception):
    """As Ray's `AuthenticationError`, whose text has an address to read on."""

    message = "no token was found"

    def __str__(self) -> str:
        return f"{self.message}. See https://x"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            RuntimeError(
                "Version mismatch: The cluster was started with:\n    Ray: 2.49.0\n    Python: 3.11.7\nThis one:\n"
            ),
            "Version mismatch: The cluster was started with: Ray: 2.49.0 Python: 3.11.7 This one:",
        ),
        (ConnectionError("first\nfailed to connect\n"), "failed to connect"),
        (
            ConnectionError("Failed to connect to Ray cluster at 127.0.0.1:34497"),
            "what listens there wants another token than is set here, or is no head of Ray",
        ),
        (AdvisingError(), "no token was found"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_why_a_cluster_is_not_joined_is_told_in_a_line(error: Exception, reason: str) -> None:
    assert ray_nodes._why_not_joined(error) == reason


def test_without_an_address_or_a_cluster_the_user_learns_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for on, address, way_out in (
        ("ray", None, "--address HOST:PORT"),
        ("slurm", None, "write ray, or ray-local:N"),
        ("ray-local:0", None, "N being 1 to 16"),
        ("ray-local:2", "a:1", "exclude each other"),
    ):
        with pytest.raises(UsageError, match=way_out):
            ClusterAddress.parse(on, address)
    for address in ("a:1", "auto", "[::1]:6379"):
        assert ClusterAddress.parse("ray", address).address == address
    for address in ("n1", "n1:", ":6379", "ray://n1:10001", "http://n1:8265", "n1:0", "n1:65536", "local", "n 1:6379"):
        with pytest.raises(UsageError, match=rf"^--address {address} is no address of a cluster's head: write HOST:PO"):
            ClusterAddress.parse("ray", address)
    monkeypatch.setenv("RAY_ADDRESS", "b:2")
    assert ClusterAddress.parse("ray", None).address == "b:2"
    monkeypatch.setenv("RAY_ADDRESS", "b")
    with pytest.raises(UsageError, match=r"^RAY_ADDRESS=b is no address"):
        ClusterAddress.parse("ray", None)
    with pytest.raises(UsageError, match="add --on ray"):
        check_cluster_options(None, "a:1", {})
    with pytest.raises(UsageError, match="--cpus and --on exclude each other"):
        check_cluster_options("ray", None, {"--cpus": "0", "--join": False})
