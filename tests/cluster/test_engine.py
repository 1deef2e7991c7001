"""A plan for a cluster is made for the devices of its nodes, whatever the driver has."""

from __future__ import annotations

from typing import Any, Self, cast

import pytest

from bench.cluster import engine, local_cluster
from bench.cluster.engine import ClusterAddress
from bench.core.errors import UsageError
from bench.plan.prepare import prepare


class SlowCluster:
    """In the place of Ray's: its nodes don't start in the time that Ray gives them."""

    def add_node(self, **_: object) -> None:
        raise RuntimeError("The current node timed out during startup.")


def test_nodes_that_do_not_start_here_are_the_users_to_try_again() -> None:
    with pytest.raises(UsageError, match=r"could not start 2 nodes here \(The current node timed out.*fewer nodes"):
        local_cluster._add_nodes(cast(Any, SlowCluster()), 2)


class NodesWithGpus:
    """In the place of Ray's nodes: the one with most GPUs has `gpus`."""

    gpus = 0

    def __init__(self, address: str, sent: dict[str, bytes]) -> None:
        self.address = address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def most_gpus(self) -> int:
        return self.gpus


@pytest.mark.parametrize(
    ("gpus", "reasons"),
    [
        (0, ["gpu:0: no node of the cluster has a GPU", "gpu:1: no node of the cluster has a GPU"]),
        (1, ["gpu:1: no node of the cluster has more GPUs than 1"]),
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
