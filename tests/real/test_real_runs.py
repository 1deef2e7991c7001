"""Real Keras in real processes, through the command line: what is stored, and what each kind of cell comes to."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.core.code import from_json
from bench.core.predictions import unpack
from bench.store import load

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
TINY = [
    word
    # no partial batch of the samples or of the 1,000 tests, which would be traced and compiled too
    for option in ("tasks=mnist_5k", "units=8", "train_samples=80", "batch_size=40", "epochs=2", "seeds=0")
    for word in ("--set", option)
]


def bench(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from bench.cli import main; main()", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], pd.DataFrame]:
    """One campaign over cells and kernels."""
    results = tmp_path_factory.mktemp("kernels")
    done = bench("run", *TINY, "--set", "kernels=auto,generic,unrolled,xla", "--results", str(results))
    return done, load([results], warn=pytest.fail)


def test_every_kernel_that_is_asked_for_runs_and_is_attested(
    kernels: tuple[subprocess.CompletedProcess[str], pd.DataFrame],
) -> None:
    done, frame = kernels
    assert done.returncode == 0, done.stderr
    runs = frame[frame["phase"] == "run"]
    assert len(runs) == 12
    found = {(r.cell, r.kernel): r.attested_kernel for r in runs.itertuples()}
    for cell in ("simple_rnn", "lstm", "gru"):
        assert {kernel: found[cell, kernel] for kernel in ("generic", "unrolled", "xla")} == {
            "generic": "generic",
            "unrolled": "unrolled",
            "xla": "xla",
        }
    # what Keras picks on a CPU: no cuDNN, and XLA off
    assert {found[cell, "auto"] for cell in ("simple_rnn", "lstm", "gru")} == {"generic"}


def test_an_observation_of_every_phase_with_its_figures(
    kernels: tuple[subprocess.CompletedProcess[str], pd.DataFrame],
) -> None:
    _, frame = kernels
    run = frame[(frame["cell"] == "lstm") & (frame["kernel"] == "generic")]
    assert set(run["code_json"]) == {"[]"}  # a cell that comes with bench imports no code of the user's
    phases = [(r.phase, r.epoch) for r in run.fillna({"epoch": 0}).itertuples()]
    assert phases == [
        ("start", 0),
        ("setup", 0),
        ("build", 0),
        ("attest", 0),
        ("compile", 0),
        ("warmup", 0),
        ("prepare", 0),
        ("train", 1),
        ("validate", 1),
        ("train", 2),
        ("validate", 2),
        ("finish", 0),
        ("evaluate", 0),
        ("outputs", 0),
        ("attest", 0),
        ("run", 0),
    ]
    assert (run["seconds"] > 0).all()
    whole = run["phase"] == "run"
    # in so small a run too there is hardly a second without a name
    assert 0.9 < run.loc[~whole, "seconds"].sum() / run.loc[whole, "seconds"].sum() <= 1
    trained = run[run["phase"] == "train"]
    assert list(trained["samples"]) == [80, 80]
    assert ((trained["iterator_seconds"] > 0) & (trained["iterator_seconds"] < trained["seconds"])).all()
    assert trained["loss"].between(1.5, 3.5).all()
    assert trained["accuracy"].between(0, 1).all()
    one = run.iloc[0]
    # 4 · (28 · 8 + 8 · 8 + 8) + 4 · (8 · 8 + 8 · 8 + 8) + (8 · 32 + 32) + (32 · 10 + 10)
    assert one["parameters"] == 4 * (224 + 64 + 8) + 4 * (64 + 64 + 8) + 288 + 330
    assert one["peak_rss_bytes"] > one["rss_start_bytes"] > 100e6
    assert one["rss_train_bytes"] <= one["peak_rss_bytes"]
    assert one["data_digest"].startswith("3a1f5c3d")
    assert 0 <= one["other_cpu_fraction"] <= 1
    evidence = json.loads(one["attestation_json"])
    assert set(evidence) == {"train", "evaluate"}
    assert set(evidence["train"]) == {"recurrent_a", "recurrent_b"}
    assert any("While" in operation for operation in evidence["train"]["recurrent_a"]["operations"])


def test_every_run_keeps_its_predictions_and_they_have_the_accuracy_that_was_evaluated(
    kernels: tuple[subprocess.CompletedProcess[str], pd.DataFrame],
) -> None:
    _, frame = kernels
    evaluated = frame[frame["phase"] == "evaluate"]
    for run in evaluated.itertuples():
        kept = unpack(str(run.test_predictions))
        assert kept.codes.shape == (1000, 10)
        assert (kept.predicted == kept.labels).mean() == pytest.approx(run.accuracy, abs=0.0015), run.kernel
        truth = kept.probabilities[range(1000), kept.labels]
        assert -np.log(truth).mean() == pytest.approx(run.loss, abs=0.01)


def test_the_same_seed_gives_the_same_losses_in_another_process(
    kernels: tuple[subprocess.CompletedProcess[str], pd.DataFrame],
) -> None:
    _, frame = kernels
    evaluated = frame[(frame["phase"] == "evaluate") & (frame["cell"] == "gru")]
    losses = dict(zip(evaluated["kernel"], evaluated["loss"], strict=True))
    # auto and generic are the same program on a CPU
    assert losses["auto"] == losses["generic"] > 1


def test_a_run_has_its_variables_determinism_and_untuned_input_and_the_record_shows_each(tmp_path: Path) -> None:
    options = ("--set", "cells=gru", "--set", "deterministic=true", "--set", "env.TF_ENABLE_ONEDNN_OPTS=0")
    done = bench("run", *TINY, *options, "--set", "steady=false,true", "--results", str(tmp_path))
    assert done.returncode == 0, done.stderr
    frame = load([tmp_path], warn=pytest.fail)
    runs = {bool(run["steady"]): run for _, run in frame[frame["phase"] == "run"].iterrows()}
    for run in runs.values():
        assert (run["env"], run["deterministic"]) == ("TF_ENABLE_ONEDNN_OPTS=0", True)
        assert json.loads(str(run["extra_json"]))["op_determinism"] is True
        assert ["TF_ENABLE_ONEDNN_OPTS", "0"] in json.loads(str(run["software_json"]))["settings"]
    assert json.loads(str(runs[True]["extra_json"]))["input_tuned"] is False
    assert "input_tuned" not in json.loads(str(runs[False]["extra_json"]))
    losses = frame[frame["phase"] == "evaluate"].set_index("steady")["loss"]
    assert losses[True] == losses[False]  # the same batches, computed alike


def test_the_table_is_printed_with_the_kernel_that_ran(
    kernels: tuple[subprocess.CompletedProcess[str], pd.DataFrame],
) -> None:
    done, _ = kernels
    assert "mnist_5k" in done.stdout
    assert "xla" in done.stdout
    assert "of the wall time" in done.stderr


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], pd.DataFrame, Path]:
    """One campaign over users' cells, named on the command line, in the user's own folder."""
    folder = tmp_path_factory.mktemp("users")
    (folder / "my_cells.py").write_text((Path(__file__).parent / "user_cells.py").read_text())
    names = ["good", "not_finite", "loops_in_training"]
    cells = ",".join(f"my_cells:{name}" for name in names)
    done = bench("run", *TINY, "--set", f"cells={cells}", "--results", str(folder / "out"), cwd=folder)
    return done, load([folder / "out"], warn=pytest.fail), folder / "out"


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("good", "ok", ""),
        ("not_finite", "failed", "the loss isn't finite: nan"),
    ],
)
def test_what_becomes_of_a_users_cell(
    users: tuple[subprocess.CompletedProcess[str], pd.DataFrame, Path], name: str, status: str, message: str
) -> None:
    done, frame, out = users
    assert done.returncode == 4, done.stderr
    run = frame[(frame["cell"] == f"my_cells:{name}") & (frame["phase"] == "run")].iloc[0]
    assert run["status"] == status
    if status == "ok":
        assert pd.isna(run["training_flops_per_sample"])
        assert run["attested_kernel"] == "generic"
        assert run["parameters"] > 0
        (module,) = from_json(run["code_json"])
        source = out.parent / "my_cells.py"
        assert (module.name, module.file, module.distribution) == ("my_cells", str(source.resolve()), "")
        assert module.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    else:
        assert message in run["error"]
        assert "\n" not in run["error"]
        assert (out / run["log"]).is_file()
        assert run["log"] in done.stderr


def test_what_a_factory_does_wrong_is_known_before_anything_is_measured(tmp_path: Path) -> None:
    """By building each network once, after a single import; all that is wrong is named at once."""
    text = (Path(__file__).parent / "user_cells.py").read_text()
    # a name that only running the module shows to be absent
    (tmp_path / "my_cells.py").write_text(f"{text}\nglobals().pop('absent', None)\n")
    said = {
        "last_step_only": "gives the shape (batch, 8) as the layer recurrent_a, where (batch, 28, 8)",
        "bare_cell": "not a Keras layer",
        "nameless": "pass `name` on",
        "raises": "RuntimeError: no such cell for 8 units",
        "raises_in_call": "ValueError in _RaisesInCall.call(): no gate for recurrent_a",
        "own_width": "the layer has a width of its own, where units=8 was given to the factory",
        "a_class": "a class is no factory: write a function that returns its layer).",
        "absent": "cannot be imported: AttributeError",
    }
    cells = ",".join(f"my_cells:{name}" for name in ("good", *said))
    done = bench("run", *TINY, "--set", f"cells={cells}", "--results", str(tmp_path / "out"), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for name, problem in said.items():
        (line,) = (line for line in done.stderr.splitlines() if f"'my_cells:{name}'" in line)
        assert problem in line
    assert "my_cells:good" not in done.stderr
    assert not list((tmp_path / "out").glob("runs/*.parquet"))
    assert len(list((tmp_path / "out" / "logs").iterdir())) == len(said)


def test_a_cell_whose_phases_differ_is_mixed(
    users: tuple[subprocess.CompletedProcess[str], pd.DataFrame, Path],
) -> None:
    _, frame, _ = users
    run = frame[(frame["cell"] == "my_cells:loops_in_training") & (frame["phase"] == "run")].iloc[0]
    evidence = json.loads(run["attestation_json"])
    assert evidence["train"]["recurrent_a"]["kernel"] == "generic"
    assert evidence["evaluate"]["recurrent_a"]["kernel"] == "unrolled"
    assert run["attested_kernel"] == "mixed"


def deceived(folder: Path, kernels: str, names: list[str], *options: str) -> tuple[str, dict[tuple[str, str], Any]]:
    """What the table says, and the runs of these users' cells, by cell and kernel."""
    (folder / "my_cells.py").write_text((Path(__file__).parent / "user_cells.py").read_text())
    cells = ",".join(f"my_cells:{name}" for name in names)
    done = bench(
        *("run", *TINY, "--set", f"cells={cells}", "--set", f"kernels={kernels}"),
        *(*options, "--results", str(folder / "out")),
        cwd=folder,
    )
    assert done.returncode == 4, done.stderr
    frame = load([folder / "out"], warn=pytest.fail)
    runs: list[dict[Any, Any]] = frame[frame["phase"] == "run"].to_dict("records")
    return done.stdout, {(run["cell"].removeprefix("my_cells:"), run["kernel"]): run for run in runs}


def test_a_kernel_that_is_claimed_and_not_run_makes_the_run_invalid(tmp_path: Path) -> None:
    said = {
        "claims_unrolled": "recurrent_a ran generic in train and evaluate",
        "loops_in_training": "recurrent_a ran generic in train",
        "loops_elsewhere": "outside the recurrent layers ran generic in train and evaluate",
    }
    table, runs = deceived(tmp_path, "unrolled", list(said), "--isolation", "spawn")
    for name, what in said.items():
        run = runs[name, "unrolled"]
        assert (run["status"], run["isolation"]) == ("invalid", "spawn")
        assert what in run["error"]
    assert "ran generic" in table  # it says why


def test_a_switch_that_keras_resets_or_turns_off_makes_the_run_invalid(tmp_path: Path) -> None:
    """On a processor the program is the same for `use_cudnn` "auto" and False; on a GPU it would not be."""
    table, runs = deceived(
        *(tmp_path, "generic,xla", ["resets_cudnn", "cloned", "refuses_jit"]),
        *("--set", "threads=1"),
    )
    for name in ("resets_cudnn", "cloned"):
        run = runs[name, "generic"]
        assert run["status"] == "invalid"
        assert run["attested_kernel"] == "generic"
        assert "asked for use_cudnn=False, but recurrent_a reads back auto" in run["error"]
        assert json.loads(run["extra_json"])["recurrent_b"]["use_cudnn"] == "auto"
    run = runs["refuses_jit", "xla"]
    assert run["status"] == "invalid"
    assert "recurrent_a ran generic in" in run["error"]
    assert "asked for jit_compile=True, but Keras reads back False" in run["error"]
    assert runs["refuses_jit", "generic"]["status"] == "ok"
    assert json.loads(runs["refuses_jit", "generic"]["extra_json"])["threads"] == 1
    assert "reads back auto" in table
