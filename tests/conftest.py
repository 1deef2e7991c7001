"""Skips by name what needs an extra that is missing; where CI says that all are there, such a skip is a failure.

The tests run in two processes side by side: each has a temporary folder and a machine's lock of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from hypothesis import settings

from bench.run.lock import LOCK_VARIABLE

pytest_plugins = "tests.support.s3_server"

settings.register_profile("bench", deadline=None)  # that a machine is busy is no finding
settings.load_profile("bench")


def pytest_configure(config: pytest.Config) -> None:
    # a shell's background jobs ignore Ctrl-C, and so would the programs that the tests start and interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "extra(module): needs a module of an extra: jax, torch, ray, pynvml")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, or one process would wait at the end for a test of minutes in the other."""
    items.sort(key=lambda item: (item.path.name != "test_readme.py", "real" not in item.keywords))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("extra"):
        (name,) = marker.args
        if find_spec(name) is None:
            if os.environ.get("BENCH_TEST_EXTRAS"):
                pytest.fail(f"{name} is not installed, and BENCH_TEST_EXTRAS says that it must be")
            pytest.skip(f"needs {name}: make extras")


@pytest.fixture(scope="module", autouse=True)
def _zygote_of_this_file() -> Iterator[None]:
    yield
    if (zygote := sys.modules.get("tests.support.zygote")) is not None:
        zygote.end_shared_zygote()


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("tmp")
        patch.setenv("TMPDIR", str(folder))
        patch.setenv(LOCK_VARIABLE, str(folder / "lock"))
        patch.setattr(tempfile, "tempdir", None)
        yield
