"""What a run is asked: the `Case`, and how it may end.

Plain dataclasses: the worker, which has only Keras, numpy, pyarrow, psutil and its backend, shares them with the
harness.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Self


class Status(StrEnum):
    """How a run ended. Only `OK` enters a comparison."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    INVALID = "invalid"


def digest(text: str) -> str:
    """The short content hash used for every id: 16 hex digits of SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def written(value: object) -> str:
    """A value of an axis as `--set` and suites write it: `true`, `0.2`, `lstm`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


_LARGEST_COUNT = 2**31 - 1
"""Backends keep shapes and counts in 32 bits."""


def axis(
    *,
    plural: str,
    doc: str,
    default: str | int | float | None = None,
    catalogue: str | None = None,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    suites: tuple[str, ...] = (),
    setting: bool = False,
    words: str = "",
    zero: str = "",
) -> Any:
    """A field of `Case` that is an axis: what suites cross, `--set` changes and the store keeps (`bench.core.axes`).

    Args:
        plural: what suites and `--set` call the axis.
        doc: what its values mean, and their unit.
        default: the value that is meant where none is given, which must never change; None: a value must be given.
        catalogue: the catalogue that its values must be in (`bench.catalog`); None where they are no names of things.
        at_least: the smallest value that is allowed.
        above: the value that is too small, with all below it.
        at_most: the largest value that is allowed.
        suites: what a suite crosses that leaves the axis out, where that is not the default alone.
        setting: whether a suite may write it under `[settings]` too, as a single value.
        words: how headings write a value, "{} units"; a heading leaves out an axis without, where it has its default.
        zero: what 0 stands for, where it is no number.
    """
    names = {"doc": doc, "plural": plural, "words": words, "zero": zero}
    rules = {"catalogue": catalogue, "at_least": at_least, "above": above, "at_most": at_most, "setting": setting}
    metadata = {**names, **rules, "default": suites or (default,)}
    return field(default=MISSING if default is None else default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One point of a suite, fully resolved. Each axis is a field, declared here and nowhere else.

    The axes of suites and `--set`, the checks of their values, the store's columns, the names in messages and the
    documentation's table of axes are derived from these fields, in their order (`bench.core.axes`).

    Defaults are those of the protocol `mnist_rows`. The canonical form leaves out what equals its default, so that an
    axis added later does not change the ids of cases stored before; a default must therefore never change.
    """

    cell: str = axis(
        plural="cells",
        doc="the recurrent cell: a name, or module:factory",
        catalogue="cells",
        suites=("simple_rnn", "lstm", "gru"),
    )
    task: str = axis(plural="tasks", default="mnist", doc="the data set and what is asked of it", catalogue="tasks")
    network: str = axis(
        plural="networks",
        default="notebook",
        doc="the network that the cell is put in",
        catalogue="networks",
        words="{} network",
    )
    backend: str = axis(
        plural="backends", default="tensorflow", doc="Keras's backend", catalogue="backends", words="{}"
    )
    kernel: str = axis(
        plural="kernels", default="auto", doc="the kernel asked for; auto is Keras's own pick", catalogue="kernels"
    )
    device: str = axis(plural="devices", default="cpu", doc="cpu, gpu:0, ...", catalogue="devices", words="{}")
    dtype: str = axis(
        plural="dtypes", default="float32", doc="the number format of weights and activations", catalogue="dtypes"
    )
    threads: int = axis(
        plural="threads",
        default=0,
        doc="threads that one operation may use; 0 leaves the backend's default",
        at_least=0,
        at_most=4096,
        zero="the backend's default",
    )
    deterministic: bool = axis(
        plural="deterministic",
        default=False,
        doc="whether the backend may use only operations that give the same numbers again, whatever that costs",
    )
    steady: bool = axis(
        plural="steady",
        default=False,
        doc="whether TensorFlow's input pipeline is left untuned, so that no epoch waits for the end of its tuning",
    )
    tf32: str = axis(
        plural="tf32",
        default="default",
        doc="whether products in float32 may be computed as TF32 on a GPU's tensor cores: on, off; default is the "
        "backend's own rule",
        catalogue="tf32",
    )
    env: str = axis(
        plural="env",
        default="none",
        doc="environment variables of the run's process, NAME=VALUE; --set env.NAME=value,value crosses one",
        catalogue="variables",
    )
    runtime: str = axis(
        plural="runtimes",
        default="keras",
        doc="what computes the network: keras; onnxruntime and litert infer with the trained Keras model, exported; "
        "torch.nn trains and infers without Keras",
        catalogue="runtimes",
    )
    units: int = axis(
        plural="units",
        default=128,
        doc="width of the recurrent layers",
        at_least=1,
        at_most=_LARGEST_COUNT,
        words="{} units",
    )
    layers: int = axis(
        plural="layers",
        default=0,
        doc="recurrent layers; 0 is as many as the network has. More of them are like its last one, dropout included",
        at_least=0,
        at_most=26,
        zero="the network's own number",
    )
    bidirectional: bool = axis(
        plural="bidirectional",
        default=False,
        doc="whether each recurrent layer reads the sequence in both directions, with as many units in each",
    )
    dropout: float = axis(
        plural="dropout",
        default=0.0,
        doc="fraction of its inputs that a recurrent layer itself drops in training",
        at_least=0,
        at_most=0.99,
    )
    recurrent_dropout: float = axis(
        plural="recurrent_dropout",
        default=0.0,
        doc="fraction of its state that a recurrent layer drops in training",
        at_least=0,
        at_most=0.99,
    )
    mask: str = axis(
        plural="masks",
        default="none",
        doc="which steps are padding, and masked: none, right (all from some step on), gaps (any but the first)",
        catalogue="masks",
    )
    stateful: bool = axis(
        plural="stateful",
        default=False,
        doc="whether recurrent layers carry their state from one batch to the next",
    )
    reset_after: bool = axis(
        plural="reset_after",
        default=True,
        doc="whether a GRU applies its reset gate after the product with the state, which is cuDNN's form, or before",
    )
    bias: bool = axis(plural="bias", default=True, doc="whether recurrent layers add biases")
    activation: str = axis(
        plural="activations",
        default="default",
        doc="the activation of all recurrent layers; default is the network's own in each",
        catalogue="activations",
    )
    recurrent_activation: str = axis(
        plural="recurrent_activations",
        default="default",
        doc="the activation of the gates of LSTM and GRU; default is sigmoid",
        catalogue="activations",
    )
    batch_size: int = axis(
        plural="batch_size",
        default=32,
        doc="samples in a training step",
        at_least=1,
        at_most=_LARGEST_COUNT,
        words="batch {}",
    )
    epochs: int = axis(
        plural="epochs", default=3, doc="epochs trained", at_least=1, at_most=_LARGEST_COUNT, words="{} epochs"
    )
    train_samples: int = axis(
        plural="train_samples",
        default=0,
        doc="training samples used, from the first; 0 is all",
        at_least=0,
        setting=True,
        zero="all",
    )
    steps: int = axis(
        plural="steps",
        default=0,
        doc="steps of a sequence, for the tasks that can be had of any length; 0 is the task's own number",
        at_least=0,
        at_most=1_000_000,
        zero="the task's own",
    )
    features: int = axis(
        plural="features",
        default=0,
        doc="values that a network reads at each step, for the tasks that can be had of any width; 0 is the task's own",
        at_least=0,
        at_most=1_000_000,
        zero="the task's own",
    )
    classes: int = axis(
        plural="classes",
        default=0,
        doc="classes of the task noise; 0 is the task's own number",
        at_least=0,
        at_most=1_000_000,
        zero="the task's own",
    )
    coarse: int = axis(
        plural="coarse",
        default=1,
        doc="side of the squares of pixels that are averaged, for digits read pixel by pixel: 1, 2 or 4",
        at_least=1,
        at_most=28,
    )
    learning_rate: float = axis(
        plural="learning_rate", default=0.001, doc="Adam's learning rate at step 0", above=0, setting=True
    )
    decay: float = axis(
        plural="decay",
        default=1e-6,
        doc="Keras's legacy decay: the rate at step n is learning_rate / (1 + decay * n)",
        at_least=0,
        setting=True,
    )
    latency_calls: int = axis(
        plural="latency_calls",
        default=0,
        doc="timed calls of inference at batch 1, for each call path; 0 times no inference",
        at_least=0,
        at_most=1_000_000,
        setting=True,
        zero="none",
    )
    seed: int = axis(
        plural="seeds", default=0, doc="seed of weights, dropout and shuffling", at_least=0, at_most=2**32 - 1
    )
    repeat: int = field(
        default=0, metadata={"doc": "number of the run among those of one configuration and seed, from 0"}
    )

    @property
    def canonical(self) -> str:
        """JSON of the fields that differ from their default, keys sorted."""
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return json.dumps(changed, sort_keys=True)

    @property
    def id(self) -> str:
        """Digest of the canonical form: the same for equal cases, whatever axes are added later."""
        return digest(self.canonical)

    @cached_property
    def configuration(self) -> Self:
        """This case without its seed and repeat; kept, since plans ask for it again and again."""
        return replace(self, seed=0, repeat=0) if self.seed or self.repeat else self

    @property
    def configuration_id(self) -> str:
        """Id of the configuration: the same for all its seeds and repeats."""
        return self.configuration.id

    def to_json(self) -> str:
        """JSON of all fields, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The case that `to_json` wrote."""
        return cls(**json.loads(text))

    @classmethod
    def from_record(cls, record: Mapping[Any, Any]) -> Self:
        """The case of a stored row: in frames numbers are numpy's, and text is categorical.

        Raises:
            KeyError: a field is missing.
        """
        kinds: dict[str, Any] = {
            f.name: type(f.default) if isinstance(f.default, int | float) else str for f in fields(cls)
        }
        return cls(**{name: kind(record[name]) for name, kind in kinds.items()})

    def label(self, shown: Collection[str] = ()) -> str:
        """The name of this case in messages: its cell, the fields `shown` with their values, then seed and repeat."""
        extra = [f"{name}={written(getattr(self, name))}" for name in shown]
        return " ".join([self.cell, *extra, f"seed={self.seed}", *([f"repeat={self.repeat}"] if self.repeat else [])])
