"""`bench` with the fake worker, as a process of its own (`python -m tests.support.harness run ...`), and who kills it.

`BenchProcess` is what tests/test_kills.py and scripts/kills.py share: it kills, and says what is wrong afterwards.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

import psutil

from bench.plan.plan import Plan
from bench.plan.prepare import PreparedSuite

ROOT = Path(__file__).resolve().parents[2]
FAKE = "tests.support.fake_worker"
FAKE_SIDE = os.environ.get("BENCH_TEST_SIDE", "tests.support.fake_side")
FAKE_WORKER = os.environ.get("BENCH_TEST_WORKER", FAKE)
FAKE_ANCHOR = os.environ.get("BENCH_TEST_ANCHOR", FAKE_SIDE)
KEEP_SERVERS = "BENCH_TEST_KEEP_SERVERS"
"""The environment variable that keeps the servers of a duel from group to group, where only its verdict is tested."""
MACHINE = "BENCH_TEST_MACHINE"
"""The environment variable that says which machine a harness takes itself to be on."""
FORBIDDEN = ("keras", "tensorflow", "jax", "torch")
TARGETS = ("parent", "server", "child")
_GONE_SECONDS = 5.0
"""How long an orphan may live. A server that is importing TensorFlow notices when the interpreter gets round to it."""


def main() -> None:
    """`bench`, whose `run` takes the fake worker, and whose `duel` and `gate` the fake side.

    Leases are touched, and those of another machine (`MACHINE`) judged, within a second or two.
    """
    import bench.cli
    from bench.duel import commit_gate, interleaved, interleaved_cells, procedure, sides
    from bench.host import noise, processes
    from bench.run import runner, session
    from bench.store import lease

    run_session, run_duel, interleave = session.run_session, procedure.run_duel, interleaved_cells.interleave
    run_commit_gate = commit_gate.run_commit_gate
    quick_reading = functools.partial(noise.read_quiet, 0.01)  # half a second a start is too dear here

    def with_fake_worker(
        prepared: PreparedSuite, settings: session.SessionSettings, reporter: session.SessionReporter
    ) -> session.SessionOutcome:
        return run_session(prepared, replace(settings, worker=FAKE), reporter)

    def with_fake_side(settings: procedure.DuelSettings, reporter: procedure.DuelReporter) -> procedure.Duel:
        return run_duel(replace(settings, worker=FAKE_SIDE, rounds=4), reporter)

    def with_fake_commits(
        settings: commit_gate.CommitGateSettings, reporter: commit_gate.CommitGateReporter
    ) -> commit_gate.CommitGate:
        duel = replace(settings.duel, worker=FAKE_SIDE, rounds=2)
        return run_commit_gate(replace(settings, duel=duel, worker=FAKE_WORKER), reporter)

    def with_fake_sides(
        plan: Plan, settings: interleaved_cells.InterleavedSettings, reporter: interleaved_cells.InterleavedReporter
    ) -> None:
        interleave(plan, replace(settings, worker=FAKE_SIDE), reporter)

    runner_of_sides = functools.partial(interleaved.InterleavedRunner, fresh_servers=KEEP_SERVERS not in os.environ)
    try:
        with (
            patch.object(session, "run_session", with_fake_worker),
            patch.object(procedure, "run_duel", with_fake_side),
            patch.object(interleaved_cells, "interleave", with_fake_sides),
            patch.object(commit_gate, "run_commit_gate", with_fake_commits),
            patch.object(procedure, "InterleavedRunner", runner_of_sides),
            patch.object(sides, "ANCHOR_WORKER", FAKE_ANCHOR),
            patch.object(procedure, "MOST_GROUPS", 16),
            patch.object(noise, "read_quiet", quick_reading),
            patch.object(processes, "_namespace", lambda proc: os.environ.get(MACHINE, "here")),
            patch.object(lease, "BEAT_SECONDS", 0.1),
            patch.object(lease, "SILENT_SECONDS", 1.0),
            patch.object(session, "_WATCH_SECONDS", 0.1),
            patch.object(runner, "_WAIT_SECONDS", 0.1),
        ):
            bench.cli.main()
    finally:
        loaded = [name for name in FORBIDDEN if name in sys.modules]
        if loaded:
            print(f"the harness has imported {loaded}", file=sys.stderr)
            os._exit(99)


def fake_bench(*arguments: str) -> list[str]:
    """The command line of `bench` with the fake worker."""
    return [sys.executable, "-m", "tests.support.harness", *arguments]


def _hang_up_as_usual() -> None:
    """Under `nohup`, as CI may run, a child would be born deaf to SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@dataclass
class BenchProcess:
    """A `bench run` in a session of its own, and the killing of its processes.

    Everything that it starts bears a mark in its environment, by which what outlives it is found.
    """

    command: list[str]
    output: Path
    """Where its standard output and error go."""
    environment: Mapping[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    harness: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        """Start the command, with `more` behind it."""
        with self.output.open("ab") as output:
            self.harness = subprocess.Popen(
                [*self.command, *more],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_hang_up_as_usual,
                cwd=ROOT,
                env={**os.environ, **self.environment, "BENCH_TEST_MARK": self.mark},
            )
        return self.harness

    def find(self, target: str) -> psutil.Process | None:
        """The harness, its server, or the process of the run that it is doing; None where there is none just now."""
        if self.harness is None or self.harness.poll() is not None:
            return None
        try:
            parent = psutil.Process(self.harness.pid)
            if target == "parent":
                return parent
            servers = [child for child in parent.children() if "bench.worker" in child.cmdline()]
            if target == "server":
                return servers[0] if servers else None
            return next((child for server in servers for child in server.children()), None)
        except psutil.Error:  # gone while we looked
            return None

    def wait_for(self, target: str, seconds: float = 60.0) -> psutil.Process:
        """Wait until there is one."""
        deadline = time.monotonic() + seconds
        while (process := self.find(target)) is None:
            assert time.monotonic() < deadline, f"no {target} within {seconds} s:\n{self.tail()}"
            time.sleep(0.002)
        return process

    def marked(self) -> list[psutil.Process]:
        """The processes that were started by this `bench` and live, however they were started."""
        marked = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("BENCH_TEST_MARK") == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    marked.append(process)
            except psutil.Error:
                continue
        return marked

    def orphans(self, seconds: float = _GONE_SECONDS) -> list[str]:
        """Those that still live so long after the harness has ended."""
        deadline = time.monotonic() + seconds
        while (left := self.marked()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return [f"{process.pid} {self.command_line(process)[:120]}" for process in left]

    @staticmethod
    def command_line(process: psutil.Process) -> str:
        """Of a process that may end while it is asked."""
        try:
            return " ".join(process.cmdline())
        except psutil.Error:
            return "ended"

    def kill(self, target: str) -> str | None:
        """Kill one process as nobody can prevent; what outlived the harness, if it was the target, or None."""
        victim = self.find(target)
        if victim is None:
            return None
        victim.send_signal(signal.SIGKILL)
        if target == "parent":
            assert self.harness is not None
            self.harness.wait()
            return "; ".join(self.orphans()) or None
        return None

    def finish(self, *more: str, timeout: float) -> int:
        """Run the command to its end; its exit code."""
        return self.start(*more).wait(timeout)

    def stop(self) -> None:
        """End whatever still lives."""
        for process in self.marked():
            process.kill()
        if self.harness is not None:
            self.harness.wait()

    def tail(self) -> str:
        """The end of what it has printed."""
        return self.output.read_text(errors="replace")[-3_000:]


def violations(results: Path) -> list[str]:
    """What is wrong with a store after one `bench run --retry-failed` to the end; nothing, if all is well."""
    import duckdb
    import pandas as pd

    from bench.store import load
    from bench.store.campaign import read_manifests

    wrong: list[str] = []
    manifests = read_manifests(results)
    if len(manifests) != 1:
        return [f"{len(manifests)} campaigns where one was begun"]
    kept = load([results], warn=wrong.append)
    runs = kept.drop_duplicates("run_id")
    cases = Counter(runs["case_id"])
    wrong += [f"the case {case} is there {count} times" for case, count in cases.items() if count != 1]
    missing = manifests[0].case_ids - set(cases)
    wrong += [f"{len(missing)} cases are missing: {sorted(missing)[:3]}"] if missing else []
    wrong += [f"{run.case_id} ended {run.status}: {run.error}" for run in runs.itertuples() if run.status != "ok"]

    parts = sorted((results / "runs").glob("*.parquet"))
    everything = load([results], all_attempts=True, warn=wrong.append)
    attempts = everything.drop_duplicates("run_id")
    if len(parts) != len(attempts):
        wrong.append(f"{len(parts)} parts hold {len(attempts)} runs")
    twice = Counter(attempts.loc[attempts["status"] == "ok", "case_id"])
    wrong += [f"the case {case} was measured {count} times" for case, count in twice.items() if count > 1]

    by_pandas = pd.read_parquet(results / "runs")
    ((counted,),) = (
        duckdb.connect().execute("select count(*) from read_parquet(?)", [f"{results}/runs/*.parquet"]).fetchall()
    )
    if not len(by_pandas) == len(everything) == counted:
        wrong.append(f"rows: pandas {len(by_pandas)}, duckdb {counted}, bench {len(everything)}")

    files = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}
    logs = set(attempts.loc[attempts["status"] != "ok", "log"].dropna())
    expected = {".lock", *(f"runs/{p.name}" for p in parts), *(f"campaigns/{m.campaign.id}.json" for m in manifests)}
    wrong += [f"left behind: {name}" for name in sorted(files - expected - logs)]
    wrong += [f"the log {name} is named and not there" for name in sorted(logs - files)]
    return wrong


def choose(generator: random.Random, weights: Mapping[str, float]) -> str:
    """Whom to kill next."""
    return generator.choices(list(weights), list(weights.values()))[0]


if __name__ == "__main__":
    main()
