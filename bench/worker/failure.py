"""What a run that failed by an exception states as its reason: one line, without the layers of wrapping around it."""

from __future__ import annotations

import re

USERS_ERRORS = (Exception, SystemExit)
"""What code of a user's may raise, and is its own affair."""
_LINES = 2
_CHARACTERS = 500
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CALLING = re.compile(r"Exception encountered when calling (.+)\.$")
_WRAPPING = re.compile(r"Could not automatically infer the output shape|Exception encountered when calling ")
"""Lines that Keras 3 puts above a layer's own error (`utils/traceback_utils.py`, `layers/layer.py`), once for each
layer around it, and again for a shape that it could not infer."""
_BELOW = "Arguments received by "
"""The first line that Keras puts below a layer's own error."""


def failure_reason(error: BaseException) -> str:
    """The kind of an exception and its own text, where Keras wraps it the innermost, and the call that raised it.

    `ValueError in MinGRU.call(): the shapes (3, 4) and (5,) don't fit`: at most two lines of the text, joined.
    """
    lines = [line.strip() for line in _COLOURS.sub("", str(error)).splitlines()]
    calls = [match[1] for line in lines if (match := _CALLING.match(line))]
    kind = f"{type(error).__name__} in {calls[-1]}" if calls else type(error).__name__
    end = next((place for place, line in enumerate(lines) if line.startswith(_BELOW)), len(lines)) if calls else None
    text = [line for line in lines[:end] if line and not (calls and _WRAPPING.match(line))]
    return f"{kind}: {' '.join(text[:_LINES])}"[:_CHARACTERS]
