"""Ceilings of the protocol's LSTM, as some machine would have shown them."""

from __future__ import annotations

from bench.catalog.tasks import TASKS
from bench.core.case import Case
from bench.store.ceilings import Ceilings, ProductShape

_LSTM = ProductShape.of(Case(cell="lstm"), TASKS["mnist"])
assert _LSTM is not None
CEILINGS = Ceilings(
    shape=_LSTM,
    machine_fingerprint="m",
    software_fingerprint="s",
    measured_at="2026-01-02T03:04:05+00:00",
    peak_flops_per_second=100e9,
    serial_seconds=0.004,
)
