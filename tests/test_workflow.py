"""The workflow that users copy: the commands in it exist, and its duel cannot lose its exit code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import typer.main

from bench.cli import app

ROOT = Path(__file__).parents[1]
WORKFLOW = (ROOT / ".github" / "workflows" / "bench.yml").read_text()


def test_every_command_and_option_exists() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    found = re.findall(
        r"\bbench (\w+) ([^|>\n]*)", "\n".join(re.findall(r"^ .*run: .*|^ {10}bench .*", WORKFLOW, re.M))
    )
    assert [verb for verb, _ in found] == ["duel", "run", "compact", "history", "history"]
    for verb, rest in found:
        known = {option for parameter in commands[verb].params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= known


def test_a_red_duel_is_a_red_job() -> None:
    """`tee` would end with 0."""
    script = WORKFLOW[WORKFLOW.index("set -o pipefail") :].split("\n  nightly:")[0]
    assert '| tee -a "$GITHUB_STEP_SUMMARY"' in script
    red = subprocess.run(["bash", "-ec", "set -o pipefail\nexit 1 | tee /dev/null"])
    assert red.returncode == 1


def test_the_benchmarks_are_run_when_asked_for_and_only_then() -> None:
    """The quickest of them, once each."""
    call = [sys.executable, "-m", "pytest", "tests/benchmarks/test_harness_speed.py", "-q", "-k", "render or compare"]
    quick = ["--benchmark-only", "--benchmark-min-rounds=1", "--benchmark-max-time=0.01", "-p", "no:cacheprovider"]
    asked = subprocess.run([*call, *quick], capture_output=True, text=True, cwd=ROOT)
    assert "4 passed" in asked.stdout, asked.stdout
    unasked = subprocess.run(call, capture_output=True, text=True, cwd=ROOT)
    assert "4 skipped" in unasked.stdout
