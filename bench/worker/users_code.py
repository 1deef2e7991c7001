"""Imports what users name as `module:factory`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

from bench.core.protocol import FailedRun
from bench.worker.failure import USERS_ERRORS


def load_factory(what: str, factory: str, returns: str) -> Callable[..., Any]:
    """The factory that a `module:attribute` names.

    Args:
        what: how messages call it: "the cell 'my:cell'".
        factory: the `module:attribute`.
        returns: what the factory returns, with its article: "a Keras layer".

    Raises:
        FailedRun: it cannot be imported, or is no factory.
    """
    module_name, _, attribute = factory.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # the folder that the user stands in, as `python -m` would
    try:
        made: Callable[..., Any] = getattr(importlib.import_module(module_name), attribute)
    except USERS_ERRORS as error:
        raise FailedRun(f"{what} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(made):
        raise FailedRun(f"{what} is a {type(made).__name__}, not a factory that returns {returns}")
    return made
