"""What a run measures: `Observation`, a row for each phase, epoch or call, and `RunMetadata`, for the run as a whole.

A field of either is a column of the store, with its documentation and unit. Plain dataclasses without numpy: the worker
shares them with the harness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from bench.core.metric import SEQUENCE_PATHS, STREAMING
from bench.core.phases import PHASES, WHOLE_RUN

CALL_PATHS = (*SEQUENCE_PATHS, STREAMING)
"""How a trained model is called. Each is a phase of the attestation."""


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
    energy_joules: float | None = column(
        "what the device used in the phase beyond its idle power, by its own counter; null where it has none",
        "joules",
        at_least=None,
    )
    idle_energy_joules: float | None = column(
        "what the device's idle power comes to in the phase's time", "joules", at_least=None
    )
    samples: int | None = column("samples processed")
    loss: float | None = column("mean over the samples", at_least=None)
    accuracy: float | None = column("fraction of samples, 0 to 1", at_most=1, nan=True)
    mae: float | None = column("mean absolute error over the targets, where they are numbers", nan=True)
    targets: int | None = column("targets that the scores are over: samples, or their steps without padding")
    entry: str | None = column(
        "for predict: the call path, predict (model.predict), compiled (the call that a service would use), or "
        "streaming (a step of each sequence, the network's state carried on)"
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
        "largest difference of the runtime's outputs from Keras's, over the test set, where outputs are larger than 1 "
        "as a fraction of the largest; null for Keras itself",
        at_least=None,
    )
    accuracy_lost: float | None = column(
        "accuracy of Keras's outputs less that of the outputs of the runtime it was exported to, over the test set; "
        "null where nothing was exported, or a target is no class",
        at_least=-1,
        at_most=1,
    )
    streaming_difference: float | None = column(
        "largest difference of the outputs that streaming gives at each step from those of a pass over the whole "
        "sequences, where outputs are larger than 1 as a fraction of the largest; null where nothing streams",
        at_least=None,
    )
    rss_start_bytes: int | None = column("resident memory just before the model is built", "bytes")
    rss_train_bytes: int | None = column(
        "resident memory just before the first timed epoch, where the peak was reset", "bytes"
    )
    peak_rss_bytes: int | None = column("highest resident memory from there to the end of the run", "bytes")
    device_memory_bytes: int | None = column(
        "highest memory of the run on its device until its evaluation, by the backend's allocator; null on a CPU",
        "bytes",
    )
    device_reserved_bytes: int | None = column("highest memory that torch's allocator held there for it", "bytes")
    device_process_bytes: int | None = column(
        "highest memory of the run's process there by the device's driver, with its context; null in most containers",
        "bytes",
    )
    device_sm_mhz_highest: int | None = column(
        "highest clock of the device's processors in the timed phases (training and inference), MHz", at_least=0
    )
    device_sm_mhz_lowest: int | None = column("lowest clock of the same, MHz")
    device_memory_mhz_lowest: int | None = column("lowest clock of the device's memory in the timed phases, MHz")
    device_celsius_highest: int | None = column("highest temperature of the device in the run, °C", at_least=None)
    device_watts: float | None = column("mean power of the device in the timed phases", "watts")
    device_throttling: str | None = column(
        "why the device was slower than it could be in the timed phases, by its driver, with commas; empty where it "
        "was not; null where no device was asked"
    )
    device_others: int | None = column("most other processes at a time that had a context on the device in the run")
    device_json: str | None = column(
        "the device before and after the run, its limits and modes, and how often it was asked, JSON (bench.host.nvml)"
    )
    idle_watts: float | None = column(
        "the device's power while this program did nothing, before the first run of the call", "watts", at_least=None
    )
    energy_counter: str | None = column("whose counter of energy was read: nvml or rapl; null for none")
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
