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
from typing import Any

from bench.core.errors import unknown


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


class Kind(StrEnum):
    """What a metric depends on: the machine and what runs on it (`TIME`, `MEMORY`), or the numbers alone."""

    TIME = "time"
    MEMORY = "memory"
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


@dataclass(frozen=True)
class Metric:
    """What is compared, and how."""

    name: str
    """With its unit, as in the records of runs."""
    words: str
    kind: Kind
    margins: Margins
    """Where the user names none."""
    lower_is_better: bool = True
    as_ratio: bool = True
    """Compared by the ratio new/base; else by the difference new - base, and the margins are in the metric's unit."""
    required: bool = False
    """Whether a gate asks for certainty about it where the user names none."""


# Where code and data happen to lie in memory moves a program's time, and no repetition of the same layout shows it
# (Mytkowicz et al., 2009; Curtsinger & Berger, 2013): hence the floor.
_USUAL = Margins(tolerance=0.03, floor=0.005)
# In shares of the test set: of MNIST's 10,000 images 50, and 5.
_ACCURACY = Margins(tolerance=0.005, floor=0.0005)
_LOSS = Margins(tolerance=0.10, floor=0.01)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("train_seconds", "training", Kind.TIME, _USUAL, required=True),
        Metric("compile_seconds", "compile", Kind.TIME, _USUAL),
        Metric("latency_seconds", "latency", Kind.TIME, _USUAL, required=True),
        Metric("throughput", "throughput", Kind.TIME, _USUAL, lower_is_better=False, required=True),
        Metric("memory_bytes", "memory", Kind.MEMORY, _USUAL),
        Metric("accuracy", "accuracy", Kind.QUALITY, _ACCURACY, lower_is_better=False, as_ratio=False, required=True),
        Metric("loss", "loss", Kind.QUALITY, _LOSS),
    )
}


def find_metric(name: str, origin: str) -> Metric:
    """A metric by its name.

    Raises:
        UsageError: there is none; `origin` says where the name came from.
    """
    if name in METRICS:
        return METRICS[name]
    raise unknown("metric", name, METRICS, origin)
