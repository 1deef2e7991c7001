"""The script for SLURM: its options exist, its shell is whole, and what it starts is what Ray and bench take."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bench.cli import app
from bench.cluster.slurm import SlurmJob, limit_seconds, sbatch_script
from bench.core.errors import UsageError

DIRECTIVES = {
    "job-name": r"[\w.-]+",
    "nodes": r"\d+",
    "ntasks-per-node": r"\d+",
    "exclusive": r"",
    "mem": r"\d+[KMGT]?",
    "gpus-per-node": r"\d+",
    "time": r"\d+-\d\d:\d\d:\d\d",
    "signal": r"(?:[RB]+:)?[A-Z]+@\d{1,5}",
    "dependency": r"singleton",
    "requeue": r"",
    "no-kill": r"",
    "open-mode": r"append|truncate",
    "output": r"[\w%./-]+",
}
"""Options of sbatch by its manual (25.05), with the form of their values; each is given once."""

SRUN = {
    "--nodes": r"\d+",
    "--ntasks": r"\d+",
    "--export": r"ALL",
    "--cpu-bind": r"none",
    "--no-kill": r"",
    "--kill-on-bad-exit": r"[01]",
}

STUBS = {
    "scontrol": '#!/bin/bash\n[ "$*" = "show hostnames n[3-5]" ] && printf "n3\\nn4\\nn5\\n"\n',
    "srun": "#!/usr/bin/env python3\nimport json, os, sys\n"
    "kept = {name: os.environ.get(name) for name in os.environ if name.startswith('RAY_')}\n"
    "print(json.dumps({'arguments': sys.argv[1:], 'folder': os.getcwd(), 'ray': kept}))\n",
}


def a_job(folder: Path, **changes: object) -> SlurmJob:
    values = {
        "suite": "quick",
        "arguments": ["quick", "--set", "seeds=0..9", "--results", "it's here"],
        "folder": folder,
        "programs": folder / "bin",
        "nodes": 3,
        "limit_seconds": 3 * 86_400 + 4_800,
    }
    return SlurmJob(**{**values, **changes})  # type: ignore[arg-type] # fields of the record


def directives(script: str) -> dict[str, str]:
    """The options of a script, as sbatch reads them: lines before the first command."""
    options: dict[str, str] = {}
    for line in script.splitlines():
        if not line.startswith("#"):
            break
        if match := re.fullmatch(r"#SBATCH --([\w-]+)(?:=(.*))?", line):
            assert match[1] not in options
            options[match[1]] = match[2] or ""
    return options


def submitted(script: str, folder: Path) -> dict[str, object]:
    """What `srun` is called with when the script runs on its first node."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name, text in STUBS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (folder / "job.sh").write_text(script)
    subprocess.run(["bash", "-n", str(folder / "job.sh")], check=True)
    variables = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "SLURM_JOB_NODELIST": "n[3-5]",
        "SLURM_JOB_NUM_NODES": "3",
        "SLURM_JOB_ID": "40321",
    }
    done = subprocess.run(["bash", str(folder / "job.sh")], env=variables, capture_output=True, text=True, check=True)
    called: dict[str, object] = json.loads(done.stdout)
    return called


@pytest.mark.parametrize("gpus", [0, 4])
def test_the_options_are_sbatchs(gpus: int, tmp_path: Path) -> None:
    options = directives(sbatch_script(a_job(tmp_path, gpus=gpus)))
    for name, value in options.items():
        assert re.fullmatch(DIRECTIVES[name], value), name
    assert {"exclusive", "mem", "requeue"} <= options.keys()  # whole nodes, and back in the queue when one fails
    assert options["time"] == "3-01:20:00"
    assert options.get("gpus-per-node") == (str(gpus) if gpus else None)


def test_ray_is_started_on_every_node_with_a_token_and_bench_on_the_first(tmp_path: Path) -> None:
    called = submitted(sbatch_script(a_job(tmp_path)), tmp_path)
    words = called["arguments"]
    assert isinstance(words, list)
    start = words.index("ray")
    for word in words[:start]:
        name, _, value = word.partition("=")
        assert re.fullmatch(SRUN[name], value), name
    assert "--export=ALL" in words[:start], "a user's or site's --export=NONE would leave the nodes without the token"
    assert words[start:] == [
        *("ray", "symmetric-run", "--address", "n3:20321", "--min-nodes", "3", "--"),
        *("bench", "run", "quick", "--set", "seeds=0..9", "--results", "it's here", "--on", "ray"),
        *("--address", "n3:20321"),
    ]
    assert called["folder"] == str(tmp_path)
    variables = called["ray"]
    assert isinstance(variables, dict)
    assert variables["RAY_AUTH_MODE"] == "token"
    assert re.fullmatch(r"[0-9a-f]{64}", variables["RAY_AUTH_TOKEN"])
    token = submitted(sbatch_script(a_job(tmp_path)), tmp_path)["ray"]["RAY_AUTH_TOKEN"]  # type: ignore[index]
    assert token != variables["RAY_AUTH_TOKEN"]


def test_ray_takes_what_it_is_started_with(tmp_path: Path) -> None:
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args, symmetric_run

    words = submitted(sbatch_script(a_job(tmp_path)), tmp_path)["arguments"]
    assert isinstance(words, list)
    given = words[words.index("symmetric-run") + 1 : words.index("--")]
    context = symmetric_run.make_context("ray", list(given))
    assert (context.params["address"], context.params["min_nodes"]) == ("n3:20321", 3)
    assert curate_and_validate_ray_start_args(list(given)) == []


def test_a_name_and_a_folder_may_have_any_characters(tmp_path: Path) -> None:
    folder = tmp_path / "it's $HOME"
    folder.mkdir()
    script = sbatch_script(a_job(folder, suite="my suite; x"))
    assert directives(script)["job-name"] == "bench-my-suite-x"
    assert submitted(script, folder)["folder"] == str(folder)


def test_the_limit_holds_the_longest_node_with_a_margin() -> None:
    blocks = {0: 1000.0, 1: 1000.0, 2: 1000.0}
    alone, pair, each = (limit_seconds(blocks, nodes) for nodes in (1, 2, 3))
    assert alone > 3000 * 1.5
    assert 2000 * 1.5 < pair < alone
    assert 1000 * 1.5 < each < pair
    assert all(limit % 600 == 0 for limit in (alone, pair, each))
    with pytest.raises(UsageError, match=r"--nodes 4 is more than there are blocks \(3,"):
        limit_seconds(blocks, 4)


def test_the_command_prints_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["slurm", "quick", "--set", "seeds=0..9", "--nodes", "5", "--seed-order", "7"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert directives(done.stdout)["nodes"] == "5"
    assert "10 blocks on 5 nodes" in done.stderr
    assert shlex.quote(str(tmp_path)) in done.stdout
    command = re.search(r"^ +bench (run .*) --address", done.stdout, re.M)
    assert command
    words = shlex.split(command[1])
    assert words == [
        *("run", "quick", "--set", "seeds=0..9", "--results", "results/local", "--seed-order", "7", "--on", "ray"),
    ]
    group = typer.main.get_command(app)
    run = group.commands["run"]  # type: ignore[attr-defined] # a group has them
    assert {option for word in words if word.startswith("--") for option in [word]} <= {
        name for parameter in run.params for name in parameter.opts
    }


def test_gpus_are_planned_for_where_there_are_none(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["slurm", "gpu_8min", "--nodes", "2", "--gpus", "1"])
    assert done.exit_code == 0
    assert directives(done.stdout)["gpus-per-node"] == "1"


def test_a_slot_for_each_gpu_measures_as_many_blocks_at_once() -> None:
    arguments = ["slurm", "quick", "--set", "devices=gpu:0", "--set", "seeds=0..7", "--nodes", "2"]
    slots, whole = (CliRunner().invoke(app, [*arguments, "--gpus", "4", "--slot", each]) for each in ("gpu", "machine"))
    assert slots.exit_code == whole.exit_code == 0
    assert "--slot gpu --on ray" in slots.stdout
    assert "--slot" not in whole.stdout
    blocks = dict.fromkeys(range(8), 1000.0)
    assert limit_seconds(blocks, 2, 4) == limit_seconds({0: 1000.0}, 1) < limit_seconds(blocks, 2)
    with pytest.raises(UsageError, match=r"--nodes 3 with 4 GPUs each is more than there are blocks \(8,.*by one GPU"):
        limit_seconds(blocks, 3, 4)
    without = CliRunner().invoke(app, [*arguments, "--slot", "gpu"])
    assert "add --gpus N" in str(without.exception)
    on_cpu = CliRunner().invoke(app, ["slurm", "quick", "--gpus", "4", "--slot", "gpu"])
    assert "the suite has runs on cpu" in str(on_cpu.exception)
