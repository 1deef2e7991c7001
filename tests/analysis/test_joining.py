"""bench.analysis.joining: rows that differ in what the user asks about stand side by side, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from bench.analysis.joining import read_join
from bench.analysis.leaders import fastest_to_train
from bench.analysis.summary import Section, summarise
from bench.core.case import Case
from bench.core.errors import UsageError
from tests.support.frames import CELLS, SOFTWARE, Rows, frame, notebook_like, run
from tests.support.rendering import table_in

UNITS = {"simple_rnn": 128, "lstm": 64, "gru": 74}
JAX = {**SOFTWARE, "backend": "jax", "backend_version": "0.10.2", "libraries": [["jaxlib", "0.10.2"]]}


def of_equal_size(**campaigns: str) -> list[Rows]:
    return [
        run(Case(cell=c, seed=s, units=UNITS[c]), campaign=campaigns.get(c, "c1"), **notebook_like(c, s))
        for c in CELLS
        for s in range(3)
    ]


def on_backends(cells: tuple[str, ...] = ("gru",), **jax: Any) -> list[Rows]:
    software = {"tensorflow": SOFTWARE, "jax": {**JAX, **jax}}
    factor = {"tensorflow": 1.0, "jax": 0.5}
    return [
        run(
            Case(cell=cell, seed=seed, backend=backend),
            software=software[backend],
            **{**notebook_like(cell, seed), "epoch_seconds": (30.0, 20.0 * factor[backend] + 0.1 * seed)},
        )
        for cell in cells
        for backend in software
        for seed in range(3)
    ]


def ratios(section: Section) -> dict[str, float | None]:
    return {row.cell: round(row.ratio.value, 2) if row.ratio else None for row in section.rows}


def test_without_a_join_the_ratio_is_left_open_and_the_way_is_shown() -> None:
    (section,) = sections = summarise(frame(*of_equal_size()))
    assert ratios(section) == {"simple_rnn": 1, "lstm": None, "gru": None}
    assert "`--join units` compares rows that differ in units" in " ".join(table_in(sections, "text", 200).split())


def test_joined_rows_have_a_ratio_paired_by_block() -> None:
    (section,) = sections = summarise(frame(*of_equal_size()), join=("units",))
    assert ratios(section) == {"simple_rnn": 1, "lstm": 2.3, "gru": 2.51}
    title = table_in(sections, "text", 200).splitlines()[0]
    assert title.endswith("side by side: units 64, 74, 128")


def test_across_campaigns_the_ratio_is_of_independent_samples_and_wider() -> None:
    (together,) = summarise(frame(*of_equal_size()), join=("units",))
    (apart,) = summarise(frame(*of_equal_size(lstm="c2", gru="c3")), join=("units",))
    assert ratios(apart) == ratios(together)
    (plain,) = summarise(frame(*of_equal_size(lstm="c2", gru="c3")))
    assert ratios(plain)["gru"] is None


def test_an_exact_partner_comes_before_a_joined_one_and_several_are_none() -> None:
    both = [
        run(Case(cell="simple_rnn", seed=s, units=u), **notebook_like("simple_rnn", s))
        for u in (64, 32)
        for s in (0, 1)
    ]
    (section,) = summarise(frame(*of_equal_size(), *both), join=("units",))
    of_cell = {row.cell: row.ratio for row in section.rows if row.cell != "simple_rnn"}
    assert of_cell["lstm"] is not None  # against SimpleRNN of 64 units
    assert of_cell["gru"] is None  # 32, 64 or 128?


def test_backends_stand_side_by_side_and_a_leader_is_named() -> None:
    apart = summarise(frame(*on_backends()))
    assert len(apart) == 2
    text = " ".join(table_in(apart, "text", 200).split())
    assert "because of another backend" in text
    assert "`--join backend` puts them side by side." in text
    (section,) = sections = summarise(frame(*on_backends()), join=("backend",))
    assert [row.axes["backend"] for row in section.rows] == ["jax", "tensorflow"]
    leader = fastest_to_train(section)
    assert leader
    assert leader.clear
    assert leader.row.axes["backend"] == "jax"
    text = " ".join(table_in(sections, "text", 200).split())
    assert "side by side: backend jax, tensorflow" in text
    assert "jax 0.10.2 · tensorflow 2.21.0" in text
    assert "Fastest to train: gru × backend=jax, with 10.1 s an epoch" in text


@pytest.mark.parametrize("facts", [{"keras": "3.16.0"}, {"settings": [["OMP_NUM_THREADS", "1"]]}])
def test_other_software_than_the_backend_stays_apart(facts: dict[str, Any]) -> None:
    sections = summarise(frame(*on_backends(**facts)), join=("backend",))
    assert len(sections) == 2
    assert not any(section.joined for section in sections)


def test_two_versions_of_a_backend_stay_apart() -> None:
    newer = [
        run(Case(cell="gru", seed=seed), campaign="c2", software={**SOFTWARE, "backend_version": "2.22.0"})
        for seed in range(2)
    ]
    sections = summarise(frame(*on_backends(), *newer), join=("backend",))
    assert sorted(len(row.runs) for section in sections for row in section.rows) == [2, 3, 3]
    assert not any(section.joined for section in sections)


def test_versions_of_a_users_cell_are_two_rows_and_built_in_cells_one() -> None:
    observed = [
        run(Case(cell=cell, seed=seed), campaign=campaign, code={"my": content}, **notebook_like(like, seed))
        for campaign, content, mine in (("c1", "old", "gru"), ("c2", "new", "lstm"))
        for cell, like in (("my:cell", mine), ("simple_rnn", "simple_rnn"))
        for seed in range(3)
    ]
    assert len(summarise(frame(*observed))) == 2
    (section,) = sections = summarise(frame(*observed), join=("code",))
    names = [row.cell.partition("@")[0] for row in section.rows]
    assert sorted(names) == ["my:cell", "my:cell", "simple_rnn"]
    assert {len(row.runs) for row in section.rows} == {3, 6}
    assert all(row.ratio for row in section.rows)
    assert "side by side: 2 versions of the users' code" in table_in(sections, "text", 200)


def test_another_machine_or_task_is_never_joined() -> None:
    machine = {"cpu_model": "Other", "usable_cores": 2}
    observed = [run(Case(cell="gru")), run(Case(cell="gru"), campaign="c2", machine=machine)]
    sections = summarise(frame(*observed), join=("units", "backend", "code"))
    assert len(sections) == 2
    assert "because of another machine" in table_in(sections, "text", 200)


def test_a_join_names_fields() -> None:
    assert read_join("units, learning_rate,units") == ("units", "learning_rate")
    assert read_join("backends,code") == ("backend", "code")
    assert read_join("") == ()
    with pytest.raises(UsageError, match=r"unknown field 'unit' \(--join unit\): did you mean 'units'"):
        read_join("unit")
    with pytest.raises(UsageError, match="joins nothing"):
        read_join("task")
