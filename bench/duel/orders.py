"""Balanced orders: which side is when at work, so that no side gains by its place or by its predecessor."""

from __future__ import annotations

import functools


@functools.cache
def williams_square(sides: int) -> tuple[tuple[int, ...], ...]:
    """Orders in which each side has each place equally often, and follows each other side equally often.

    Of Williams (1949, *Aust. J. Chem.* 2, 149): as many orders as sides, or twice as many where their number is odd,
    of which the first half already gives each side each place once. For two sides A B and B A.

    Args:
        sides: their number, from 1.
    """
    first = [0]
    for step in range(1, sides):
        # 0, 1, n - 1, 2, n - 2, …: neighbours' differences are all distinct
        first.append((step + 1) // 2 if step % 2 else sides - step // 2)
    rows = tuple(tuple((place + shift) % sides for place in first) for shift in range(sides))
    return rows if sides % 2 == 0 or sides == 1 else (*rows, *(tuple(reversed(row)) for row in rows))
