"""bench.catalog.matrix: what is assumed of a configuration, and what its probe showed."""

from __future__ import annotations

from bench.catalog.matrix import (
    OPTIONS_TIMED,
    OPTIONS_TRIED,
    ProbeResult,
    availability,
    option_of,
    probe_case,
)
from bench.catalog.support import OPTIONS, option_refusal
from bench.core.axes import AXES
from bench.core.case import Case, Status
from bench.plan.plan import make_plan
from bench.plan.suite import crossed
from tests.support.hosts import a_host

RAN = ProbeResult(status=Status.OK, attested="generic", error=None, probed_at="2026-11-24T22:00:00+00:00")
FELL_BACK = ProbeResult(
    status=Status.INVALID, attested="generic", error="asked for the kernel xla, …", probed_at=RAN.probed_at
)


def test_what_is_assumed() -> None:
    default = availability(Case(cell="lstm", device="gpu:0"), None, None)
    assert (default.runs, default.kernel, default.probed_at) == (True, "cudnn + generic", None)
    assert availability(Case(cell="my:cell"), None, None).kernel is None  # whose rules nobody knows
    asked = availability(Case(cell="gru", kernel="xla"), None, None)
    assert (asked.runs, asked.kernel) == (True, "xla")
    refused = availability(Case(cell="gru", kernel="cudnn"), "no GPU", None)
    assert (refused.runs, refused.kernel, refused.reason) == (False, None, "no GPU")


def test_what_was_probed_is_reported_and_a_contradiction_too() -> None:
    case = Case(cell="lstm", kernel="xla")
    ran = availability(case, None, ProbeResult(status=Status.OK, attested="xla", error=None, probed_at="now"))
    assert (ran.runs, ran.kernel, ran.probed_at, ran.surprise) == (True, "xla", "now", False)
    fell_back = availability(case, None, FELL_BACK)
    assert (fell_back.runs, fell_back.reason, fell_back.surprise) == (False, "asked for the kernel xla, …", True)
    # where the rule foresaw it, its words are better than an error's
    foreseen = availability(case, "it has no XLA", FELL_BACK)
    assert (foreseen.runs, foreseen.reason, foreseen.surprise) == (False, "it has no XLA", False)
    assert availability(case, "it has no XLA", RAN).surprise


def test_a_probe_predicts_where_keras_picks_the_kernel() -> None:
    calls = {kernel: probe_case(Case(cell="lstm", kernel=kernel)).latency_calls for kernel in ("auto", "unrolled")}
    assert calls == {"auto": 1, "unrolled": 0}
    assert probe_case(Case(cell="lstm", stateful=True)).latency_calls == 0


def test_each_option_is_a_row_and_can_be_probed() -> None:
    suite = crossed("kernels", {"cells": ["gru"], "networks": ["cudnn_ready"], **OPTIONS_TIMED}, (), OPTIONS_TRIED)
    plan = make_plan(suite, order_seed=0, host=a_host())
    assert not plan.excluded
    rows = {scheduled.case.configuration for scheduled in plan.scheduled}
    assert len(rows) == len({option_of(row) for row in rows}) == 11
    assert {"", "bidirectional=true", "mask=gaps"} < {option_of(row) for row in rows}
    assert {AXES[plural].field for part in OPTIONS_TRIED for plural in part} == set(OPTIONS)
    assert all(option_refusal(row) is None and option_refusal(probe_case(row)) is None for row in rows)


def test_a_probe_is_the_same_configuration_on_little_data() -> None:
    case = Case(cell="gru", kernel="unrolled", backend="jax", network="cudnn_ready", seed=3, epochs=9)
    tried = probe_case(case)
    assert (tried.cell, tried.kernel, tried.backend, tried.network) == ("gru", "unrolled", "jax", "cudnn_ready")
    assert (tried.task, tried.train_samples, tried.epochs, tried.seed) == ("mnist_5k", 200, 1, 0)
    assert tried == probe_case(Case(cell="gru", kernel="unrolled", backend="jax", network="cudnn_ready"))
