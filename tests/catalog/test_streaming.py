"""bench.catalog.streaming: which networks stream, and how exactly."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bench.catalog.dtypes import DTYPES
from bench.catalog.streaming import TOLERANCE, streaming_apart, streaming_refusal
from bench.core.case import Case


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ({}, None),
        ({"layers": 3, "dropout": 0.2, "recurrent_dropout": 0.1}, None),
        ({"cell": "gru", "reset_after": False, "kernel": "unrolled", "backend": "jax"}, None),
        ({"cell": "my_cells:gru"}, None),
        ({"backend": "torch", "runtime": "torch.nn", "network": "cudnn_ready"}, None),
        ({"bidirectional": True}, "needs its end before it gives anything"),
        ({"kernel": "compiled", "backend": "torch"}, "torch.compile compiles whole sequences here"),
        ({"mask": "right"}, "steps that are padding are masked"),
        ({"stateful": True}, "batches of one size"),
        ({"network": "bench.core.case:Case"}, "the layers of the network bench.core.case:Case"),
    ],
)
def test_a_network_that_cannot_stream_has_its_reason(axes: dict[str, Any], reason: str | None) -> None:
    given = streaming_refusal(Case(**{"cell": "lstm", **axes}))
    assert given is None if reason is None else reason in (given or "")


def test_a_stream_may_differ_as_far_as_its_number_format_allows() -> None:
    assert {dtype.compute for dtype in DTYPES.values()} <= set(TOLERANCE)
    case = Case(cell="gru")
    assert streaming_apart(case, None) == streaming_apart(case, 1e-6) == []
    assert "by up to 0.001, and 0.0001 is allowed in float32" in streaming_apart(case, 1e-3)[0]
    assert streaming_apart(Case(cell="gru", dtype="mixed_bfloat16"), 1e-3) == []
    assert streaming_apart(case, math.nan)
    assert streaming_apart(Case(cell="gru", runtime="litert", dtype="int8"), 0.1) == []
