"""A suite on two hosts and on one: the same losses to the last bit, with code and data that only the driver had.

    python -m scripts.two_hosts [--seeds 4] [--epochs 1]

The hosts are network namespaces of this machine with a switch between them, each with a host name, a cache and a folder
of its own (needs root, and `ip` of iproute2). A Ray head is on the first, a node on the second, with a token; both
measure, a run at a time by the machine's lock. The suite is `quick` reduced, with a cell and data of the user's own,
which lie in the first host's folder alone. Ends with 1 where a loss differs, a host did nothing, or another token is
let in.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.core.code import from_json
from bench.store import load

_CELLS = """
import keras


def cell(units, activation, return_sequences, name):
    return keras.layers.RNN(keras.layers.GRUCell(units), return_sequences=return_sequences, name=name)
"""
_DATA = """
import numpy as np
from bench import TaskData


def signs():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(480, 10, 3)).astype("float32")
    y = (x.sum(axis=(1, 2)) > 0).astype(int)
    return TaskData(target="class", train=(x[:320], y[:320]), test=(x[320:], y[320:]), title="signs of sums")
"""
_PORT = 6379
_SWITCH = "bench-switch"
"""The network namespace of the bridge between the hosts."""
_BRIDGE = "bridge"
_LOSSES = ["loss", "accuracy"]
_BENCH = [sys.executable, "-m", "bench"]
_RAY = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]


@dataclass(frozen=True)
class Host:
    """A network namespace of this machine."""

    name: str
    address: str
    folder: Path
    variables: dict[str, str]

    def command(self, words: list[str]) -> list[str]:
        """A command on this host, with its name."""
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$1"; shift; exec "$@"', "sh", self.name, *words]
        return ["ip", "netns", "exec", self.name, *named]

    def run(self, words: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command on this host to its end."""
        environ = {**os.environ, **self.variables, **variables}
        return subprocess.run(self.command(words), env=environ, cwd=self.folder, capture_output=True, text=True)

    @property
    def port(self) -> str:
        """The switch's port that this host is plugged into."""
        return f"port-{self.name[-1]}"

    def unplug(self) -> None:
        """Let nothing pass to this host or from it; its own end of the cable shows nothing of that."""
        _ip("-n", _SWITCH, "link", "set", self.port, "nomaster")

    def plug(self) -> None:
        """Connect this host with the others."""
        _ip("-n", _SWITCH, "link", "set", self.port, "master", _BRIDGE)

    def kill(self) -> None:
        """Kill whatever runs on this host."""
        listed = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True)
        for pid in listed.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@contextlib.contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts that are plugged into one switch; nothing of them is left afterwards."""
    shared = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "BENCH_MACHINE_LOCK": str(folder / "lock"),
    }
    hosts = []
    for letter, address in (("a", "10.77.0.1"), ("b", "10.77.0.2")):
        name = f"bench-host-{letter}"
        own = folder / letter
        own.mkdir()
        hosts.append(Host(name, address, own, {**shared, "BENCH_CACHE_DIR": str(own / "cache")}))
    first, second = hosts
    try:
        _ip("netns", "add", _SWITCH)
        _ip("-n", _SWITCH, "link", "add", _BRIDGE, "type", "bridge")
        _ip("-n", _SWITCH, "link", "set", _BRIDGE, "up")
        for host in hosts:
            _ip("netns", "add", host.name)
            _ip("-n", host.name, "link", "set", "lo", "up")
            _ip("link", "add", "cable", "netns", host.name, "type", "veth", "peer", host.port, "netns", _SWITCH)
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "cable")
            _ip("-n", host.name, "link", "set", "cable", "up")
            _ip("-n", _SWITCH, "link", "set", host.port, "up")
            host.plug()
        yield first, second
    finally:
        for host in hosts:
            host.kill()
        for name in (*(host.name for host in hosts), _SWITCH):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=1)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the hosts go
    settings = [
        *("cells=lstm,two_hosts_cells:cell", "tasks=mnist_5k,two_hosts_data:signs", "units=16", "train_samples=320"),
        *(f"seeds=0..{given.seeds - 1}", f"epochs={given.epochs}", "repeats=1"),
    ]
    command = ["run", "quick", *(word for text in settings for word in ("--set", text))]
    with tempfile.TemporaryDirectory(prefix="two-hosts-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        try:
            with two_hosts(folder) as (first, second):
                problems = _measured(first, second, command, folder)
        except OSError as error:
            print(f"skipped: there are no network namespaces here ({error})")
            return 0
        local = first.folder / "on-one"
        done = subprocess.run(
            [*_BENCH, *command, "--results", str(local)],
            cwd=first.folder,
            env={**os.environ, **first.variables},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            print(done.stderr[-3000:])
            return 1
        problems += compared(first.folder / "on-two", local, second)
    print("\n".join(problems) or "all well")
    return bool(problems)


def _measured(first: Host, second: Host, command: list[str], folder: Path) -> list[str]:
    """Measure on both hosts; what went wrong."""
    (first.folder / "two_hosts_cells.py").write_text(_CELLS)
    (first.folder / "two_hosts_data.py").write_text(_DATA)
    address = started_ray(first, second, folder)
    problems = []
    stranger = second.run([sys.executable, "-c", f"import ray; ray.init({address!r})"], RAY_AUTH_TOKEN="0" * 64)
    if stranger.returncode == 0:
        problems.append("a stranger with another token was let in")
    print(f"another token: {'refused' if stranger.returncode else 'LET IN'}", flush=True)
    begun = time.monotonic()
    done = first.run(
        [*_BENCH, *command, "--results", str(first.folder / "on-two"), "--on", "ray", "--address", address]
    )
    print(f"on two hosts: exit code {done.returncode}, {time.monotonic() - begun:.0f} s", flush=True)
    if done.returncode:
        problems.append(done.stderr[-3000:])
    return problems


def started_ray(first: Host, second: Host, folder: Path) -> str:
    """Start a head on the first host and a node on the second; the cluster's address.

    Raises:
        RuntimeError: Ray does not start.
    """
    address = f"{first.address}:{_PORT}"
    head = ["start", "--head", "--port", str(_PORT), "--include-dashboard", "false", "--temp-dir", str(folder / "ray")]
    for host, words in ((first, head), (second, ["start", "--address", address])):
        done = host.run([*_RAY, *words, "--node-ip-address", host.address])
        if done.returncode:
            raise RuntimeError(f"Ray does not start on {host.name}: {done.stderr[-2000:]}")
    return address


def compared(on_two: Path, on_one: Path, second: Host) -> list[str]:
    """In what the two stores differ, and what was not done where it should have been."""
    frames = {name: load([path]) for name, path in (("two", on_two), ("one", on_one))}
    problems = []
    hosts = frames["two"].drop_duplicates("run_id").copy()
    hosts["host"] = [json.loads(text)["hostname"] for text in hosts["host_json"]]
    for host, runs in hosts.groupby("host"):
        print(f"{host}: {len(runs)} runs in {runs['block'].nunique()} blocks, {', '.join(sorted(set(runs['status'])))}")
    if hosts["host"].nunique() != 2 or set(hosts["status"]) != {"ok"}:
        problems.append("not both hosts have measured, or a run failed")
    if hosts.groupby("block")["host"].nunique().max() > 1:
        problems.append("a block was measured on both hosts")
    modules = [each for text in hosts.loc[hosts["host"] == second.name, "code_json"] for each in from_json(text)]
    sent = [Path(module.file) for module in modules if module.name == "two_hosts_cells"]
    in_cache = [path for path in sent if path.is_relative_to(second.folder / "cache" / "code")]
    print(f"the user's cell on {second.name}: in {len(sent)} runs, in {len(in_cache)} imported from its cache")
    if not sent or len(in_cache) < len(sent):
        problems.append(f"{second.name} imported the user's cell from {sorted(set(sent))}")
    keys = ["case_id", "phase", "epoch"]
    values = {
        name: frame[frame["phase"].isin(["train", "validate", "evaluate"])].set_index(keys)[_LOSSES].sort_index()
        for name, frame in frames.items()
    }
    if not values["two"].index.equals(values["one"].index):
        return [*problems, "the stores have different cases"]
    same = (values["two"] == values["one"]) | (values["two"].isna() & values["one"].isna())
    known = values["one"].notna()
    print(f"losses and accuracies: {int((same & known).sum().sum())} of {int(known.sum().sum())} equal to the last bit")
    if not same.all(axis=None):
        problems.append(f"different:\n{pd.concat(values, axis=1)[~same.all(axis=1)].to_string()}")
    return problems


if __name__ == "__main__":
    sys.exit(main())
