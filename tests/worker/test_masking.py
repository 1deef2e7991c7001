"""Whether padding is skipped: moved to the front, it must change no loss."""

from __future__ import annotations

import numpy as np
import pytest

from bench.worker.evidence.masking import mask_problem, padded_batch, padding_in_front


def test_padding_comes_first_and_the_rest_stays_in_order() -> None:
    x = np.array([[[1, -1], [-1, -1], [2, 2], [-1, -1]], [[3, 3], [4, 4], [5, 5], [6, 6]]], np.float32)
    y = np.array([[10, 0, 11, 0], [12, 13, 14, 15]])
    moved, targets = padding_in_front(x, y, -1.0, per_step=True)
    assert moved[0].tolist() == [[-1, -1], [-1, -1], [1, -1], [2, 2]]
    assert moved[1].tolist() == x[1].tolist()
    assert targets.tolist() == [[0, 0, 10, 11], [12, 13, 14, 15]]
    _, of_sequences = padding_in_front(x, np.array([7, 8]), -1.0, per_step=False)
    assert of_sequences.tolist() == [7, 8]


def test_tokens_are_padded_with_their_own_mark() -> None:
    moved, _ = padding_in_front(np.array([[5, 2, 0, 0]], np.int32), np.array([1]), 0.0, per_step=False)
    assert moved.tolist() == [[0, 0, 5, 2]]


def test_only_samples_with_padding_show_anything() -> None:
    x = np.ones((6, 3, 2), np.float32)
    assert padded_batch(x, -1.0, 4) is None
    x[[1, 4], 2] = -1
    rows = padded_batch(x, -1.0, 5)
    assert rows is not None
    assert rows.tolist() == [1, 4, 1, 4, 1]


@pytest.mark.parametrize(
    ("after", "compute", "ignored"),
    [
        (0.5, "float32", False),
        (0.5 + 2e-7, "float32", False),
        (0.5001, "float32", True),
        (0.5001, "float16", False),
        (0.6, "bfloat16", True),
        (float("nan"), "float32", True),
    ],
)
def test_a_loss_that_changes_is_a_mask_ignored(after: float, compute: str, ignored: bool) -> None:
    assert (mask_problem(0.5, after, compute) is not None) is ignored
