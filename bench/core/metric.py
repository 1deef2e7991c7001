"""How a metric is declared: how it is made from what a run measured, compared, written, and shown. Types alone.

The rows are `bench.core.metrics.METRICS`. Plain dataclasses without numpy: a suite that names margins stays light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal

from bench.core.units import Scale, Unit


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
    PROPORTION = "the last row, as a whole count of its targets over their number: without float32's rounding"


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
        samples = {"samples", "targets"} if self.reduction is Reduction.PROPORTION else set()
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


SEQUENCE_PATHS = ("predict", "compiled")
"""The call paths whose call takes whole sequences: `model.predict`, and the call that a service would use
(`tf.function`, `jax.jit`, torch's inference mode, an ONNX session)."""
STREAMING = "streaming"
"""The call path whose call takes a step of each sequence, and carries the network's state on to the next call."""


@dataclass(frozen=True)
class FromCalls:
    """A run's figure for each call path, made from its calls of inference: a quantile of their seconds at batch 1."""

    quantile: float
    by_batch: bool = False
    """The throughput instead: for each batch larger than 1, the batch over the quantile of its calls."""
    of_steps: bool = False
    """The call path is the one whose calls are steps, instead of those that take whole sequences."""

    phase: ClassVar[str] = "predict"
    columns: ClassVar[frozenset[str]] = frozenset({"entry", "predict_batch", "seconds"})

    def is_of(self, call_path: str) -> bool:
        """Whether calls through this path give the figure: a step's time and a sequence's are never in one figure."""
        return (call_path == STREAMING) is self.of_steps


@dataclass(frozen=True)
class FromCallMemory:
    """A run's figure for each call path: the median growth of memory over its series of calls at batch 1."""

    column: str
    per_calls: int
    """The number of calls that the growth is given for."""

    phase: ClassVar[str] = "predict"

    @property
    def columns(self) -> frozenset[str]:
        """The columns of the store that it is made from."""
        return frozenset({"entry", "predict_batch", "call", "series", self.column})


@dataclass(frozen=True)
class FromInterleaved:
    """The figure of a process group of an interleaved measurement: a training step's time over the anchor's."""

    columns: ClassVar[frozenset[str]] = frozenset()
    """None: these measurements are kept beside the store's runs."""


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
    source: FromPhase | FromMetadata | FromCalls | FromCallMemory | FromInterleaved
    unit: Unit
    margins: Margins | None = None
    """What a change is judged by where the user names nothing; None for a metric that is shown but not compared."""
    lower_is_better: bool = True
    as_ratio: bool = True
    """Compared by the ratio new/base; else by the difference new - base, and the margins are in the metric's unit."""
    required: bool = False
    """Whether a gate asks for certainty about it where the user names none."""
    stands_for: str = ""
    """The metric that it stands for where the machine's drift leaves that one without a verdict; empty for none."""
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
    def replicate(self) -> Literal["run", "seed", "process group"]:
        """The statistical unit: a seed gives a quality one value, whatever its repeats and campaigns."""
        if self.is_interleaved:
            return "process group"
        return "seed" if self.kind is MetricKind.QUALITY else "run"

    @property
    def is_interleaved(self) -> bool:
        """Whether no run has it, but a process group of an interleaved measurement."""
        return isinstance(self.source, FromInterleaved)

    @property
    def of_steady_epochs(self) -> bool:
        """Whether it is made from the epochs from 2 on."""
        return isinstance(self.source, FromPhase) and self.source.reduction is Reduction.STEADY_MEDIAN

    @property
    def of_calls(self) -> bool:
        """Whether a run has the figure for each call path (and batch), and not once."""
        return isinstance(self.source, FromCalls | FromCallMemory)

    @property
    def once_a_run(self) -> bool:
        """Whether a run has the figure, and has it once."""
        return not (self.of_calls or self.is_interleaved)

    def is_of(self, call_path: str) -> bool:
        """Whether a run has the figure for this call path."""
        return self.source.is_of(call_path) if isinstance(self.source, FromCalls) else self.of_calls
