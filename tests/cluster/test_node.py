"""What a node makes of a run: at the driver's commit, and invalid where it imported code that wasn't sent."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.cluster import node
from bench.cluster.admission import requirements_of
from bench.cluster.node import MeasuringNode, NodeSettings
from bench.core.case import Status
from bench.core.code import ImportedModule, to_json
from bench.host.checkout import CommitOrigin
from bench.plan.prepare import prepare
from bench.store.parts import Run
from tests.support.stored import CAMPAIGN, a_run

CELLS = "def make(units, **_): ...\n"
ORIGIN = CommitOrigin(committed_at=datetime(2026, 1, 1, tzinfo=UTC), parent="b" * 40)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeSettings:
    (tmp_path / "node_cells.py").write_text(CELLS)
    monkeypatch.chdir(tmp_path)
    plan = prepare("quick", ["epochs=1", "cells=node_cells:make"], 0).plan()
    requirements, _ = requirements_of(plan, {"mnist_5k": None}, tmp_path)
    requirements = replace(requirements, commit="a" * 40, origin=ORIGIN)
    return NodeSettings(campaign=CAMPAIGN, requirements=requirements, silence_seconds=60, worker="none")


def imported(settings: NodeSettings, *contents: str) -> Run:
    """A run that imported modules of these contents, as its node gives it to the driver."""
    modules = [
        ImportedModule(name="m", file=f"/nowhere/{number}.py", sha256=hashlib.sha256(text.encode()).hexdigest())
        for number, text in enumerate(contents)
    ]
    case = settings.requirements.configurations[0]
    run = a_run(0, case)
    run = replace(run, metadata=replace(run.metadata, code_json=to_json(modules)))
    return MeasuringNode(settings)._attributed(run)


@pytest.mark.parametrize("may", [True, False])
def test_a_nodes_runs_do_not_come_behind_all_else(monkeypatch: pytest.MonkeyPatch, may: bool) -> None:
    given: list[int] = []

    def set_priority(kind: int, process: int, niceness: int) -> None:
        if not may:
            raise PermissionError(13, "Permission denied")
        given.append(niceness)

    monkeypatch.setattr(os, "getpriority", lambda kind, process: 0 if process == os.getppid() else 15)
    monkeypatch.setattr(os, "setpriority", set_priority)
    notes: list[str] = []
    node._take_priority(notes.append)
    assert given == ([0] if may else [])
    assert ["RAY_worker_niceness=0" in note for note in notes] == ([] if may else [True])


def test_a_run_of_code_that_was_sent_is_at_the_drivers_commit(settings: NodeSettings) -> None:
    run = imported(settings, CELLS)
    assert (run.status, run.project_commit) == (Status.OK, "a" * 40)
    assert (run.committed_at, run.parent_commit) == (ORIGIN.committed_at, ORIGIN.parent)


def test_a_run_of_other_code_is_invalid(settings: NodeSettings) -> None:
    run = imported(settings, CELLS, "other = 1\n")
    assert run.status is Status.INVALID
    assert run.error == "m was imported from /nowhere/1.py, whose content was not sent from the driver"
