"""The roofline: the arithmetic, the ceilings that are kept, and what the table shows of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from bench.analysis.roofline import efficiency
from bench.analysis.summary import summarise
from bench.catalog.networks import NETWORKS, arithmetic
from bench.catalog.tasks import TASKS
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.host.software import Software
from bench.plan.plan import Plan, make_plan
from bench.plan.suite import load
from bench.run.ceiling_runs import measure_ceilings
from bench.store import ceilings
from bench.store.ceilings import Ceilings, ProductShape
from tests.support.frames import Rows, frame, run
from tests.support.hosts import a_host
from tests.support.rendering import table_in
from tests.support.roots import LAPTOP

SOFTWARE = Software(python="3.11.7", keras="3.15.1", backend="tensorflow", backend_version="2.21.0", numpy="2.4.6")
LSTM = ProductShape.of(Case(cell="lstm"), TASKS["mnist"])
assert LSTM is not None
CEILINGS = Ceilings(
    shape=LSTM,
    machine_fingerprint="m",
    software_fingerprint="s",
    measured_at="2026-01-02T03:04:05+00:00",
    peak_flops_per_second=100e9,
    serial_seconds=0.004,
)


def test_the_arithmetic_of_an_lstm_of_the_protocol() -> None:
    """A training step of 32 samples in 27 ms (34.662 MFLOP a sample, of which the forward pass is 11.822)."""
    reached = efficiency(
        samples_per_second=32 / 0.027,
        forward_flops=11.822e6,
        training_flops=34.662e6,
        batch_size=32,
        steps=28,
        layers=2,
        ceilings=CEILINGS,
    )
    assert reached.flops_per_second == pytest.approx(41.08e9, rel=1e-3)
    assert reached.peak_fraction == pytest.approx(0.4108, rel=1e-3)
    assert reached.serial_fraction == pytest.approx(0.004 * 2.932 / 0.027, rel=1e-3)
    assert reached.seconds_per_dependent_step == pytest.approx(0.027 / 112)
    alone = efficiency(
        samples_per_second=1.0, forward_flops=1.0, training_flops=3.0, batch_size=1, steps=1, layers=2, ceilings=None
    )
    assert (alone.peak_fraction, alone.serial_fraction, alone.flops_per_second) == (None, None, 3.0)


def test_a_shape_is_what_the_products_depend_on_and_no_more() -> None:
    mnist = TASKS["mnist"]
    shape = ProductShape.of(Case(cell="gru", units=64), mnist)
    assert shape == ProductShape.of(Case(cell="gru", units=64, seed=3, epochs=9, kernel="unrolled", runtime="x"), mnist)
    assert shape != ProductShape.of(Case(cell="gru", units=64, threads=1), mnist)
    assert ProductShape.of(Case(cell="tests.real.user_cells:good"), mnist) is None  # its arithmetic isn't guessed


def test_of_several_measurements_the_best_is_taken_and_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    ceilings.save(tmp_path, CEILINGS)
    ceilings.save(tmp_path, replace(CEILINGS, measured_at="later", peak_flops_per_second=120e9, serial_seconds=0.005))
    other = replace(CEILINGS, machine_fingerprint="another")
    ceilings.save(tmp_path, other)
    (tmp_path / "bounds" / "x.json").write_text("{")
    (tmp_path / "bounds" / "y.json").write_text(json.dumps({"bounds_version": 99}))
    said: list[str] = []
    found = ceilings.load([tmp_path, tmp_path / "nowhere"], warn=said.append)
    best = found[CEILINGS.key]
    assert (best.peak_flops_per_second, best.serial_seconds) == (120e9, 0.004)
    assert found[other.key] == other
    assert len(found) == 2
    assert len(said) == 2
    assert "x.json holds no readable ceilings" in said[0]
    assert "upgrade bench" in said[1]


def test_two_layers_are_stored_as_before_and_three_are_told_apart(tmp_path: Path) -> None:
    deep = replace(CEILINGS, shape=replace(CEILINGS.shape, layers=3))
    assert (CEILINGS.shape.input_widths, deep.shape.input_widths) == ((28, 128), (28, 128, 128))
    assert "layers" not in CEILINGS.to_data()["shape"]
    for written in (CEILINGS, deep):
        ceilings.save(tmp_path, written)
    assert set(ceilings.load([tmp_path], warn=pytest.fail)) == {CEILINGS.key, deep.key}


def the_plan(*overrides: str) -> Plan:
    return make_plan(
        load("quick", overrides),
        order_seed=0,
        host=a_host(),
    )


def measured(plan: Plan, store: Path, **changes: Any) -> tuple[list[Ceilings], list[str]]:
    said: list[str] = []
    found = measure_ceilings(
        plan,
        store,
        **{
            "machine": LAPTOP,
            "software": {"tensorflow": SOFTWARE},
            "again": False,
            "report": said.append,
            "worker": "tests.support.fake_ceilings",
            "lock": store / "lock",
            **changes,
        },
    )
    return found, said


def test_ceilings_are_measured_once_for_each_shape_and_kept(tmp_path: Path) -> None:
    plan = the_plan("cells=lstm,simple_rnn", "units=8,13", "epochs=1,2")
    found, said = measured(plan, tmp_path)
    assert sorted(bound.shape.gates for bound in found) == [1, 4]  # the epochs make no difference
    assert {bound.serial_seconds for bound in found} == {0.004}
    assert found[0].peak_flops_per_second == pytest.approx(2 * 2048**3 / 0.001)
    assert sum("thirteen units bring bad luck" in line for line in said) == 2
    assert sum("GFLOP/s" in line for line in said) == 2
    kept = ceilings.load([tmp_path], warn=pytest.fail)
    assert {measured.key for measured in found} == set(kept)
    assert measured(the_plan("cells=lstm,simple_rnn", "units=8"), tmp_path)[0] == []
    assert len(measured(the_plan("cells=lstm", "units=8"), tmp_path, again=True)[0]) == 1


def timed(cell: str, seconds: float) -> Rows:
    rows = run(Case(cell=cell), epoch_seconds=(9.0, seconds))
    flops = arithmetic(NETWORKS["notebook"], {"lstm": 4, "gru": 3}[cell], 128, TASKS["mnist"])
    changed = {"forward_flops_per_sample": flops.forward, "training_flops_per_sample": flops.training}
    return [{**row, **changed} for row in rows]


def test_the_table_shows_the_efficiency_where_ceilings_of_this_machine_and_software_are_known() -> None:
    observed = frame(timed("lstm", 4000 * 0.027 / 32), timed("gru", 5.0))
    machine, software = observed["machine_fingerprint"].iloc[0], observed["software_fingerprint"].iloc[0]
    here = replace(CEILINGS, machine_fingerprint=machine, software_fingerprint=software)
    for width in (80, 160):
        text = table_in(summarise(observed, ceilings={here.key: here}), "text", width)
        assert max(map(cell_len, text.splitlines())) <= width
        (line,) = [one for one in text.splitlines() if one.startswith("lstm") and "%" in one]
        assert line.split() == ["lstm", "generic", "41.1", "41.1", "%", "43.4", "%", "241"]
        (line,) = [one for one in text.splitlines() if one.startswith("gru") and "–" in one and "generic" in one][-1:]
        assert line.split()[2:] == ["20.8", "–", "–", "357"]
        assert "how near training comes" in text
    assert "| lstm | generic | 41.1 | 41.1 % | 43.4 % | 241 |" in table_in(
        summarise(observed, ceilings={here.key: here}), "md"
    )
    assert "Roofline" not in table_in(
        summarise(observed, ceilings={CEILINGS.key: CEILINGS}), "text"
    )  # of another machine
    rows = json.loads(table_in(summarise(observed), "json"))["sections"][0]["rows"]
    assert rows[0]["limits"]["flops_per_second"] == pytest.approx(41.08e9, rel=1e-3)
    assert rows[0]["limits"]["peak_fraction"] is None


def test_a_suite_sets_whether_ceilings_are_measured_first() -> None:
    assert load("quick").settings.bounds is False
    assert load("quick", ["bounds=true"]).settings.bounds is True
    with pytest.raises(UsageError, match=r"bounds = 'maybe' .* is neither true nor false"):
        load("quick", ["bounds=maybe"])
