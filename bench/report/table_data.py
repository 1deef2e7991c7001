"""The comparison table for programs: JSON-able, in SI units and full precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.analysis.claims import judge_claims
from bench.analysis.rows import InferenceFigures, Row
from bench.analysis.stalls import find_lost_cores, find_stalls
from bench.analysis.summary import Section
from bench.analysis.trends import find_trends
from bench.core.metric import FromCalls
from bench.core.metrics import METRICS
from bench.report.across_machines import machines_object
from bench.report.jsonout import estimate_object
from bench.report.remarks import trends_object


def table_data(sections: Sequence[Section]) -> dict[str, Any]:
    """The same JSON-able, in SI units and full precision."""
    over_machines = machines_object(sections)
    return {
        "sections": [_section_object(section) for section in sections],
        **({"over_machines": over_machines} if over_machines else {}),
    }


def _section_object(section: Section) -> dict[str, Any]:
    return {
        "task": section.task,
        "data_digest": section.data_digest,
        "machine_fingerprint": section.machine_fingerprint,
        "software_fingerprint": section.software_fingerprint,
        "machine": dict(section.machine),
        "software": dict(section.software),
        "program_commits": list(section.commits),
        "shared": dict(section.shared),
        "axes": list(section.axes),
        "joined": list(section.joined),
        "intervals_together": section.together,
        "rows": [row_object(row) for row in section.rows],
        "lost_cores": [
            {"configuration_id": row.configuration.configuration_id, **asdict(lost)}
            for row, lost in zip(section.rows, find_lost_cores([row.runs for row in section.rows]), strict=True)
            if lost
        ],
        "trends": trends_object(find_trends(section.runs)),
        "claims": [asdict(claim) for claim in judge_claims(section)],
    }


def row_object(row: Row) -> dict[str, Any]:
    """The figures of a row, JSON-able."""
    statuses: Counter[str] = Counter()
    for excluded in row.excluded:
        statuses[excluded.status] += excluded.runs
    return {
        "cell": row.cell,
        "axes": dict(row.axes),
        "configuration_id": row.configuration.configuration_id,
        "parameters": row.parameters,
        **{
            metric.json_key: estimate_object(row.estimates.get(metric.name))
            for metric in METRICS.values()
            if metric.once_a_run
        },
        "train_seconds_first_epoch_only": row.first_epoch_only,
        "ratio_to_simple_rnn": estimate_object(row.ratio),
        "ratio_to_generic": estimate_object(row.generic_ratio),
        "interleaved": _interleaved_object(row),
        "limits": asdict(row.efficiency) if row.efficiency else None,
        "inference": [_inference_object(figures) for figures in row.inference],
        "predict_over_compiled": estimate_object(row.predict_ratio),
        "window_over_step": estimate_object(row.window_ratio),
        "train_seconds_over_keras": estimate_object(row.keras_train_ratio),
        "compiled_latency_over_keras": estimate_object(row.keras_latency_ratio),
        "kernel_asked": row.configuration.kernel,
        "kernels_attested": list(row.kernels_attested),
        "stalls": asdict(stalls) if (stalls := find_stalls(row.runs)) else None,
        "runs_ok": len(row.runs),
        "seeds": row.seeds,
        "runs_left_out": dict(statuses),
        "left_out": [asdict(excluded) for excluded in row.excluded],
    }


def _interleaved_object(row: Row) -> dict[str, Any] | None:
    figures = row.interleaved
    if figures is None:
        return None
    return {
        "step_seconds": estimate_object(figures.step_seconds),
        "ratio_to_simple_rnn": estimate_object(figures.ratio),
        "step_over_anchor": estimate_object(figures.anchor_ratio),
    }


def _inference_object(figures: InferenceFigures) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for metric in METRICS.values():
        if not metric.is_of(figures.call_path):
            continue
        if isinstance(metric.source, FromCalls) and metric.source.by_batch:
            batches = figures.by_batch.get(metric.name, {})
            values[metric.json_key] = {str(batch): estimate_object(speed) for batch, speed in batches.items()}
        elif metric.of_calls:
            values[metric.json_key] = estimate_object(figures.estimates.get(metric.name))
    return {"entry": figures.call_path, "kernels_attested": list(figures.kernels_attested), **values}
