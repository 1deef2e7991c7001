"""bench.catalog.runtimes: the axis `runtimes`, and why a combination is left out."""

from __future__ import annotations

import pytest

from bench.catalog.runtimes import RUNTIMES, outputs_apart
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.host.capabilities import installed_runtimes
from bench.plan.plan import make_plan
from bench.plan.suite import load
from tests.support.hosts import a_host


def test_the_plan_leaves_out_what_is_not_installed_and_what_cannot_be() -> None:
    suite = load(
        "quick",
        [
            "cells=lstm",
            "runtimes=keras,onnxruntime,torch.nn",
            "backends=tensorflow,torch",
            "latency_calls=5",
            "seeds=0",
        ],
    )
    plan = make_plan(
        suite,
        order_seed=0,
        host=a_host(
            backends={"tensorflow": None, "torch": None}, runtimes={"onnxruntime": "onnxruntime is not installed"}
        ),
    )
    ran = sorted((one.case.backend, one.case.runtime) for one in plan.scheduled)
    assert ran == [("tensorflow", "keras"), ("torch", "keras")]
    reasons = {(out.configuration.backend, out.configuration.runtime): out.reason for out in plan.excluded}
    assert reasons["tensorflow", "onnxruntime"] == "onnxruntime is not installed"
    assert "needs the backend tensorflow" in reasons["torch", "onnxruntime"]
    assert "use the network cudnn_ready" in reasons["torch", "torch.nn"]
    assert "runtime" in plan.varying


def test_an_unknown_runtime_is_refused_with_the_nearest_name() -> None:
    suite = load("quick", ["runtimes=onnx_runtime"])
    with pytest.raises(UsageError, match=r"onnx_runtime.*--set runtimes=onnx_runtime.*onnxruntime"):
        make_plan(suite, order_seed=0, host=a_host())


def test_what_is_missing_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed_runtimes()["keras"] is None
    assert installed_runtimes()["torch.nn"] is None  # it needs nothing but its backend
    monkeypatch.setattr(
        "bench.host.capabilities.importlib.util.find_spec", lambda name: None if "onnx" in name else object()
    )
    reason = installed_runtimes()["onnxruntime"] or ""
    assert "onnx and onnxruntime and tf2onnx are not installed" in reason
    assert "pip install -e '.[onnx]'" in reason
    assert set(installed_runtimes()) == set(RUNTIMES)


@pytest.mark.parametrize(
    ("dtype", "difference", "problem"),
    [
        ("float32", None, None),
        ("float32", 1e-6, None),
        ("float32", 2e-5, "differ from Keras's by up to 2e-05, and 1e-05 is allowed in float32"),
        ("float64", 1e-6, "1e-12 is allowed in float64"),
        ("float32", float("nan"), "by up to nan"),
    ],
)
def test_outputs_may_differ_as_far_as_their_dtype_allows(
    dtype: str, difference: float | None, problem: str | None
) -> None:
    said = outputs_apart(Case(cell="lstm", runtime="onnxruntime", dtype=dtype), difference)
    assert said == [] if problem is None else problem in said[0]
