"""What nobody foresaw ends with an exit code of its own: never with 1, which means a regression."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.core.errors import ExitCode, worst

BROKEN = """
import sys
import bench.catalog.cells
def broken(*_): raise {error}
bench.catalog.cells.registered = broken
sys.argv = ["bench", "cells"]
from bench.cli import main
main()
"""


def run(error: str, **variables: str) -> subprocess.CompletedProcess[str]:
    code = BROKEN.format(error=error)
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("error", ["ZeroDivisionError('1/0')", "UnicodeDecodeError('utf-8', b'x', 0, 1, 'bad')"])
def test_a_fault_is_one_sentence_and_its_traceback_is_in_the_log_that_it_names(tmp_path: Path, error: str) -> None:
    done = run(error, TMPDIR=str(tmp_path))
    assert done.returncode == int(ExitCode.FAULT) == 70
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    kind = error.partition("(")[0]
    named = re.search(rf"a fault of bench itself \({kind}: .*\): the traceback is in (\S+);", done.stderr)
    assert named is not None
    log = Path(named[1]).read_text()
    assert "Traceback" in log
    assert kind in log
    assert "['bench', 'cells']" in log


def test_where_no_log_can_be_written_the_traceback_is_printed(tmp_path: Path) -> None:
    code = "import tempfile\ndef no(*_, **__): raise PermissionError(13, 'Permission denied')\n"
    code += "tempfile.NamedTemporaryFile = no\n" + BROKEN.format(error="ZeroDivisionError()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.FAULT
    assert "no log could be written (Permission denied)" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_an_interruption_is_no_fault() -> None:
    assert run("KeyboardInterrupt").returncode == ExitCode.INTERRUPTED


def test_a_fault_outweighs_all_but_an_interruption() -> None:
    assert worst([ExitCode.REGRESSION, ExitCode.FAULT, ExitCode.USAGE]) is ExitCode.FAULT
    assert worst([ExitCode.INTERRUPTED, ExitCode.FAULT]) is ExitCode.INTERRUPTED
