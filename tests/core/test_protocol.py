from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bench.core.case import Case, Status
from bench.core.observation import Observation, RunMetadata
from bench.core.protocol import (
    Began,
    Event,
    Finished,
    Request,
    Started,
    TimedBatch,
    TimedPhase,
    decode,
    encode,
)

_numbers = st.none() | st.floats(allow_nan=False)
_counts = st.none() | st.integers(0, 2**53)
_texts = st.none() | st.text()
_events = st.one_of(
    st.builds(Started, st.integers(1, 2**22)),
    st.builds(Began, st.text(), _counts),
    st.builds(Observation, phase=st.text(), epoch=_counts, seconds=_numbers, samples=_counts, loss=_numbers),
    st.builds(RunMetadata, parameters=_counts, attested_kernel=_texts, extra_json=_texts, load_start=_numbers),
    st.builds(TimedBatch, st.integers(0, 2**31), st.floats(0, 1e6), st.floats(0, 1e6)),
    st.builds(Finished, st.sampled_from(Status), _texts, _numbers),
)


@given(_events)
def test_what_is_encoded_is_decoded_and_is_one_line(event: Event) -> None:
    line = encode(event)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line) == event


def test_a_loss_may_be_anything_that_a_float_may_be() -> None:
    for value in (math.nan, math.inf, -math.inf):
        event = decode(encode(Observation(phase="train", loss=value)))
        assert isinstance(event, Observation)
        assert repr(event.loss) == repr(value)


def test_a_status_comes_back_as_one() -> None:
    event = decode(encode(Finished(Status.INVALID, "why")))
    assert isinstance(event, Finished)
    assert event.status is Status.INVALID


def test_a_field_that_a_later_commit_has_added_is_left_out() -> None:
    line = encode(Observation(phase="train", seconds=1.0)).replace(b'"seconds"', b'"joules": 2.0, "seconds"')
    assert decode(line) == Observation(phase="train", seconds=1.0)


def test_bytes_that_are_no_text_survive() -> None:
    text = b"a \xff file name".decode(errors="surrogateescape")
    assert decode(encode(Finished(Status.FAILED, text))) == Finished(Status.FAILED, text)


@given(st.text(min_size=1), st.integers(0, 2**32 - 1), st.floats(1e-6, 1.0))
def test_a_request_survives(cell: str, seed: int, rate: float) -> None:
    request = Request(
        case=Case(cell=cell, seed=seed, learning_rate=rate, kernel="xla"),
        data=Path("/a b/ü.npz"),
        log=Path("/log"),
        phase=TimedPhase.PREDICT,
        build_only=True,
    )
    line = request.to_line()
    assert line.count(b"\n") == 1
    assert Request.from_line(line) == request
    assert {f.name for f in fields(Request)} == {"case", "data", "log", "phase", "model", "build_only"}
