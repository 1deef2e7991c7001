"""Packed predictions keep what the scores rest on: classes exactly, the order of probabilities nearly."""

from __future__ import annotations

import base64
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from bench.core.predictions import pack, unpack


def as_a_network_says(samples: int, seed: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels and softmax outputs, float32, of a network that is right the more often the larger `confidence` is."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 10, samples)
    logits = draw.normal(0, 2.5, (samples, 10))
    logits[np.arange(samples), labels] += draw.normal(confidence, 3, samples)
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return labels.astype(np.uint8), (e / e.sum(axis=1, keepdims=True)).astype(np.float32)


def test_ten_thousand_digits_take_about_a_hundred_kilobytes() -> None:
    assert len(pack(*as_a_network_says(10_000, 0, 8))) < 110_000


@pytest.mark.parametrize("confidence", [1.0, 6.0, 12.0])
def test_classes_are_exact_and_the_roc_auc_is_kept(confidence: float) -> None:
    labels, probabilities = as_a_network_says(5_000, 1, confidence)
    kept = unpack(pack(labels, probabilities))
    assert (kept.labels == labels).all()
    assert (kept.predicted == probabilities.argmax(axis=1)).all()
    for digit in range(10):
        before, after = (roc_auc_score(labels == digit, p[:, digit]) for p in (probabilities, kept.probabilities))
        assert after == pytest.approx(before, abs=1e-3)  # a tenth of its standard error
    assert len(np.unique(kept.codes)) > 40  # that it is not kept by luck


def test_a_network_that_knows_nothing_keeps_its_order_too() -> None:
    """All its probabilities are about a tenth: steps of one width for all networks would make them equal."""
    labels, probabilities = as_a_network_says(2_000, 2, 0)
    narrow = 0.1 + (probabilities - probabilities.mean()) / 50
    kept = unpack(pack(labels, narrow))
    assert (kept.predicted == narrow.argmax(axis=1)).all()
    assert np.abs(kept.probabilities - narrow).max() < 2e-4


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(0, 20), st.just(3)), elements=st.floats(0, 1, width=32)))
def test_any_probabilities_come_back_in_their_order(probabilities: np.ndarray) -> None:
    labels = (np.arange(len(probabilities)) % 3).astype(np.uint8)
    kept = unpack(pack(labels, probabilities))
    assert (kept.labels == labels).all()
    assert kept.codes.shape == probabilities.shape
    assert (kept.predicted == probabilities.argmax(axis=1)).all()
    order = np.argsort(probabilities, axis=None, kind="stable")
    assert (np.diff(kept.probabilities.ravel()[order]) >= 0).all()
    # half a step of asinh(logit), between -5.4 and 3.6, is 0.0401; along it p rises by p (1 - p) cosh(asinh(logit)) at
    # most, which is largest, 0.279, at logits of ±1.1
    assert np.abs(kept.probabilities - probabilities).max(initial=0) < 0.0402 * 0.279 + 1e-6


def test_a_probability_where_the_scale_is_steepest_comes_back() -> None:
    kept = unpack(pack(np.array([0]), np.array([[1.0, 0.2109375, 0.0]], np.float32)))
    assert np.abs(kept.probabilities - [[1.0, 0.2109375, 0.0]]).max() < 0.0402 * 0.279 + 1e-6


def test_certainty_and_impossibility_can_be_packed() -> None:
    kept = unpack(pack(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]])))
    assert kept.probabilities == pytest.approx(np.eye(2), abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        ([0, 1, 1], [[0.5, 0.5], [0.5, 0.5]]),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]]),
        ([0, 1], [[0.5, 0.5], [float("nan"), 0.5]]),
        ([0], [[1.0]]),
    ],
)
def test_what_are_no_predictions(labels: list[int], probabilities: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"labels|finite"):
        pack(np.array(labels), np.array(probabilities))


def test_damaged_text_is_refused() -> None:
    text = pack(*as_a_network_says(50, 0, 5))
    for damaged in ("", "p1 50 10", text[:-8], text.replace("p1", "p2", 1), text.replace("50", "51", 1), text + "é"):
        with pytest.raises(ValueError, match=r"predictions|unpack|non-ascii|ASCII"):
            unpack(damaged)


@pytest.mark.parametrize(
    ("header", "content"),
    [
        ("p1 2 2 -1.0 1.0", bytes([0, 7, 0, 0, 1, 2, 3, 4])),  # a label that is no class
        ("p1 2 2 -1.0 1.0", bytes([0, 1, 0, 0, 1, 2, 3, 200])),  # a step that there is not
        ("p1 2 2 nan 1.0", bytes(8)),
        ("p1 2 2 -1.0 inf", bytes(8)),
        ("p1 2 2 -1.0 1.0", bytes(9)),
        ("p1 -2 2 -1.0 1.0", bytes(8)),
        (f"p1 {10**12} 2 -1.0 1.0", bytes(8)),
        ("p1 2 2 -1.0 1.0", bytes(500_000_000)),  # half a megabyte of text
    ],
)
def test_predictions_that_pack_cannot_have_written_are_refused(header: str, content: bytes) -> None:
    text = f"{header} {base64.b64encode(zlib.compress(content)).decode()}"
    tracemalloc.start()
    with pytest.raises(ValueError, match="predictions"):
        unpack(text)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
