"""What a run measures (`Observation`, `RunMetadata`) and the metrics made from it (`METRICS`).

Each is declared once, here: a field of the two records is a column of the store, with its documentation and unit; a row
of `METRICS` is a metric in every table, verdict, gate, history and export. Plain dataclasses without numpy: the worker
shares them with the harness, and a suite that names margins stays light.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from bench.core.errors import unknown
from bench.core.units import BYTES, FRACTION, NUMBER, PER_SECOND, SECONDS, Scale, Unit

CALL_PATHS = ("predict", "compiled")
"""How a trained model is called: by `model.predict`, or by the call that a service would use (`tf.function`, `jax.jit`,
torch's inference mode, an ONNX session). Each is a phase of the attestation."""


def column(doc: str, unit: str = "") -> Any:
    """A field that is None where it was not measured, and a column of the store.

    Args:
        doc: what the column holds, for its readers.
        unit: of its values, in words; empty where they have none.
    """
    return field(default=None, metadata=described(doc, unit))


def described(doc: str, unit: str = "") -> Mapping[str, str]:
    """The metadata that make a dataclass's field a documented column: `doc` and `unit`."""
    return MappingProxyType({"doc": doc, "unit": unit})


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One row of the store: a phase of a run, and what was measured in it. What was not measured is None."""

    phase: str = field(
        metadata=described("build, compile, warmup, train, validate, evaluate, predict, or run for the whole run")
    )
    epoch: int | None = column("from 1, for train and validate")
    seconds: float | None = column("wall time of the phase", "seconds")
    cpu_seconds: float | None = column("CPU time of all threads of the run's process", "seconds")
    samples: int | None = column("samples processed")
    loss: float | None = column("mean over the samples")
    accuracy: float | None = column("fraction of samples, 0 to 1")
    entry: str | None = column(
        "for predict: the call path, predict (model.predict) or compiled (the call that a service would use)"
    )
    predict_batch: int | None = column("for predict: samples a call")
    call: int | None = column("for predict: from 1, in the order of the calls of this call path and batch")


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
    test_predictions: str | None = column("the test set's labels and predicted probabilities (bench.core.predictions)")
    output_difference: float | None = column(
        "largest absolute difference of the runtime's outputs from Keras's, over the test set; null for Keras itself"
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


class MetricKind(StrEnum):
    """What a metric depends on: the machine and what runs on it (`TIME`, `RESOURCE`), or the numbers alone."""

    TIME = "time"
    RESOURCE = "resource"
    """Memory, energy: what a run takes beside time."""
    QUALITY = "quality"


@dataclass(frozen=True)
class Margins:
    """What a change is judged by: fractions of the base (0.03 is 3 %) for a ratio, the metric's unit for a difference.

    `tolerance` is the equivalence margin: what still counts as the same. `floor` is the noise floor: the bias that no
    repetition removes, so that nothing below it counts as a change, however narrow its interval.

    Raises:
        ValueError: they are not 0 ≤ floor ≤ tolerance with a tolerance above 0.
    """

    tolerance: float
    floor: float

    def __post_init__(self) -> None:
        if not (0 <= self.floor <= self.tolerance < math.inf and self.tolerance > 0):
            raise ValueError(
                f"floor {self.floor:g} and tolerance {self.tolerance:g}: margins need 0 ≤ floor ≤ tolerance, and a "
                "tolerance above 0"
            )

    @property
    def of_logarithm(self) -> Margins:
        """The same two for the logarithm of a ratio. A ratio r and its inverse are equally far from 1 then."""
        return Margins(math.log1p(self.tolerance), math.log1p(self.floor))


class Reduction(StrEnum):
    """How the rows of one phase of a run become the run's figure."""

    STEADY_MEDIAN = "the median over the epochs from 2 on; over epoch 1 where there is no other"
    FIRST_EPOCH = "epoch 1"
    SUM = "the sum"
    LAST = "the last row"
    PROPORTION = "the last row, as a whole count of its samples over their number: without float32's rounding"


@dataclass(frozen=True)
class FromPhase:
    """A run's figure, made from a column of its rows of one phase."""

    phase: str
    column: str
    reduction: Reduction
    per: str = ""
    """The column that each row's value is divided by; empty for none."""

    @property
    def columns(self) -> frozenset[str]:
        """The columns of the store that it is made from."""
        samples = {"samples"} if self.reduction is Reduction.PROPORTION else set()
        return frozenset({self.column, self.per, *samples} - {""})


@dataclass(frozen=True)
class FromMetadata:
    """A run's figure, taken from a column of its metadata, less another."""

    column: str
    minus: str = ""

    @property
    def columns(self) -> frozenset[str]:
        """The columns of the store that it is made from."""
        return frozenset({self.column, self.minus} - {""})


@dataclass(frozen=True)
class FromCalls:
    """A run's figure for each call path, made from its calls of inference: a quantile of their seconds at batch 1."""

    quantile: float
    by_batch: bool = False
    """The throughput instead: for each batch larger than 1, the batch over the quantile of its calls."""

    phase: ClassVar[str] = "predict"
    columns: ClassVar[frozenset[str]] = frozenset({"entry", "predict_batch", "seconds"})


@dataclass(frozen=True)
class TableColumn:
    """A metric's column in the comparison table."""

    heading: str
    scales: tuple[Scale, ...]
    """How its values are written; the unit stands in the heading, or is the scale's symbol."""
    position: int
    """Columns stand in this order."""
    interval: Literal["range", "half width", "none"] = "none"
    """Whether the 95 % interval is shown as `low–high`, as `± half its width`, or not."""
    always: bool = True
    """Whether it is there although no run has the metric."""
    narrow: bool = True
    """Whether it is there on a narrow terminal too, where a row takes two lines."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure of a run: how it is made, what it means, how it is compared and how it is shown."""

    name: str
    """With its SI unit, as in the gate's settings, `--metric`, JSON and records of runs."""
    title: str
    """In words, as verdicts and exports name it."""
    kind: MetricKind
    source: FromPhase | FromMetadata | FromCalls
    unit: Unit
    margins: Margins | None = None
    """What a change is judged by where the user names nothing; None for a metric that is shown but not compared."""
    lower_is_better: bool = True
    as_ratio: bool = True
    """Compared by the ratio new/base; else by the difference new - base, and the margins are in the metric's unit."""
    required: bool = False
    """Whether a gate asks for certainty about it where the user names none."""
    column: TableColumn | None = None
    """None where the table doesn't show it."""
    key: str = ""
    """Its key in the table's JSON, where that isn't its name."""
    exported_unit: str = ""
    """The unit of what exports give, of which less is always better; the unit's name where it is empty."""

    @property
    def json_key(self) -> str:
        """Its key in the table's JSON."""
        return self.key or self.name

    @property
    def replicate(self) -> Literal["run", "seed"]:
        """The statistical unit: a seed gives a quality one value, whatever its repeats and campaigns."""
        return "seed" if self.kind is MetricKind.QUALITY else "run"

    @property
    def of_calls(self) -> bool:
        """Whether a run has the figure for each call path (and batch), and not once."""
        return isinstance(self.source, FromCalls)


# Where code and data happen to lie in memory moves a program's time, and no repetition of the same layout shows it
# (Mytkowicz et al., 2009; Curtsinger & Berger, 2013): hence the floor.
_USUAL = Margins(tolerance=0.03, floor=0.005)
# In fractions of the test set: of MNIST's 10,000 images 50, and 5.
_ACCURACY = Margins(tolerance=0.005, floor=0.0005)
_LOSS = Margins(tolerance=0.10, floor=0.01)

_PLAIN = (Scale(),)
_MILLI = (Scale(factor=1e3),)
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
                column=TableColumn("s/epoch", _PLAIN, position=3, interval="range"),
                exported_unit="s/epoch",
            ),
            Metric(
                name="samples_per_second",
                title="training speed",
                kind=MetricKind.TIME,
                source=FromPhase("train", "samples", Reduction.STEADY_MEDIAN, per="seconds"),
                unit=PER_SECOND,
                lower_is_better=False,
                column=TableColumn("samples/s", _RATE, position=4, narrow=False),
            ),
            Metric(
                name="first_epoch_seconds",
                title="first epoch",
                kind=MetricKind.TIME,
                source=FromPhase("train", "seconds", Reduction.FIRST_EPOCH),
                unit=SECONDS,
                column=TableColumn("first s", _PLAIN, position=5),
            ),
            Metric(
                name="compile_seconds",
                title="compile",
                kind=MetricKind.TIME,
                source=FromPhase("compile", "seconds", Reduction.SUM),
                unit=SECONDS,
                margins=_USUAL,
                column=TableColumn("compile s", _PLAIN, position=6),
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
                name="memory_bytes",
                title="memory",
                kind=MetricKind.RESOURCE,
                source=FromMetadata("peak_rss_bytes", minus="rss_start_bytes"),
                unit=BYTES,
                margins=_USUAL,
                column=TableColumn("memory", (Scale(" GB", 1e-9, least=999.5e6), *BYTES.scales), position=7),
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
        )
    }
)

COMPARED: Mapping[str, Margins] = MappingProxyType(
    {name: metric.margins for name, metric in METRICS.items() if metric.margins}
)
"""The margins of the metrics that a comparison, a gate and a history know."""


def find_metric(name: str, origin: str) -> Metric:
    """A metric that is compared, by its name.

    Args:
        name: its name.
        origin: where the name came from, for the message.

    Raises:
        UsageError: there is none.
    """
    if name in COMPARED:
        return METRICS[name]
    raise unknown("metric", name, COMPARED, origin)
