"""A run's page: what was seen of its device (invented figures, as `bench.run.device_watch` writes them)."""

from __future__ import annotations

import json

from bench.core.case import Case
from bench.report.one_run import run_data, run_document
from bench.report.text import render_text
from tests.support.frames import frame, run

DEVICE = {
    "model": "NVIDIA H100 80GB HBM3",
    "pci_bus": "00000000:3B:00.0",
    "memory_bytes": 80 << 30,
    "power_limit_watts": 700.0,
    "timed_readings": 30,
    "longest_gap_seconds": 0.0513,
    "before": {"sm_mhz": 345, "throttling": [], "processes": 0},
    "after": None,
}


def test_a_run_on_a_gpu_shows_the_card_and_how_often_it_was_asked() -> None:
    rows = run(Case(cell="lstm", device="gpu:0"))
    for row in rows:
        row |= {"log": None, "host_json": "{}", "device_json": json.dumps(DEVICE)}
    data = run_data(frame(rows))
    assert data["device"] == DEVICE
    shown = " ".join(render_text(run_document(data), 120).split())
    assert "device model NVIDIA H100 80GB HBM3 pci bus 00000000:3B:00.0" in shown
    assert "sm_mhz 345, throttling -, processes 0" in shown.replace("—", "-").replace("–", "-")
    assert "timed readings 30" in shown


def test_a_run_on_a_processor_has_no_device() -> None:
    rows = run(Case(cell="lstm"))
    for row in rows:
        row |= {"log": None, "host_json": "{}", "device_json": None}
    assert "device" not in run_data(frame(rows))
