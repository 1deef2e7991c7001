"""bench.core.units: how values are written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.units import BYTES, FRACTION, JOULES, NUMBER, PER_SECOND, SECONDS, Unit, significant


@pytest.mark.parametrize(
    ("unit", "value", "shown"),
    [
        (SECONDS, 20.24, "20.2 s"),
        (SECONDS, 0.00341, "3.41 ms"),
        (SECONDS, 0.1, "0.100 s"),
        (FRACTION, 0.95131, "95.13 %"),
        (NUMBER, 0.08714, "0.0871"),
        (BYTES, 1_234_000_000.0, "1,234 MB"),
        (PER_SECOND, 2984.0, "2,980/s"),
        (JOULES, 302.5, "302 J"),
    ],
)
def test_values_have_their_units(unit: Unit, value: float, shown: str) -> None:
    assert unit.shown(value) == shown


def test_what_is_not_finite_is_a_dash() -> None:
    assert (significant(math.nan), SECONDS.shown(math.inf), FRACTION.shown(math.nan)) == ("–", "– s", "– %")


@given(st.floats(1e-9, 1e9))
def test_three_digits_are_significant(value: float) -> None:
    assert float(significant(value)) == pytest.approx(value, rel=0.0051)
