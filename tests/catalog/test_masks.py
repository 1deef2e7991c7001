"""bench.catalog.masks: which steps are padding."""

from __future__ import annotations

import numpy as np
import pytest

from bench.catalog.masks import PADDING, kept_steps, padded


def test_right_padding_follows_sequences_of_at_least_half_the_steps() -> None:
    kept = kept_steps("right", 500, 9)
    lengths = kept.sum(axis=1)
    assert (kept == (np.arange(9) < lengths[:, None])).all()
    assert (lengths.min(), lengths.max()) == (5, 9)


def test_gaps_are_anywhere_but_in_the_first_step() -> None:
    kept = kept_steps("gaps", 2000, 9)
    assert kept[:, 0].all()
    assert kept[:, 1:].mean(axis=0) == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("mask", ["right", "gaps"])
def test_fewer_samples_are_the_first_of_more(mask: str) -> None:
    assert (kept_steps(mask, 700, 28)[:50] == kept_steps(mask, 50, 28)).all()


def test_padding_is_what_no_input_is() -> None:
    inputs = np.zeros((40, 6, 3), np.float32)
    assert padded(inputs, "none") is inputs
    made = padded(inputs, "gaps")
    assert made.dtype == np.float32
    assert ((made == PADDING).all(axis=2) == ~kept_steps("gaps", 40, 6)).all()
