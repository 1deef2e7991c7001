"""What happens to a campaign on two hosts where one is cut off, has a wrong clock, or a full disk.

    python -m scripts.cluster_faults [--faults partition,outage,ahead,behind,disk] [--out docs/cluster-faults.json]

The hosts are network namespaces (`scripts/two_hosts.py`; root, Linux), with a Ray head and the driver on the first and
a node on the second; both measure, with the fake worker. Once both have done a run:

- `partition`: nothing passes between them for 30 s (a switch drops it in silence); `outage`: for 150 s, longer than Ray
  waits for a node;
- `ahead`, `behind`: the second host's wall clock is a day off from the start (a library before the C library, in Ray's
  processes too);
- `disk`: the second host's temporary folder, a file system of its own, gets full, of bytes and of files.

Then the command must end well, every case be stored once, each block on one kind of machine, the times be those of the
driver's clock, and nothing of bench run on the hosts. Each fault adds a row to the file: interrupted, the same command
goes on with the next one. Ends with 1 where something was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import store
from bench.cluster.local_cluster import environment
from bench.core.errors import ExitCode
from bench.run.lock import LOCK_VARIABLE
from scripts.kill_cluster import LEFT_SECONDS, command_line, gone, processes_of, stored
from scripts.two_hosts import Host, started_ray, two_hosts
from tests.support.fake_worker import SCRIPT
from tests.support.harness import ROOT, BenchProcess, fake_bench

DAY = 86_400
RUN_SECONDS = 1.0
FINISH_SECONDS = 900.0
_DISK_BYTES = 8 << 20
_DISK_FILES = 200


@dataclass(frozen=True)
class Fault:
    """What is wrong with the second host."""

    doing: Callable[[Host], None] = lambda second: None
    """Called when both hosts have measured."""
    clock_seconds: int = 0
    """By which its wall clock is off."""
    disk: bool = False
    """Whether its temporary folder is a small file system of its own."""


def _cut_off(seconds: float) -> Callable[[Host], None]:
    def cut_off(second: Host) -> None:
        second.unplug()
        time.sleep(seconds)
        second.plug()

    return cut_off


def _fill(second: Host) -> None:
    """Fill the temporary folder of a host, until it takes neither a byte nor a file more."""
    disk = Path(second.variables["TMPDIR"])
    with contextlib.suppress(OSError), (disk / "bytes").open("wb", 0) as file:
        while True:
            file.write(bytes(1 << 16))
    with contextlib.suppress(OSError):
        for number in range(_DISK_FILES + 1):
            (disk / f"file-{number}").touch()


FAULTS = {
    "partition": Fault(_cut_off(30)),
    "outage": Fault(_cut_off(150)),
    "ahead": Fault(clock_seconds=DAY),
    "behind": Fault(clock_seconds=-DAY),
    "disk": Fault(_fill, disk=True),
}


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "cluster-faults.json")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the hosts go
    rows: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for name in arguments.faults.split(","):
        if name in rows:
            continue
        with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as scratch:
            rows[name] = tried(FAULTS[name], Path(scratch))
        print(name, rows[name], flush=True)
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["wrong"] for row in rows.values()))


def tried(fault: Fault, folder: Path) -> dict[str, Any]:
    """A campaign with a fault, and what is wrong afterwards."""
    (folder / "script.json").write_text(json.dumps({"seconds": RUN_SECONDS}))
    variables = {"PYTHONPATH": str(ROOT), SCRIPT: str(folder / "script.json"), LOCK_VARIABLE: str(folder / "lock")}
    with environment(variables), two_hosts(folder) as (first, second), _prepared(fault, second, folder):
        first.variables[LOCK_VARIABLE] = second.variables[LOCK_VARIABLE] = variables[LOCK_VARIABLE]
        date = second.run(["date", "+%s"]).stdout
        wrong = [] if abs(int(date) - time.time() - fault.clock_seconds) < DAY / 24 else [f"its clock shows {date}"]
        address = started_ray(first, second, folder)
        row = _measured(fault, (first, second), address, folder, wrong)
        wrong += gone(
            lambda: [
                line
                for process in processes_of(folder)
                if "bench.worker" in (line := command_line(process)) or "NodeProcess" in line
            ]
        )
    wrong += gone(lambda: [command_line(process) for process in processes_of(folder)])
    return {**row, "wrong": wrong}


@contextlib.contextmanager
def _prepared(fault: Fault, second: Host, folder: Path) -> Iterator[None]:
    """The clock and the disk of the second host."""
    if fault.clock_seconds:
        library, source = folder / "clock.so", ROOT / "tests" / "support" / "clock_jump.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
        (folder / "clock").write_text(str(fault.clock_seconds))
        second.variables.update(LD_PRELOAD=str(library), BENCH_TEST_CLOCK=str(folder / "clock"))
    if not fault.disk:
        yield
        return
    disk = folder / "disk"
    disk.mkdir()
    options = f"size={_DISK_BYTES},nr_inodes={_DISK_FILES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)
    second.variables["TMPDIR"] = str(disk)
    try:
        yield
    finally:
        second.kill()
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _measured(fault: Fault, hosts: tuple[Host, Host], address: str, folder: Path, wrong: list[str]) -> dict[str, Any]:
    """The campaign; what is wrong with it is added to `wrong`."""
    first, second = hosts
    results = folder / "results"
    sets = ("tasks=mnist_5k", "seeds=0..19", "epochs=1")
    words = [*(part for text in sets for part in ("--set", text)), "--results", str(results)]
    command = first.command(fake_bench("run", "quick", *words, "--on", "ray", "--address", address))
    bench = BenchProcess(command, folder / "output", first.variables)
    begun = datetime.now(UTC)
    try:
        harness = bench.start()
        until = time.monotonic() + FINISH_SECONDS
        while harness.poll() is None and time.monotonic() < until and not _both_have_measured(results, hosts):
            time.sleep(0.2)
        fault.doing(second)
        code = harness.wait(FINISH_SECONDS)
        if code != ExitCode.OK:
            wrong.append(f"it ended with {code}: {bench.tail()}")
        wrong += bench.orphans(LEFT_SECONDS)
    finally:
        bench.stop()
    text = bench.output.read_text(errors="replace").replace(str(folder), "FOLDER")
    runs = store.load([results]).drop_duplicates("run_id")
    late = runs[(runs["started_at"] < begun) | (runs["started_at"] > datetime.now(UTC))]
    wrong += [f"{run.case_id} began at {run.started_at}" for run in late.itertuples()]
    whole = store.load([results]).query("phase == 'run'")
    long = whole[~whole["seconds"].between(RUN_SECONDS, 60)]
    wrong += [f"{run.case_id} took {run.seconds} s" for run in long.itertuples()]
    return {
        "seconds": round((datetime.now(UTC) - begun).total_seconds()),
        "load": round(os.getloadavg()[0], 1),
        **stored(results, wrong),
        "runs_by_host": {name: int(number) for name, number in _hosts(results).items()},
        "said": [line for line in text.splitlines() if second.name in line and "  " not in line],
    }


def _both_have_measured(results: Path, hosts: tuple[Host, Host]) -> bool:
    return len(list((results / "runs").glob("*.parquet"))) > 1 and len(_hosts(results)) == len(hosts)


def _hosts(results: Path) -> dict[str, int]:
    """How many runs each host has done."""
    runs = store.load([results], warn=lambda text: None).drop_duplicates("run_id")
    return dict(runs["host_json"].map(lambda text: json.loads(text)["hostname"]).value_counts())


if __name__ == "__main__":
    sys.exit(main())
