"""What is assumed of each kernel on a processor, against what a probe of it finds: every rule is put to the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.catalog.kernels import KERNELS

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
NEVER = {"cudnn": None, "parallel": None}
FOUND = {
    "tensorflow": {
        "auto": "generic",
        "generic": "generic",
        "unrolled": "unrolled",
        "xla": "xla",
        "cudnn": None,
        "parallel": None,
    },
    "jax": {
        "auto": "generic",
        "generic": "generic",
        "unrolled": "unrolled",
        "xla": None,
        "cudnn": None,
        "parallel": None,
    },
    "torch": {"auto": "generic", "generic": "generic", "unrolled": None, "xla": None, **NEVER},
}


def kernels(cache: Path, *options: str) -> tuple[list[dict[str, Any]], str]:
    done = subprocess.run(
        [sys.executable, "-c", "from bench.cli import main; main()", "kernels", *options, "--format", "json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "BENCH_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    entries: list[dict[str, Any]] = json.loads(done.stdout)["entries"]
    return entries, done.stderr


@pytest.mark.parametrize(
    "backend",
    [
        "tensorflow",
        pytest.param("jax", marks=pytest.mark.extra("jax")),
        pytest.param("torch", marks=pytest.mark.extra("torch")),
    ],
)
def test_what_is_assumed_is_what_a_probe_finds(tmp_path: Path, backend: str) -> None:
    # torch.compile takes minutes: tests/real/test_compiled.py
    named = ",".join(kernel for kernel in KERNELS if kernel != "compiled")
    axes = [
        word
        for option in (f"backends={backend}", f"kernels={named}", "cells=gru", "devices=cpu")
        for word in ("--set", option)
    ]
    assumed, _ = kernels(tmp_path, *axes)
    _, said = kernels(tmp_path, *axes, "--probe")
    probed, _ = kernels(tmp_path, *axes)  # the answers are kept
    assert {one["kernel"]: one["comes_to"] for one in assumed} == FOUND[backend]
    assert {one["kernel"]: one["comes_to"] for one in probed} == FOUND[backend]
    assert {one["basis"] for one in assumed} == {"assumed"}
    # all but those for which Keras has no switch at all
    assert [one["kernel"] for one in probed if one["basis"] == "assumed"] == (
        ["parallel"] if backend == "tensorflow" else ["xla", "parallel"]
    )
    assert not [one for one in probed if one["surprise"]]
    assert {one["kernel"]: one["reason"] for one in probed} == {one["kernel"]: one["reason"] for one in assumed}
    if backend != "tensorflow":  # which raises; the others take use_cudnn=True, or unroll=True, and do something else
        assert "asked for the kernel cudnn, but recurrent_a ran generic in train and evaluate" in said
    if backend == "torch":
        assert "asked for the kernel unrolled, but recurrent_a ran generic in train and evaluate" in said
