"""A package with a broken entry point is named in a warning, and stops only what asks for its cell."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.core.errors import ExitCode
from tests.catalog.test_cells import install

REFERENCE = Path(__file__).parents[2] / "results/reference/mnist_rows"


@pytest.fixture(autouse=True)
def broken_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "fancy", "lstm = fancy:lstm\nsru = no factory")
    monkeypatch.syspath_prepend(str(tmp_path))


def bench(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["bench", *command.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("command", ["plan quick", "cells", f"table {REFERENCE}"])
def test_a_command_warns_once_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert bench(command, monkeypatch) == ExitCode.OK
    out, err = capsys.readouterr()
    for name in ("lstm", "sru"):
        warnings = [line for line in err.splitlines() if f"the entry point {name!r} of the package fancy" in line]
        assert len(warnings) == 1
        assert warnings[0].startswith("bench: ignored: ")
    assert "Roofline" in out or not command.startswith("table")


def test_what_asks_for_it_by_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("plan quick --set cells=gru,sru", monkeypatch) == ExitCode.USAGE
    assert "the cell 'sru' (--set cells=gru,sru) can't be used" in capsys.readouterr().err
