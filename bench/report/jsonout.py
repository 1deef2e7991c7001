"""What commands write as JSON: SI units and full precision, without NaN, which JSON hasn't."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.analysis.stats import Estimate, Interval


def render_json(value: object, indent: int = 2) -> str:
    """A JSON-able object as text, with null for every number that is not finite; ends with a newline.

    Characters that could drive a terminal are escaped, and read back as they were.
    """
    text = json.dumps(_finite(value), indent=indent, allow_nan=False, ensure_ascii=False)
    return _UNSEEN.sub(lambda char: json.dumps(char[0])[1:-1] if not char[0].isprintable() else char[0], text) + "\n"


_UNSEEN = re.compile(r"[^\n -~]")
"""Characters beyond ASCII's printable ones, which may be unprintable: C1 codes, bidirectional controls, surrogates."""


def interval_object(interval: Interval | None) -> dict[str, float] | None:
    """An interval by its ends."""
    return {"low": interval.low, "high": interval.high} if interval else None


def estimate_object(estimate: Estimate | None) -> dict[str, Any] | None:
    """An estimate with its interval's ends, null where it has none, and the number of values behind it."""
    if estimate is None:
        return None
    interval = estimate.interval
    return {
        "value": estimate.value,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "n": estimate.n,
    }


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
