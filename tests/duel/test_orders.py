"""Balanced orders: each side has each place, and each predecessor, equally often."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from bench.duel.orders import williams_square


@pytest.mark.parametrize("sides", range(1, 9))
def test_places_and_predecessors_are_balanced(sides: int) -> None:
    rows = williams_square(sides)
    assert len(rows) == (sides if sides % 2 == 0 or sides == 1 else 2 * sides)
    for place in range(sides):
        assert set(Counter(row[place] for row in rows).values()) == {len(rows) // sides}
        # what is balanced after so many groups as there are sides
        assert {row[place] for row in rows[:sides]} == set(range(sides))
    if sides > 1:
        followed = Counter(pair for row in rows for pair in pairwise(row))
        assert len(followed) == sides * (sides - 1)
        assert len(set(followed.values())) == 1


def test_two_sides_alternate() -> None:
    assert williams_square(2) == ((0, 1), (1, 0))
