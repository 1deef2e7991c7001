"""The shapes that a trace inside a timed epoch is named with."""

from __future__ import annotations

from bench.worker.evidence.retracing import retraced, shape_text

WEIGHTS = ("3 × 8", "8")


def test_new_shapes_stand_beside_those_of_before_and_weights_are_left_out() -> None:
    programs = [(*WEIGHTS, "4 × 5 × 3", "4 × 1"), (*WEIGHTS, "2 × 5 × 3", "2 × 1"), (*WEIGHTS, "4 × 7 × 3", "4 × 1")]
    assert retraced(programs, 2) == (
        ": for arguments of the shapes 4 × 7 × 3 and 4 × 1, where until then they were 4 × 5 × 3 and 4 × 1; "
        "or 2 × 5 × 3 and 2 × 1"
    )
    assert retraced(programs, 0).endswith("or 4 × 7 × 3 and 4 × 1")  # nothing was there before


def test_nothing_is_named_where_no_shape_is_new() -> None:
    assert retraced([("4 × 5", "1"), ("4 × 5", "1")], 1) == ""
    assert retraced([], 0) == ""


def test_a_shape_as_messages_show_it() -> None:
    assert shape_text([None, 28, 3]) == "? × 28 × 3"
    assert shape_text([]) == "a single number"
