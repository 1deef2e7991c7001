"""Observations → runs: what each run was asked, how it ended, what ran in it and what it measured. Pure.

Only runs with status `ok` enter a figure of a row. Every figure reads one phase, so that times of different phases
never meet. The process is the statistical unit: a run gives one figure, whatever its epochs and calls.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import pandas as pd

from bench.analysis.device_state import DEVICE_COLUMNS, DeviceState
from bench.analysis.reductions import (
    CallPathFigures,
    SteadyEpochs,
    call_figures,
    metadata_figures,
    phase_figures,
    runs_without_steady_epochs,
    steady_epochs,
)
from bench.analysis.sections import SectionKey, section_keys
from bench.core.case import Case, Status
from bench.core.metric import STREAMING, FromPhase
from bench.core.metrics import METRICS
from bench.core.observation import CALL_PATHS

NEEDED = tuple(
    dict.fromkeys(
        (
            *("run_id", "campaign_id", "campaign_started_at", "started_at", "suite", "status", "error", "attempt"),
            *("block", "position", "program_version", "program_commit", "project_commit", "cells_digest", "code_json"),
            *("committed_at", "parent_commit"),
            *(case_field.name for case_field in fields(Case)),
            *("machine_fingerprint", "software_fingerprint", "machine_json", "software_json"),
            *("parameters", "forward_flops_per_sample", "training_flops_per_sample"),
            *("configuration_id", "attested_kernel", "attestation_json", "data_digest", "task_json"),
            *("phase", "epoch", "cpu_seconds", "iterator_seconds"),
            *DEVICE_COLUMNS,
            *(column for metric in METRICS.values() for column in sorted(metric.source.columns)),
        )
    )
)
"""The columns of the store that `summarise` and whoever narrows its frame read: `load` them alone."""
PHASES = frozenset(metric.source.phase for metric in METRICS.values() if isinstance(metric.source, FromPhase))
"""The phases whose rows metrics are made from, calls of inference apart."""
CALLS = (
    "phase",
    *sorted({column for metric in METRICS.values() if metric.of_calls for column in metric.source.columns}),
)
"""The columns that single calls of inference need, by far the most rows of a large store."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What one run gives to the summary. What was not measured, or is not finite, is in no mapping."""

    run_id: str
    campaign_id: str
    block: int
    seed: int
    repeat: int
    started_at: float
    """When it began, seconds since 1970, UTC; NaN where that is not known."""
    program: str = ""
    """The version and the commit of the program that measured it."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """By metric (`bench.core.metrics.METRICS`), in its unit."""
    inference: Mapping[str, CallPathFigures] = field(default_factory=dict)
    """By call path; empty where no inference was timed."""
    epochs: SteadyEpochs = field(default_factory=SteadyEpochs)
    """Its training epochs from 2 on."""
    device: DeviceState = field(default_factory=DeviceState)

    def figure(self, metric: str) -> float | None:
        """The run's figure of a metric that it has once; None where it was not measured."""
        return self.figures.get(metric)

    def call_figure(self, metric: str, call_path: str, batch: int = 1) -> float | None:
        """The run's figure of a metric of inference; None where it was not timed.

        Args:
            metric: one that a run has for each call path.
            call_path: `predict`, `compiled` or `streaming`.
            batch: samples a call.
        """
        figures = self.inference.get(call_path)
        if figures is None:
            return None
        return figures.figures.get(metric) if batch == 1 else figures.by_batch.get(metric, {}).get(batch)

    def latency(self, call_path: str = "compiled") -> float | None:
        """The median latency of a call at batch 1, seconds; None where it was not timed."""
        return self.call_figure("latency_seconds", call_path)

    def step_latency(self) -> float | None:
        """The median latency of a streaming step at batch 1, seconds; None where none was timed."""
        return self.call_figure("step_latency_seconds", STREAMING)


@dataclass(frozen=True, kw_only=True)
class MeasuredRun:
    """One run of a frame: its section, its configuration, how it ended, and its record."""

    section: SectionKey
    configuration: Case
    status: str
    first_epoch_only: bool
    """It trained, and no epoch beyond the first, so that its training time is not a steady one."""
    kernel: str | None
    """What ran in training and evaluation, by the evidence; None where there is none."""
    inference_kernels: Mapping[str, str]
    """What ran in inference, by call path: `a + b` where the first recurrent layer ran a and the second b."""
    stored: Mapping[str, Any]
    """The run's other columns, as they are stored; None for what is missing."""
    record: RunRecord

    @property
    def ok(self) -> bool:
        """Whether it ended `ok`, and so enters the figures."""
        return self.status == Status.OK

    @property
    def reason(self) -> str:
        """Why it did not end `ok`, in a line."""
        asked, ran = self.configuration.kernel, self.stored["attested_kernel"]
        if self.status == Status.INVALID and ran not in (None, "mixed", asked) and asked != "auto":
            return f"asked {asked}, ran {ran}"
        lines = [line.strip() for line in str(self.stored["error"] or "").splitlines() if line.strip()]
        if not lines:
            return "no reason recorded"
        return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def measured_runs(frame: pd.DataFrame, calls: pd.DataFrame) -> tuple[MeasuredRun, ...]:
    """The runs of a frame, in the order in which they began: what a table is made of is no matter of how runs are kept.

    Args:
        frame: observations with the columns `NEEDED`, at least a row of each run.
        calls: observations with the columns `CALLS` and `run_id`, of which those of inference are read.

    Raises:
        KeyError: a column is missing.
    """
    runs = frame.drop_duplicates("run_id").sort_values(["started_at", "run_id"])
    by_metric = {**phase_figures(frame), **metadata_figures(runs)}
    inference = call_figures(calls)
    first_epoch_only, epochs = runs_without_steady_epochs(frame), steady_epochs(frame)
    stored = runs.astype(object)
    records = stored.where(stored.notna(), None).to_dict("records")
    return tuple(
        _measured_run(row, key, by_metric, inference, first_epoch_only, epochs)
        for row, key in zip(records, section_keys(runs, frame), strict=True)
    )


def _measured_run(
    row: Mapping[Any, Any],
    section: SectionKey,
    by_metric: Mapping[str, Mapping[str, float]],
    inference: Mapping[str, Mapping[str, CallPathFigures]],
    first_epoch_only: frozenset[str],
    epochs: Mapping[str, SteadyEpochs],
) -> MeasuredRun:
    run_id, evidence = str(row["run_id"]), stored_object(row.get("attestation_json"))
    return MeasuredRun(
        section=section,
        configuration=Case.from_record(row).configuration,
        status=str(row["status"]),
        first_epoch_only=run_id in first_epoch_only,
        kernel=_training_kernel(evidence, row["attested_kernel"]),
        inference_kernels=_inference_kernels(evidence),
        stored=row,
        record=RunRecord(
            run_id=run_id,
            campaign_id=str(row["campaign_id"]),
            block=int(row["block"]),
            seed=int(row["seed"]),
            repeat=int(row["repeat"]),
            started_at=math.nan if row["started_at"] is None else row["started_at"].timestamp(),
            program=f"{row['program_version']} {row['program_commit']}",
            figures={name: figures[run_id] for name, figures in by_metric.items() if run_id in figures},
            inference=inference.get(run_id, {}),
            epochs=epochs.get(run_id, SteadyEpochs()),
            device=DeviceState.of(row),
        ),
    )


def in_order(records: Iterable[RunRecord]) -> tuple[RunRecord, ...]:
    """Records by campaign and block: the order in which rows hold them."""
    return tuple(sorted(records, key=lambda record: (record.campaign_id, record.block, record.run_id)))


def stored_object(text: object) -> dict[str, Any]:
    """A JSON object out of the store, or an empty one: a table without a machine's name is better than none."""
    try:
        value = json.loads(str(text))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _training_kernel(evidence: Mapping[str, Any], attested: object) -> str | None:
    """What ran in training and evaluation, where the inference after it ran something else (ONNX Runtime)."""
    if attested is None:
        return None
    phases = [layers for phase, layers in evidence.items() if phase not in CALL_PATHS]
    kernels = {str(layer["kernel"]) for layers in phases for layer in layers.values()}
    return kernels.pop() if len(kernels) == 1 else str(attested)


def _inference_kernels(evidence: Mapping[str, Any]) -> dict[str, str]:
    """By call path: what ran in it, the recurrent layers in their order."""
    kernels = {
        path: [str(evidence[path][layer]["kernel"]) for layer in sorted(evidence[path])]
        for path in CALL_PATHS
        if path in evidence
    }
    return {path: ran[0] if len(set(ran)) == 1 else " + ".join(ran) for path, ran in kernels.items()}
