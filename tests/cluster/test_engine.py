"""A plan for a cluster is made for the devices of its nodes, whatever the driver has."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, Self, cast

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.cluster import engine, local_cluster, ray_nodes
from bench.cluster.engine import ClusterAddress
from bench.cluster.node import SHARED_BY_CARDS
from bench.cluster.outlook import cluster_outlook
from bench.cluster.slot import Slot
from bench.core.errors import UsageError
from bench.host.cuda_devices import VISIBLE
from bench.plan.prepare import prepare


class SlowCluster:
    """In the place of Ray's: its nodes don't start in the time that Ray gives them."""

    def add_node(self, **_: object) -> None:
        raise RuntimeError("The current node timed out during startup.")


def test_nodes_that_do_not_start_here_are_the_users_to_try_again() -> None:
    with pytest.raises(UsageError, match=r"could not start 2 nodes here \(The current node timed out.*fewer nodes"):
        local_cluster._add_nodes(cast(Any, SlowCluster()), 2)


class NodesWithGpus:
    """In the place of Ray's nodes: `n2` has so many GPUs."""

    gpus = 0

    def __init__(self, address: str, sent: dict[str, bytes]) -> None:
        self.address = address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def gpus_by_host(self) -> list[tuple[str, int]]:
        return [("n1", 0), ("n2", self.gpus)]


@pytest.mark.parametrize(
    ("gpus", "reasons"),
    [
        (0, [f"gpu:{number}: no node of the cluster has a GPU (n1, n2)" for number in (0, 1)]),
        (1, ["gpu:1: no node of the cluster has more GPUs than 1 (n2)"]),
        (2, []),
    ],
)
def test_a_plan_has_the_devices_of_the_nodes(monkeypatch: pytest.MonkeyPatch, gpus: int, reasons: list[str]) -> None:
    monkeypatch.setattr(engine, "RayNodes", NodesWithGpus)
    monkeypatch.setattr(NodesWithGpus, "gpus", gpus)
    prepared = prepare("quick", ["devices=cpu,gpu:0,gpu:1", "cells=lstm"], 0)
    plan = ClusterAddress(address="head:1").planned(prepared).plan()
    assert sorted({each.reason for each in plan.excluded}) == reasons
    planned = {each.case.device for each in plan.scheduled}
    assert planned == {"cpu", *(f"gpu:{number}" for number in range(gpus))}


def test_a_cluster_is_not_asked_where_only_processors_are_wanted() -> None:
    prepared = prepare("quick", ["cells=lstm"], 0)
    assert ClusterAddress(address="nowhere:1").planned(prepared) is prepared
    with_cards = prepare("quick", ["cells=lstm", "devices=gpu:0"], 0)
    assert ClusterAddress(local_nodes=2).planned(with_cards) is with_cards


def test_with_a_slot_for_each_gpu_a_run_sees_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "RayNodes", NodesWithGpus)
    monkeypatch.setattr(NodesWithGpus, "gpus", 2)
    monkeypatch.setenv(VISIBLE, "3")  # a batch system's, for the driver
    prepared = prepare("quick", ["devices=gpu:0,gpu:1", "cells=lstm"], 0)
    plan = ClusterAddress(address="head:1", slot=Slot.GPU).planned(prepared).plan()
    assert {each.case.device for each in plan.scheduled} == {"gpu:0"}
    assert {each.reason for each in plan.excluded} == {"gpu:1: with --slot gpu a run sees a single GPU, which is gpu:0"}
    assert VISIBLE not in os.environ


def test_slots_of_gpus_are_refused_where_they_have_no_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "RayNodes", NodesWithGpus)
    on_cpu, on_gpu = (prepare("quick", [f"devices={device}", "cells=lstm"], 0) for device in ("cpu,gpu:0", "gpu:0"))
    there, here = ClusterAddress(address="head:1", slot=Slot.GPU), ClusterAddress(local_nodes=1, slot=Slot.GPU)
    with pytest.raises(UsageError, match=r"the suite has runs on cpu, .* --set devices=gpu:0 leaves them out"):
        there.planned(on_cpu)
    with pytest.raises(UsageError, match=r"there is none on n1, n2, as Ray counts them: .*--num-gpus"):
        there.planned(on_gpu)
    with pytest.raises(UsageError, match=r"--slot gpu needs GPUs \(gpu:0: no Nvidia GPU here, .*: leave it out"):
        here.planned(on_gpu)
    monkeypatch.setenv(VISIBLE, "0")
    with pytest.raises(UsageError, match=r"CUDA_VISIBLE_DEVICES \('0'\) and --slot gpu exclude each other"):
        here.planned(on_gpu)
    with pytest.raises(UsageError, match="Write ray-local:1"):
        ClusterAddress.parse("ray-local:2", None, Slot.GPU)
    for command in (["run"], ["plan"]):
        done = CliRunner().invoke(app, [*command, "quick", "--slot", "gpu"])
        assert isinstance(done.exception, UsageError)
        assert "--slot gpu is about the nodes of a cluster" in str(done.exception)


def test_the_slots_of_a_node_take_it_as_a_whole() -> None:
    node = {"NodeID": "a", "Resources": {"CPU": 10.0, "GPU": 4.0}}
    assert ray_nodes._slots_of(node, Slot.MACHINE) == {"a": {"CPU": 10.0}}
    assert ray_nodes._slots_of(node, Slot.GPU) == {f"a/{number}": {"GPU": 1.0, "CPU": 2.0} for number in range(4)}
    with_slot = {"NodeID": "a", "Resources": {"CPU": 10.0, "GPU": 3.0, ray_nodes.SLOT: 1.0}}
    assert ray_nodes._slots_of(with_slot, Slot.MACHINE) == {"a": {ray_nodes.SLOT: 1.0}}
    parts = [taken[ray_nodes.SLOT] for taken in ray_nodes._slots_of(with_slot, Slot.GPU).values()]
    assert 0.999 < sum(parts) <= 1.0
    assert ray_nodes._slots_of({"NodeID": "a", "Resources": {"CPU": 10.0}}, Slot.GPU) == {}


def test_a_plan_deals_blocks_to_the_gpus_of_this_machine() -> None:
    prepared = prepare("quick", ["devices=gpu:0", "seeds=0..3"], 0)
    with_cards = replace(prepared, machine=replace(prepared.machine, gpus=("NVIDIA H100", "NVIDIA H100")))
    here = ClusterAddress(local_nodes=1, slot=Slot.GPU)
    outlook = cluster_outlook(here, here.planned(with_cards).plan(), with_cards.machine)
    assert [(node.name, node.blocks) for node in outlook.nodes] == [("gpu:0", (0, 2)), ("gpu:1", (1, 3))]
    assert {node.machine.shared_by for node in outlook.nodes if node.machine} == {SHARED_BY_CARDS}
