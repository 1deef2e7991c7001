"""bench.run.ceiling_runs: the ceilings of a plan are measured in worker processes; with a worker that measures none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UsageError
from bench.host.software import Software, SoftwareKey
from bench.plan.plan import Plan, make_plan
from bench.plan.suite import load
from bench.run.ceiling_runs import measure_ceilings
from bench.store import ceilings
from bench.store.ceilings import Ceilings
from tests.support.hosts import a_host
from tests.support.roots import LAPTOP

SOFTWARE = Software(python="3.11.7", keras="3.15.1", backend="tensorflow", backend_version="2.21.0", numpy="2.4.6")


def the_plan(*overrides: str) -> Plan:
    return make_plan(
        load("quick", overrides),
        order_seed=0,
        host=a_host(),
    )


def measured(plan: Plan, store: Path, **changes: Any) -> tuple[list[Ceilings], list[str]]:
    reported: list[str] = []
    results = measure_ceilings(
        plan,
        store,
        **{
            "machine": LAPTOP,
            "software": {SoftwareKey("tensorflow", "none"): SOFTWARE},
            "again": False,
            "report": reported.append,
            "worker": "tests.support.fake_ceilings",
            "lock": store / "lock",
            **changes,
        },
    )
    return results, reported


def test_ceilings_are_measured_once_for_each_shape_and_kept(tmp_path: Path) -> None:
    plan = the_plan("cells=lstm,simple_rnn", "units=8,13", "epochs=1,2")
    results, reported = measured(plan, tmp_path)
    assert sorted(result.shape.gates for result in results) == [1, 4]  # the epochs make no difference
    assert {result.serial_seconds for result in results} == {0.004}
    assert results[0].peak_flops_per_second == pytest.approx(2 * 2048**3 / 0.001)
    assert sum("thirteen units bring bad luck" in line for line in reported) == 2
    assert sum("GFLOP/s" in line for line in reported) == 2
    kept = ceilings.load([tmp_path], warn=pytest.fail)
    assert {result.key for result in results} == set(kept)
    assert measured(the_plan("cells=lstm,simple_rnn", "units=8"), tmp_path)[0] == []
    assert len(measured(the_plan("cells=lstm", "units=8"), tmp_path, again=True)[0]) == 1


def test_a_suite_sets_whether_ceilings_are_measured_first() -> None:
    assert load("quick").settings.bounds is False
    assert load("quick", ["bounds=true"]).settings.bounds is True
    with pytest.raises(UsageError, match=r"bounds = 'maybe' .* is neither true nor false"):
        load("quick", ["bounds=maybe"])
