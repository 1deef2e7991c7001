"""The first minutes: `bench` without a command, `python -m bench`, and what a shell completes."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer._completion_shared import get_completion_script

from bench.cli import app, completion
from bench.cli.start import first_steps
from bench.core.axes import AXES

CELL = "def small(units, activation, return_sequences, name):\n    return None\n"


def test_python_m_bench_is_bench_and_shows_three_commands(tmp_path: Path) -> None:
    (tmp_path / "my_cells.py").write_text(CELL)
    done = subprocess.run([sys.executable, "-m", "bench"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "There is a cell here, my_cells:small:" in done.stdout
    assert sum(line.startswith("  bench ") for line in done.stdout.splitlines()) == 3
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_the_commands_fit_the_folder(tmp_path: Path) -> None:
    what, commands = first_steps(tmp_path)
    assert "Nothing was measured" in what
    assert commands[0][0] == "bench run quick"
    package = tmp_path / "src" / "ours"
    package.mkdir(parents=True)
    (package / "layers.py").write_text(CELL)
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "cells.py").write_text(CELL)
    what, commands = first_steps(tmp_path)
    assert "ours.layers:small" in what
    assert commands[0][0] == "bench run quick --set cells=gru,ours.layers:small"
    (tmp_path / "results" / "local" / "runs").mkdir(parents=True)
    what, commands = first_steps(tmp_path)
    assert "There are results" in what
    assert [command.split()[1] for command, _ in commands] == ["table", "report", "cite"]


@pytest.mark.parametrize(
    ("incomplete", "expected"),
    [
        ("ce", ["cells="]),
        ("cells=ls", ["cells=lstm"]),
        ("cells=lstm,gr", ["cells=lstm,gru"]),
        ("kernels=un", ["kernels=unrolled"]),
        ("bidirectional=t", ["bidirectional=true"]),
        ("units=", ["units=128"]),
        ("backends=j", ["backends=jax"]),
        ("unknown=", []),
    ],
)
def test_a_shell_completes_axes_and_their_values(incomplete: str, expected: list[str]) -> None:
    assert completion.axis_values(incomplete) == expected


def test_every_axis_completes_to_what_it_has() -> None:
    for plural, axis in AXES.items():
        values = completion.axis_values(f"{plural}=")
        assert len(values) >= (2 if axis.type is bool else 1), plural


def test_a_shell_completes_suites_and_joins() -> None:
    assert completion.suites("qu") == ["quick"]
    assert completion.fields("units,learn") == ["units,learning_rate"]


def test_no_help_holds_brackets_which_its_markup_would_swallow() -> None:
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined] # a group has them
        for parameter in command.params:
            assert "[" not in (getattr(parameter, "help", None) or ""), f"bench {name} {parameter.name}"


@pytest.mark.parametrize(
    ("words", "replies"),
    [
        (["run", "quick", "--set", "cells", "=", "ls"], ["lstm"]),
        (["run", "quick", "--set", "cells", "=", "lstm,gr"], ["lstm,gru"]),
        (["run", "quick", "--set", "bias", "="], ["false", "true"]),
        (["run", "quick", "--set", "kern"], ["kernels="]),
        (["run", "qui"], ["quick"]),
    ],
)
def test_bash_completes_what_it_takes_apart_at_the_equals_sign(
    tmp_path: Path, words: list[str], replies: list[str]
) -> None:
    """By bash's own script, with the words as bash passes them: its word breaks hold the equals sign."""
    bash, program = shutil.which("bash"), tmp_path / "bench"
    assert bash
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m bench "$@"\n')
    program.chmod(0o755)
    lines = [
        get_completion_script(prog_name="bench", complete_var="_BENCH_COMPLETE", shell="bash"),
        f"COMP_WORDS=({shlex.join(['bench', *words])}); COMP_CWORD={len(words)}",
        f"_bench_completion {shlex.quote(str(program))}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
    ]
    done = subprocess.run([bash, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.stdout.split() == replies, done.stderr
