"""Frames of observations with a known truth, in the store's types: categorical text, float64 for optional numbers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from types import MappingProxyType
from typing import Any

import pandas as pd

from bench.core.case import Case, digest
from bench.core.code import ImportedModule, to_json
from bench.core.observation import Observation, RunMetadata

MACHINE = {"cpu_model": "Fictional 9000", "usable_cores": 2, "memory_class_gib": 16.0, "gpus": []}
SOFTWARE = {
    "python": "3.11.9", "keras": "3.15.0", "backend": "tensorflow", "backend_version": "2.21.0", "numpy": "2.4.0",
    "libraries": [], "settings": [],
}  # fmt: skip
PARAMETERS = {"simple_rnn": 57_450, "lstm": 216_426, "gru": 164_202}
MEGABYTE = 1_000_000

Rows = list[dict[str, Any]]


def run(
    case: Case,
    *,
    status: str = "ok",
    error: str | None = None,
    epoch_seconds: Sequence[float] = (9.0, 5.0, 5.0),
    cpu_seconds: Sequence[float | None] = (),
    iterator_seconds: Sequence[float | None] = (),
    accuracy: float = 0.9,
    loss: float = 0.3,
    ran: str | None = "generic",
    block: int | None = None,
    campaign: str = "c1",
    machine: dict[str, Any] = MACHINE,
    software: dict[str, Any] = SOFTWARE,
    memory_bytes: int = 400 * MEGABYTE,
    commit: str = "abc1234",
    committed_at: pd.Timestamp | None = None,
    parent: str | None = None,
    data: str | None = "d1",
    cells: str = "",
    code: Mapping[str, str] | None = None,
    calls: Mapping[tuple[str, int], Sequence[float]] = MappingProxyType({}),
    evidence: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    program: str | None = None,
    rss_growth: Mapping[str, int] = MappingProxyType({}),
) -> Rows:
    """The rows of one run. One that failed has only its `run` row, and no metadata.

    `code` is the content of the user's modules by name; `calls` are the seconds of inference by call path and batch;
    `evidence` is the kernel by phase and layer, and `program` the digest of the program that was read for it.
    `rss_growth` is the bytes by which memory grows with a call, by call path.
    """
    failed = status in ("failed", "timeout")
    facts = RunMetadata() if failed else RunMetadata(
        parameters=PARAMETERS.get(case.cell), attested_kernel=ran, data_digest=data,
        attestation_json=json.dumps(
            {
                phase: {layer: {"kernel": name, "artefact": program} for layer, name in layers.items()}
                for phase, layers in evidence.items()
            }
        ),
        code_json=None if code is None else to_json(
            ImportedModule(name=name, file=f"/{campaign}/{name}.py", sha256=content) for name, content in code.items()
        ),
        rss_start_bytes=700 * MEGABYTE, peak_rss_bytes=700 * MEGABYTE + memory_bytes,
    )  # fmt: skip
    observed = [] if failed else [
        Observation(phase="build", seconds=0.5),
        Observation(phase="compile", seconds=2.0),
        Observation(phase="warmup", seconds=0.7),
        *(
            Observation(phase="train", epoch=e, seconds=s, cpu_seconds=cpu, iterator_seconds=making, samples=4000)
            for e, (s, cpu, making) in enumerate(itertools.zip_longest(epoch_seconds, cpu_seconds, iterator_seconds), 1)
        ),
        *(Observation(phase="validate", epoch=e, seconds=99.0, samples=1000) for e in range(1, len(epoch_seconds) + 1)),
        Observation(phase="evaluate", seconds=0.4, samples=1000, loss=loss, accuracy=accuracy),
        *(
            Observation(
                phase="predict", entry=entry, predict_batch=batch, call=call, series=(call + 49) // 50, seconds=s,
                samples=batch, rss_bytes=10**9 + rss_growth[entry] * call if entry in rss_growth else None,
            )
            for (entry, batch), seconds in calls.items() for call, s in enumerate(seconds, 1)
        ),
    ]  # fmt: skip
    common = {
        **asdict(case), **asdict(facts), "run_id": digest(f"{campaign} {case.id}"), "campaign_id": campaign,
        "case_id": case.id, "configuration_id": case.configuration_id, "status": status, "error": error, "attempt": 1,
        "block": case.seed * 100 + case.repeat if block is None else block, "position": 0,
        "started_at": pd.Timestamp("2026-01-02T03:04:05Z"), "isolation": "fork", "suite": "quick",
        "machine_fingerprint": digest(json.dumps(machine)), "software_fingerprint": digest(json.dumps(software)),
        "machine_json": json.dumps(machine), "software_json": json.dumps(software),
        "program_version": "0.1.0", "program_commit": commit, "project_commit": commit, "cells_digest": cells,
        "committed_at": committed_at or pd.NaT, "parent_commit": parent,
    }  # fmt: skip
    return [{**common, **asdict(o)} for o in [*observed, Observation(phase="run", seconds=60.0)]]


_OPTIONAL_NUMBERS = [f.name for kind in (RunMetadata, Observation) for f in fields(kind) if "str" not in str(f.type)]


def frame(*runs: Rows) -> pd.DataFrame:
    table = pd.DataFrame([row for rows in runs for row in rows])
    table["committed_at"] = pd.to_datetime(table["committed_at"], utc=True)
    text = [name for name in table.columns if name not in _OPTIONAL_NUMBERS and table[name].dtype.kind not in "iufM"]
    return table.astype(dict.fromkeys(_OPTIONAL_NUMBERS, "float64") | dict.fromkeys(text, "category"))


def runs(
    cells: Iterable[str],
    seeds: Iterable[int],
    figures: Callable[[str, int], dict[str, Any]],
    **settings: Any,
) -> list[Rows]:
    """A run for each cell and seed, with the figures that `figures(cell, seed)` gives."""
    seeds = tuple(seeds)
    return [run(Case(cell=cell, seed=seed, **settings), **figures(cell, seed)) for cell in cells for seed in seeds]


CELLS = ("simple_rnn", "lstm", "gru")
_ACCURACY = {"simple_rnn": 0.940, "lstm": 0.975, "gru": 0.984}
_LOSS = {"simple_rnn": 0.21, "lstm": 0.092, "gru": 0.055}
_SECONDS = {"simple_rnn": 20.0, "lstm": 46.0, "gru": 50.0}
# Small, fixed, and different for each cell and seed, so that differences between cells vary too.
_WOBBLE = {
    "simple_rnn": (0.3, -1.0, 0.8, -0.2, 0.1),
    "lstm": (-0.4, 0.5, -0.1, 0.7, -0.8),
    "gru": (0.6, -0.3, 0.1, -0.5, 0.2),
}


def notebook_like(cell: str, seed: int) -> dict[str, Any]:
    """Figures in which all the notebook's claims hold: differences far larger than the spread between seeds."""
    wobble = _WOBBLE[cell][seed]
    steady = _SECONDS[cell] * (1 + 0.02 * wobble)
    return {
        "accuracy": round(_ACCURACY[cell] + 0.002 * wobble, 3),
        "loss": _LOSS[cell] * (1 - 0.03 * wobble),
        "epoch_seconds": (steady * 1.2, steady * 0.99, steady * 1.01),
        "memory_bytes": int((300 + 10 * wobble) * MEGABYTE),
    }
