from __future__ import annotations

import cProfile
import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bench
from bench.cli import main
from bench.cli.options import LOCAL_RESULTS
from bench.core.case import Case
from bench.core.errors import ExitCode, UsageError
from bench.core.observation import Observation, RunMetadata
from bench.host.hardware import parse_cpus, read_machine
from bench.host.noise import HeavyProcess, Quiet
from bench.host.procfs import GIB
from bench.plan.prepare import prepare
from bench.plan.suite import built_in
from bench.store.parts import write_run
from bench.store.schema import SCHEMA_VERSION
from tests.support.harness import ROOT, fake_bench
from tests.support.roots import LAPTOP
from tests.support.stored import a_run, a_store


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str


Bench = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Calls `bench` in this process, in an empty folder, in a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("BENCH_DATA_DIR", raising=False)

    def call(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Ended(int(ended.value.code or 0), out, err)

    return call


def refused(ended: Ended) -> str:
    """The sentence that refused a command: exit code 2, nothing printed, no traceback."""
    assert ended.code == ExitCode.USAGE
    assert ended.out == ""
    assert "Traceback" not in ended.err
    *before, sentence = ended.err.splitlines()
    assert sentence.startswith("bench: ")
    assert all(line.startswith("bench: ") for line in before)
    return sentence.removeprefix("bench: ")


def well_set(text: str) -> None:
    """A text fits a terminal of 80 columns, and no line ends in blanks."""
    for line in text.splitlines():
        assert len(line) <= 80, line
        assert line == line.rstrip(), repr(line)


# Bad input (each: exit code 2, one sentence, no traceback)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("plan mnist_row", "unknown suite 'mnist_row'"),
        ("run mnist_row", "did you mean 'mnist_rows'?"),
        ("suites mnist_row", "unknown suite 'mnist_row'"),
        ("plan nowhere.toml", "cannot read the suite 'nowhere.toml': No such file or directory"),
        ("run nowhere.toml", "cannot read the suite 'nowhere.toml'"),
        ("suites nowhere.toml", "cannot read the suite 'nowhere.toml'"),
        ("plan --set cels=lstm", "unknown key 'cels' (--set cels=lstm): did you mean 'cells'?"),
        ("plan --set cells=lsmt", "unknown cell 'lsmt' (--set cells=lsmt): did you mean 'lstm'?"),
        ("plan --set cells=my.module:factory", "no module for the cell 'my.module:factory'"),
        ("run --set cells=my.module:factory", "no module for the cell 'my.module:factory'"),
        ("plan --set cells=email.mime.text:MIMETex", "binds no such name): did you mean 'MIMEText'?"),
        ("run --set cells=email.mime.text:MIMEText", "its __init__ wants '_text' too. A factory is"),
        (
            "kernels email.mime.text:MIMEText",
            "the model 'email.mime.text:MIMEText' (on the command line) can't be used",
        ),
        ("plan --set seeds=", "seeds = [] (--set seeds=) cannot be used: there must be at least one value."),
        ("plan --set epochs=-1", "epochs = -1 (--set epochs=-1) cannot be used: it must be at least 1."),
        ("run --set epochs=-1", "epochs = -1 (--set epochs=-1) cannot be used"),
        ("plan --set batch_size=60001", "batch_size = 60001 (--set batch_size=60001) is larger than the training data"),
        ("run quick --set batch_size=4001", "batch_size = 4001 (--set batch_size=4001) is larger than the training"),
        ("plan --set seeds=1,1", "1 stands there 2 times"),
        ("plan --set networks=x", "unknown network 'x' (--set networks=x): known: cudnn_ready, notebook, single."),
        ("plan --set backends=x", "unknown backend 'x' (--set backends=x)"),
        ("plan --set devices=gpu", "unknown device 'gpu' (--set devices=gpu): did you mean 'gpu:0'?"),
        ("plan --set kernels=cuda", "unknown kernel 'cuda' (--set kernels=cuda): did you mean 'cudnn'?"),
        ("plan --set tasks=mnst", "unknown task 'mnst' (--set tasks=mnst): did you mean 'mnist'?"),
        ("data fetch mnst", "unknown task 'mnst' (on the command line): did you mean 'mnist'?"),
        ("data fetch --data-dir nowhere", "the data folder nowhere cannot be read"),
        ("run quick --cpus x", "--cpus x: 'x' is not a processor's number or a range such as 0-3."),
        ("run quick --results a_file", "cannot write to a_file (file exists): a file is in the way"),
        ("run quick --results a_file/deeper", "a file is in the way"),
        ("run quick --results " + "x" * 300, "name another folder with --results."),
        ("table nowhere", "no results at nowhere"),
        ("table a_file", "cannot read a_file as bench results"),
        ("show x nowhere", "no results at nowhere"),
        ("compact --results nowhere", "no results at nowhere"),
        ("compact --results a_file", "a_file is not a results folder"),
    ],
)
def test_bad_input(run: Bench, tmp_path: Path, arguments: str, said: str) -> None:
    (tmp_path / "a_file").write_text("x")
    assert said in refused(run(*arguments.split()))
    assert not LOCAL_RESULTS.exists()


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("x = [", "is not valid TOML"),
        ("[axes]\nepochs = 3", "epochs = 3 (mine.toml) cannot be used: it must be a list, as in epochs = [3]."),
        ("[axes]\nepochs = [true]", "it must be a whole number"),
        ("[axes]\ncels = ['lstm']", "unknown key 'cels' ([axes] in mine.toml): did you mean 'cells'?"),
        ("[axes]\ncells = ['lsmt']", "unknown cell 'lsmt' (mine.toml): did you mean 'lstm'?"),
        ("[axes]\nbatch_size = [60001]", "batch_size = 60001 (mine.toml) is larger than the training data"),
        ("[settings]\ntrain_samples = 60001", "train_samples = 60001 (mine.toml) is more than the task mnist has"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "run", "suites"])
def test_a_bad_file(run: Bench, tmp_path: Path, verb: str, toml: str, said: str) -> None:
    (tmp_path / "mine.toml").write_text(toml)
    if verb == "suites" and re.search("unknown cell|larger|more than", said):  # it is printed whatever it is for
        assert run(verb, "mine.toml").out == toml
    else:
        assert said in refused(run(verb, "mine.toml"))


def test_a_folder_is_no_suite(run: Bench, tmp_path: Path) -> None:
    (tmp_path / "it.toml").mkdir()
    assert "Is a directory" in refused(run("plan", "it.toml"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_results_folder_that_cannot_be_written_to(run: Bench, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "make it writable, or name another folder" in refused(run("run", "quick", "--results", "locked/results"))


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.EROFS, "make it writable"), (errno.EACCES, "make it writable"), (errno.ENOSPC, "free some")],
)
def test_a_results_folder_that_the_system_refuses(
    run: Bench, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    sentence = refused(run("run", "quick", "--results", "somewhere"))
    assert os.strerror(number).lower() in sentence
    assert said in sentence


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A store with a part of a schema that this program does not know yet."""
    store = tmp_path / "newer"
    path = write_run(store, a_run(0, Case(cell="lstm")))
    table = pq.read_table(path)
    metadata = {**(table.schema.metadata or {}), b"bench_schema_version": str(SCHEMA_VERSION + 1).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return store


@pytest.mark.parametrize("arguments", ["table {}", "show last {}", "compact --results {}", "run quick --results {}"])
def test_results_of_a_newer_program(run: Bench, newer: Path, arguments: str) -> None:
    ended = run(*arguments.format(newer).split())
    assert ended.code == ExitCode.USAGE
    assert "Traceback" not in ended.err
    assert re.search(r"newer|schema", ended.err.splitlines()[-1])
    assert pa.parquet.read_table(next((newer / "runs").glob("*.parquet"))).num_rows  # nobody has touched it


@pytest.mark.parametrize(
    "arguments",
    [
        "frob",
        "plan --frob",
        "plan --seed-order -1",
        "plan --seed-order x",
        "plan --format yaml",
        "show",
        "run --isolation no",
    ],
)
def test_what_the_command_line_does_not_know(run: Bench, arguments: str) -> None:
    ended = run(*arguments.split())
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert "Usage: bench" in ended.err
    assert "Traceback" not in ended.err


# --cpus


@pytest.mark.parametrize(
    ("text", "chosen"), [(None, ()), ("3", (3,)), ("0,2-3", (0, 2, 3)), ("2, 0", (0, 2)), ("1,0-2", (0, 1, 2))]
)
def test_processors_that_are_chosen(monkeypatch: pytest.MonkeyPatch, text: str | None, chosen: tuple[int, ...]) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None, raising=False)
    assert parse_cpus(text) == chosen


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not a processor's number"),
        ("0,,1", "'' is not a processor's number"),
        ("3-0", "'3-0' is not a processor's number or a range"),
        ("0-", "'0-' is not"),
        ("-1", "'-1' is not"),
        ("٣", "'٣' is not"),
        ("0-99999999999999", "is not a processor's number"),
        ("0-999999999", "there is no processor 999999999 here for us; usable: 0, 1, 3."),
        ("0-3", "there is no processor 2 here"),
        ("7", "there is no processor 7 here"),
    ],
)
def test_processors_that_cannot_be_chosen(monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 3}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None, raising=False)
    with pytest.raises(UsageError) as caught:
        parse_cpus(text)
    assert str(caught.value).startswith(f"--cpus {text}: ")
    assert said in str(caught.value)


def test_a_system_that_cannot_pin_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pytest.raises(UsageError, match="this system cannot pin a process to processors; leave --cpus out"):
        parse_cpus("0")


def test_a_pinned_machine_has_as_many_cores_as_it_is_pinned_to() -> None:
    assert prepare("quick", None, 0, (0,)).machine.usable_cores == 1
    assert prepare("quick", None, 0).machine == read_machine()


def test_a_hidden_gpu_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    two = replace(LAPTOP, gpus=("NVIDIA L4", "NVIDIA L4"))
    prepared = replace(prepare("quick", ["devices=gpu:0,gpu:1"], 0), machine=two)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    (reason,) = {out.reason for out in prepared.plan().excluded}
    assert "usable: gpu:0 (CUDA_VISIBLE_DEVICES is '1')" in reason


# bench plan


def test_a_plan_as_it_is_shown(run: Bench) -> None:
    ended = run("plan", "quick", "--set", "seeds=0,1", "--set", "cells=lstm,gru", "--set", "kernels=auto,cudnn")
    assert ended.code == ExitCode.OK
    assert re.sub(r"about .* on", "about … on", ended.out) == (
        "quick: 2 configurations, 2 blocks, 4 runs; about … on a machine of 2 cores\n"
        "order inside the blocks drawn from 0\n"
        "\n"
        "block 1  1  lstm kernel=auto seed=0  13f5f3b124a09058\n"
        "         2  gru kernel=auto seed=0   7db2a91775274d52\n"
        "block 2  3  lstm kernel=auto seed=1  28901d6c322789a7\n"
        "         4  gru kernel=auto seed=1   10914b9b2251be6d\n"
        "\n"
        "left out\n"
        "  cuDNN runs on NVIDIA GPUs only, and the device is cpu\n"
        "    lstm × cudnn, gru × cudnn\n"
        "Terms: block. `bench glossary block` explains it.\n"
    )
    well_set(ended.out)


def test_a_plan_states_which_data_would_have_to_be_got_first_and_gets_none(
    run: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BENCH_CACHE_DIR", "KERAS_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))

    def shown(*words: str) -> str:
        return " ".join(run(*words).out.split())

    gets = "the data of mnist are not on this machine: `bench run` gets them from https://storage"
    assert gets in shown("plan", "mnist_rows")
    assert "where none can be reached, it measures mnist_5k instead" in shown("plan", "mnist_rows")
    assert "where none can be reached, it ends with 2" in shown("plan", "quick", "--set", "tasks=mnist")
    (missing,) = json.loads(run("plan", "mnist_rows", "--format", "json").out)["missing_data"]
    assert (missing["task"], missing["stand_in"], len(missing["sources"])) == ("mnist", "mnist_5k", 2)
    assert not list(tmp_path.iterdir())
    for words in ("plan quick", "plan quick --set tasks=adding", f"run mnist_rows --dry-run --data-dir {tmp_path}"):
        assert "not on this machine" not in shown(*words.split()), words
    kept = tmp_path / "KERAS_HOME" / "datasets" / "mnist.npz"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert "not on this machine" not in shown("plan", "mnist_rows")


def test_a_dry_run_shows_the_plan(run: Bench) -> None:
    assert run("run", "quick", "--dry-run") == run("plan", "quick")
    assert run("run", "quick", "--dry-run", "--format", "json") == run("plan", "quick", "--format", "json")
    assert not LOCAL_RESULTS.exists()


def test_a_long_plan_is_cut_unless_all_of_it_is_asked_for(run: Bench) -> None:
    short = run("plan", "quick", "--set", "seeds=0..19").out
    assert "\n… and 20 more (--all lists them)\n" in short
    assert "\nblock 14 " in short
    assert "\nblock 15 " not in short
    long = run("plan", "quick", "--set", "seeds=0..19", "--all").out
    assert len(re.findall(r"^(?:block \d+)? +\d+  \w+ seed=\d+ +[0-9a-f]{16}$", long, re.M)) == 60


def test_a_plan_takes_as_many_calls_of_functions_for_each_case_however_many_there_are(run: Bench) -> None:
    """Counted and not timed: on an idle core of 2026 a plan of 10,000 configurations takes under a second."""

    def calls(units: int) -> int:
        axes = ("cells=lstm,gru", f"units=1..{units}", "batch_size=16,32", "kernels=auto,generic", "seeds=0")
        profiler = cProfile.Profile()
        ended = profiler.runcall(run, "plan", "quick", *(word for axis in axes for word in ("--set", axis)))
        assert f"quick: {8 * units:,} configurations" in ended.out
        return sum(entry.callcount for entry in profiler.getstats())

    few, many = calls(50), calls(250)
    assert (many - few) / (8 * 200) < 420
    assert many < 5.5 * few


def test_many_reasons_are_told_once_each(run: Bench) -> None:
    ended = run("plan", "quick", "--set", "devices=gpu:7", "--set", "units=1,2")
    assert ended.code == ExitCode.NO_VERDICT
    assert ended.out.count("gpu:7: ") == 1
    assert "simple_rnn × units=1, simple_rnn × units=2, lstm × units=1 and 3 more" in ended.out
    well_set(ended.out)


def test_nothing_is_run_where_nothing_can_be(run: Bench) -> None:
    ended = run("run", "quick", "--set", "devices=gpu:7")
    assert ended.code == ExitCode.NO_VERDICT
    assert ended.err.startswith("bench: nothing of this suite can run here:\n  simple_rnn, lstm, gru: gpu:7: ")
    assert not LOCAL_RESULTS.exists()


def test_a_plan_for_programs(run: Bench) -> None:
    content = json.loads(run("plan", "quick", "--format", "json", "--seed-order", "7").out)
    assert (content["suite"], content["order_seed"], content["left_out"]) == ("quick", 7, [])
    assert content["estimate_seconds"] > 0
    cases = [Case(**entry["case"]) for entry in content["cases"]]
    assert [case.id for case in cases] == [entry["id"] for entry in content["cases"]]
    assert len(cases) == 9


def test_a_cell_of_ones_own_is_planned_without_importing_it(run: Bench, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "raise SystemExit('imported')\ndef factory(units, activation, return_sequences, name): ...\n"
    )
    assert "mine:factory seed=0" in run("plan", "quick", "--set", "cells=mine:factory").out


# Lists


def test_lists_name_what_there_is(run: Bench) -> None:
    outputs = {verb: run(verb).out for verb in ("cells", "tasks", "suites")}
    for verb, names in {
        "cells": ["simple_rnn", "lstm", "gru"],
        "tasks": ["mnist", "mnist_5k"],
        "suites": [*built_in()],
    }.items():
        # a table, or a record for each where that doesn't fit the terminal
        listed = re.findall(r"^(?:\w+  +)?([a-z_0-9]+)(?=  |$)", outputs[verb], re.M)
        assert [name for name in dict.fromkeys(listed) if name in names] == names
        well_set(outputs[verb])
    assert "--set cells=my.module:factory" in outputs["cells"]


@pytest.mark.parametrize("name", list(built_in()))
def test_a_suite_is_printed_to_begin_ones_own_from(run: Bench, tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.toml").write_text(run("suites", name).out)
    assert run("plan", f"{name}.toml") == run("plan", name)


# bench env


NOISY = Quiet(
    load_1m=5.5,
    online_cores=8,
    steal_fraction=0.031,
    heavy=(HeavyProcess(31, "cc1plus", 0.97),),
    available_memory_bytes=12 * GIB,
    total_memory_bytes=16 * GIB,
)


def test_the_environment(run: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.host.noise.read_quiet", lambda: NOISY)
    ended = run("env")
    assert ended.code == ExitCode.OK
    well_set(ended.out)
    machine = read_machine()
    assert f"machine {machine.fingerprint}\n  architecture  {machine.architecture}\n" in ended.out
    assert re.search(r"^  memory class +[\d.]+ GiB$", ended.out, re.M)
    assert re.search(r"^  uptime +\d+ (s|min|days|h \d+ min)$", ended.out, re.M)
    assert re.search(r"^  load \(1 min\) +\d+\.\d\d$", ended.out, re.M)
    assert re.search(r"^  total memory +16\.0 GiB$", ended.out, re.M)
    assert re.search(r"^  steal +3\.1 %$", ended.out, re.M)
    assert re.search(r"^  heavy +cc1plus \(pid 31\) 0\.97 cores$", ended.out, re.M)
    assert "the load of the last minute is 5.50 on 8 cores: wait until it is down" in ended.out.replace("\n    ", " ")
    assert "  –" not in ended.out  # what is not known is not told


def test_a_calm_environment_says_so(run: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    calm = replace(NOISY, load_1m=0.1, steal_fraction=0.0, heavy=())
    monkeypatch.setattr("bench.host.noise.read_quiet", lambda: calm)
    monkeypatch.setattr("bench.host.hardware.read_machine", lambda: LAPTOP)
    assert run("env").out.endswith("  nothing disturbs a measurement here\n")


def test_the_environment_for_programs_is_in_si_units(run: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.host.noise.read_quiet", lambda: NOISY)
    content = json.loads(run("env", "--format", "json").out)
    assert content["machine"]["fingerprint"] == read_machine().fingerprint
    assert content["quiet"]["total_memory_bytes"] == 16 * GIB
    assert {"load", "steal", "processes"} <= {remark["kind"] for remark in content["remarks"]}


# bench show


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two runs of each cell, the last of them failed."""
    a_store(tmp_path / "store")
    return tmp_path / "store"


def test_a_run_as_it_is_shown(run: Bench, store: Path) -> None:
    wanted = a_run(0, Case(cell="simple_rnn", task="mnist_5k", epochs=1, seed=0))
    ended = run("show", wanted.id[:9], store)
    assert ended.code == ExitCode.OK
    well_set(ended.out)
    headings = [part.splitlines()[0] for part in ended.out.split("\n\n")]
    assert headings == ["run", "case", "phases", "facts", "kernel", "users' code", "machine", "software", "host"]
    assert (
        "phase     epoch     time      cpu  samples    loss  accuracy\n"
        "────────────────────────────────────────────────────────────\n"
        "build            51.2 ms  60.0 ms\n"
        "compile           3.20 s   4.50 s\n"
        "train         1   12.3 s   20.0 s    4,000  0.5000   85.00 %\n"
        "validate      1   1.20 s   2.00 s    1,000  0.2500   93.00 %\n"
        "evaluate          1.10 s   1.90 s    1,000  0.2114   94.12 %\n"
        "run               20.0 s   30.0 s\n"
    ) in ended.out
    for line in (
        f"  run id           {wanted.id}",
        "threads the backend's default",
        "train samples all",
        "  parameters       57,450",
        "  forward          2.962 MFLOP a sample",
        "  rss start        760 MiB",
        "  peak rss         1.5 GiB",
        "  steal            1.2 %",
        "  jit compile      no",
        "train  recurrent_a  generic  While 2, MatMul 4             0123456789abcdef",
        f"  fingerprint   {LAPTOP.fingerprint}",
        "  available memory  12.0 GiB",
        "  uptime            2 h 1 min",
    ):
        assert line.split() in [shown.split() for shown in ended.out.splitlines()]


def test_the_newest_run_and_what_went_wrong_in_it(run: Bench, store: Path) -> None:
    ended = run("show", "last", store)
    assert re.search(r"^  status +failed$", ended.out, re.M)
    assert re.search(r"^  error +ValueError:", ended.out, re.M)
    assert "\x1b" not in ended.out  # what a user's cell raises must not drive the terminal
    assert "kernel\n–\n" in ended.out
    well_set(ended.out)


def test_a_run_for_programs(run: Bench, store: Path) -> None:
    wanted = a_run(1, Case(cell="lstm", task="mnist_5k", epochs=1, seed=0))
    content = json.loads(run("show", wanted.id, store, "--format", "json").out)
    case_id = content["case"].pop("case_id")
    assert Case(**content["case"]) == wanted.case
    assert case_id == wanted.case.id
    assert content["facts"]["parameters"] == 57_450
    assert isinstance(content["facts"]["parameters"], int)
    train = {
        "seconds": 12.3,
        "cpu_seconds": 20.0,
        "samples": 4000,
        "loss": 0.5,
        "accuracy": 0.85,
        "mae": None,
        "targets": None,
    }
    apart = (
        "iterator_seconds",
        "energy_joules",
        "idle_energy_joules",
        "entry",
        "predict_batch",
        "call",
        "series",
        "rss_bytes",
        "device_bytes",
    )
    inference = dict.fromkeys(apart)
    assert content["phases"][2] == {"phase": "train", "epoch": 1, **train, **inference}
    assert content["machine"]["cpu_model"] == LAPTOP.cpu_model


def test_the_calls_of_inference_are_a_row_for_each_entry_and_batch(run: Bench, tmp_path: Path) -> None:
    good = a_run(0, Case(cell="lstm", latency_calls=3))
    calls = tuple(
        Observation(phase="predict", entry="compiled", predict_batch=1, call=call, seconds=call / 1000, samples=1)
        for call in (1, 2, 3)
    )
    write_run(tmp_path / "s", replace(good, observations=good.observations + calls))
    ended = run("show", "last", tmp_path / "s")
    assert re.search(r"^compiled +1 +3 +2\.00 ms +2\.90 ms +2\.98 ms$", ended.out, re.M)
    assert not re.search(r"^predict", ended.out, re.M)  # not a row a call
    content = json.loads(run("show", "last", tmp_path / "s", "--format", "json").out)
    assert [phase["seconds"] for phase in content["phases"] if phase["call"]] == [0.001, 0.002, 0.003]


def test_the_last_of_two_runs_that_began_at_once_is_no_matter_of_their_parts(run: Bench, tmp_path: Path) -> None:
    began = a_run(0, Case(cell="lstm")).started_at
    cases = (Case(cell="lstm"), Case(cell="gru"))
    paths = [write_run(tmp_path / "s", a_run(n, case, started_at=began)) for n, case in enumerate(cases)]
    before = run("show", "last", tmp_path / "s").out
    for path, name in zip(sorted(paths), "ba", strict=True):
        path.rename(path.with_name(f"{name}.parquet"))
    assert run("show", "last", tmp_path / "s").out == before


def test_evidence_that_names_no_program_is_shown(run: Bench, tmp_path: Path) -> None:
    evidence = {"train": {"recurrent_a": {"kernel": "generic", "operations": {"While": 2}}}}
    good = a_run(0, Case(cell="lstm"))
    write_run(tmp_path / "s", replace(good, metadata=replace(good.metadata, attestation_json=json.dumps(evidence))))
    assert re.search(r"^train +recurrent_a +generic +While 2 +[–-]$", run("show", "last", tmp_path / "s").out, re.M)


def test_a_loss_that_is_not_finite_is_null_for_programs(run: Bench, tmp_path: Path) -> None:
    good = a_run(0, Case(cell="lstm"))
    losses = tuple(replace(one, loss=float("inf"), accuracy=float("nan")) for one in good.observations)
    write_run(tmp_path / "s", replace(good, observations=losses, metadata=RunMetadata()))
    out = run("show", "last", tmp_path / "s", "--format", "json").out
    phases = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))["phases"]
    assert {phase["loss"] for phase in phases} == {None}


def test_an_id_that_names_no_run_or_several(run: Bench, store: Path) -> None:
    assert "no run has an id that begins with 'zz'" in refused(run("show", "zz", store))
    assert "6 runs have an id that begins with ''" in refused(run("show", "", store))


def test_earlier_attempts_can_be_shown_too(run: Bench, tmp_path: Path) -> None:
    both = [a_run(0, Case(cell="lstm"), attempt=attempt) for attempt in (1, 2)]
    for one in both:
        write_run(tmp_path / "s", one)
    assert re.search(r"^  attempt +1$", run("show", both[0].id, tmp_path / "s").out, re.M)


# bench table, compact, data


@pytest.mark.parametrize("arguments", ["table", "show last", "compact"])
def test_before_anything_is_measured(run: Bench, arguments: str) -> None:
    ended = run(*arguments.split())
    assert (ended.code, ended.out) == (ExitCode.NO_VERDICT, "")
    assert "nothing has been measured here yet" in ended.err
    assert "`bench run quick`" in ended.err


def test_an_empty_store_holds_nothing_sure(run: Bench, tmp_path: Path) -> None:
    (tmp_path / "s" / "runs").mkdir(parents=True)
    assert run("table", tmp_path / "s").code == ExitCode.NO_VERDICT


def test_the_table_of_one_suite(run: Bench, store: Path) -> None:
    assert "simple_rnn" in run("table", store, "--suite", "quick").out
    ended = run("table", store, "--suite", "mnist_rows")
    assert ended.code == ExitCode.NO_VERDICT
    assert "measured: quick." in ended.err


def test_a_table_is_written_between_the_markers(run: Bench, store: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- bench:table -->\n<!-- /bench:table -->\nafter\n")
    assert run("table", store, "--write", readme).code == ExitCode.OK
    assert "simple_rnn" in readme.read_text()
    assert "up to date" in run("table", store, "--write", readme).err
    assert "can't read" in refused(run("table", store, "--write", tmp_path / "no.md"))


def test_parts_are_folded_once(run: Bench, store: Path) -> None:
    before = run("table", store, "--format", "json").out
    assert "folded 6 parts into one of" in run("compact", "--results", store).out
    assert "nothing to fold" in run("compact", "--results", store).out
    assert run("table", store, "--format", "json").out == before


def test_the_embedded_data_needs_no_network(run: Bench) -> None:
    ended = run("data", "fetch", "mnist_5k")
    assert ended.code == ExitCode.OK
    assert re.match(r"mnist_5k: \S+ \(sha256 of its content 3a1f5c3d07e9…\)\n", ended.out)


# The edge


def test_the_version(run: Bench) -> None:
    assert run("--version") == Ended(0, f"bench {bench.__version__}\n", "")


VERBS = [
    "run",
    "slurm",
    "plan",
    "table",
    "report",
    "figure",
    "cite",
    "verify",
    "compare",
    "gate",
    "duel",
    "history",
    "export",
    "env",
    "show",
    "cells",
    "tasks",
    "kernels",
    "suites",
    "glossary",
    "compact",
    "gpu-kit",
    "data",
    "data fetch",
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_verb_has_help(run: Bench, verb: str, flag: str) -> None:
    ended = run(*verb.split(), flag)
    assert (ended.code, ended.err) == (0, "")
    assert f"Usage: bench {verb}" in ended.out


def test_the_help_names_every_verb(run: Bench) -> None:
    out = run("--help").out
    assert re.findall(r"^│ (\w[\w-]*) ", out, re.M) == [verb for verb in VERBS if " " not in verb]


def test_an_interrupted_command_says_so_by_its_code(run: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.plan.prepare.read_machine", interrupt)
    assert run("plan").code == ExitCode.INTERRUPTED


BENCH = [sys.executable, "-c", "from bench.cli import main; main()"]


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*BENCH, "plan", "quick", "--set", "seeds=0..999", "--all"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"quick: ")
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


def test_a_terminal_that_lacks_a_character_ends_no_command(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([*BENCH, "plan", "--set", "seeds=0..19"], capture_output=True, env=environ, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"? and 20 more (--all lists them)\n" in done.stdout


def test_the_installed_command_refuses_in_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run([*BENCH, "plan", "--set", "epochs=-1"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "bench: epochs = -1 (--set epochs=-1) cannot be used: it must be at least 1.\n"


def test_shell_completion(tmp_path: Path) -> None:
    environ = {**os.environ, "_BENCH_COMPLETE": "source_bash"}
    done = subprocess.run(BENCH, capture_output=True, text=True, env=environ, cwd=tmp_path)
    assert "_BENCH_COMPLETE" in done.stdout
    words = {**os.environ, "_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": "bench\npl", "COMP_CWORD": "1"}
    done = subprocess.run(BENCH, capture_output=True, text=True, env=words, cwd=tmp_path)
    assert done.stdout.split() == ["plan"]


def test_claims_of_the_suite_and_of_the_command_are_judged_by_the_table(run: Bench, tmp_path: Path) -> None:
    """The whole way: the suite's file, the manifest, the table of the store, and of the store by another's claim."""
    (tmp_path / "own.toml").write_text(
        '[axes]\ntasks = ["adding"]\ncells = ["gru", "lstm"]\nseeds = [0, 1]\n\n[cells.gru]\nunits = 37\n\n'
        '[[claims]]\nclaim = "loss: gru < lstm"\n'
    )
    command = fake_bench("run", str(tmp_path / "own.toml"), "--results", str(tmp_path / LOCAL_RESULTS))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "loss: gru < lstm" in done.stdout
    assert "they differ in units (`--join`" in " ".join(done.stdout.split())
    table = run("table", "--join", "units", "--claim", "training: gru < lstm", "--format", "json")
    (section,) = json.loads(table.out)["sections"]
    assert section["joined"] == ["units"]
    assert [claim["text"] for claim in section["claims"]] == ["loss: gru < lstm", "training: gru < lstm"]
    assert all("with LSTM units=128, GRU units=37" in claim["evidence"] for claim in section["claims"])
    assert "unknown field 'unit' (--join unit): did you mean 'units'?" in refused(run("table", "--join", "unit"))
    assert "cannot be read" in refused(run("table", "--claim", "gru is better"))
