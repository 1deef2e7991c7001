"""What all tests with real Keras have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _without_llvms_optimisations() -> Iterator[None]:
    """XLA compiles in less than half the time, to slower machine code of the same programs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
        yield
