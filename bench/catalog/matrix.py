"""Cells × kernels × backends × devices, and cells × options of layers: what runs, and what can't and why. Pure.

Availability is *assumed*, by Keras's rules (`bench.catalog.support`), until the configuration has been *probed*
(`bench.run.probe`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from bench.catalog import networks
from bench.catalog.cells import BUILT_IN
from bench.catalog.kernels import cudnn_obstacle, default_kernels
from bench.core.axes import AXES, changed
from bench.core.case import Case, Status, written

PROBE_TASK = "mnist_5k"
"""What a probe trains on: data that comes with the package."""
_PROBE_BATCH = 200

OPTIONS_TRIED: tuple[dict[str, tuple[Any, ...]], ...] = (
    {},
    {"bidirectional": (True,)},
    {"dropout": (0.2,)},
    {"recurrent_dropout": (0.2,)},
    {"masks": ("right", "gaps")},
    {"stateful": (True,)},
    {"reset_after": (False,)},
    {"bias": (False,)},
    {"activations": ("relu",)},
    {"recurrent_activations": ("hard_sigmoid",)},
)
"""The parts of the matrix of options, as a suite has them: no option, then each by itself."""
_OPTIONS = tuple(AXES[plural].field for part in OPTIONS_TRIED for plural in part)
"""The fields of a case that these are."""
OPTIONS_TIMED: dict[str, tuple[Any, ...]] = {
    "tasks": (PROBE_TASK,),
    # whole batches, for training and for the test set, which stateful layers need
    "batch_size": (40,),
    "train_samples": (800,),
    "seeds": (0, 1, 2),
}
"""What the matrix of options is timed on."""
PHASES = ("train", "evaluate", "predict")
"""The phases whose kernels the matrix of options gives."""


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """The outcome of a probe: a run of a step or so, whose program was read."""

    status: Status
    attested: str | None
    """The kernel that the executed programs showed; None where there was nothing to read."""
    error: str | None
    probed_at: str
    """UTC, ISO 8601, to the second."""
    phases: Mapping[str, str] = field(default_factory=dict)
    """By phase that was executed: the kernel that its programs showed, `a + b` where layers differ."""

    def to_data(self) -> dict[str, Any]:
        """JSON-able, as it is kept."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        """What `to_data` gave."""
        return cls(**{**data, "status": Status(data["status"])})


@dataclass(frozen=True, kw_only=True)
class Availability:
    """Whether one configuration runs here, and with which kernel."""

    case: Case
    runs: bool
    """Whether the kernel asked for is the one that runs; for `auto`, whether anything does."""
    kernel: str | None
    """What runs: the kernel asked for, or Keras's choice for `auto`; None where nothing does or none is known."""
    reason: str | None
    """Why it can't be had; None where it can."""
    probed_at: str | None
    """None where it is assumed."""
    surprise: bool
    """Whether the probe contradicts what was assumed."""
    phases: Mapping[str, str] = field(default_factory=dict)
    """By phase: the kernel that its programs showed; empty where it is assumed."""
    absent: str | None = None
    """What this machine lacks for it, so that it can only be assumed; None where it is all there."""

    @property
    def not_cudnn(self) -> str | None:
        """Why Keras doesn't pick cuDNN, named by the option; None where it does, and on a processor."""
        if self.case.device == "cpu" or self.case.cell not in BUILT_IN or self.case.kernel != "auto":
            return None
        obstacles = (cudnn_obstacle(self.case, layer) for layer in networks.of(self.case).recurrent)
        return next((obstacle for obstacle in obstacles if obstacle), None)


def option_of(case: Case) -> str:
    """The option of a row of the matrix: `recurrent_dropout=0.2`; empty for none."""
    return ", ".join(f"{name}={written(value)}" for name, value in changed(case, _OPTIONS))


def probe_case(case: Case) -> Case:
    """What is run to probe a configuration: the same kernel, in one step of training on as little as shows it.

    Of one size of batch, so that each function is compiled once. Predictions are made where Keras picks the kernel; an
    unrolled layer would take minutes to compile for each of their batches.
    """
    return replace(
        case,
        task=PROBE_TASK,
        units=8,
        batch_size=_PROBE_BATCH,
        train_samples=_PROBE_BATCH,
        epochs=1,
        latency_calls=1 if case.kernel == "auto" and not case.stateful else 0,
        seed=0,
        repeat=0,
    )


def availability(case: Case, reason: str | None, probed: ProbeResult | None, absent: str | None = None) -> Availability:
    """Whether a configuration runs here: as its probe showed, else as the rules have it.

    Args:
        case: the configuration.
        reason: why it can't be had, by Keras's rules; None where it can.
        probed: the result of its probe; None where there was none.
        absent: what this machine lacks for it; None where it is all there.
    """
    if probed is None:
        picked = " + ".join(dict.fromkeys(default_kernels(case))) or None
        kernel = picked if case.kernel == "auto" else case.kernel
        return Availability(
            case=case,
            runs=reason is None,
            kernel=kernel if reason is None else None,
            reason=reason,
            probed_at=None,
            surprise=False,
            absent=absent,
        )
    runs = probed.status is Status.OK
    return Availability(
        case=case,
        runs=runs,
        kernel=probed.attested if runs else None,
        # the rule gives the reason in words made for people; an error of the run's stands where no rule foresaw it
        reason=None if runs else reason or probed.error or "the probe failed without an error message",
        probed_at=probed.probed_at,
        surprise=runs is not (reason is None),
        phases=probed.phases if runs else {},
        absent=absent,
    )
