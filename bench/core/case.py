"""What a run is asked: the `Case`, and how it may end.

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
