"""Results in the formats of other tools. Pure: JSON-able objects.

Both have a benchmark for each configuration and metric, named `cell × axes · metric`, and a value for each run (for
accuracy and loss each seed): a round of pytest-benchmark's is a run of ours.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import bench
from bench.analysis.rows import Row
from bench.analysis.samples import centre, readings
from bench.analysis.stats import median_runs
from bench.analysis.summary import Section
from bench.core.axes import varying
from bench.core.errors import UsageError
from bench.core.metric import Metric, MetricKind
from bench.report.values import case_label, clean


def pytest_benchmark(sections: Sequence[Section], began: str) -> dict[str, Any]:
    """What `pytest --benchmark-json` writes, of the metrics that are times (throughput as seconds a sample).

    Args:
        sections: results of one machine.
        began: when the first run began, ISO 8601.

    Raises:
        UsageError: results of several machines; the format has one for a file.
    """
    machine = _machine(sections)
    commits = sorted({commit for section in sections for commit in section.commits})
    commit, _, dirty = commits[-1].partition("+") if commits else ("unknown", "", "")
    return {
        "machine_info": machine,
        "commit_info": {"id": commit, "time": began, "dirty": bool(dirty), "project": "bench", "branch": "unknown"},
        "benchmarks": [
            {
                "group": metric.title,
                "name": name,
                "fullname": f"bench::{name}",
                "params": {
                    axis: _inert(value) if isinstance(value, str) else value
                    for axis, value in asdict(row.configuration).items()
                },
                "param": None,
                "extra_info": {"kernels_attested": list(row.kernels_attested), "unit": "seconds"},
                "options": {"timer": "perf_counter_ns", "disable_gc": False, "warmup": True},
                "stats": _statistics(values),
            }
            for name, metric, row, values in _benchmarks(sections)
            if metric.kind is MetricKind.TIME
        ],
        "datetime": began,
        "version": f"bench {bench.__version__}",
    }


def github_action_benchmark(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """What github-action-benchmark reads as `customSmallerIsBetter`: the inverse of what is better when larger.

    Throughput is seconds a sample, and accuracy the rate of errors; a value is the median over runs, or the mean over
    seeds, and its range a 95 % interval.

    Args:
        sections: results of one machine.

    Raises:
        UsageError: results of several machines; their values would stand in one chart.
    """
    _machine(sections)
    return [
        {
            "name": name,
            "unit": metric.exported_unit or metric.unit.name,
            "value": centre(metric, values),
            "range": _range(metric, values),
            "extra": f"{len(values)} {metric.replicate}s; kernel {clean(', '.join(row.kernels_attested)) or 'unknown'}",
        }
        for name, metric, row, values in _benchmarks(sections)
    ]


def _benchmarks(sections: Sequence[Section]) -> Iterator[tuple[str, Metric, Row, list[float]]]:
    """A name, its metric, its row and a value for each run (or seed), of which less is better."""
    rows = [row for section in sections for row in section.rows]
    axes = varying(row.configuration for row in rows)
    for row in rows:
        for (metric, detail), measured in readings(row.runs).items():
            values = [_smaller_is_better(metric, reading.value) for reading in measured]
            yield (
                _inert(" · ".join(filter(None, [case_label(row.configuration, axes), metric.title, detail]))),
                metric,
                row,
                values,
            )


def _inert(text: str) -> str:
    """A text that no spreadsheet takes for a formula: these tools write tables of them."""
    cleaned = clean(text)
    return f"'{cleaned}" if cleaned.startswith(("=", "+", "-", "@")) else cleaned


def _smaller_is_better(metric: Metric, value: float) -> float:
    if metric.lower_is_better:
        return value
    return 1 / value if metric.as_ratio else 1 - value


def _range(metric: Metric, values: Sequence[float]) -> str:
    interval = median_runs(values).interval
    return f"{interval.low:.6g} to {interval.high:.6g}" if interval else "no interval"


def _machine(sections: Sequence[Section]) -> Mapping[str, Any]:
    machines = {section.machine_fingerprint: section.machine for section in sections}
    if len(machines) > 1:
        raise UsageError(
            f"these results are of {len(machines)} machines, and a file of this format is of one: name a part of them."
        )
    return dict(next(iter(machines.values()), {}))


def _statistics(values: Sequence[float]) -> dict[str, Any]:
    """pytest-benchmark's figures of the rounds, by its definitions (quartiles by its two methods)."""
    data = sorted(values)
    n = len(data)
    # Evenly spaced values lie on the fences but for rounding: `fmean` rounds twice, and would count them otherwise.
    mean, deviation = statistics.mean(data), statistics.stdev(data) if n > 1 else 0.0
    q1, q3 = _quartile(data), -_quartile([-x for x in reversed(data)])
    fence = 1.5 * (q3 - q1)
    stddev_outliers = sum(x < mean - deviation or x > mean + deviation for x in data)
    iqr_outliers = sum(x < q1 - fence or x > q3 + fence for x in data)
    inside = [x for x in data if q1 - fence <= x <= q3 + fence]
    return {
        "min": data[0],
        "max": data[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": n,
        "median": statistics.median(data),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": iqr_outliers,
        "stddev_outliers": stddev_outliers,
        "outliers": f"{stddev_outliers};{iqr_outliers}",
        "ld15iqr": inside[0],
        "hd15iqr": inside[-1],
        "ops": n / sum(data) if sum(data) else 0.0,
        "total": sum(data),
        "data": list(values),
        "iterations": 1,
    }


def _quartile(data: Sequence[float]) -> float:
    """The first quartile of sorted values."""
    n, rest = divmod(len(data), 4)
    if len(data) == 1:
        return data[0]
    if rest in (0, 2):
        return statistics.median(data[: len(data) // 2])
    return 0.25 * data[n - 1] + 0.75 * data[n] if rest == 1 else 0.75 * data[n] + 0.25 * data[n + 1]
