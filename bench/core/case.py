"""What a run is asked (`Case`) and what it answers (`Observation`, `RunFacts`).

Plain dataclasses: the worker, which has only Keras, numpy, pyarrow, psutil and its backend, shares them with the
harness.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Self

ENTRIES = ("predict", "compiled")
"""How a trained model is asked: by `model.predict`, or by the call that a service would use (`tf.function`, `jax.jit`,
torch's inference mode, an ONNX session). Each is a phase of the attestation."""


class Status(StrEnum):
    """How a run ended. Only `OK` enters a comparison."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    INVALID = "invalid"


def digest(text: str) -> str:
    """The short content hash used for every id: 16 hex digits of SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One point of a suite, fully resolved.

    Defaults are those of the protocol `mnist_rows`. The canonical form leaves out what equals its default, so that an
    axis added later does not change the ids of cases stored before; a default must therefore never change.
    """

    cell: str
    task: str = "mnist"
    network: str = "notebook"
    backend: str = "tensorflow"
    kernel: str = "auto"
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 0
    """Threads that one operation may use; 0 leaves the backend's default."""
    runtime: str = "keras"
    """What computes the network: `keras`; `onnxruntime` answers with the trained Keras model, exported; `torch.nn` is
    trained and answers without Keras."""
    units: int = 128
    batch_size: int = 32
    epochs: int = 3
    train_samples: int = 0
    """How many training samples are used, from the first; 0 is all."""
    learning_rate: float = 0.001
    decay: float = 1e-6
    """Keras's legacy decay: the rate at step n is learning_rate / (1 + decay · n)."""
    latency_calls: int = 0
    """Timed calls of inference at batch 1, for each entry; 0 times no inference."""
    seed: int = 0
    repeat: int = 0

    @property
    def canonical(self) -> str:
        """JSON of the fields that differ from their default, keys sorted."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return json.dumps(own, sort_keys=True)

    @property
    def id(self) -> str:
        return digest(self.canonical)

    @property
    def configuration(self) -> Self:
        """This case without its seed and repeat."""
        return replace(self, seed=0, repeat=0)

    @property
    def configuration_id(self) -> str:
        return self.configuration.id

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))

    def label(self, vary: frozenset[str] = frozenset()) -> str:
        """How messages name this case: its cell, then the fields named in `vary`, then seed and repeat."""
        extra = [f"{name}={getattr(self, name)}" for name in sorted(vary - {"cell"})]
        return " ".join([self.cell, *extra, f"seed={self.seed}", *([f"repeat={self.repeat}"] if self.repeat else [])])


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One row: a phase of a run, and what was measured in it. Units are in the names; what was not measured is None."""

    phase: str
    """`build`, `compile`, `warmup`, `train`, `validate`, `evaluate`, `predict`, or `run` for the run as a whole."""
    epoch: int | None = None
    """From 1, for `train` and `validate`."""
    seconds: float | None = None
    cpu_seconds: float | None = None
    """Processor time of all threads of the run's process in this phase."""
    samples: int | None = None
    loss: float | None = None
    accuracy: float | None = None
    entry: str | None = None
    """For `predict`: one of `ENTRIES`."""
    predict_batch: int | None = None
    """For `predict`: samples a call."""
    call: int | None = None
    """For `predict`: from 1, in the order of the calls of this entry and batch."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What is true of a run as a whole; stored beside each of its observations."""

    parameters: int | None = None
    """Trainable and other weights of the built model."""
    forward_flops_per_sample: float | None = None
    training_flops_per_sample: float | None = None
    """By formula; None for a cell whose arithmetic is not known."""
    attested_kernel: str | None = None
    """The kernel that the executed programs show, `mixed` where the recurrent layers or the phases differ."""
    attestation_json: str | None = None
    """Per phase and layer: the kernel, the operations counted, and a digest of the artefact they were read from."""
    data_digest: str | None = None
    test_predictions: str | None = None
    """The test set's labels and predicted probabilities (`bench.core.predictions`)."""
    output_difference: float | None = None
    """Largest absolute difference of the runtime's outputs from Keras's, over the test set; None for Keras itself."""
    rss_start_bytes: int | None = None
    """Resident memory just before the model is built."""
    rss_train_bytes: int | None = None
    """Resident memory just before the first timed epoch, where the peak was reset."""
    peak_rss_bytes: int | None = None
    """Highest resident memory from there to the end of the run."""
    load_start: float | None = None
    """Load average over one minute when the run began."""
    load_end: float | None = None
    steal_fraction_start: float | None = None
    """Share of the machine's processor time taken by the hypervisor in the second before the run."""
    steal_fraction: float | None = None
    """The same, during the run."""
    other_cpu_fraction: float | None = None
    """Share of the machine's processor time used by other processes during the run."""
    extra_json: str | None = None
    """Facts of the backend read back after the run: jit_compile, TF32 settings, cuDNN version."""
