"""A network that a user names as `module:factory`: what is known of it before it is built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import catalog
from bench.catalog import networks, tasks
from bench.catalog.kernels import default_kernels
from bench.catalog.support import kernel_refusal, runtime_refusal
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.plan.estimate import estimate_seconds
from bench.store.ceilings import ProductShape


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    (tmp_path / "users_networks.py").write_text("def build(cell, task, units): raise RuntimeError('never called')")
    monkeypatch.chdir(tmp_path)
    return Case(cell="lstm", network="users_networks:build")


def test_nothing_follows_from_it_by_formula(case: Case) -> None:
    network = networks.find(case.network)
    assert network.factory == case.network
    assert network.recurrent_names == ()
    assert ProductShape.of(case, tasks.of(case)) is None
    assert default_kernels(case) == ()
    assert estimate_seconds(case) == estimate_seconds(Case(cell="lstm"))


def test_every_kernel_may_be_asked_for_but_other_runtimes_have_no_peer(case: Case) -> None:
    assert kernel_refusal(replace(case, kernel="cudnn", device="gpu:0")) is None
    assert "no peer" in (runtime_refusal(replace(case, runtime="torch.nn", backend="torch")) or "")
    exported = replace(case, runtime="onnxruntime", latency_calls=5)
    assert "not for one of your own" in (runtime_refusal(exported) or "")


def test_a_module_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no module for the network 'nowhere_at_all:build' \(--set networks\)"):
        catalog.check("networks", "nowhere_at_all:build", "--set networks")
    # whoever runs it elsewhere looks for it there, as a side of a duel does, and whoever reads a store needs none
    catalog.check("networks", "nowhere_at_all:build", "--set networks", factories_here=False)
    assert networks.find("nowhere_at_all:build").factory == "nowhere_at_all:build"
    for name in ("no-name:build", "nowhere:at:all", ":build"):
        with pytest.raises(UsageError, match=f"no module for the network '{name}'"):
            networks.find(name)
