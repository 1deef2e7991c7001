"""A results folder as `bench run` leaves it, with runs of known figures."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.core.case import Case, Status
from bench.core.observation import Observation, RunMetadata
from bench.host.software import Software
from bench.store.campaign import Campaign
from bench.store.parts import Run, write_run
from tests.support.roots import LAPTOP

SOFTWARE = Software(python="3.11.7", keras="3.15.1", backend="tensorflow", backend_version="2.21.0", numpy="2.4.6")
CAMPAIGN = Campaign(
    suite="quick",
    plan_hash="0123456789abcdef",
    order_seed=0,
    machine_fingerprint=LAPTOP.fingerprint,
    software_fingerprint=SOFTWARE.fingerprint,
    program_version="0.1.0",
    program_commit=None,
    project_commit=None,
    cells_digest="",
    started_at="2026-01-02T03:04:05.000006+00:00",
)
EVIDENCE = {
    phase: {
        layer: {"kernel": "generic", "operations": {"While": 2, "MatMul": 4}, "artefact": "0123456789abcdef"}
        for layer in ("recurrent_a", "recurrent_b")
    }
    for phase in ("train", "test")
}


def a_run(position: int, case: Case, **changes: Any) -> Run:
    """A run that went well, unless `changes` say otherwise."""
    metadata = RunMetadata(
        parameters=57_450,
        forward_flops_per_sample=2_961_920.0,
        attested_kernel="generic",
        attestation_json=json.dumps(EVIDENCE),
        data_digest="3a1f5c3d07e915a5a344e36d0783f03d8ba219d9d2e145e4c235418a5848ca7a",
        rss_start_bytes=760 * 1024**2,
        peak_rss_bytes=1536 * 1024**2,
        steal_fraction=0.0125,
        extra_json=json.dumps({"jit_compile": False}),
    )
    observations = (
        Observation(phase="build", seconds=0.0512, cpu_seconds=0.06),
        Observation(phase="compile", seconds=3.2, cpu_seconds=4.5),
        Observation(phase="train", epoch=1, seconds=12.3, cpu_seconds=20.0, samples=4000, loss=0.5, accuracy=0.85),
        Observation(phase="validate", epoch=1, seconds=1.2, cpu_seconds=2.0, samples=1000, loss=0.25, accuracy=0.93),
        Observation(phase="evaluate", seconds=1.1, cpu_seconds=1.9, samples=1000, loss=0.2114, accuracy=0.9412),
        Observation(phase="run", seconds=20.0, cpu_seconds=30.0),
    )
    given: dict[str, Any] = {
        "campaign": CAMPAIGN,
        "case": case,
        "block": position // 3,
        "position": position,
        "attempt": 1,
        "status": Status.OK,
        "error": None,
        "log": None,
        "started_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) + timedelta(minutes=position),
        "isolation": "fork",
        "machine_json": LAPTOP.to_json(),
        "software_json": SOFTWARE.to_json(),
        "machine_fingerprint": LAPTOP.fingerprint,
        "software_fingerprint": SOFTWARE.fingerprint,
        "host_json": json.dumps(
            {"hostname": "laptop", "uptime_seconds": 7260.0, "available_memory_bytes": 12 * 1024**3}
        ),
        "metadata": metadata,
        "observations": observations,
    }
    return Run(**given | changes)


def a_store(folder: Path) -> list[Run]:
    """Writes two runs of each cell to `folder`, the last of them failed, and gives them in their order."""
    cases = [
        Case(cell=cell, task="mnist_5k", epochs=1, seed=seed)
        for seed in (0, 1)
        for cell in ("simple_rnn", "lstm", "gru")
    ]
    runs = [a_run(position, case) for position, case in enumerate(cases[:-1])]
    trouble: dict[str, Any] = {
        "status": Status.FAILED,
        "error": "ValueError: \x1b[31mbad\x1b[0m",
        "log": "logs/x.log",
        "metadata": RunMetadata(),
        "observations": (Observation(phase="build", seconds=0.1), Observation(phase="run", seconds=1.0)),
    }
    runs.append(a_run(len(runs), cases[-1], **trouble))
    for run in runs:
        write_run(folder, run)
    return runs
