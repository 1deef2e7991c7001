"""Ray reads how it authenticates when it is imported, and for the whole process: here, before any test imports it."""

from __future__ import annotations

import importlib.util

import pytest

from bench.cluster.local_cluster import loopback_environment
from bench.cluster.ray_nodes import import_ray


@pytest.fixture(scope="session", autouse=True)
def _tokens() -> None:
    if importlib.util.find_spec("ray") is not None:
        with loopback_environment():
            import_ray()
