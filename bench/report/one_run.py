"""One run with all that is known of it: its case, phases, the evidence of its kernel, its environment."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import pandas as pd

from bench.analysis.records import stored_object
from bench.analysis.reductions import call_memory_growth
from bench.analysis.stats import median_runs, quantiles
from bench.catalog.cudnn_names import cudnn_kernel_words
from bench.core import code
from bench.core.axes import AXES
from bench.core.case import Case
from bench.core.metric import FromCallMemory
from bench.core.metrics import METRICS
from bench.core.observation import Observation, RunMetadata
from bench.report.document import Block, Column, Document, Facts, Heading, Table
from bench.report.values import NONE, figure_in, in_words, known_facts, measured_time, together, worded

_HEADER = (
    "run_id",
    "status",
    "error",
    "log",
    "attempt",
    "isolation",
    "started_at",
    "suite",
    "campaign_id",
    "block",
    "position",
    "program_version",
    "program_commit",
    "project_commit",
)
_DIGITS = 12
"""Digits of a module's digest that are shown; the JSON has all."""
_WHOLE = frozenset(
    column.name for kind in (RunMetadata, Observation) for column in fields(kind) if column.type.startswith("int")
)
"""What the frame has as a float64, because it may be missing, and is a whole number."""


def run_data(rows: pd.DataFrame) -> dict[str, Any]:
    """All that is known of a run, JSON-able, in the order in which it is shown.

    Args:
        rows: the run's observations, n_observations × all columns of the store.
    """
    records = [{name: _plain(name, value) for name, value in row.items()} for row in rows.to_dict("records")]
    first = records[0]
    metadata = {
        column.name: first[column.name]
        for column in fields(RunMetadata)
        if not column.name.endswith("_json") and column.name != "test_predictions"  # 70 kB for a report to read
    }
    return {
        "run": {key: first[key] for key in _HEADER},
        "case": {"case_id": first["case_id"], **{column.name: first[column.name] for column in fields(Case)}},
        "phases": [{column.name: record[column.name] for column in fields(Observation)} for record in records],
        "facts": {**metadata, **stored_object(first["extra_json"])},
        "kernel": stored_object(first["attestation_json"]),
        "code": [asdict(module) for module in code.from_json(first["code_json"])],
        **({"device": device} if (device := stored_object(first["device_json"])) else {}),
        "machine": {"fingerprint": first["machine_fingerprint"], **stored_object(first["machine_json"])},
        "software": {"fingerprint": first["software_fingerprint"], **stored_object(first["software_json"])},
        "host": stored_object(first["host_json"]),
    }


def _plain(name: Hashable, value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None  # not measured, or not a number that JSON has; the run's error names a loss that isn't finite
    return int(value) if name in _WHOLE else value


def run_document(run: Mapping[str, Any]) -> Document:
    """What `run_data` gives, for a person."""
    return Document(tuple(_blocks(run)))


def _blocks(run: Mapping[str, Any]) -> Iterator[Block]:
    for heading, content in run.items():
        if heading == "phases":
            yield Heading(heading)
            yield _phases([phase for phase in content if phase["call"] is None])
            calls = [phase for phase in content if phase["call"] is not None]
            if calls:
                yield Heading("inference")
                yield _calls(calls)
        elif heading == "kernel":
            yield Heading(heading)
            yield _evidence(content)
        elif heading == "code":
            yield Heading("users' code")
            yield _modules(content)
        elif heading == "run":
            yield Facts(known_facts(_with_commits_named(content, has_code=bool(run["code"]))), heading)
        elif heading == "case":
            zeros = {axis.field: axis.zero for axis in AXES.values() if axis.zero and content[axis.field] == 0}
            yield Facts(known_facts(_shown_on(content["device"], {**content, **zeros})), heading)
        else:
            shown = _shown_on(run["case"]["device"], content) if heading == "facts" else content
            yield Facts(known_facts(shown), heading)


def _with_commits_named(facts: Mapping[str, Any], *, has_code: bool) -> dict[str, Any]:
    """A run's facts, its commits named by what they are of.

    Args:
        facts: of the run.
        has_code: whether it imported code of the user's.
    """
    words = {
        "program_version": "version of bench",
        "program_commit": "commit of bench",
        "project_commit": f"commit of {'the code that was measured' if has_code else 'the folder it was started in'}",
    }
    return {words.get(name, name): value for name, value in facts.items()}


def _shown_on(device: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as they are on a GPU; on a processor without those that a GPU alone is concerned by."""
    of_gpus = () if device != "cpu" else ("cuda_", "cudnn_", "tf32")
    return {
        name: _shown_on(device, value) if isinstance(value, Mapping) else value
        for name, value in facts.items()
        if not name.startswith(of_gpus)
    }


def _phases(phases: Sequence[Mapping[str, Any]]) -> Table:
    measured = [name for name in phases[0] if any(phase[name] is not None for phase in phases)]
    return Table(
        tuple(Column(worded(name, 0)[0], left=name == "phase") for name in measured),
        tuple(
            tuple("" if phase[name] is None else worded(name, phase[name])[1] for name in measured) for phase in phases
        ),
    )


def _calls(calls: Sequence[Mapping[str, Any]]) -> Table:
    """The calls of inference, some thousand of them, in a row for each call path and batch."""
    seconds: dict[tuple[int, str], list[float]] = {}
    for call in calls:
        seconds.setdefault((call["predict_batch"], call["entry"]), []).append(call["seconds"])
    grown = _memory_growth(calls)
    heads = ("batch", "calls", "p50", "p95", "p99", *grown)
    return Table(
        (Column("call path"), *(Column(head, left=False) for head in heads)),
        tuple(
            (
                *(call_path, str(batch), str(len(times)), *map(measured_time, quantiles(times, 0.5, 0.95, 0.99))),
                *(by_path.get(call_path, NONE) if batch == 1 else "" for by_path in grown.values()),
            )
            for (batch, call_path), times in seconds.items()
        ),
    )


def _memory_growth(calls: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """By heading and call path: the median over the run's series of calls, with its interval."""
    frame, shown = pd.DataFrame(calls).assign(run_id=""), {}
    for metric in METRICS.values():
        if isinstance(metric.source, FromCallMemory) and metric.column:
            growth = call_memory_growth(frame, metric.source)
            if growth:
                by_path = {path: figure_in(median_runs(values), metric.column) for (_, path), values in growth.items()}
                shown[metric.column.heading] = {path: together(*figure) for path, figure in by_path.items()}
    return shown


def _modules(modules: Sequence[Mapping[str, str]]) -> Table:
    """The user's modules that the run imported."""
    heads = ("module", "file", "content (SHA-256)", "installed package")
    return Table(
        tuple(Column(head, wrap=head == "file") for head in heads),
        tuple(
            (module["name"], module["file"], module["sha256"][:_DIGITS], module["distribution"] or NONE)
            for module in modules
        ),
        empty=NONE,
    )


def _evidence(phases: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    heads = ("phase", "layer", "kernel", "operations seen in its scope", "program")
    return Table(
        tuple(Column(head, wrap=head.startswith("operations")) for head in heads),
        tuple(
            (
                *(phase, layer, cudnn_kernel_words(evidence["kernel"], evidence["operations"])),
                *(in_words(evidence["operations"]), evidence.get("artefact") or NONE),
            )
            for phase, layers in phases.items()
            for layer, evidence in layers.items()
        ),
        empty=NONE,
    )
