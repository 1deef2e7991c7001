"""`bench duel` as a process of its own, with the fake side: verdicts, exit codes, failures, kills."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from bench.cli.duel import _names
from bench.core.errors import UsageError
from bench.duel.rounds import ANCHOR, group_log_ratio, rounds_of
from bench.report.duel import notes
from bench.run.lock import LOCK_VARIABLE
from tests.support.fake_worker import SCRIPT
from tests.support.git import git
from tests.support.harness import KEEP_SERVERS, ROOT, BenchProcess, fake_bench
from tests.support.zygote import run_bench

Duel = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def duel(tmp_path: Path) -> Duel:
    def call(*arguments: str, cwd: Path = ROOT, **script: object) -> subprocess.CompletedProcess[str]:
        (tmp_path / "script.json").write_text(json.dumps(script))
        variables = {SCRIPT: str(tmp_path / "script.json"), LOCK_VARIABLE: str(tmp_path / "lock"), "COLUMNS": "100"}
        return run_bench("duel", *arguments, "--results", str(tmp_path / "results"), cwd=cwd, variables=variables)

    return call


def sides(a: str, b: str) -> list[str]:
    return ["--a", a, "--b", b]


def test_a_slower_side_is_found_and_every_timed_batch_is_kept(duel: Duel, tmp_path: Path) -> None:
    done = duel(*sides("units=100", "units=110"), "--format", "json", noise=0.003)
    assert done.returncode == 1, done.stderr
    record = json.loads(done.stdout)
    assert record["verdict"] == "slower"
    assert 1.005 < record["low"] < 1.1 < record["high"] < 1.13
    assert record["sides"]["b"]["case"]["units"] == 110
    assert record["sides"]["a"]["attested_kernel"] == "generic"
    # anybody can compute it again from what was kept
    (folder,) = (tmp_path / "results" / "duels").iterdir()
    assert json.loads((folder / "duel.json").read_text()) == record
    frame = pd.read_parquet(folder / "slices.parquet")
    rounds = rounds_of(frame.to_dict("records"))
    again = [group_log_ratio([each for each in rounds if each.group == pair], 0, 1) for pair in range(record["pairs"])]
    assert again == pytest.approx(record["log_ratios"])
    of_groups = frame[frame["side"] == "a"].groupby("pair").size()
    assert (record["fewest_rounds"], record["slices_a_side"]) == (of_groups.min(), of_groups.max())
    assert sorted(path.name for path in folder.iterdir()) == ["duel.json", "slices.parquet"]
    # A B B A, and the next pair begins with B; the anchor has a batch after each two
    ordered = frame.sort_values("start_seconds")
    assert "".join(ordered[ordered["side"] != "anchor"]["side"].head(16)) == "abbaabbabaabbaab"
    anchored = [group_log_ratio([each for each in rounds if each.group == pair], ANCHOR, 0) for pair in range(5)]
    assert anchored == pytest.approx(record["sides"]["a"]["anchor_log_ratios"][:5])
    assert record["stopped"] == "decided"
    ((contrast),) = record["contrasts"]
    assert (contrast["base"], contrast["side"], contrast["ratio"]) == ("a", "b", record["ratio"])


def test_equal_sides_are_green_and_the_progress_narrows(duel: Duel) -> None:
    done = duel(*sides("kernel=auto", "kernel=generic"), noise=0.002)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("B and A take the same time: ")
    assert "the whole interval lies within the equivalence margin of 1.5 %" in " ".join(done.stdout.split())
    assert "bench: lstm, steps of training · notebook network · mnist_5k · tensorflow · cpu" in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("pair ")]
    assert lines[0].startswith("pair  1  B / A ")
    assert "so far" not in lines[0]
    assert all("so far" in line and "|" in line for line in lines[1:])
    assert lines[-1].endswith("  interim analysis")


def test_the_guides_commands_work(duel: Duel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the one whose environments are some gigabytes (those of tests/test_sides.py are smaller)."""
    monkeypatch.setenv(KEEP_SERVERS, "1")
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "-q", "-b", "main")
    for text in ("small_gru = 1", "small_gru = 2"):
        (project / "my_cells.py").write_text(text)
        git(project, "add", "-A")
        git(project, "commit", "-qm", "a cell")
        git(project, "switch", "-qc", f"after-{text[-1]}")
    (project / "my_cells.py").write_text("small_gru = 3")
    pages = [(ROOT / name).read_text() for name in ("README.md", "docs/guides/duel.md")]
    commands = {line for page in pages for line in page.splitlines() if line.startswith("bench duel ")}
    assert len(commands) == 9
    for command in commands:
        if "==" not in command:
            done = duel(*shlex.split(command)[2:], cwd=project, noise=0.002)
            assert done.returncode == 0, f"{command}: {done.stderr}"


def test_configurations_are_compared_with_the_first_until_they_are_known(duel: Duel, tmp_path: Path) -> None:
    """None of them is a regression; a precision is gone on for, and the reader is told which two a ratio is of."""
    done = duel("--set", "units=100,110,150", "--precision", "4%", "--format", "json", noise=0.01)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["stopped"] == "precise"
    assert [(each["base"], each["side"], each["verdict"]) for each in record["contrasts"]] == [
        ("a", "b", "slower"),
        ("a", "c", "slower"),
    ]
    for contrast, ratio in zip(record["contrasts"], (1.1, 1.5), strict=True):
        assert contrast["high"] / contrast["low"] <= 1.04**2
        assert contrast["ratio"] == pytest.approx(ratio, rel=0.03)
    assert [side["title"] for side in record["sides"].values()] == ["units=100", "units=110", "units=150"]
    assert all(side["anchor_ratio"] > 0 for side in record["sides"].values())
    (folder,) = (tmp_path / "results" / "duels").iterdir()
    frame = pd.read_parquet(folder / "slices.parquet")
    assert set(frame["side"]) == {"a", "b", "c", "anchor"}
    again = [
        group_log_ratio([each for each in rounds_of(frame.to_dict("records")) if each.group == group], 0, 2)
        for group in range(len(record["contrasts"][1]["log_ratios"]))
    ]
    assert again == pytest.approx(record["contrasts"][1]["log_ratios"])


def test_two_settings_are_compared_in_each_configuration_with_one_exit_code(duel: Duel) -> None:
    arguments = (*sides("units=100", "units=110"), "--set", "cells=lstm,gru")
    done = duel(*arguments, "--format", "md", noise=0.003)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("### ❌ 2 ratios: 2 slower; every verdict is made (")
    assert "| B / A | lstm, units=110 / lstm, units=100 | 1." in done.stdout
    assert "| D / C | gru, units=110 / gru, units=100 | 1." in done.stdout
    assert "lstm, gru, steps of training · notebook network · mnist_5k" in done.stdout
    assert "2 of 2 ratios settled" in done.stderr


def test_several_sides_are_compared_with_one_base(duel: Duel) -> None:
    done = duel("--sides", "units=110,units=120", "--base", "units=100", "--format", "json", noise=0.003)
    assert done.returncode == 1, done.stderr
    record = json.loads(done.stdout)
    assert [side["title"] for side in record["sides"].values()] == ["units=100", "units=110", "units=120"]
    assert [(each["base"], each["side"], each["verdict"]) for each in record["contrasts"]] == [
        ("a", "b", "slower"),
        ("a", "c", "slower"),
    ]


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        (["keras==3.3.3,keras==3.7.0"], ["keras==3.3.3", "keras==3.7.0"]),
        (["keras>=3.3,<3.4, keras[extra,more]==3.7.0"], ["keras>=3.3,<3.4", "keras[extra,more]==3.7.0"]),
        (["3ab12c,4bc", "v1.0"], ["3ab12c", "4bc", "v1.0"]),
        (["keras==3.7.0 tensorflow>=2.19,!=2.19.0,"], ["keras==3.7.0 tensorflow>=2.19,!=2.19.0"]),
    ],
)
def test_commas_separate_sides_and_not_the_clauses_of_a_requirement(sides: list[str], expected: list[str]) -> None:
    assert _names((None, None), (None, None), sides, "base") == ("base", *expected)


@pytest.mark.parametrize(
    ("pair", "sides", "base", "message"),
    [
        ((None, None), ["keras==3.7.0"], None, "--base is missing: both are needed"),
        ((None, None), [], "keras==3.7.0", "--sides is missing: both are needed"),
        ((None, None), [","], "keras==3.7.0", "--sides is missing: both are needed"),
        (("HEAD~1", "HEAD"), ["v1.0"], "main", "--sides and --base stand for A and B: leave A and B out"),
    ],
)
def test_sides_need_a_base_and_nothing_else(
    pair: tuple[str | None, str | None], sides: list[str], base: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        _names((pair[0], None), (None, pair[1]), sides, base)


def test_markdown_is_fit_for_a_pull_request(duel: Duel) -> None:
    done = duel(*sides("kernel=auto", "kernel=generic"), "--phase", "predict", "--format", "md", noise=0.002)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("### ✅ B and A take the same time: ")
    assert "lstm, steps of prediction · " in done.stdout
    assert "| A | kernel=auto |" in done.stdout
    assert "| B | kernel=generic |" in done.stdout
    assert "auto → generic" in done.stdout


def test_single_calls_are_compared_by_their_median_and_their_tail(duel: Duel, tmp_path: Path) -> None:
    done = duel(*sides("units=100", "units=110"), "--phase", "compiled-calls", "--format", "json", noise=0.003)
    assert done.returncode == 1, done.stderr
    record = json.loads(done.stdout)
    assert [(each["quantile"], each["verdict"]) for each in record["contrasts"]] == [(0.5, "slower"), (0.95, "slower")]
    assert "least certain: B / A, p" in done.stderr or "2 of 2 ratios settled" in done.stderr
    a = record["sides"]["a"]
    assert 1 < a["p95_seconds"] / a["p50_seconds"] < 1.3  # calls vary by 10 %
    assert "lstm, single calls, compiled · notebook network" in done.stderr
    (folder,) = (tmp_path / "results" / "duels").iterdir()
    frame = pd.read_parquet(folder / "slices.parquet")
    assert (frame[frame["side"] != "anchor"]["calls"].map(len) == frame[frame["side"] != "anchor"]["steps"]).all()
    text = " ".join(notes(record))
    assert "all intervals together hold the ratios with 95 %" in text  # two ratios of one pair
    assert "÷ anchor: the call's time in those of" in text
    too_few = {
        **record,
        "looks": [],
        "contrasts": [{**each, "verdict": "inconclusive"} for each in record["contrasts"]],
    }
    text = " ".join(notes(too_few))
    assert "There was no analysis, which takes 5 pairs" in text
    assert "neither within the equivalence margin" not in text  # that isn't why


def test_what_is_not_sure_is_neither_green_nor_red(duel: Duel) -> None:
    done = duel(*sides("units=100", "units=101"), noise=0.2)
    assert done.returncode == 3, done.stdout
    assert done.stdout.startswith("inconclusive: ")
    assert "If the ratio stays, about" in done.stdout


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ({"b2": "kill"}, "B (units=110) failed: its process was killed by signal 9 (Killed)"),
        ({"a": "raise"}, "A (units=100) failed: ValueError: the shapes (3, 4) and (5,) don't fit"),
        ({"b1": "invalid"}, "B (units=110) failed: asked for the kernel cudnn, but generic ran"),
        ({"b0": "exit"}, "B (units=110) failed: its process ended with exit code 7"),
        ({"import": "raise"}, "A (units=100): the worker's server did not start: "),
    ],
)
def test_a_side_that_fails_is_a_failure_and_its_log_is_there(
    duel: Duel, tmp_path: Path, script: dict[str, str], message: str
) -> None:
    done = duel(*sides("units=100", "units=110"), **script)
    assert done.returncode == 4, done.stderr
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(f"bench: {message}")
    assert "Traceback" not in done.stderr
    if "its log is" in done.stderr:
        assert Path(done.stderr.rpartition("its log is ")[2].strip()).exists()


def test_a_server_that_was_killed_is_replaced(duel: Duel) -> None:
    done = duel(*sides("units=100", "units=110"), b0="kill server", noise=0.003)
    assert done.returncode == 1, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is one configuration, and nothing to compare it with"),
        (["--b", "units=64"], "side A is missing: write `bench duel A B`, or --a A --b B"),
        (["units=64"], "side B is missing"),
        (["units=64", "units=65", "--a", "units=66"], "side A is given twice"),
        (["units=64", "keras==3.15.1"], "A ('units=64') stands for settings, B ('keras==3.15.1') for environments"),
        (["units=64", "units=64"], "both sides are the same configuration (units=64)"),
        (["units=64", "unit=65"], "unknown key 'unit' (--set unit=65): did you mean 'units'?"),
        (["--set", "units=64"], "there is one configuration, and nothing to compare it with"),
        (["--set", "units=1..9"], "9 sides were asked for, and all are alive at once"),
        (["units=64", "units=65", "--precision", "0"], "--precision 0 can't be used"),
        (["units=64", "units=64,65"], "'units=64,65' (side B) has several values"),
        (["units=64", "units=65", "--set", "units=66"], "units is set both by --set and by side A"),
        (
            ["units=64", "units=65", "--set", "seeds=0,1"],
            "a duel is at a single seed, and 2 were asked for: give one value for seeds",
        ),
        (["batch_size=32", "batch_size=64"], "the sides have different batch sizes (32, 64)"),
        (["kernel=generic", "kernel=cudnn"], "side B (kernel=cudnn) cannot run here: lstm: cuDNN runs on NVIDIA GPUs"),
        (
            ["units=64", "units=65", "--phase", "streaming-calls", "--set", "stateful=true", "--set", "batch_size=25"],
            "--phase streaming-calls: a st",
        ),
        (["units=64", "units=65", "--budget", "0"], "--budget 0 is no time"),
        (["units=64", "units=65", "--tolerance", "0.1"], "--tolerance 0.1 with --floor 0.5 can't be used"),
        (["units=64", "units=65", "--tolerance", "0.4 %"], "--tolerance 0.4 % with --floor 0.5 can't be used"),
        (["units=64", "units=65", "--tolerance", "0.03"], "--tolerance 0.03 would be 0.03 %, which nobody means"),
        (["units=64", "units=65", "--floor", "0.5 points"], "--floor 0.5 points has the unit 'points'"),
        (["units=64", "units=65", "--floor", "-1"], "--tolerance 1.5 with --floor -1 can't be used"),
        (["no-such-branch", "HEAD"], "'no-such-branch' is no commit of the project here"),
        (["HEAD", "HEAD", "--set", "cells=gru", "--set", "units=8", "--set", "tasks=mnist_6k"], "unknown task"),
        (["units=64", ""], "a side of a duel is empty"),
        (["--sides", "units=64,units=65,units=64", "--base", "units=66"], "two sides are the same configuration"),
    ],
)
def test_mistakes_are_named_with_the_way_out(duel: Duel, arguments: list[str], message: str) -> None:
    done = duel(*arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[BenchProcess]:
    (tmp_path / "script.json").write_text(json.dumps({"seconds": 0.05}))
    process = BenchProcess(
        fake_bench("duel", *sides("units=100", "units=101"), "--results", str(tmp_path / "results")),
        tmp_path / "output",
        {SCRIPT: str(tmp_path / "script.json"), LOCK_VARIABLE: str(tmp_path / "lock")},
    )
    yield process
    process.stop()


def side_processes(bench: BenchProcess) -> int:
    """How many processes of the present pair there are."""
    harness = bench.find("parent")
    servers = [child for child in harness.children() if "bench.worker" in child.cmdline()] if harness else []
    return sum(len(server.children()) for server in servers)


def wait_for_both(bench: BenchProcess) -> None:
    deadline = time.monotonic() + 60
    while side_processes(bench) < 2:
        assert time.monotonic() < deadline, bench.tail()
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_duel_keeps_nothing_and_leaves_no_process(
    bench: BenchProcess, tmp_path: Path, number: signal.Signals
) -> None:
    harness = bench.start()
    wait_for_both(bench)
    harness.send_signal(number)
    assert harness.wait(10) == 130, bench.tail()
    assert bench.orphans(0.5) == []
    assert list((tmp_path / "results" / "duels").iterdir()) == []
    assert bench.tail().endswith("an unfinished duel has no verdict, and nothing of it is kept.\n")
    assert "Traceback" not in bench.tail()


@pytest.mark.parametrize("behaviour", ["nothing", "hang", "leave a program and hang"])
def test_every_process_dies_with_a_killed_duel(bench: BenchProcess, tmp_path: Path, behaviour: str) -> None:
    (tmp_path / "script.json").write_text(json.dumps({"b": behaviour, "seconds": 0.05}))
    bench.start()
    wait_for_both(bench)
    time.sleep(0.3)
    assert bench.kill("parent") is None
