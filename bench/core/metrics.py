"""What a run measures (`Observation`, `RunMetadata`) and the metrics made from it (`METRICS`).

Each is declared once, here: a field of the two records is a column of the store, with its documentation and unit; a row
of `METRICS` is a metric in every table, verdict, gate, history and export. Plain dataclasses without numpy: the worker
shares them with the harness, and a suite that names margins stays light.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from bench.core.errors import unknown
from bench.core.metric import (
    FromCallMemory,
    FromCalls,
    FromMetadata,
    FromPhase,
    Margins,
    Metric,
    MetricKind,
    Reduction,
    TableColumn,
)
from bench.core.phases import PHASES, WHOLE_RUN
from bench.core.units import BYTES, FRACTION, NUMBER, PER_SECOND, SECONDS, Scale

CALL_PATHS = ("predict", "compiled")
"""How a trained model is called: by `model.predict`, or by the call that a service would use (`tf.function`, `jax.jit`,
torch's inference mode, an ONNX session). Each is a phase of the attestation."""


def column(
    doc: str, unit: str = "", *, at_least: float | None = 0, at_most: float | None = None, nan: bool = False
) -> Any:
    """A field that is None where it was not measured, and a column of the store.

    Args:
        doc: what the column holds, for its readers.
        unit: of its values, in words; empty where they have none.
        at_least: the smallest number that it can hold; None where it can hold any, NaN and infinities too.
        at_most: the largest.
        nan: whether NaN is a value that a run may give, as where training diverges.
    """
    return field(default=None, metadata=described(doc, unit, at_least=at_least, at_most=at_most, nan=nan))


def described(doc: str, unit: str = "", **allowed: float | bool | None) -> Mapping[str, Any]:
    """The metadata that make a dataclass's field a documented column: `doc`, `unit`, and the range of its numbers."""
    return MappingProxyType({"doc": doc, "unit": unit, **allowed})


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One row of the store: a phase of a run, and what was measured in it. What was not measured is None."""

    phase: str = field(metadata=described(f"{', '.join(PHASES)}, or {WHOLE_RUN} for the whole run"))
    epoch: int | None = column("from 1, for train and validate", at_least=1)
    seconds: float | None = column("wall time of the phase", "seconds")
    cpu_seconds: float | None = column("CPU time of all threads of the run's process", "seconds")
    iterator_seconds: float | None = column(
        "for train: what making the epoch's iterators took, as far as the backend does it apart from the first batch; "
        "a part of `seconds`",
        "seconds",
    )
    samples: int | None = column("samples processed")
    loss: float | None = column("mean over the samples", at_least=None)
    accuracy: float | None = column("fraction of samples, 0 to 1", at_most=1, nan=True)
    mae: float | None = column("mean absolute error over the targets, where they are numbers", nan=True)
    targets: int | None = column("targets that the scores are over: samples, or their steps without padding")
    entry: str | None = column(
        "for predict: the call path, predict (model.predict) or compiled (the call that a service would use)"
    )
    predict_batch: int | None = column("for predict: samples a call", at_least=1)
    call: int | None = column("for predict: from 1, in the order of the calls of this call path and batch", at_least=1)
    series: int | None = column(
        "for predict: which series of calls in a row through this call path and batch, from 1", at_least=1
    )
    rss_bytes: int | None = column(
        "for predict: resident memory after the call; read after a series' first, last and every tenth call", "bytes"
    )
    device_bytes: int | None = column(
        "for predict: memory in use on the device then, where the backend reports it", "bytes"
    )


@dataclass(frozen=True, kw_only=True)
class RunMetadata:
    """What is true of a run as a whole; stored beside each of its observations."""

    parameters: int | None = column("weights of the built model, trainable or not")
    forward_flops_per_sample: float | None = column("floating-point operations, by formula; a multiply-add is 2")
    training_flops_per_sample: float | None = column("the same for forward and backward; null for an unknown cell")
    attested_kernel: str | None = column(
        "the kernel that the executed programs show; mixed where layers or phases differ"
    )
    attestation_json: str | None = column(
        "the evidence by phase and layer, JSON: the kernel, the operations counted, and a digest of the artefact"
    )
    code_json: str | None = column(
        "the user's modules that the run imported, and those of packages that only they import, JSON: name, file, "
        "SHA-256 of its content, distribution (bench.core.code); null for a run of schema 2 or older"
    )
    data_digest: str | None = column("digest of the data's content")
    task_json: str | None = column(
        "the task, JSON: its target, the size of its data, and `family`, what data of several sizes have in common "
        "(bench.catalog.tasks.description); null for a run of schema 3 or older"
    )
    test_predictions: str | None = column(
        "the test set's labels and predicted probabilities (bench.core.predictions), where a sample has a class"
    )
    r2: float | None = column(
        "on the test set, where targets are numbers: 1 less the squared error over their variance, padding left out",
        at_least=None,
    )
    output_difference: float | None = column(
        "largest absolute difference of the runtime's outputs from Keras's, over the test set; null for Keras itself",
        at_least=None,
    )
    rss_start_bytes: int | None = column("resident memory just before the model is built", "bytes")
    rss_train_bytes: int | None = column(
        "resident memory just before the first timed epoch, where the peak was reset", "bytes"
    )
    peak_rss_bytes: int | None = column("highest resident memory from there to the end of the run", "bytes")
    load_start: float | None = column("load average over one minute when the run began")
    load_end: float | None = column("load average over one minute when the run ended")
    steal_fraction_start: float | None = column(
        "CPU time taken by the hypervisor in the second before the run, fraction of the machine's"
    )
    steal_fraction: float | None = column("CPU time taken by the hypervisor during the run, fraction of the machine's")
    other_cpu_fraction: float | None = column(
        "CPU time used by other processes during the run, fraction of the machine's"
    )
    extra_json: str | None = column(
        "facts of the backend read back after the run, JSON: jit_compile, TF32 settings, cuDNN version"
    )


# Where code and data happen to lie in memory moves a program's time, and no repetition of the same layout shows it
# (Mytkowicz et al., 2009; Curtsinger & Berger, 2013): hence the floor.
_USUAL = Margins(tolerance=0.03, floor=0.005)
# R² and accuracy are both of 1 at most; in fractions of the test set: of MNIST's 10,000 images 50, and 5.
_ACCURACY = Margins(tolerance=0.005, floor=0.0005)
_LOSS = Margins(tolerance=0.10, floor=0.01)

_PLAIN = (Scale(),)
_MILLI = (Scale(factor=1e3),)
_MEGA = (Scale(factor=1e-6, decimals=2),)
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
                name="memory_bytes",
                title="memory",
                kind=MetricKind.RESOURCE,
                source=FromMetadata("peak_rss_bytes", minus="rss_start_bytes"),
                unit=BYTES,
                margins=_USUAL,
                column=TableColumn("memory", (Scale(" GB", 1e-9, least=999.5e6), *BYTES.scales), position=9),
                key="memory_above_start_bytes",
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
