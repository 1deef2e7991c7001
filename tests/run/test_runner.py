"""The whole path, suite → plan → run → store → table, with the fake worker: no Keras anywhere."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from bench import store
from bench.catalog.tasks import TASKS
from bench.catalog.tasks.sources import Download, KerasCache
from bench.cli.run import _command
from bench.core.case import Status
from bench.core.errors import UsageError
from bench.core.protocol import Event
from bench.host.software import Software, SoftwareKey
from bench.plan.estimate import estimate_seconds
from bench.plan.plan import Plan, ScheduledCase, make_plan
from bench.plan.suite import load as load_suite
from bench.run.execution import RunConditions
from bench.run.lock import LOCK_VARIABLE
from bench.run.remaining_time import RemainingTime
from bench.run.runner import CampaignOutcome, CampaignSettings, run_campaign
from bench.run.server import Isolation
from bench.store.campaign import Campaign, owner_lease
from bench.store.compact import compact
from bench.store.lease import Leases
from bench.store.parts import Run
from tests.support import harness
from tests.support.fake_worker import SCRIPT
from tests.support.harness import FAKE, ROOT, fake_bench, violations
from tests.support.hosts import a_host
from tests.support.roots import LAPTOP

# --- by `run_campaign`, on a clock of its own ---

CAMPAIGN = Campaign(
    suite="quick",
    plan_hash="0123",
    order_seed=7,
    machine_fingerprint=LAPTOP.fingerprint,
    software_fingerprint="s",
    program_version="0.1",
    program_commit=None,
    project_commit=None,
    cells_digest="",
    started_at="2026-11-23T01:02:03.000004+00:00",
)


class Clock:
    """Moves by what a run says that it took, and by `between` when a run begins or a second passes."""

    def __init__(self, between: float = 0.0) -> None:
        self.now, self.between = 1_000.0, between

    def __call__(self) -> float:
        return self.now


class Record:
    """A reporter that writes down what it is told."""

    def __init__(self, clock: Clock | None = None, at_start: Mapping[int, Callable[[], object]] | None = None) -> None:
        self.clock, self.at_start = clock or Clock(), at_start or {}
        self.lines: list[str] = []
        self.left: list[float] = []
        self.notes: list[str] = []

    def campaign_started(self, plan: Plan) -> None:
        pass

    def run_started(self, scheduled: ScheduledCase, index: int, total: int, left: float) -> None:
        self.lines.append(f"{index}/{total} {scheduled.case.label()}")
        self.left.append(left)
        self.clock.now += self.clock.between
        self.at_start.get(index, lambda: None)()

    def event(self, event: Event) -> None:
        self.clock.now += getattr(event, "seconds", None) or 0.0

    def tick(self) -> None:
        self.clock.now += 1.0

    def run_ended(self, scheduled: ScheduledCase, run: Run, seconds: float, left: float, log: Path | None) -> None:
        self.lines.append(f"{scheduled.case.label()} {run.status} {seconds:g} {'log' if log else ''}".strip())
        self.left.append(left)

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Laboratory:
    """A store, and runs into it."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def script(self, **behaviour: Any) -> None:
        """What runs do, by label, cell or "*"."""
        (self.folder / "script.json").write_text(json.dumps(behaviour))

    def plan(self, *overrides: str) -> Plan:
        return make_plan(
            load_suite("quick", overrides),
            order_seed=7,
            host=a_host(),
        )

    def setting(self, leases: Leases, **changes: Any) -> CampaignSettings:
        setting = CampaignSettings(
            folder=self.results,
            conditions=RunConditions(
                campaign=CAMPAIGN,
                machine=LAPTOP,
                software={
                    SoftwareKey("tensorflow", "none"): Software(
                        python="3.11", keras="3.15", backend="tensorflow", backend_version="2.21", numpy="2"
                    )
                },
                data={"mnist_5k": Path("five.npz"), "mnist": Path("all.npz")},
            ),
            leases=leases,
            worker=FAKE,
            lock=self.folder / "lock",
        )
        return replace(setting, **changes)

    def campaign(
        self,
        plan: Plan,
        record: Record | None = None,
        *,
        retry_failed: bool = False,
        budget_seconds: float = math.inf,
        **changes: Any,
    ) -> CampaignOutcome:
        record = record or Record()
        with Leases(self.results) as leases:
            leases.take(owner_lease(CAMPAIGN.id))
            setting = self.setting(leases, **changes)
            return run_campaign(
                plan,
                setting,
                record,
                retry_failed=retry_failed,
                budget_seconds=budget_seconds,
                clock=record.clock,
            )

    def joined(self, plan: Plan, *, retry_failed: bool = False) -> Record:
        """Another harness takes part, on another machine: on one it would wait for the lock."""
        record = Record()
        with Leases(self.results) as leases:
            setting = self.setting(leases, lock=self.folder / "another lock")
            run_campaign(plan, setting, record, retry_failed=retry_failed)
        return record

    def runs(self, all_attempts: bool = False) -> pd.DataFrame:
        """A row for each run, by its label."""
        frame = store.load([self.results], all_attempts=all_attempts)
        frame = frame[frame["phase"] == "run"].sort_values(["position", "attempt"])
        return frame.set_index(frame["cell"].astype(str) + " seed=" + frame["seed"].astype(str))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    monkeypatch.setenv(SCRIPT, str(tmp_path / "script.json"))
    monkeypatch.setenv(LOCK_VARIABLE, str(tmp_path / "lock"))
    laboratory = Laboratory(tmp_path)
    laboratory.script()
    before = set(psutil.Process().children(recursive=True))
    yield laboratory
    assert not set(psutil.Process().children(recursive=True)) - before


def test_every_case_is_run_once_in_the_plan_s_order(lab: Laboratory) -> None:
    plan, record = lab.plan("seeds=0,1"), Record()
    outcome = lab.campaign(plan, record)
    assert outcome.statuses == {Status.OK: 6, Status.FAILED: 0, Status.TIMEOUT: 0, Status.INVALID: 0}
    assert (outcome.done_now, outcome.troubled) == (6, 0)
    assert record.lines[::2] == [f"{n}/6 {p.case.label()}" for n, p in enumerate(plan.scheduled, start=1)]
    runs = lab.runs()
    assert list(runs["case_id"]) == [scheduled.case.id for scheduled in plan.scheduled]
    assert list(runs["block"]) == [0, 0, 0, 1, 1, 1]
    assert set(runs["order_seed"]) == {7}
    assert set(runs["attempt"]) == {1}
    assert set(runs["isolation"]) == {"fork"}


def test_the_measured_share_is_what_was_measured_over_the_wall_time(lab: Laboratory) -> None:
    record = Record(Clock(between=1.0))
    outcome = lab.campaign(lab.plan("seeds=0", "cells=lstm", "epochs=2"), record)
    # build 0.1, compile 2, two epochs of 2 and 0.25, evaluate 0.5; and a second beside
    spent = outcome.wall_time
    assert spent is not None
    assert spent.total_seconds == pytest.approx(8.1)  # every second has a name
    assert spent.measured_fraction == pytest.approx(7.1 / 8.1)
    assert spent.seconds["train"] == pytest.approx(4.0)
    assert next(iter(spent.other_fractions)) == "between runs"
    assert spent.other_fractions["between runs"] == pytest.approx(1 / 8.1)
    (run,) = lab.runs().itertuples()
    assert run.seconds == pytest.approx(7.1)  # starting the server is in the wall time, and in no run


def test_no_block_is_begun_that_would_not_end_in_time_and_a_later_call_does_it(lab: Laboratory) -> None:
    plan, record = lab.plan("seeds=0..2", "cells=lstm,gru", "epochs=2"), Record(Clock(between=1.0))
    seconds = 2 * 8.1  # of a block: see the test above
    outcome = lab.campaign(plan, record, budget_seconds=2.5 * seconds)
    assert outcome.done_now == 4
    assert set(lab.runs()["block"]) == {0, 1}
    assert record.notes == ["1 block is left for want of time: the same command goes on with what is left"]
    assert lab.campaign(plan).done_now == 2


def test_the_first_block_is_begun_however_little_time_there_is(lab: Laboratory) -> None:
    assert lab.campaign(lab.plan("seeds=0..1", "cells=lstm"), budget_seconds=1e-9).done_now == 1


def test_nothing_is_done_twice(lab: Laboratory) -> None:
    plan = lab.plan("seeds=0", "cells=lstm")
    lab.campaign(plan)
    outcome = lab.campaign(plan)
    assert outcome.done_now == 0
    assert outcome.statuses[Status.OK] == 1


def test_what_is_finished_is_not_run_again(lab: Laboratory) -> None:
    plan = lab.plan("seeds=0,1")
    with pytest.raises(KeyboardInterrupt):
        lab.campaign(plan, Record(at_start={4: _interrupt}))
    before = {path: path.read_bytes() for path in lab.results.glob("runs/*")}
    assert len(before) == 3
    record = Record()
    outcome = lab.campaign(plan, record)
    assert record.lines[0] == f"1/3 {plan.scheduled[3].case.label()}"
    assert (outcome.done_now, outcome.statuses[Status.OK]) == (3, 6)
    assert before.items() <= {path: path.read_bytes() for path in lab.results.glob("runs/*")}.items()


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_a_killed_harness_s_log_is_not_taken_for_the_next_run_s(lab: Laboratory) -> None:
    plan = lab.plan("seeds=0", "cells=lstm")
    lab.script(lstm="raise")
    lab.campaign(plan)
    (log,) = lab.results.glob("logs/*")
    text = log.read_text()
    next(lab.results.glob("runs/*")).unlink()  # as if the harness had been killed before it was stored
    log.write_text("of the killed one\n" + text)
    lab.campaign(plan)
    assert log.read_text() == text


HOW_RUNS_END = {
    "lstm seed=0": ("raise", Status.FAILED, "ValueError: the shapes (3, 4) and (5,) don't fit"),
    "gru seed=0": ("invalid", Status.INVALID, "asked for the kernel cudnn, but generic ran"),
    "simple_rnn seed=0": ("nan", Status.FAILED, "the loss isn't finite: nan in train of epoch 1"),
    "lstm seed=1": ("exit", Status.FAILED, "the run's process ended with exit code 7 before it had finished"),
    "gru seed=1": ("hang", Status.TIMEOUT, "silent for 0.5 s, killed (--set silence_seconds"),
}


def test_how_a_run_ended_is_stored_with_its_error_and_its_log(lab: Laboratory) -> None:
    lab.script(**{label: what for label, (what, _, _) in HOW_RUNS_END.items()})
    plan = lab.plan("seeds=0,1", "silence_seconds=0.5")
    outcome = lab.campaign(plan, record := Record())
    assert outcome.statuses == {Status.OK: 1, Status.FAILED: 3, Status.TIMEOUT: 1, Status.INVALID: 1}
    assert outcome.troubled == 5
    runs = lab.runs()
    for label, (_, status, error) in HOW_RUNS_END.items():
        run = runs.loc[label]
        assert run["status"] == status
        assert run["error"].startswith(error)
        assert (lab.results / run["log"]).exists()
        assert any(line.startswith(f"{label} {status}") and line.endswith("log") for line in record.lines)
    assert runs.loc["simple_rnn seed=1", "status"] == "ok"
    assert runs["log"].notna().sum() == 5
    assert len(list(lab.results.glob("logs/*"))) == 5
    # they count as finished
    assert lab.campaign(plan).done_now == 0


def test_failed_runs_are_tried_again_when_asked_and_readers_take_the_last(lab: Laboratory) -> None:
    plan = lab.plan("seeds=0")
    lab.script(**{"lstm": "raise", "gru": "invalid"})
    lab.campaign(plan)
    lab.script(**{"gru": "invalid"})
    record = Record()
    outcome = lab.campaign(plan, record, retry_failed=True)
    assert sorted(line.split()[1] for line in record.lines[::2]) == ["gru", "lstm"]
    assert outcome.statuses == {Status.OK: 2, Status.FAILED: 0, Status.TIMEOUT: 0, Status.INVALID: 1}
    assert dict(lab.runs()["attempt"]) == {"lstm seed=0": 2, "gru seed=0": 2, "simple_rnn seed=0": 1}
    assert len(lab.runs(all_attempts=True)) == 5
    lab.script()
    assert lab.campaign(plan).done_now == 0
    assert lab.campaign(plan, retry_failed=True).done_now == 1
    assert dict(lab.runs()["attempt"]) == {"lstm seed=0": 2, "gru seed=0": 3, "simple_rnn seed=0": 1}
    assert set(lab.runs()["status"]) == {"ok"}
    assert len(list(lab.results.glob("logs/*"))) == 3  # each failed attempt's is kept


def test_a_fork_that_fell_silent_is_recorded_as_spawned(lab: Laboratory) -> None:
    lab.script(**{"lstm seed=0": "hang forked"})
    lab.campaign(lab.plan("seeds=0", "silence_seconds=0.5"))
    runs = lab.runs()
    assert dict(runs["isolation"]) == {"lstm seed=0": "spawn", "gru seed=0": "fork", "simple_rnn seed=0": "fork"}
    assert set(runs["status"]) == {"ok"}


def test_each_run_gets_the_data_of_its_task(lab: Laboratory) -> None:
    lab.campaign(lab.plan("seeds=0", "cells=lstm", "tasks=mnist,mnist_5k"))
    frame = store.load([lab.results])
    digests = frame[["task", "data_digest"]].drop_duplicates().to_numpy().tolist()
    assert sorted(digests) == [["mnist", "all.npz"], ["mnist_5k", "five.npz"]]


def test_what_another_harness_has_done_meanwhile_is_skipped(lab: Laboratory) -> None:
    plan = lab.plan("seeds=0..2")
    joined: list[Record] = []
    record = Record(at_start={2: lambda: joined.append(lab.joined(plan))})
    outcome = lab.campaign(plan, record)
    assert (outcome.done_now, outcome.statuses[Status.OK]) == (3, 9)
    for harness_record, places in ((record, range(3)), (joined[0], range(3, 9))):
        started = [line.split(" ", 1)[1] for line in harness_record.lines[::2]]
        assert started == [plan.scheduled[n].case.label() for n in places]
    assert set(lab.runs()["attempt"]) == {1}
    first, last = joined[0].notes
    assert first.startswith(f"block 1 is being measured by process {os.getpid()} on ")
    assert last == "no block is free any more; by other harnesses are being measured: 1"
    assert list(lab.results.rglob("*.lease")) == []


def test_a_retry_is_nobody_s_twice(lab: Laboratory) -> None:
    plan = lab.plan("seeds=0,1")
    lab.script(**{"*": "raise"})
    lab.campaign(plan)
    record = Record(at_start={1: lambda: lab.joined(plan, retry_failed=True)})
    outcome = lab.campaign(plan, record, retry_failed=True)
    assert outcome.done_now == 3  # the block that it had begun when the other came
    assert set(lab.runs(all_attempts=True)["attempt"]) == {1, 2}


@pytest.mark.parametrize("folder", ["runs", "logs"])
def test_a_store_that_can_no_longer_be_written_to_ends_the_campaign(lab: Laboratory, folder: str) -> None:
    def block_folder() -> None:
        (lab.results / folder).rename(lab.folder / "away")
        (lab.results / folder).write_text("in the way")

    with pytest.raises(UsageError, match=rf"cannot write to .*{folder} \(.*\): a file is in the way"):
        lab.campaign(lab.plan("seeds=0"), Record(at_start={2: block_folder}))


# --- how long it takes ---


def test_the_estimate_is_corrected_by_what_was_seen(lab: Laboratory) -> None:
    scheduled = list(lab.plan("seeds=0").scheduled)
    expected = [estimate_seconds(p.case) for p in scheduled]
    remaining = RemainingTime(scheduled)
    assert remaining.left() == pytest.approx(sum(expected))
    remaining.saw(scheduled[0], 2 * expected[0])
    assert remaining.left() == pytest.approx(2 * sum(expected[1:]))
    remaining.skip(scheduled[1])
    assert remaining.left() == pytest.approx(2 * expected[2])
    remaining.saw(scheduled[2], 0.5 * expected[2])
    assert remaining.left() == pytest.approx(0)


def test_what_is_left_is_told_before_and_after_each_run(lab: Laboratory) -> None:
    record = Record()
    plan = lab.plan("seeds=0,1", "cells=lstm")
    lab.campaign(plan, record)
    estimate = estimate_seconds(plan.scheduled[0].case)
    assert record.left == pytest.approx([2 * estimate, 7.1, 7.1, 0])


# --- by the command line, in this process ---


@dataclass
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def bench(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    def call(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            harness.main()
        printed = capsys.readouterr()
        return Answer(int(end.value.code or 0), printed.out, printed.err)

    return call


def quick(lab: Laboratory, *more: str) -> tuple[str, ...]:
    return ("run", "quick", "--results", str(lab.results), *more)


def test_from_a_suite_to_a_table(lab: Laboratory, bench: Callable[..., Answer]) -> None:
    answer = bench(*quick(lab))
    assert answer.code == 0, answer.err
    for cell, accuracy in (("simple_rnn", "93.30"), ("lstm", "97.17"), ("gru", "98.30")):
        assert re.search(rf"^{cell} +{accuracy}", answer.out, re.M)
    assert "mnist_5k" in answer.out
    assert "generic" in answer.out
    assert re.search(r"^holds +accuracy: GRU > LSTM > SimpleRNN", answer.out, re.M)
    lines = answer.err.splitlines()
    assert sum(bool(re.match(r"\[\d/9\] .* 9\d\.\d\d %", line)) for line in lines) == 9
    assert any(re.fullmatch(r"bench: 9 runs in .*; measured \d+ % of the wall time.*", line) for line in lines)
    assert violations(lab.results) == []
    again = bench("table", str(lab.results))
    assert again.code == 0
    assert again.out == answer.out


@pytest.fixture
def no_mnist(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a network, on which MNIST was never seen."""
    monkeypatch.setenv("BENCH_CACHE_DIR", str(lab.folder / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(lab.folder / "keras"))
    monkeypatch.delenv("BENCH_DATA_DIR", raising=False)
    monkeypatch.setenv("PATH", str(lab.folder))
    sources = (KerasCache("mnist.npz"), Download("http://127.0.0.1:9/mnist.npz"))
    monkeypatch.setitem(TASKS, "mnist", replace(TASKS["mnist"], sources=sources))


@pytest.mark.usefixtures("no_mnist")
def test_without_mnist_the_embedded_digits_are_run_and_every_result_says_so(
    lab: Laboratory, bench: Callable[..., Answer]
) -> None:
    answer = bench("run", "mnist_rows", "--set", "seeds=0", "--results", str(lab.results))
    assert answer.code == 0, answer.err
    assert "RUNNING THE TASK mnist_5k INSTEAD" in answer.err
    assert "http://127.0.0.1:9/mnist.npz" in answer.err
    assert set(lab.runs()["task"]) == {"mnist_5k"}
    assert answer.out.startswith("mnist_5k")


@pytest.mark.usefixtures("no_mnist")
def test_without_mnist_a_suite_without_a_fallback_is_refused(lab: Laboratory, bench: Callable[..., Answer]) -> None:
    answer = bench("run", "mnist_rows", "--set", "fallback_task=", "--results", str(lab.results))
    assert answer.code == 2
    assert "the data of task 'mnist' cannot be had" in answer.err
    assert "INSTEAD" not in answer.err
    assert not lab.results.exists()


def test_runs_that_went_wrong_make_the_exit_code_4_and_name_their_logs(
    lab: Laboratory, bench: Callable[..., Answer]
) -> None:
    lab.script(**{"gru seed=1": "raise"})
    answer = bench(*quick(lab))
    assert answer.code == 4
    logs = re.findall(r"log: (.*)$", answer.err, re.M)
    assert len(logs) == 1
    assert "the shapes (3, 4) and (5,) don't fit" in Path(logs[0]).read_text()
    assert re.search(r"\[\d/9\] gru seed=1 +failed: ValueError: the shapes \(3, 4\) and \(5,\) don't fit", answer.err)
    assert re.search(r"^gru .* 2/3$", answer.out, re.M)
    lab.script()
    assert bench(*quick(lab, "--retry-failed")).code == 0
    assert violations(lab.results) == []


def test_new_begins_another_campaign_though_one_is_unfinished(lab: Laboratory, bench: Callable[..., Answer]) -> None:
    bench(*quick(lab, "--set", "seeds=0"))
    next(lab.results.glob("runs/*")).unlink()
    answer = bench(*quick(lab, "--set", "seeds=0", "--new"))
    assert "beginning the campaign" in answer.err
    assert len(list(lab.results.glob("runs/*"))) == 5
    assert len(list(lab.results.glob("campaigns/*"))) == 2


def test_an_unfinished_campaign_is_resumed(lab: Laboratory, bench: Callable[..., Answer]) -> None:
    bench(*quick(lab, "--set", "seeds=0"))
    next(lab.results.glob("runs/*")).unlink()
    answer = bench(*quick(lab, "--set", "seeds=0"))
    assert "resuming the campaign" in answer.err
    assert re.search(r"bench: 1 runs? in", answer.err)
    assert violations(lab.results) == []


@pytest.mark.parametrize("folded", [False, True])
def test_a_run_that_is_not_sound_is_named_and_measured_again(
    lab: Laboratory, bench: Callable[..., Answer], folded: bool
) -> None:
    """Folded, it stays in its part, and the sound copy beside it counts."""
    bench(*quick(lab, "--set", "seeds=0"))
    if folded:
        compact(lab.results)
    part = min(lab.results.glob("runs/*"))
    table = pq.read_table(part)
    damaged = table["run_id"][0]
    samples = pc.if_else(pc.equal(table["run_id"], damaged), -1, table["samples"])
    pq.write_table(table.set_column(table.schema.get_field_index("samples"), "samples", samples), part)
    answer = bench(*quick(lab, "--set", "seeds=0"))
    assert answer.code == 0
    assert "resuming the campaign" in answer.err
    assert "left out: its samples is out of range" in answer.err
    assert "what was left out of this campaign is not done: it is measured again" in answer.err
    assert re.search(r"bench: 1 run in", answer.err)
    assert len(list(lab.results.glob("runs/*.corrupt"))) == (not folded)
    runs = store.load([lab.results]).drop_duplicates("run_id")
    assert sorted(runs["cell"]) == ["gru", "lstm", "simple_rnn"]
    assert list(runs["attempt"]) == [1, 1, 1]
    assert "resuming" not in bench(*quick(lab, "--set", "seeds=0")).err


@pytest.mark.parametrize("where", [["--results", "/home/me/x y"], ["--results=/home/me/x y"], []])
def test_the_command_that_makes_it_again_names_no_folder_of_whom_it_was(where: list[str]) -> None:
    assert _command(["run", *where, "quick", "--set", "seeds=0..9"]) == "bench run quick --set seeds=0..9"
    assert _command(["run", "my suite.toml", *where]) == "bench run 'my suite.toml'"


def test_isolation_can_be_asked_for(lab: Laboratory, bench: Callable[..., Answer]) -> None:
    assert bench(*quick(lab, "--set", "seeds=0", "--set", "cells=gru", "--isolation", "spawn")).code == 0
    assert set(lab.runs()["isolation"]) == {Isolation.SPAWN}


def test_workers_are_pinned(lab: Laboratory, bench: Callable[..., Answer]) -> None:
    cpu = max(psutil.Process().cpu_affinity() or [0])
    assert bench(*quick(lab, "--set", "seeds=0", "--set", "cells=gru", "--cpus", str(cpu))).code == 0
    assert json.loads(lab.runs()["extra_json"].iloc[0])["cpus"] == [cpu]


def test_the_order_number_is_recorded_and_shuffles(lab: Laboratory, bench: Callable[..., Answer]) -> None:
    orders = {}
    for number in (0, 1, 2):
        results = lab.results / str(number)
        assert bench("run", "quick", "--seed-order", str(number), "--results", str(results)).code == 0
        frame = store.load([results])
        assert set(frame["order_seed"]) == {number}
        orders[number] = tuple(frame.drop_duplicates("run_id").sort_values("position")["case_id"])
    assert len(set(orders.values())) == 3


def test_a_full_disk_in_the_middle_ends_with_code_2_and_leaves_nothing_running(lab: Laboratory) -> None:
    # a manifest is smaller than the limit, a run's part larger
    limited = ["bash", "-c", 'ulimit -f 14; exec "$@"', "-", *fake_bench(*quick(lab, "--set", "seeds=0"))]
    done = subprocess.run(limited, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2, done.stderr
    assert re.search(r"^bench: cannot write to .*runs \(file too large\): raise the limit", done.stderr, re.M)
    assert "Traceback" not in done.stderr
    assert [path.name for path in lab.results.rglob("*.tmp")] == []


def test_two_harnesses_share_a_campaign_and_the_machine(lab: Laboratory) -> None:
    lab.script(seconds=0.05)
    command = fake_bench(*quick(lab, "--set", "seeds=0..7", "--join"))
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) for _ in "ab"
    ]
    printed = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    # the one that starts later resumes, so that its total is what was left then
    done = [len(re.findall(r"^\[ *\d+/\d+\]", text, re.M)) for text in printed]
    assert sum(done) == 24
    assert min(done) > 0
    waited = [re.findall(r"another bench \(process (\d+)\) is timing", text) for text in printed]
    for mine, other in ((0, 1), (1, 0)):
        assert waited[mine] in ([], [str(both[other].pid)])
    assert waited != [[], []]
    assert violations(lab.results) == []
    # runs did not overlap: each began when the one before had ended
    runs = lab.runs().sort_values("started_at")
    ends = runs["started_at"] + pd.to_timedelta(runs["seconds"], unit="s")
    assert (runs["started_at"].iloc[1:].to_numpy() >= ends.iloc[:-1].to_numpy()).all()
