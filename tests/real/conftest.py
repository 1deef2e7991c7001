"""What all tests with real Keras have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _without_optimisations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """XLA and torch.compile take less than half the time for slower machine code of the same programs."""
    compiler = tmp_path_factory.mktemp("compiler") / "g++"
    compiler.write_text('#!/bin/sh\nexec g++ "$@" -O0\n')
    compiler.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
        patch.setenv("CXX", str(compiler))
        patch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")  # more are processes, which import torch again
        yield
