"""bench.analysis.commit_order: ancestry before dates, dates before measurement."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.commit_order import MeasuredCommit, PlacedBy, placements

START = datetime(2026, 1, 1, tzinfo=UTC)


def on(day: int) -> datetime:
    return START + timedelta(days=day)


def commit(
    name: str | None, *, began: int, dated: int | None = None, parent: str | None = None, dirty: bool = False
) -> MeasuredCommit:
    date = None if dated is None else on(dated)
    return MeasuredCommit(began=on(began), name=name, dirty=dirty, committed_at=date, parent=parent)


def in_order(measured: dict[str, MeasuredCommit], ancestry: dict[str, datetime] | None = None) -> str:
    found = placements(measured, ancestry or {})
    return "".join(sorted(found, key=lambda key: found[key].index))


def test_ancestry_overrides_dates_and_dates_override_measurement() -> None:
    measured = {"a": commit("a", began=3, dated=2), "b": commit("b", began=2, dated=1), "c": commit("c", began=5)}
    assert in_order(measured, {"a": on(5), "b": on(4), "c": on(0)}) == "abc"
    assert in_order(measured) == "bac"
    assert {key: place.by for key, place in placements(measured, {"a": on(5)}).items()} == {
        "a": PlacedBy.ANCESTRY,
        "b": PlacedBy.COMMIT_DATE,
        "c": PlacedBy.MEASUREMENT,
    }


def test_equal_dates_are_told_apart_by_parents() -> None:
    """Rebased commits have one date, to the second."""
    names = "dbca"
    parents = dict(itertools.pairwise("dbca"))
    measured = {
        name: commit(name, began=number, dated=0, parent=parents.get(name)) for number, name in enumerate(names)
    }
    assert in_order(measured) == "acbd"


def test_changed_files_come_just_after_their_commit_and_before_its_child() -> None:
    measured = {
        "a": commit("a", began=9, dated=0),
        "A": commit("a", began=0, dated=0, dirty=True),
        "b": commit("b", began=1, dated=0, parent="a"),
    }
    assert in_order(measured) == "aAb"
    assert in_order(measured, {"a": on(0), "b": on(0)}) == "aAb"


def test_what_the_repository_lacks_is_placed_among_the_others_by_date() -> None:
    measured = {
        "a": commit("a", began=9),
        "x": commit("x", began=0, dated=2),
        "b": commit("b", began=8, parent="x"),
        "n": commit(None, began=4),
    }
    ancestry = {"a": on(1), "b": on(3)}
    assert in_order(measured, ancestry) == "axbn"
    assert placements(measured, ancestry)["b"].committed_at == on(3)
    assert placements(measured, ancestry)["n"].committed_at is None


names = st.sampled_from(["a", "b", "c", "d", None])
commits = st.builds(
    MeasuredCommit,
    began=st.integers(0, 5).map(on),
    name=names,
    dirty=st.booleans(),
    committed_at=st.one_of(st.none(), st.integers(0, 5).map(on)),
    parent=names,
)


@given(
    st.dictionaries(st.sampled_from("pqrstu"), commits),
    st.lists(st.sampled_from("abcd"), unique=True).flatmap(
        lambda order: st.just({name: on(number) for number, name in enumerate(order)})
    ),
)
def test_records_that_contradict_themselves_have_an_order_too(
    measured: dict[str, MeasuredCommit], ancestry: dict[str, datetime]
) -> None:
    found = placements(measured, ancestry)
    assert sorted(place.index for place in found.values()) == list(range(len(measured)))
