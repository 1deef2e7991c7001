"""The workflow that users copy: its commands exist, its gate cannot lose its exit code, and forks cannot misuse it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from bench.cli import app

ROOT = Path(__file__).parents[1]
WORKFLOW = (ROOT / ".github" / "workflows" / "bench.yml").read_text()


def test_every_command_and_option_exists() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    found = re.findall(
        r"\bbench (\w+) ([^|>\n]*)", "\n".join(re.findall(r"^ .*run: .*|^ {10}bench .*", WORKFLOW, re.M))
    )
    assert [verb for verb, _ in found] == ["gate", "run", "compact", "history", "history"]
    for verb, rest in found:
        known = {option for parameter in commands[verb].params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= known


def test_a_red_gate_is_a_red_job() -> None:
    """`tee` would end with 0."""
    script = WORKFLOW[WORKFLOW.index("set -o pipefail") :].split("\n  nightly:")[0]
    assert '| tee -a "$GITHUB_STEP_SUMMARY"' in script
    red = subprocess.run(["bash", "-ec", "set -o pipefail\nexit 1 | tee /dev/null"])
    assert red.returncode == 1


def security_faults(text: str) -> Iterator[str]:
    """What would let a pull request from a fork, or an action's owner, do what it should not."""
    workflow: dict[Any, Any] = yaml.safe_load(text)
    triggers = workflow[True]  # YAML reads the key `on` as a truth value
    for trigger in set(triggers) - {"push", "pull_request", "schedule", "workflow_dispatch"}:
        yield f"trigger {trigger}"
    if workflow.get("permissions") != {"contents": "read"} or any("permissions" in job for job in _jobs(workflow)):
        yield "permissions"
    if re.search(r"\$\{\{[^}]*(?:\bsecrets\b|github\.token)", text):
        yield "secrets"
    for line in re.findall(r"uses:.*", text):
        if not re.fullmatch(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line):
            yield f"not pinned: {line}"
    for step in (step for job in _jobs(workflow) for step in job["steps"]):
        if "${{" in step.get("run", ""):
            yield f"a script with an expression in it: {step['run']}"
        if "checkout" in step.get("uses", "") and step.get("with", {}).get("persist-credentials") is not False:
            yield "the token is left in the checkout"


def _jobs(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return list(workflow["jobs"].values())


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").iterdir()), ids=lambda path: path.name)
def test_a_pull_request_from_a_fork_can_only_read(path: Path) -> None:
    assert list(security_faults(path.read_text())) == []


@pytest.mark.parametrize(
    ("sound", "hostile"),
    [
        ("  pull_request:\n", "  pull_request_target:\n"),
        ("contents: read", "contents: write"),
        ("    timeout-minutes: 40", "    permissions: write-all\n    timeout-minutes: 40"),
        ('--base "$BASE"', "--base ${{ github.event.pull_request.base.ref }}"),
        ("persist-credentials: false", "clean: true"),
        ("34e114876b0b11c390a56381ad16ebd13914f8d5", "v4"),
        ("  CELL: lstm", "  KEY: ${{ secrets.KEY }}\n  CELL: lstm"),
    ],
)
def test_what_would_let_a_fork_write_is_seen(sound: str, hostile: str) -> None:
    assert sound in WORKFLOW
    assert list(security_faults(WORKFLOW.replace(sound, hostile)))


def test_the_benchmarks_are_run_when_asked_for_and_only_then() -> None:
    """The quickest of them, once each."""
    call = [sys.executable, "-m", "pytest", "tests/benchmarks/test_harness_speed.py", "-q", "-k", "render or compare"]
    quick = ["--benchmark-only", "--benchmark-min-rounds=1", "--benchmark-max-time=0.01", "-p", "no:cacheprovider"]
    asked = subprocess.run([*call, *quick], capture_output=True, text=True, cwd=ROOT)
    assert "4 passed" in asked.stdout, asked.stdout
    unasked = subprocess.run(call, capture_output=True, text=True, cwd=ROOT)
    assert "4 skipped" in unasked.stdout
