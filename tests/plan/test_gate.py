"""bench.plan.gate, `bench compare` and `bench gate`: margins from TOML, and exit codes over stores on disk."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.core.case import Case, Status
from bench.core.errors import ExitCode, UsageError
from bench.core.metric import Margins
from bench.core.metrics import COMPARED, METRICS
from bench.core.observation import Observation, RunMetadata
from bench.plan import suite
from bench.plan.gate import Gate, find_gate, read_gate
from bench.store.campaign import open_campaign
from bench.store.compact import compact
from bench.store.parts import write_run
from tests.support.roots import LAPTOP
from tests.support.stored import CAMPAIGN, a_run, a_store

Gating = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gating:
    """Calls `bench` in an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(ended.value.code or 0), out, err

    return call


LATER = replace(CAMPAIGN, started_at="2026-01-03T03:04:05.000006+00:00")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def written(
    folder: Path,
    *,
    factor: float = 1.0,
    accuracy: float = 0.94,
    later: bool = True,
    apart: timedelta | None = None,
    **changes: Any,
) -> Path:
    """A store of six seeds of the LSTM, whose epochs take 10 s, more or less, times `factor`.

    Stores that are `later` are interleaved with those that aren't: unless they are so far apart.
    """
    for seed in range(6):
        seconds = 10 * factor * (1 + 0.002 * ((seed * (5 if later else 3)) % 7))
        right = accuracy + 0.001 * ((seed * (5 if later else 3)) % 4)
        observations = (
            Observation(phase="compile", seconds=3.0),
            Observation(phase="train", epoch=1, seconds=1.3 * seconds, samples=4000),
            Observation(phase="train", epoch=2, seconds=seconds, samples=4000),
            Observation(phase="evaluate", seconds=1.0, samples=1000, loss=1 - right, accuracy=right),
            Observation(phase="run", seconds=20.0),
        )
        run = a_run(
            seed,
            Case(cell="lstm", task="mnist_5k", epochs=2, seed=seed),
            **{
                "campaign": LATER if later else CAMPAIGN,
                "block": seed,
                "observations": observations,
                "started_at": START + (apart or timedelta()) + timedelta(minutes=2 * seed + (seed + later) % 2),
                **changes,
            },
        )
        write_run(folder, run)
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return written(tmp_path / "base", later=False)


# --- exit codes ---


def test_nothing_got_worse(gate: Gating, base: Path, tmp_path: Path) -> None:
    code, out, err = gate("gate", base, written(tmp_path / "new"))
    assert (code, err) == (ExitCode.OK, "bench: gate: green: nothing that was measured got worse\n")
    assert out.splitlines()[-1] == "5 same"


def test_a_store_against_itself_is_green_failed_runs_and_all(gate: Gating, tmp_path: Path) -> None:
    a_store(tmp_path / "store")
    assert gate("gate", tmp_path / "store", tmp_path / "store", "--self")[0] == ExitCode.OK


def test_the_same_runs_on_both_sides_are_refused(gate: Gating, base: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(base)
    for name in ("copy", "folded"):
        shutil.copytree(base, tmp_path / name)
    compact(tmp_path / "folded")
    for new in (base, tmp_path / "link", Path("base/../base"), tmp_path / "copy", tmp_path / "folded"):
        code, out, err = gate("gate", base, new)
        assert (code, out) == (ExitCode.USAGE, "")
        assert "hold the same runs, which are never worse than themselves" in err
        assert "--self" in err
        assert gate("gate", base, new, "--self")[0] == gate("compare", base, new)[0] == ExitCode.OK


def test_a_slowdown_is_red(gate: Gating, base: Path, tmp_path: Path) -> None:
    code, out, err = gate("gate", base, written(tmp_path / "new", factor=1.1))
    assert (code, err) == (ExitCode.REGRESSION, "bench: gate: red: something got worse\n")
    assert out.splitlines()[-1] == "1 slower, 4 same"


def test_a_lower_accuracy_is_red(gate: Gating, base: Path, tmp_path: Path) -> None:
    code, out, _ = gate("gate", base, written(tmp_path / "new", accuracy=0.7))
    assert code == ExitCode.REGRESSION
    assert out.splitlines()[-1] == "2 worse, 3 same"  # accuracy, and with it the loss


def test_a_speedup_is_green(gate: Gating, base: Path, tmp_path: Path) -> None:
    assert gate("gate", base, written(tmp_path / "new", factor=0.9))[0] == ExitCode.OK


def test_a_deleted_base_is_never_green(gate: Gating, base: Path, tmp_path: Path) -> None:
    new = written(tmp_path / "new")
    shutil.rmtree(base)
    code, out, err = gate("gate", base, new)
    assert (code, out) == (ExitCode.NO_VERDICT, "")
    assert "there is no base" in err
    for empty in (base, tmp_path / "nothing"):
        empty.mkdir()
    assert gate("gate", base, new)[0] == ExitCode.NO_VERDICT
    assert gate("gate", new, tmp_path / "nothing")[0] == ExitCode.NO_VERDICT
    assert gate("gate", new, tmp_path / "gone")[0] == ExitCode.NO_VERDICT


def test_a_configuration_that_is_gone_is_never_green(gate: Gating, base: Path, tmp_path: Path) -> None:
    write_run(base, a_run(9, Case(cell="gru", task="mnist_5k", epochs=2)))
    code, out, _ = gate("gate", base, written(tmp_path / "new"))
    assert code == ExitCode.NO_VERDICT
    assert out.splitlines()[-1] == "1 missing, 5 same"


# --- what a manifest promised ---


def promised(store: Path, *, later: bool = True, seeds: int = 6, cells: tuple[str, ...] = ("lstm",)) -> Path:
    """The store with the manifest of its campaign: so many seeds of each cell."""
    cases = [Case(cell=cell, task="mnist_5k", epochs=2, seed=seed) for seed in range(seeds) for cell in cells]
    plan = {"command": "bench run mine", "cases": [{"id": case.id, "case": asdict(case)} for case in cases]}
    open_campaign(store, LATER if later else CAMPAIGN, plan, lambda _: (), new=True)
    return store


def test_runs_that_a_manifest_promised_and_the_store_lacks_are_missing(
    gate: Gating, base: Path, tmp_path: Path
) -> None:
    """Ten seeds were to be measured, six were, then the campaign was killed: their intervals decide nothing."""
    promised(base, later=False)
    new = promised(written(tmp_path / "new"), seeds=10)
    code, out, err = gate("gate", base, new)
    assert (code, err) == (
        ExitCode.NO_VERDICT,
        "bench: gate: not green: something is missing, incomparable or undecided\n",
    )
    assert out.splitlines()[-1] == "1 missing, 5 same"
    text = " ".join(out.split())
    assert (
        f"4 of 10 promised runs are missing on the new side: campaign {LATER.id} was not finished (bench run mine)"
        in text
    )
    assert "of the base: 6 promised, 6 ended, 6 entered; of the new side: 10 promised, 6 ended, 6 entered." in text
    assert "of the base: 6 promised, 6 ended, 0 entered; of the new side: 10 promised, 6 ended, 0 entered." in text
    (missing,) = [f for f in as_data(gate, base, new)["findings"] if f["verdict"] == "missing"]
    assert missing["configuration"]["cell"] == "lstm"
    assert missing["base_runs"] == {"promised": 6, "ended": 6, "entered": 0}
    assert missing["new_runs"] == {"promised": 10, "ended": 6, "entered": 0}
    assert "4 of 10 promised runs are missing" in gate("compare", base, new, "--format", "md")[1]


def test_an_unfinished_base_is_not_green(gate: Gating, base: Path, tmp_path: Path) -> None:
    promised(base, later=False, seeds=7)
    new = promised(written(tmp_path / "new"))
    assert gate("gate", base, new)[0] == ExitCode.NO_VERDICT
    assert "1 of 7 promised runs are missing in the base" in " ".join(gate("compare", base, new)[1].split())
    assert gate("gate", base, base, "--self")[0] == ExitCode.NO_VERDICT


def test_a_finished_campaign_is_green_and_every_finding_counts_its_runs(
    gate: Gating, base: Path, tmp_path: Path
) -> None:
    new = promised(written(tmp_path / "new"))
    code, out, _ = gate("gate", promised(base, later=False), new)
    assert (code, out.splitlines()[-1]) == (ExitCode.OK, "5 same")
    assert "each finding: runs of the base: 6 promised, 6 ended, 6 entered; of the" in out
    for finding in as_data(gate, base, new)["findings"]:
        assert finding["base_runs"] == finding["new_runs"] == {"promised": 6, "ended": 6, "entered": 6}


def test_a_configuration_that_was_promised_and_never_begun_is_missing(gate: Gating, base: Path, tmp_path: Path) -> None:
    new = promised(written(tmp_path / "new"), cells=("lstm", "gru"))
    code, out, _ = gate("gate", promised(base, later=False), new)
    assert (code, out.splitlines()[-1]) == (ExitCode.NO_VERDICT, "1 missing, 5 same")
    assert "gru (runs): 6 of 6 promised runs are missing on the new side" in " ".join(out.split())


def test_a_regression_comes_before_runs_that_are_missing(gate: Gating, base: Path, tmp_path: Path) -> None:
    new = promised(written(tmp_path / "new", factor=1.1), seeds=10)
    assert gate("gate", base, new)[0] == ExitCode.REGRESSION


def test_a_store_without_manifests_is_judged_as_before(gate: Gating, base: Path, tmp_path: Path) -> None:
    """A copied folder of parts shows nothing of what was meant."""
    new = promised(written(tmp_path / "new"), seeds=10)
    assert gate("gate", base, new / "runs")[0] == ExitCode.OK
    shutil.rmtree(new / "campaigns")
    assert gate("gate", base, new)[0] == ExitCode.OK
    assert as_data(gate, base, new)["findings"][0]["new_runs"] == {"promised": None, "ended": 6, "entered": 6}


def test_a_campaign_that_was_given_up_and_begun_anew_promises_nothing_more(
    gate: Gating, base: Path, tmp_path: Path
) -> None:
    new = promised(promised(written(tmp_path / "new")), later=False)
    assert gate("gate", base, new)[0] == ExitCode.OK
    newest = promised(promised(written(tmp_path / "again", later=False), later=False))
    assert gate("gate", base, newest, "--self")[0] == ExitCode.NO_VERDICT


def test_a_seed_with_two_runs_counts_both_of_them(gate: Gating, base: Path, tmp_path: Path) -> None:
    again = a_run(0, Case(cell="lstm", task="mnist_5k", epochs=2, repeat=1), campaign=LATER, block=9)
    write_run(written(tmp_path / "new"), again)
    findings = as_data(gate, base, tmp_path / "new")["findings"]
    entered = {finding["metric"]: finding["new_runs"]["entered"] for finding in findings}
    assert (entered["accuracy"], entered["memory_bytes"]) == (7, 7)


def as_data(gate: Gating, base: Path, new: Path) -> Any:
    return json.loads(gate("compare", base, new, "--format", "json")[1])


def test_a_crash_is_red_and_comes_before_a_regression(gate: Gating, base: Path, tmp_path: Path) -> None:
    new = written(tmp_path / "new", factor=1.2)
    crash: dict[str, Any] = {"status": Status.FAILED, "error": "killed by signal 11", "metadata": RunMetadata()}
    write_run(
        new,
        a_run(9, Case(cell="lstm", task="mnist_5k", epochs=2, seed=7), campaign=LATER, observations=(), **crash),
    )
    code, out, err = gate("gate", base, new)
    assert (code, err) == (ExitCode.RUNS_FAILED, "bench: gate: red: runs failed that did not fail in the base\n")
    assert out.splitlines()[-1].startswith("1 failed, 1 slower")
    assert "killed by signal 11" in out


def test_another_machine_is_not_sure(gate: Gating, base: Path, tmp_path: Path) -> None:
    bigger = replace(LAPTOP, usable_cores=64)
    new = written(tmp_path / "new", machine_json=bigger.to_json(), machine_fingerprint=bigger.fingerprint)
    code, out, _ = gate("gate", base, new)
    assert code == ExitCode.NO_VERDICT
    assert "usable_cores: 8 → 64" in out


def test_compare_shows_the_same_and_ends_with_0(gate: Gating, base: Path, tmp_path: Path) -> None:
    new = written(tmp_path / "new", factor=1.1)
    shown, gated = gate("compare", base, new), gate("gate", base, new)
    assert shown == (ExitCode.OK, gated[1], "")
    assert all(len(line) <= 80 and line == line.rstrip() for line in shown[1].splitlines())


def test_json_and_markdown_are_nothing_else(gate: Gating, base: Path, tmp_path: Path) -> None:
    new = written(tmp_path / "new", factor=1.1)
    code, out, _ = gate("gate", base, new, "--format", "json")
    assert code == json.loads(out)["exit_code"] == ExitCode.REGRESSION
    assert gate("gate", base, new, "--format", "md")[1].startswith("### ❌ 1 slower, 4 same\n")


# --- the machine's drift ---


def test_times_of_another_day_are_judged_only_where_the_drift_is_known(
    gate: Gating, base: Path, tmp_path: Path
) -> None:
    slower = written(tmp_path / "slower", factor=1.1, apart=DAY)
    code, out, _ = gate("gate", base, slower)
    assert (code, out.splitlines()[-1]) == (
        ExitCode.NO_VERDICT,
        "2 inconclusive, 3 same (1 of the inconclusive ones not required)",
    )
    assert "5 occasions of equal code, as far apart as the sides, are the least that show it" in " ".join(out.split())
    assert gate("gate", base, slower, "--drift", "2 %")[0] == ExitCode.REGRESSION
    assert gate("gate", base, slower, "--drift", "20 %")[0] == ExitCode.NO_VERDICT
    Path("pyproject.toml").write_text("[tool.bench.gate]\ndrift = 0.02\n")
    code, out, _ = gate("gate", base, slower)
    assert code == ExitCode.REGRESSION
    assert "± 2 % of drift, as declared" in " ".join(out.split())
    assert gate("gate", base, written(tmp_path / "new", apart=DAY))[0] == ExitCode.OK


def nights(folder: Path, numbers: range, factors: tuple[float, ...]) -> Path:
    """Campaigns of equal code, one a night, on which the machine had these speeds."""
    for night, factor in zip(numbers, factors, strict=True):
        campaign = replace(CAMPAIGN, started_at=f"2026-01-{10 + night}T03:04:05.000006+00:00")
        written(folder, factor=factor, campaign=campaign, apart=(night + 8) * DAY)
    return folder


def test_a_store_of_nights_shows_the_drift(gate: Gating, base: Path, tmp_path: Path) -> None:
    steady, drifting = (1.0, 1.002, 0.999, 1.001, 0.998, 1.0), (1.0, 1.2, 0.9, 1.1, 0.95, 1.0)
    slower = written(tmp_path / "slower", factor=1.1, apart=DAY)
    steady_nights = nights(tmp_path / "steady", range(6), steady)
    code, out, _ = gate("gate", base, slower, "--drift", steady_nights)
    assert code == ExitCode.REGRESSION
    assert "of drift between 7 occasions" in " ".join(out.split())
    assert (
        gate("gate", base, slower, "--drift", nights(tmp_path / "drifting", range(6), drifting))[0]
        == ExitCode.NO_VERDICT
    )
    assert gate("gate", steady_nights, written(tmp_path / "new", apart=14 * DAY))[0] == ExitCode.OK
    finding = next(
        f for f in as_data(gate, steady_nights, tmp_path / "new")["findings"] if f["metric"] == "train_seconds"
    )
    assert (finding["drift"]["occasions"], finding["paired_by"]) == (6, None)


@pytest.mark.parametrize(
    ("drift", "sentence"),
    [
        (
            "nowhere",
            '--drift nowhere is no number, nor a text with its unit, as in "5 %". Results of that name are not',
        ),
        ("2 s", "--drift 2 s has the unit 's'"),
        ("0.02", "--drift 0.02 would be 0.02 %, which nobody means: write 2, if that was meant"),
        ("-1", "--drift -1 isn't from 0 to 100 %"),
        ("1e999", "--drift 1e999 isn't from 0 to 100 %"),
    ],
)
def test_a_drift_that_makes_no_sense_is_refused(gate: Gating, base: Path, drift: str, sentence: str) -> None:
    code, _, err = gate("gate", base, base, "--self", "--drift", drift)
    assert code == ExitCode.USAGE
    assert sentence in " ".join(err.split())


# --- margins ---


def test_margins_come_from_pyproject_or_the_file_that_is_named(gate: Gating, base: Path, tmp_path: Path) -> None:
    new = written(tmp_path / "new", factor=1.1)
    wide = "train_seconds = { tolerance = 0.2 }\n"
    Path("pyproject.toml").write_text(f"[tool.bench.gate]\n{wide}")
    assert gate("gate", base, new)[0] == ExitCode.OK
    Path("pyproject.toml").write_text("[tool.other]\n")
    assert gate("gate", base, new)[0] == ExitCode.REGRESSION
    Path("mine.toml").write_text(f"[axes]\ncells = ['lstm']\n[gate]\n{wide}")
    assert gate("gate", base, new, "--margins", "mine.toml")[0] == ExitCode.OK
    assert suite.load("mine.toml").axes.cells == ("lstm",)
    code, _, err = gate("gate", base, new, "--margins", "pyproject.toml")
    assert (code, "names no margins" in err) == (ExitCode.USAGE, True)
    code, _, err = gate("gate", base, new, "--margins", "nowhere.toml")
    assert (code, "cannot read the margins from 'nowhere.toml'" in err) == (ExitCode.USAGE, True)


def test_margins_are_found_from_a_subfolder_and_their_file_is_named(
    gate: Gating, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = written(tmp_path / "new", factor=1.1)
    (tmp_path / ".git").mkdir()
    (tmp_path / "pyproject.toml").write_text("[tool.bench.gate]\ntraining = { tolerance = '20 %' }\n")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    code, out, _ = gate("gate", base, new)
    assert code == ExitCode.OK
    where = f"[tool.bench.gate] in {tmp_path / 'pyproject.toml'}"
    assert "".join(where.split()) in "".join(out.split())  # wherever the terminal's lines end
    monkeypatch.chdir(tmp_path)
    assert "The margins are those of [tool.bench.gate] in pyproject.toml." in gate("gate", base, new)[1]


def test_a_misspelt_table_is_never_the_defaults(gate: Gating, base: Path, tmp_path: Path) -> None:
    new = written(tmp_path / "new")
    Path("pyproject.toml").write_text("[tool.bench.gates]\ntraining = { tolerance = 0.2 }\n")
    for arguments in ((base, new), (base, new, "--margins", "pyproject.toml")):
        code, _, err = gate("gate", *arguments)
        assert code == ExitCode.USAGE
        assert "unknown key 'gates' ([tool.bench] in " in err
        assert "did you mean 'gate'?" in err
    Path("mine.toml").write_text("[gates]\ntraining = { tolerance = 0.2 }\n")
    assert "names no margins (it has [gates])" in gate("gate", base, new, "--margins", "mine.toml")[2]
    with pytest.raises(UsageError, match=r"unknown key 'gates' .*did you mean 'gate'\?"):
        suite.load("mine.toml")


def test_what_the_output_prints_is_what_the_settings_take() -> None:
    gate = read_gate({"require": ["training", "memory"], "training": {"tolerance": "5 %", "floor": "1 %"}}, "here")
    assert gate.required == {"train_seconds", "memory_bytes"}
    assert gate.margins["train_seconds"] == Margins(0.05, 0.01)
    assert read_gate({"accuracy": {"tolerance": "1 point"}}, "here").margins["accuracy"].tolerance == 0.01
    assert read_gate({metric.title: {"floor": 0} for metric in METRICS.values() if metric.margins}, "here")


def test_the_margins_of_nothing_are_not_listed(gate: Gating, base: Path, tmp_path: Path) -> None:
    bigger = replace(LAPTOP, usable_cores=64)
    machine: dict[str, Any] = {"machine_json": bigger.to_json(), "machine_fingerprint": bigger.fingerprint}
    same = written(tmp_path / "same", later=False, **machine)  # equal seeds: no interval is needed
    few = tmp_path / "few"
    write_run(few, a_run(1, Case(cell="gru", task="mnist_5k", epochs=2)))
    for new in (same, few):
        out = gate("compare", base, new)[1]
        assert "Tolerance, floor" not in out
        assert "A verdict rests on" not in out
        assert "The intervals shown" not in out
    assert "Tolerance, floor:\n" not in gate("compare", base, written(tmp_path / "slow", factor=1.1))[1]


def test_a_green_gate_tells_what_it_does_not_know(gate: Gating, base: Path, tmp_path: Path) -> None:
    path = tmp_path / "margins.toml"
    path.write_text("[gate]\nrequire = ['memory']\ntraining = { tolerance = 0.0001 }\nloss = { tolerance = 0.0001 }\n")
    new = written(tmp_path / "new", accuracy=0.9399)
    code, _, err = gate("gate", base, new, "--margins", path)
    assert code == ExitCode.OK
    assert "green: nothing that was measured got worse; inconclusive, and not required: " in err


def test_what_is_required_by_name_and_was_not_measured_is_missing(gate: Gating, base: Path, tmp_path: Path) -> None:
    path = tmp_path / "margins.toml"
    path.write_text("[gate]\nrequire = ['latency_seconds', 'train_seconds']\n")
    code, out, err = gate("gate", base, written(tmp_path / "new"), "--margins", path)
    assert (code, "not green" in err) == (ExitCode.NO_VERDICT, True)
    assert out.splitlines()[-1] == "1 missing, 5 same"
    assert "(latency): it is required, and neither side has measured it" in out


def test_a_gate_that_names_nothing_is_the_usual_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_gate(None) == read_gate({}, "here") == Gate()
    assert Gate().margins["train_seconds"] == Margins(0.03, 0.005)
    assert Gate().required == {"train_seconds", "latency_seconds", "throughput", "accuracy"}


def test_what_is_named_replaces_and_the_rest_stays() -> None:
    gate = read_gate({"require": ["loss"], "loss": {"floor": 0.02}, "train_seconds": {"tolerance": 0.001}}, "here")
    assert gate.required == {"loss"}
    assert gate.margins["loss"] == Margins(COMPARED["loss"].tolerance, 0.02)
    assert gate.margins["train_seconds"] == Margins(0.001, 0.001)
    assert gate.margins["accuracy"] == COMPARED["accuracy"]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"train_second": {}}, "unknown key 'train_second' (here): did you mean 'train_seconds'?"),
        ({"loss": {"tolerence": 1}}, "unknown key 'tolerence' (loss in here): did you mean 'tolerance'?"),
        ({"loss": {"tolerance": "3 s"}}, "tolerance = '3 s' (loss in here) has the unit 's'"),
        ({"loss": {"tolerance": True}}, "tolerance = True (loss in here) is no number"),
        ({"training": {"tolerance": 5}}, "tolerance = 5 (training in here) would be 500 %, which nobody means: write"),
        ({"loss": {"tolerance": "9" * 10_000 + " s"}}, "999 s' (loss in here) has the unit 's'"),
        (
            {"loss": {"floor": "-1 %"}},
            "loss in here: floor -0.01 and tolerance 0.1: margins need 0 ≤ floor ≤ tolerance",
        ),
        ({"loss": {"tolerance": "1e999 %"}}, "margins need 0 ≤ floor ≤ tolerance"),
        ({"loss": {"floor": 0.6}}, "floor = 0.6 (loss in here) would be 60 %"),
        ({"memory": {"floor": 0}, "memory_bytes": {"floor": 0}}, "memory_bytes and memory (here) are one metric"),
        ({"trainig": {}}, "unknown key 'trainig' (here): did you mean 'training'?"),
        ({"drift": 5}, "drift = 5 (here) would be 500 %, which nobody means"),
        ({"drift": "-2 %"}, "drift = '-2 %' (here) isn't from 0 to 100 %"),
        ({"drft": "2 %"}, "unknown key 'drft' (here): did you mean 'drift'?"),
        ({"loss": 0.1}, "loss in here must be a table, as in loss = { tolerance = 0.05 }."),
        ({"loss": {"tolerance": 0.01, "floor": 0.02}}, "margins need 0 ≤ floor ≤ tolerance"),
        ({"loss": {"tolerance": 0}}, "margins need 0 ≤ floor ≤ tolerance"),
        ({"require": []}, "require (here) must be a list of metrics"),
        ({"require": ["acuracy"]}, "unknown metric 'acuracy' (require in here): did you mean 'accuracy'?"),
        ({"require": [3]}, "unknown metric '3' (require in here)"),
        ([1], "the gate (here) must be a table"),
    ],
)
def test_a_mistake_in_the_margins_is_told_with_the_way_out(table: object, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        read_gate(table, "here")
    assert sentence in str(error.value)


def test_a_suite_with_a_mistake_in_its_gate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[gate]\nlos = { tolerance = 0.1 }\n")
    with pytest.raises(UsageError, match=r"unknown key 'los' \(\[gate\] in .*mine.toml\): did you mean 'loss'"):
        suite.load(str(path))


def test_the_help_names_the_exit_codes(gate: Gating) -> None:
    _, out, _ = gate("gate", "--help")
    assert "3 that is undecided, 4 runs failed" in " ".join(out.replace("│", " ").split())
