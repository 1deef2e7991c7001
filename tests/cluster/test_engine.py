"""A plan for a cluster is made for the devices of its nodes, whatever the driver has."""

from __future__ import annotations

from typing import Self

import pytest

from bench.cluster import engine
from bench.cluster.engine import ClusterAddress
from bench.plan.prepare import prepare


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
