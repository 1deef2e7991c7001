"""The digest of an HLO module is that of what it computes; for graphs see tests/real/test_same_programs.py."""

from __future__ import annotations

import pytest

from bench.worker.evidence.canonical import hlo_digest

TEXT = """HloModule jit_train_step, is_scheduled=true, frontend_attributes={fingerprint_before_lhs="0123"}

%body.1 {
  %x.2 = f32[2]{0} parameter(0)
  %y.3 = f32[2]{0} parameter(1)
  ROOT %subtract.4 = f32[2]{0} subtract(%x.2, %y.3)
}

ENTRY %main.5 {
  %a = f32[2]{0} parameter(0)
  %constant.6 = f32[2]{0} constant({1, 2})
  ROOT %fusion = f32[2]{0} fusion(%a, %constant.6), kind=kLoop, calls=%body.1
}
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [("%body.1", "%fused_computation.77"), ("%x.2", "%left"), ("jit_train_step", "jit_step"), ("0123", "4567")],
)
def test_names_are_no_part_of_a_program(old: str, new: str) -> None:
    assert hlo_digest(TEXT.replace(old, new)) == hlo_digest(TEXT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("subtract(%x.2, %y.3)", "subtract(%y.3, %x.2)"),
        ("constant({1, 2})", "constant({1, 3})"),
        ("subtract(", "add("),
        ("kLoop", "kInput"),
        ("f32[2]{0} parameter(1)", "f64[2]{0} parameter(1)"),
    ],
)
def test_what_is_computed_is(old: str, new: str) -> None:
    assert old in TEXT
    assert hlo_digest(TEXT.replace(old, new)) != hlo_digest(TEXT)
