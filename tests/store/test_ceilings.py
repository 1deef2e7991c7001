"""bench.store.ceilings: what ceilings hold for, and how they are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.catalog.tasks import TASKS
from bench.core.case import Case
from bench.store import ceilings
from bench.store.ceilings import ProductShape
from tests.support.ceilings import CEILINGS


def test_a_shape_is_what_the_products_depend_on_and_no_more() -> None:
    mnist = TASKS["mnist"]
    shape = ProductShape.of(Case(cell="gru", units=64), mnist)
    assert shape == ProductShape.of(Case(cell="gru", units=64, seed=3, epochs=9, kernel="unrolled", runtime="x"), mnist)
    for apart in (Case(cell="gru", units=64, threads=1), Case(cell="gru", units=64, tf32="off")):
        assert shape != ProductShape.of(apart, mnist)
    assert ProductShape.of(Case(cell="tests.real.user_cells:good"), mnist) is None  # its arithmetic isn't guessed


def test_of_several_measurements_the_best_is_taken_and_what_cannot_be_read_is_reported(tmp_path: Path) -> None:
    ceilings.save(tmp_path, CEILINGS)
    ceilings.save(tmp_path, replace(CEILINGS, measured_at="later", peak_flops_per_second=120e9, serial_seconds=0.005))
    elsewhere = replace(CEILINGS, machine_fingerprint="another")
    ceilings.save(tmp_path, elsewhere)
    (tmp_path / "bounds" / "x.json").write_text("{")
    (tmp_path / "bounds" / "y.json").write_text(json.dumps({"bounds_version": 99}))
    warned: list[str] = []
    known = ceilings.load([tmp_path, tmp_path / "nowhere"], warn=warned.append)
    best = known[CEILINGS.key]
    assert (best.peak_flops_per_second, best.serial_seconds) == (120e9, 0.004)
    assert known[elsewhere.key] == elsewhere
    assert len(known) == 2
    assert len(warned) == 2
    assert "x.json holds no readable ceilings" in warned[0]
    assert "upgrade bench" in warned[1]


def test_what_was_added_goes_unsaid_where_it_is_as_before(tmp_path: Path) -> None:
    deep = replace(CEILINGS, shape=replace(CEILINGS.shape, layers=3))
    assert (CEILINGS.shape.input_widths, deep.shape.input_widths) == ((28, 128), (28, 128, 128))
    without_tf32 = replace(CEILINGS, shape=replace(CEILINGS.shape, tf32="off"))
    assert not {"layers", "directions", "tf32"} & set(CEILINGS.to_data()["shape"])
    for written in (CEILINGS, deep, without_tf32):
        ceilings.save(tmp_path, written)
    assert set(ceilings.load([tmp_path], warn=pytest.fail)) == {CEILINGS.key, deep.key, without_tf32.key}
