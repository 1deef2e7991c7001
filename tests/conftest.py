"""Skips by name what needs an extra that is missing; where CI says that all are there, such a skip is a failure."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "extra(name): needs an optional dependency: jax, torch")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("extra"):
        (name,) = marker.args
        if find_spec(name) is None:
            if os.environ.get("BENCH_TEST_EXTRAS"):
                pytest.fail(f"{name} is not installed, and BENCH_TEST_EXTRAS says that it must be")
            pytest.skip(f"needs {name}: pip install -c locks/extras.txt {name}")
