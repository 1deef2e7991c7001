"""The metrics, each declared once: a row of `METRICS` is a metric in every table, verdict, gate, history and export.

They are made from what a run measures (`bench.core.observation`). Without numpy: a suite with margins stays light.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bench.core.errors import unknown
from bench.core.metric import (
    FromCallMemory,
    FromCalls,
    FromInterleaved,
    FromMetadata,
    FromPhase,
    Margins,
    Metric,
    MetricKind,
    Reduction,
    TableColumn,
)
from bench.core.units import BYTES, FRACTION, JOULES, NUMBER, PER_SECOND, SECONDS, Scale

# Where code and data happen to lie in memory moves a program's time, and no repetition of the same layout shows it
# (Mytkowicz et al., 2009; Curtsinger & Berger, 2013): hence the floor.
_USUAL = Margins(tolerance=0.03, floor=0.005)
# R² and accuracy are both of 1 at most; in fractions of the test set: of MNIST's 10,000 images 50, and 5.
_ACCURACY = Margins(tolerance=0.005, floor=0.0005)
_LOSS = Margins(tolerance=0.10, floor=0.01)

_PLAIN = (Scale(),)
_MILLI = (Scale(factor=1e3),)
_MICRO = (Scale(factor=1e6),)
_MEGA = (Scale(factor=1e-6, decimals=2),)
_KILO = (Scale(factor=1e3),)
_MEMORY = (Scale(" GB", 1e-9, least=999.5e6), *BYTES.scales)
_RATE = (Scale(decimals=0, rounded=True),)

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric(
                name="train_seconds",
                title="training",
                kind=MetricKind.TIME,
                source=FromPhase("train", "seconds", Reduction.STEADY_MEDIAN),
                unit=SECONDS,
                margins=_USUAL,
                required=True,
                column=TableColumn("s/epoch", _PLAIN, position=5, interval="range"),
                exported_unit="s/epoch",
            ),
            Metric(
                name="step_over_anchor",
                title="step ÷ anchor",
                kind=MetricKind.TIME,
                source=FromInterleaved(),
                unit=NUMBER,
                margins=_USUAL,
                stands_for="train_seconds",
            ),
            Metric(
                name="samples_per_second",
                title="training speed",
                kind=MetricKind.TIME,
                source=FromPhase("train", "samples", Reduction.STEADY_MEDIAN, per="seconds"),
                unit=PER_SECOND,
                lower_is_better=False,
                column=TableColumn("samples/s", _RATE, position=6, narrow=False),
            ),
            Metric(
                name="first_epoch_seconds",
                title="first epoch",
                kind=MetricKind.TIME,
                source=FromPhase("train", "seconds", Reduction.FIRST_EPOCH),
                unit=SECONDS,
                column=TableColumn("first s", _PLAIN, position=7),
            ),
            Metric(
                name="compile_seconds",
                title="compile",
                kind=MetricKind.TIME,
                source=FromPhase("compile", "seconds", Reduction.SUM),
                unit=SECONDS,
                margins=_USUAL,
                column=TableColumn("compile s", _PLAIN, position=8),
                exported_unit="s",
            ),
            Metric(
                name="latency_seconds",
                title="latency",
                kind=MetricKind.TIME,
                source=FromCalls(0.5),
                unit=SECONDS,
                margins=_USUAL,
                required=True,
                column=TableColumn("p50 ms", _MILLI, position=1, interval="range"),
                key="p50_seconds",
                exported_unit="s",
            ),
            Metric(
                name="latency_p95_seconds",
                title="latency, 95th percentile",
                kind=MetricKind.TIME,
                source=FromCalls(0.95),
                unit=SECONDS,
                column=TableColumn("p95 ms", _MILLI, position=2),
                key="p95_seconds",
            ),
            Metric(
                name="latency_p99_seconds",
                title="latency, 99th percentile",
                kind=MetricKind.TIME,
                source=FromCalls(0.99),
                unit=SECONDS,
                column=TableColumn("p99 ms", _MILLI, position=3),
                key="p99_seconds",
            ),
            Metric(
                name="throughput",
                title="throughput",
                kind=MetricKind.TIME,
                source=FromCalls(0.5, by_batch=True),
                unit=PER_SECOND,
                margins=_USUAL,
                lower_is_better=False,
                required=True,
                column=TableColumn("samples/s", _RATE, position=4),
                key="samples_per_second",
                exported_unit="s/sample",
            ),
            Metric(
                name="step_latency_seconds",
                title="step latency",
                kind=MetricKind.TIME,
                source=FromCalls(0.5, of_steps=True),
                unit=SECONDS,
                margins=_USUAL,
                column=TableColumn("p50 µs/step", _MICRO, position=7, interval="range"),
                key="step_p50_seconds",
                exported_unit="s",
            ),
            Metric(
                name="step_latency_p95_seconds",
                title="step latency, 95th percentile",
                kind=MetricKind.TIME,
                source=FromCalls(0.95, of_steps=True),
                unit=SECONDS,
                column=TableColumn("p95 µs/step", _MICRO, position=8),
                key="step_p95_seconds",
            ),
            Metric(
                name="step_latency_p99_seconds",
                title="step latency, 99th percentile",
                kind=MetricKind.TIME,
                source=FromCalls(0.99, of_steps=True),
                unit=SECONDS,
                column=TableColumn("p99 µs/step", _MICRO, position=9),
                key="step_p99_seconds",
            ),
            Metric(
                name="step_throughput",
                title="step throughput",
                kind=MetricKind.TIME,
                source=FromCalls(0.5, by_batch=True, of_steps=True),
                unit=PER_SECOND,
                margins=_USUAL,
                lower_is_better=False,
                column=TableColumn("steps/s", _RATE, position=10),
                key="steps_per_second",
                exported_unit="s/step",
            ),
            Metric(
                name="call_memory_bytes",
                title="memory growth per 1,000 calls",
                kind=MetricKind.RESOURCE,
                source=FromCallMemory("rss_bytes", per_calls=1_000),
                unit=BYTES,
                column=TableColumn("MB/1,000 calls", _MEGA, position=5, interval="range", always=False),
            ),
            Metric(
                name="call_device_memory_bytes",
                title="device memory growth per 1,000 calls",
                kind=MetricKind.RESOURCE,
                source=FromCallMemory("device_bytes", per_calls=1_000),
                unit=BYTES,
                column=TableColumn("device MB/1,000 calls", _MEGA, position=6, interval="range", always=False),
            ),
            Metric(
                name="device_memory_bytes",
                title="device memory",
                kind=MetricKind.RESOURCE,
                source=FromMetadata("device_memory_bytes"),
                unit=BYTES,
                margins=_USUAL,
                column=TableColumn("device memory", _MEMORY, position=9, always=False),
                exported_unit="bytes",
            ),
            Metric(
                name="memory_bytes",
                title="memory",
                kind=MetricKind.RESOURCE,
                source=FromMetadata("peak_rss_bytes", minus="rss_start_bytes"),
                unit=BYTES,
                margins=_USUAL,
                column=TableColumn("memory", _MEMORY, position=10),
                key="memory_above_start_bytes",
            ),
            Metric(
                name="epoch_energy_joules",
                title="energy per epoch",
                kind=MetricKind.RESOURCE,
                source=FromPhase("train", "energy_joules", Reduction.STEADY_MEDIAN),
                unit=JOULES,
                margins=_USUAL,
                column=TableColumn("J/epoch", _PLAIN, position=11, interval="range", always=False),
                exported_unit="J/epoch",
            ),
            Metric(
                name="idle_epoch_energy_joules",
                title="idle energy per epoch",
                kind=MetricKind.RESOURCE,
                source=FromPhase("train", "idle_energy_joules", Reduction.STEADY_MEDIAN),
                unit=JOULES,
                column=TableColumn("idle J/epoch", _PLAIN, position=12, always=False, narrow=False),
            ),
            Metric(
                name="prediction_energy_joules",
                title="energy per prediction",
                kind=MetricKind.RESOURCE,
                source=FromPhase("calls", "energy_joules", Reduction.SUM, per="samples"),
                unit=JOULES,
                margins=_USUAL,
                column=TableColumn("J/1,000 predictions", _KILO, position=13, interval="range", always=False),
                exported_unit="J/prediction",
            ),
            Metric(
                name="accuracy",
                title="accuracy",
                kind=MetricKind.QUALITY,
                source=FromPhase("evaluate", "accuracy", Reduction.PROPORTION),
                unit=FRACTION,
                margins=_ACCURACY,
                lower_is_better=False,
                as_ratio=False,
                required=True,
                column=TableColumn("accuracy %", (Scale(factor=100, decimals=2),), position=1, interval="half width"),
                key="test_accuracy",
                exported_unit="error rate",
            ),
            Metric(
                name="accuracy_lost",
                title="accuracy lost in export",
                kind=MetricKind.QUALITY,
                source=FromMetadata("accuracy_lost"),
                unit=FRACTION,
                margins=_ACCURACY,
                as_ratio=False,
                column=TableColumn(
                    "lost in export %",
                    (Scale(factor=100, decimals=2),),
                    position=14,
                    interval="half width",
                    always=False,
                ),
                exported_unit="fraction",
            ),
            Metric(
                name="loss",
                title="loss",
                kind=MetricKind.QUALITY,
                source=FromPhase("evaluate", "loss", Reduction.LAST),
                unit=NUMBER,
                margins=_LOSS,
                column=TableColumn("loss", NUMBER.scales, position=2, interval="half width"),
                key="test_loss",
                exported_unit="loss",
            ),
            Metric(
                name="mae",
                title="mean absolute error",
                kind=MetricKind.QUALITY,
                source=FromPhase("evaluate", "mae", Reduction.LAST),
                unit=NUMBER,
                margins=_LOSS,
                column=TableColumn("MAE", NUMBER.scales, position=3, interval="half width", always=False),
                key="test_mae",
                exported_unit="mean absolute error",
            ),
            Metric(
                name="r2",
                title="R²",
                kind=MetricKind.QUALITY,
                source=FromMetadata("r2"),
                unit=NUMBER,
                margins=_ACCURACY,
                lower_is_better=False,
                as_ratio=False,
                column=TableColumn("R²", NUMBER.scales, position=4, interval="half width", always=False),
                key="test_r2",
                exported_unit="1 - R²",
            ),
        )
    }
)

COMPARED: Mapping[str, Margins] = MappingProxyType(
    {name: metric.margins for name, metric in METRICS.items() if metric.margins}
)
"""The margins of the metrics that a comparison, a gate and a history know."""


def find_metric(name: str, origin: str) -> Metric:
    """A metric that is compared, by its name or by its title, which is what verdicts call it.

    Args:
        name: its name or title.
        origin: where the name came from, for the message.

    Raises:
        UsageError: there is none.
    """
    compared = [METRICS[known] for known in COMPARED]
    metric = next((metric for metric in compared if name in (metric.name, metric.title)), None)
    if metric is None:
        raise unknown("metric", name, [text for each in compared for text in {each.name, each.title}], origin)
    return metric
