"""What makes the steps of equal processes unequal? Each candidate is switched on and off in interleaved groups.

    python -m scripts.record_steadiness results/reference/duels/steadiness.json --minutes 12

Two experiments, each with settings that a process gets or doesn't. *Memory*: pages of 4 KiB or huge ones (the pinned
allocator of duels), and where a process comes from: a fork of one server, a fork of a server of its own, or a fork that
shuffles its heap first; one thread. *Threads*: TensorFlow's default of a thread for each core, in both of its pools, in
one of them, in neither; the default with huge pages; and the default with its threads pinned to cores in turn.

A group is a process of each setting, of one cell, and of the anchor, all alive at once: they take turns of some tenths
of a second, in a balanced order. The groups of the cells follow each other, and of the two experiments too. Beside each
turn stands how long the process's threads waited for a core (the kernel's run delay), and what CPU time others used:
the machine need not be idle, and the tables (`scripts/steadiness.py`) say how busy it was. Each group is stored when it
has ended; interrupted, the same command goes on until each experiment's groups add up to so many minutes.
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
WORKER = "scripts.steadied_side"

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
    threads: int = 1
    """As an axis: 0 is TensorFlow's default."""
    pools: tuple[int, int] | None = None
    """Threads of the pool within operations and of that between them, where they are set each for itself."""
    pinned: bool = False
    """Its threads are pinned to cores in turn, the busiest first."""

    @property
    def environment(self) -> WorkerEnvironment:
        """The environment of its server."""
        variables = {"STEADY_HEAP": "shuffled"} if self.shuffled_heap else {}
        if self.pools:
            variables |= {"STEADY_INTRA": str(self.pools[0]), "STEADY_INTER": str(self.pools[1])}
        environment = WorkerEnvironment(variables=variables)
        return pinned_allocator(environment) if self.huge_pages else environment


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Settings that are compared with the first of them."""

    settings: tuple[Setting, ...]
    turn_seconds: float
    rounds: int
    """Turns of each process."""
    by_cpu_time: bool = False
    """Steps are compared by the process's CPU time: of one thread that is its time without that of waiting for a core,
    so that other work on the machine disturbs it less."""


EXPERIMENTS = {
    "memory": Experiment(
        settings=(
            Setting(name="small pages, forks of one server"),
            Setting(name="small pages, servers of their own", fresh_server=True),
            Setting(name="small pages, shuffled heap", shuffled_heap=True),
            Setting(name="huge pages, forks of one server", huge_pages=True),
            Setting(name="huge pages, servers of their own", huge_pages=True, fresh_server=True),
            Setting(name="huge pages, shuffled heap", huge_pages=True, shuffled_heap=True),
        ),
        turn_seconds=0.1,
        rounds=12,
        by_cpu_time=True,
    ),
    "threads": Experiment(
        settings=(
            Setting(name="the default, a thread a core", threads=0),
            Setting(name="one thread within operations", threads=0, pools=(1, 2)),
            Setting(name="one thread between operations", threads=0, pools=(2, 1)),
            Setting(name="one thread in all (`threads=1`)"),
            Setting(name="the default, huge pages", threads=0, huge_pages=True),
            Setting(name="the default, threads pinned to cores in turn", threads=0, pinned=True),
        ),
        turn_seconds=0.4,
        rounds=8,
    ),
}


# --- measuring ---


class Groups:
    """The servers of an experiment's settings, and a group of processes at a time; ends them all when it is closed."""

    def __init__(self, experiment: Experiment, data: Path | None, logs: Path) -> None:
        self._experiment, self._data, self._logs = experiment, data, logs
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
        settings = {setting.name: setting for setting in self._experiment.settings}
        base = Case(cell=cell, task="mnist_5k", epochs=1)
        sides = {
            name: PreparedSide(
                title=name,
                case=Case(cell=cell, task="mnist_5k", epochs=1, threads=setting.threads),
                environment=setting.environment,
                worker=WORKER,
            )
            for name, setting in settings.items()
        } | {ANCHOR_NAME: anchor_side(base)}
        server_seconds = self._serve(sides, [name for name, setting in settings.items() if setting.fresh_server])
        with contextlib.ExitStack() as stack:
            processes = {name: stack.enter_context(self._process(name, side)) for name, side in sides.items()}
            for process in processes.values():
                process.imported_code()
            for process in processes.values():
                process.time_batch(_WARM_STEPS)
            ready_seconds = {name: process.cpu_seconds() for name, process in processes.items()}
            for name, setting in settings.items():
                if setting.pinned:
                    _pin(processes[name].pid)
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
        steps = max(1, round(self._experiment.turn_seconds / statistics.median(seconds.values())))
        return dict.fromkeys(seconds, steps) | {ANCHOR_NAME: max(1, round(ANCHOR_TURN / anchor))}

    def _turns(self, processes: Mapping[str, SideProcess], steps: Mapping[str, int]) -> dict[str, list[list[float]]]:
        """By process, a row a turn: seconds a step, cores used, and per second: waited for a core, used by others."""
        names = [name for name in processes if name != ANCHOR_NAME]
        orders = [[names[place] for place in row] for row in williams_square(len(names))]
        for name, process in processes.items():  # the first turn is discarded
            process.time_batch(steps[name])
        turns: dict[str, list[list[float]]] = {name: [] for name in processes}
        for number in range(self._experiment.rounds):
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


def _pin(pid: int) -> None:
    """Pin the threads of a process to cores in turn, the busiest first."""
    threads = sorted(psutil.Process(pid).threads(), key=lambda thread: -(thread.user_time + thread.system_time))
    cores = sorted(os.sched_getaffinity(0))
    for place, thread in enumerate(threads):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(thread.id, {cores[place % len(cores)]})


def record(file: Path, minutes: float) -> None:
    """Measure until the groups of each experiment add up to so many minutes.

    Args:
        file: where each group is stored when it has ended.
        minutes: of each experiment.
    """
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else _about()
    groups = kept["groups"]
    case = Case(cell=CELLS[0], task="mnist_5k", epochs=1)
    data = obtain(tasks.of(case, "a recording"), data_dir=None, report=_report)
    with contextlib.ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runners = {name: Groups(experiment, data, logs) for name, experiment in EXPERIMENTS.items()}
        for runner in runners.values():
            stack.callback(runner.close)
        while True:
            spent = {name: sum(group["seconds"] for group in groups if group["experiment"] == name) for name in runners}
            due = min(spent, key=lambda name: spent[name])
            if spent[due] >= 60 * minutes:
                return
            counts = {
                cell: sum((group["experiment"], group["cell"]) == (due, cell) for group in groups) for cell in CELLS
            }
            cell = min(counts, key=lambda name: counts[name])
            with machine_lock(_report):
                group = runners[due].measure(cell)
            groups.append({"experiment": due, **group})
            part = file.with_suffix(".part")
            part.write_text(json.dumps(kept) + "\n")
            part.replace(file)
            _report(f"{due} {cell} {counts[cell] + 1}: {group['seconds']:.0f} s, load {group['load']:g}")


def _about() -> dict[str, Any]:
    machine, software = read_machine(), read_software("tensorflow")
    return {
        "what": "turns of processes with candidates switched on and off; see scripts/record_steadiness.py",
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
    parser.add_argument("--minutes", type=float, default=12.0, help="of each experiment")
    arguments = parser.parse_args()
    record(arguments.file, arguments.minutes)


if __name__ == "__main__":
    main()
