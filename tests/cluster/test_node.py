"""What a node makes of a run: at the driver's commit, and invalid where it imported code that wasn't sent."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.cluster import node
from bench.cluster.admission import requirements_of
from bench.cluster.node import SHARED_BY_CARDS, CeilingsOrder, MeasuringNode, NodeFacts, NodeSettings
from bench.core.case import Status
from bench.core.code import ImportedModule, to_json
from bench.host import hardware, nvml
from bench.host.checkout import CommitOrigin
from bench.host.cuda_devices import VISIBLE
from bench.host.hardware import Machine
from bench.host.software import SoftwareKey
from bench.plan.prepare import prepare
from bench.run import neighbours
from bench.run.lock import LOCK_VARIABLE
from bench.store.parts import Run
from tests.support.fake_cluster import SOFTWARE
from tests.support.fake_nvml import FakeNvml
from tests.support.roots import LAPTOP
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


def checked_facts(machine: Machine, settings: NodeSettings, visible: str) -> tuple[NodeFacts, MeasuringNode]:
    """What a node makes of its check where its runs are to have one GPU."""
    measuring = MeasuringNode(settings)
    return measuring._on_card(NodeFacts(boot="b", lock="l", machine=machine), visible), measuring


def test_the_slot_of_a_gpu_is_a_machine_with_that_gpu_alone(settings: NodeSettings) -> None:
    unlike = replace(LAPTOP, gpus=("NVIDIA H100", "NVIDIA L4"))
    facts, measuring = checked_facts(unlike, settings, "1")
    assert facts.machine.gpus == ("NVIDIA L4",)
    assert facts.card == "1", "no driver is here to tell where it is in the machine"
    assert measuring._environment.variables == {VISIBLE: "1"}, "its runs see it as gpu:0"
    assert VISIBLE not in os.environ
    assert facts.machine_when(True).shared_by == SHARED_BY_CARDS
    alike = replace(LAPTOP, gpus=("NVIDIA H100", "NVIDIA H100"))
    slots = [checked_facts(alike, settings, number)[0].machine for number in "01"]
    assert slots[0].fingerprint == slots[1].fingerprint == replace(LAPTOP, gpus=("NVIDIA H100",)).fingerprint


def test_the_slot_of_a_gpu_is_known_by_its_place_where_the_driver_is_there(
    settings: NodeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = FakeNvml(beside=[FakeNvml("NVIDIA L4", "GPU-2", 0xC1, limit_milliwatts=72_000, mig=None)])
    open_gpu = functools.partial(nvml.open_gpu, library=driver)
    for module in (node, hardware):
        monkeypatch.setattr(module, "open_gpu", open_gpu)
    monkeypatch.setattr(node, "other_cards", functools.partial(neighbours.other_cards, open_card=open_gpu))
    unlike = replace(LAPTOP, gpus=(driver.model, "NVIDIA L4"), gpu_power_limit_watts=(700.0, 72.0))
    facts, measuring = checked_facts(unlike, settings, "GPU-2")
    assert (facts.machine.gpus, facts.machine.gpu_power_limit_watts) == (("NVIDIA L4",), (72.0,))
    assert facts.card == "00000000:C1:00.0"
    assert [card.facts().model for card in measuring._other_cards] == [driver.model]


def test_a_node_measures_ceilings_as_its_runs_would_be_measured(
    settings: NodeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LOCK_VARIABLE, str(tmp_path / "lock"))
    cases = prepare("quick", ["cells=lstm,gru", "units=8"], 0).plan().scheduled
    measuring = MeasuringNode(replace(settings, ceilings_worker="tests.support.fake_ceilings"))
    measuring._facts = NodeFacts(boot="b", lock="l", machine=LAPTOP)
    measuring._software = {SoftwareKey("tensorflow", "none"): SOFTWARE}
    unlucky = replace(cases[0].case, units=13)
    order = CeilingsOrder(configurations=(*(each.case for each in cases), unlucky), shared=False)
    result = measuring.measure_ceilings(order)
    assert {each.shape.gates for each in result.ceilings} == {3, 4}
    assert {each.key[1:] for each in result.ceilings} == {(LAPTOP.fingerprint, SOFTWARE.fingerprint)}
    (note,) = result.notes
    assert "thirteen units bring bad luck" in note
