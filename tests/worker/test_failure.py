"""bench.worker.failure: the reason of an error, not where Keras met it. The texts are Keras 3.15's own."""

from __future__ import annotations

import pytest

from bench.worker.failure import failure_reason

ARGUMENTS = "\n\nArguments received by {0}.call():\n  • args=('<KerasTensor shape=(None, 3)>',)\n  • kwargs=<class 'x'>"
INFERRED = (
    "\x1b[1mCould not automatically infer the output shape / dtype of 'l' (of type L). Either the `L.call()` method is "
    "incorrect, or you need to implement the `L.compute_output_spec() / compute_output_shape()` method. Error "
    "encountered:\n\n"
)
CALLING = "Exception encountered when calling {0}.call().\n\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("the shapes don't fit", "ValueError: the shapes don't fit"),
        ("the shapes don't fit\nand a second line\nand a third", "ValueError: the shapes don't fit and a second line"),
        ("", "ValueError: "),
        (
            CALLING.format("L") + "\x1b[1mthe shapes don't fit\nreally not\x1b[0m" + ARGUMENTS.format("L"),
            "ValueError in L.call(): the shapes don't fit really not",
        ),
        (
            CALLING.format("L") + INFERRED + "the shapes don't fit\x1b[0m" + ARGUMENTS.format("L"),
            "ValueError in L.call(): the shapes don't fit",
        ),
        (
            CALLING.format("M")
            + INFERRED
            + CALLING.format("L")
            + "\x1b[1mthe shapes don't fit\x1b[0m"
            + ARGUMENTS.format("L")
            + "\x1b[0m"
            + ARGUMENTS.format("M"),
            "ValueError in L.call(): the shapes don't fit",
        ),
        ("Arguments received by nobody", "ValueError: Arguments received by nobody"),
    ],
)
def test_the_reason_is_the_innermost_errors_own_text(text: str, reason: str) -> None:
    assert failure_reason(ValueError(text)) == reason


def test_a_reason_is_no_longer_than_a_terminal_can_show() -> None:
    assert len(failure_reason(ValueError("x" * 10**6))) == 500
