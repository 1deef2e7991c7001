"""How much of a process's speed is where its memory lies? Each setting of it in the same interleaved groups.

    python -m scripts.record_layout results/reference/duels/layout.json --minutes 12

Pages of 4 KiB or huge ones (the pinned allocator of duels), and where a process comes from: a fork of one server, a
fork of a server of its own, or a fork that shuffles its heap first. A group is a process of each setting, of one cell
on one thread, and of the anchor, all alive at once: they take turns of a tenth of a second, in a balanced order. The
groups of the cells follow each other. Beside each turn stands how long the process's threads waited for a core (the
kernel's run delay), and what CPU time others used: a step is compared by its CPU time, which other work on the machine
disturbs less, and the tables (`scripts/layout_table.py`) say how busy it was. Each group is stored when it has ended;
interrupted, the same command goes on until the groups add up to so many minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from bench.catalog import tasks
from bench.catalog.cache import obtain
from bench.core.case import Case
from bench.core.protocol import Request, TimedBatch
from bench.duel.orders import williams_square
from bench.duel.side_process import SideProcess
from bench.duel.sides import PreparedSide, anchor_side, pinned_allocator
from bench.host.hardware import read_machine
from bench.host.procfs import PROC, read_counters, read_text
from bench.host.software import read_software
from bench.run.lock import machine_lock
from bench.run.server import Isolation, Server, WorkerEnvironment

CELLS = ("simple_rnn", "gru", "lstm")
ANCHOR_NAME = "anchor"
WORKER = "scripts.shuffled_side"

ANCHOR_TURN = 0.02
"""Seconds of the anchor's turn."""
_WARM_STEPS, _TRIAL_STEPS = 4, 16
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a process gets."""

    name: str
    huge_pages: bool = False
    fresh_server: bool = False
    shuffled_heap: bool = False

    @property
    def environment(self) -> WorkerEnvironment:
        """The environment of its server."""
        variables = {"HEAP": "shuffled"} if self.shuffled_heap else {}
        environment = WorkerEnvironment(variables=variables)
        return pinned_allocator(environment) if self.huge_pages else environment


SETTINGS = (
    Setting(name="small pages, forks of one server"),
    Setting(name="small pages, servers of their own", fresh_server=True),
    Setting(name="small pages, shuffled heap", shuffled_heap=True),
    Setting(name="huge pages, forks of one server", huge_pages=True),
    Setting(name="huge pages, servers of their own", huge_pages=True, fresh_server=True),
    Setting(name="huge pages, shuffled heap", huge_pages=True, shuffled_heap=True),
)
"""They are compared with the first."""

TURN_SECONDS = 0.1
TURNS = 12
"""Turns of each process."""


# --- measuring ---


class Groups:
    """The servers of all settings, and a group of processes at a time; ends them all when it is closed."""

    def __init__(self, data: Path | None, logs: Path) -> None:
        self._data, self._logs = data, logs
        self._servers: dict[str, Server] = {}
        self._number = 0

    def close(self) -> None:
        """End all servers, and what they run."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def measure(self, cell: str) -> dict[str, Any]:
        """A group of a cell: by setting the turns and what the process cost, and the seconds that it took in all."""
        begun, self._number = time.monotonic(), self._number + 1
        case = Case(cell=cell, task="mnist_5k", epochs=1, threads=1)
        sides = {
            setting.name: PreparedSide(title=setting.name, case=case, environment=setting.environment, worker=WORKER)
            for setting in SETTINGS
        } | {ANCHOR_NAME: anchor_side(case)}
        server_seconds = self._serve(sides, [setting.name for setting in SETTINGS if setting.fresh_server])
        with contextlib.ExitStack() as stack:
            processes = {name: stack.enter_context(self._process(name, side)) for name, side in sides.items()}
            for process in processes.values():
                process.imported_code()
            for process in processes.values():
                process.time_batch(_WARM_STEPS)
            ready_seconds = {name: process.cpu_seconds() for name, process in processes.items()}
            steps = self._steps(processes)
            turns = self._turns(processes, steps)
            huge = {name: _huge_fraction(process.pid) for name, process in processes.items()}
            for process in processes.values():
                process.end()
        for server in self._servers.values():
            server.settle()
        return {
            "cell": cell,
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "load": round(os.getloadavg()[0], 1),
            "turns": turns,
            "server_seconds": server_seconds,
            "ready_seconds": {name: round(seconds, 2) for name, seconds in ready_seconds.items()},
            "huge_fraction": huge,
            "seconds": round(time.monotonic() - begun, 1),
        }

    def _serve(self, sides: Mapping[str, PreparedSide], fresh: Sequence[str]) -> dict[str, float]:
        """Start the servers that are missing, and those that are to be fresh; the CPU seconds that each import took."""
        for name in fresh:
            if name in self._servers:
                self._servers.pop(name).close()
        started = {}
        for name, side in sides.items():
            if name not in self._servers:
                self._servers[name] = Server("tensorflow", side.worker, Isolation.FORK, (), side.environment)
                started[name] = self._servers[name]
        before = _children_seconds()
        for name, server in started.items():
            server.wait_ready(time.monotonic, lambda: None)
            if server.problem:
                raise SystemExit(f"{name}: {server.problem}")
        each = (_children_seconds() - before) / max(1, len(started))
        return {name: round(each, 2) for name in started if name != ANCHOR_NAME}

    @contextlib.contextmanager
    def _process(self, name: str, side: PreparedSide) -> Iterator[SideProcess]:
        log = self._logs / f"{self._number}-{name.replace(' ', '-').replace('`', '')}.log"
        process = SideProcess(name, self._servers[name], Request(case=side.case, data=self._data, log=log.absolute()))
        try:
            yield process
        finally:
            process.close()

    def _steps(self, processes: Mapping[str, SideProcess]) -> dict[str, int]:
        """Steps of a turn: as many in each setting, by the median of all."""
        seconds = {name: process.time_batch(_TRIAL_STEPS).seconds / _TRIAL_STEPS for name, process in processes.items()}
        anchor = seconds.pop(ANCHOR_NAME)
        steps = max(1, round(TURN_SECONDS / statistics.median(seconds.values())))
        return dict.fromkeys(seconds, steps) | {ANCHOR_NAME: max(1, round(ANCHOR_TURN / anchor))}

    def _turns(self, processes: Mapping[str, SideProcess], steps: Mapping[str, int]) -> dict[str, list[list[float]]]:
        """By process, a row a turn: seconds a step, cores used, and per second: waited for a core, used by others."""
        names = [name for name in processes if name != ANCHOR_NAME]
        orders = [[names[place] for place in row] for row in williams_square(len(names))]
        for name, process in processes.items():  # the first turn is discarded
            process.time_batch(steps[name])
        turns: dict[str, list[list[float]]] = {name: [] for name in processes}
        for number in range(TURNS):
            for name in (*orders[(self._number + number) % len(orders)], ANCHOR_NAME):
                process = processes[name]
                waited, busy = _waited_seconds(process.pid), _busy_seconds()
                timed = process.time_batch(steps[name])
                others = max(0.0, _busy_seconds() - busy - timed.cpu_seconds)
                waited = max(0.0, _waited_seconds(process.pid) - waited)
                turns[name].append(_row(timed, waited, others))
        return turns


def _row(timed: TimedBatch, waited: float, others: float) -> list[float]:
    rates = (timed.cpu_seconds, waited, others)
    return [float(f"{timed.seconds / timed.steps:.5g}"), *(round(rate / timed.seconds, 3) for rate in rates)]


def _children_seconds() -> float:
    """CPU seconds of all processes that this one has started and that live."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            total += times.user + times.system
    return total


def _waited_seconds(pid: int) -> float:
    """Seconds that all threads of a process were ready to run, and had no core."""
    lines = (read_text(path) for path in (PROC / str(pid) / "task").glob("*/schedstat"))
    return sum(int(line.split()[1]) for line in lines if line) / 1e9


def _busy_seconds() -> float:
    """CPU seconds that the machine has used, what the hypervisor took included."""
    user, nice, system, _, _, irq, softirq, steal = map(int, (read_text(PROC / "stat") or "").split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _huge_fraction(pid: int) -> float:
    """The fraction of a process's own memory that lies in huge pages."""
    counters = read_counters(PROC / str(pid) / "smaps_rollup")
    return round(counters.get("AnonHugePages", 0) / max(1, counters.get("Anonymous", 0)), 3)


def record(file: Path, minutes: float) -> None:
    """Measure until the groups add up to so many minutes.

    Args:
        file: where each group is stored when it has ended.
        minutes: of all groups.
    """
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else _about()
    groups = kept["groups"]
    case = Case(cell=CELLS[0], task="mnist_5k", epochs=1)
    data = obtain(tasks.of(case, "a recording"), data_dir=None, report=_report)
    with tempfile.TemporaryDirectory() as logs, contextlib.closing(Groups(data, Path(logs))) as measuring:
        while sum(group["seconds"] for group in groups) < 60 * minutes:
            counts = Counter(group["cell"] for group in groups)
            cell = min(CELLS, key=lambda name: counts[name])
            with machine_lock(_report):
                group = measuring.measure(cell)
            groups.append(group)
            part = file.with_suffix(".part")
            part.write_text(json.dumps(kept) + "\n")
            part.replace(file)
            _report(f"{cell} {counts[cell] + 1}: {group['seconds']:.0f} s, load {group['load']:g}")


def _about() -> dict[str, Any]:
    machine, software = read_machine(), read_software("tensorflow")
    return {
        "what": "turns of processes whose memory is laid out differently; see scripts/record_layout.py",
        "machine": json.loads(machine.to_json()),
        "software": json.loads(software.to_json()),
        "turns": ["seconds a step", "cores used", "waited for a core, per second", "used by others, per second"],
        "groups": [],
    }


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure until there is enough; may be interrupted and called again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--minutes", type=float, default=12.0, help="of all groups")
    arguments = parser.parse_args()
    record(arguments.file, arguments.minutes)


if __name__ == "__main__":
    main()
