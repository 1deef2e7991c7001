"""The README and the guides are true: every command in them is run, in order, those that take minutes on less data."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from bench.catalog.matrix import OPTIONS_TRIED
from bench.core.axes import AXES
from bench.core.case import written

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NO_OPTION = " ".join(
    f"--set {axis}={written(AXES[axis].default[0])}"
    for part in OPTIONS_TRIED
    for axis in part
    if axis != "recurrent_dropout"
)
LESS = {"tasks": "mnist_5k", "train_samples": "80", "seeds": "0", "epochs": "1", "units": "8", "batch_size": "40"}


def blocks(language: str) -> list[str]:
    return [block for page in PAGES for block in re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)]


def commands() -> list[str]:
    """The lines of all `sh` blocks, each once, by page."""
    return list(dict.fromkeys(line for block in blocks("sh") for line in block.splitlines() if line.strip()))


def reduced(command: str) -> str:
    """The same command with less to do: `--set` of the axes that cost time, in place of those that the README has.

    Of several values of an axis a run has the last, and of steps the first. Other data than digits read by rows are
    kept: their sizes belong to them.
    """
    own_suite = re.search(r"bench run (?:adding|pixels)", command)
    kept = {"tasks"} if own_suite or re.search(r"--set tasks=(?!mnist)", command) else set()
    less = " ".join(f"--set {axis}={value}" for axis, value in LESS.items() if axis not in kept)
    if command.startswith("make "):
        arguments = {"make bench": less, "make quick": f"{less} --set cells=gru"}.get(command)
        return f"{command} ARGS='--interleave 0 {arguments}'" if arguments else command
    if command.startswith("bench kernels --time"):  # one option in place of all
        return f"{command} {less} {NO_OPTION}"
    if not command.startswith("bench run"):
        return command
    command = re.sub(r"(--set steps=\d+)(?:,\d+)+", r"\1", command)
    command = re.sub(r"(--set \w+=)\S*,", r"\1", command)
    words = [re.sub(r"^latency_calls=\d+$", "latency_calls=2", word) for word in shlex.split(command)]
    for index in [
        i for i, word in enumerate(words) if word == "--set" and words[i + 1].partition("=")[0] in LESS.keys() - kept
    ][::-1]:
        del words[index : index + 2]
    return f"{shlex.join(words)} {less}{'' if 'cells=' in command else ' --set cells=gru'}"


def test_commands_are_found_and_reduced_as_meant() -> None:
    assert {"make bench", "make test", "bench plan", "bench table"} <= set(commands())
    assert reduced("bench run quick --set cells=gru --set seeds=0..9").startswith(
        "bench run quick --set cells=gru --set t"
    )
    assert reduced("bench run adding --set steps=50,100").startswith("bench run adding --set steps=50 --set train_s")
    assert reduced("bench run quick --set kernels=auto,xla").endswith(" --set cells=gru")
    assert "--set kernels=xla --set tasks=mnist_5k" in reduced("bench run quick --set kernels=auto,xla")
    assert all(line.startswith(("make ", "bench ")) for line in commands()), "a command of a new kind needs a test"


def test_every_command_in_the_readme_and_the_guides_works(tmp_path: Path) -> None:
    """In a new folder, with the checkout's Makefile, and a virtual environment that is this one."""
    environment = tmp_path / "venv"
    environment.mkdir()
    (environment / "bin").symlink_to(Path(sys.executable).parent)
    for stamp in (".base", ".dev"):
        (environment / stamp).touch()
    work = tmp_path / "work"
    work.mkdir()
    (work / "my_cells.py").write_text(next(block for block in blocks("python") if "small_gru" in block))
    (work / "my_models.py").write_text(next(block for block in blocks("python") if "my_models.py" in block))
    (work / "README.md").write_text(PAGES[0].read_text())
    for name in ("Makefile", "locks", "pyproject.toml", "results/reference", "scripts"):
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).symlink_to(ROOT / name)
    variables = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "120",
        "MAKEFLAGS": f"VENV={environment}",
        "ARGS": "",  # those of the `make test` that runs this are pytest's
    }
    for command in commands():
        if command == "make test":
            continue  # it is what runs this
        if command.startswith("bench run") and "--on ray-local" in command:
            continue  # tests/cluster/test_ray.py runs it, on a cluster that loses a node
        line = reduced(command)
        if command.startswith("bench run") and "," in command:  # its last values are run, and all are planned
            line = f"{command.replace(' run ', ' plan ', 1)} && {line}"
        done = subprocess.run(line, shell=True, cwd=work, env=variables, capture_output=True, text=True, timeout=600)
        if command == "bench data fetch" and "cannot be had" in done.stderr:
            continue  # no network here: the sources that were tried are named
        if command.startswith("bench gpu-kit") and "pip cannot get the wheels" in done.stderr:
            continue
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr


@pytest.mark.extra("jax")
@pytest.mark.extra("torch")
def test_make_gpu_stands_ready_as_far_as_a_processor_shows_it(tmp_path: Path) -> None:
    """Each backend in its own environment (here, this one), one after another, into one store."""
    for backend in ("jax", "torch"):
        (tmp_path / f"venv-gpu-{backend}").mkdir()
        (tmp_path / f"venv-gpu-{backend}" / "bin").symlink_to(Path(sys.executable).parent)
        (tmp_path / f"venv-gpu-{backend}" / ".ready").touch()
    less = " ".join(f"--set {axis}={value}" for axis, value in LESS.items())
    axes = "--set devices=cpu --set cells=simple_rnn --set networks=cudnn_ready --set kernels=generic,cudnn"
    done = subprocess.run(
        [
            *("make", "gpu", f"VENV={tmp_path}/venv", "GPU_BACKENDS=jax torch"),
            *(f"GPU_RESULTS={tmp_path}/results", f"ARGS={less} {axes}"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    for backend in ("jax", "torch"):  # once after its own runs, and once in the table of all
        assert done.stdout.count(f"mnist_5k · cudnn_ready network · {backend} · cpu") == 2
    assert "Keras has no cuDNN path for SimpleRNN" in done.stderr


def test_make_test_is_what_ci_runs() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_queries_in_the_guides_give_rows() -> None:
    timed, seeds, order = (
        duckdb.connect().execute(query.replace("'results/", f"'{ROOT}/results/")).fetchall() for query in blocks("sql")
    )
    assert {row[0] for row in timed} == {row[0] for row in seeds} == {"simple_rnn", "lstm", "gru"}
    assert all(row[3] > 0 for row in timed)
    assert all(0.9 < row[2] < 1 for row in seeds)
    assert len(order) == sum(row[1] for row in seeds)
