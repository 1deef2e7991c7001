"""`bench show`: one run, with its case, phases, evidence and environment."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.layout import say, section, table
from bench.cli.options import DataFormat, DataFormatOption, ResultsArgument, measured
from bench.core.axes import AXES
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.core.metrics import Observation, RunMetadata
from bench.report.values import NONE, in_words, measured_time, worded

if TYPE_CHECKING:
    import pandas as pd


def show(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, or the beginning of it; `last` is the newest.")
    ],
    results: ResultsArgument = None,
    fmt: DataFormatOption = DataFormat.TEXT,
) -> None:
    """Show one run: its case, its phases, the evidence of its kernel, its environment."""
    from bench.store import load

    frame = load(measured(results), warn=say, all_attempts=True)
    run = describe(_find(frame, run_id))
    if fmt is DataFormat.JSON:
        typer.echo(json.dumps(run, indent=1))
        return
    _print(run)


def _find(frame: pd.DataFrame, wanted: str) -> pd.DataFrame:
    if wanted == "last":
        found = [str(frame.sort_values("started_at")["run_id"].iloc[-1])]
    else:
        found = [run for run in map(str, frame["run_id"].unique()) if run.startswith(wanted)]
    if not found:
        raise UsageError(f"no run has an id that begins with {wanted!r}: parts are named by the id of their run.")
    if len(found) > 1:
        raise UsageError(f"{len(found)} runs have an id that begins with {wanted!r}: give more of it.")
    return frame[frame["run_id"] == found[0]]


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
)
_WHOLE = frozenset(
    one.name for kind in (RunMetadata, Observation) for one in fields(kind) if one.type.startswith("int")
)
"""What the frame has as a float64, because it may be missing, and is a whole number."""


def describe(rows: pd.DataFrame) -> dict[str, Any]:
    """All that is known of the run whose observations these are, JSON-able, in the order in which it is shown."""
    records = [{name: _plain(name, value) for name, value in row.items()} for row in rows.to_dict("records")]
    first = records[0]
    facts = {
        field.name: first[field.name]
        for field in fields(RunMetadata)
        if not field.name.endswith("_json") and field.name != "test_predictions"  # 70 kB for a report to read
    }
    return {
        "run": {key: first[key] for key in _HEADER},
        "case": {"case_id": first["case_id"], **{field.name: first[field.name] for field in fields(Case)}},
        "phases": [{field.name: record[field.name] for field in fields(Observation)} for record in records],
        "facts": {**facts, **_parsed(first["extra_json"])},
        "kernel": _parsed(first["attestation_json"]),
        "machine": {"fingerprint": first["machine_fingerprint"], **_parsed(first["machine_json"])},
        "software": {"fingerprint": first["software_fingerprint"], **_parsed(first["software_json"])},
        "host": _parsed(first["host_json"]),
    }


def _plain(name: Hashable, value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None  # not measured, or not a number that JSON has; the run's error tells of a loss that isn't finite
    return int(value) if name in _WHOLE else value


def _parsed(text: str | None) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(text) if text else {}
    return parsed


def _print(run: dict[str, Any]) -> None:
    for number, (heading, content) in enumerate(run.items()):
        if number:
            typer.echo()
        if heading == "phases":
            typer.secho(heading, bold=True)
            _print_phases([phase for phase in content if phase["call"] is None])
            _print_calls([phase for phase in content if phase["call"] is not None])
        elif heading == "kernel":
            typer.secho(heading, bold=True)
            _print_evidence(content)
        elif heading == "case":
            zeros = {axis.field: axis.zero for axis in AXES.values() if axis.zero and content[axis.field] == 0}
            section(heading, {**content, **zeros})
        else:
            section(heading, content)


def _print_phases(phases: list[dict[str, Any]]) -> None:
    used = [name for name in phases[0] if any(phase[name] is not None for phase in phases)]
    headings = [worded(name, 0)[0] for name in used]
    rows = [["" if phase[name] is None else worded(name, phase[name])[1] for name in used] for phase in phases]
    table(headings, rows, wrap=0, right=range(1, len(used)), indent="  ")


def _print_calls(calls: list[dict[str, Any]]) -> None:
    """The calls of inference, some thousand of them, in a row for each entry and batch."""
    from bench.analysis.stats import quantiles

    if not calls:
        return
    seconds: dict[tuple[int, str], list[float]] = {}
    for call in calls:
        seconds.setdefault((call["predict_batch"], call["entry"]), []).append(call["seconds"])
    rows = [
        (entry, str(batch), str(len(own)), *map(measured_time, quantiles(own, 0.5, 0.95, 0.99)))
        for (batch, entry), own in seconds.items()
    ]
    typer.echo()
    typer.secho("inference", bold=True)
    table(("entry", "batch", "calls", "p50", "p95", "p99"), rows, wrap=0, right=range(1, 6), indent="  ")


def _print_evidence(evidence: dict[str, dict[str, dict[str, Any]]]) -> None:
    rows = [
        (phase, layer, one["kernel"], in_words(one["operations"]), one["artefact"])
        for phase, layers in evidence.items()
        for layer, one in layers.items()
    ]
    if rows:
        table(("phase", "layer", "kernel", "operations seen in its scope", "program"), rows, wrap=3, indent="  ")
    else:
        typer.echo(f"  {NONE}")
