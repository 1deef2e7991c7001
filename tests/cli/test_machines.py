"""Machines as they are: no UTF-8, no home, odd paths, closed streams, one processor, narrow terminals."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.analysis.summary import summarise
from bench.host import noise
from bench.report.table import table_document
from bench.report.text import render_text
from bench.store import load
from tests.support.harness import ROOT, fake_bench
from tests.support.stored import a_store

RUN = ("run", "quick", "--set", "seeds=0", "--set", "cells=lstm", "--results")
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


def bench(
    arguments: Sequence[str | bytes], cwd: Path, variables: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(variables or {})}
    command = [*fake_bench(), *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, check=False, **options)
    assert b"Traceback" not in done.stderr
    assert b"a fault of bench" not in done.stderr
    return done


@pytest.mark.parametrize("name", [b"r\xc3\xa4um e\n\xe2\x98\x83 $x;*", b"no text \xff"])
def test_a_store_of_any_name_is_read_again_where_there_is_no_utf_8(tmp_path: Path, name: bytes) -> None:
    done = bench([*RUN, name], tmp_path, ASCII)
    assert done.returncode == 0, done.stderr
    assert b"lstm" in done.stdout
    assert b"left out" not in done.stderr


def test_a_home_that_is_missing_and_one_processor_stop_no_run(tmp_path: Path) -> None:
    processor = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    variables = {"HOME": "/nonexistent", "PATH": "/nonexistent", "TERM": "dumb", "COLUMNS": "40"}

    def pin() -> None:
        os.umask(0o077)
        if processor is not None:
            os.sched_setaffinity(0, {processor})

    done = bench([*RUN, "store"], tmp_path, variables, preexec_fn=pin)
    assert done.returncode == 0, done.stderr
    (part,) = (tmp_path / "store" / "runs").glob("*.parquet")
    assert part.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_fault(tmp_path: Path, closed: str) -> None:
    command = f'"$@" {closed}'
    script = ["sh", "-c", command, "sh", *fake_bench(*RUN, "store")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert load([tmp_path / "store"])["run_id"].nunique() == 1


def test_a_reader_that_goes_away_is_no_error_of_a_duel(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = ("duel", "--a", "units=100", "--b", "units=130", "--set", "cells=gru", "--results", "store")
    with subprocess.Popen(
        fake_bench(*arguments), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
    assert process.returncode in {0, 1}
    assert len(list(tmp_path.glob("store/duels/*/duel.json"))) == 1


def test_a_machine_without_power_supplies_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise FileNotFoundError(2, "No such file or directory", "/sys/class/power_supply")

    monkeypatch.setattr(psutil, "sensors_battery", missing, raising=False)
    assert noise.read_quiet(0.0).on_battery is None


@pytest.mark.parametrize("width", [30, 40, 60])
def test_no_figure_is_cut_on_a_narrow_terminal(tmp_path: Path, width: int) -> None:
    a_store(tmp_path)
    document = table_document(summarise(load([tmp_path])))
    lines = render_text(document, width).splitlines()
    assert max(map(len, lines)) <= width
    narrow = {word for line in lines for word in line.split()}
    for figure in ("57,450", "94.12", "0.2114", "12.3", "SimpleRNN"):
        assert figure in narrow, "\n".join(lines)
