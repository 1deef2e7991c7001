"""Cells × kernels × backends × devices on this machine: what runs, and what can't and why. Pure.

Availability is *assumed*, by Keras's rules (`bench.catalog.support`), until the configuration has been *probed*
(`bench.run.probe`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from bench.catalog.kernels import default_kernels
from bench.core.case import Case, Status

PROBE_TASK = "mnist_5k"
"""What a probe trains on: data that comes with the package."""


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """The outcome of a probe: a run of a step or so, whose program was read."""

    status: Status
    attested: str | None
    """The kernel that the executed programs showed; None where there was nothing to read."""
    error: str | None
    probed_at: str
    """UTC, ISO 8601, to the second."""

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


def probe_case(case: Case) -> Case:
    """What is run to probe a configuration: the same kernel, in one step of training on as little as shows it.

    Of one size of batch, 200, so that each function is compiled once.
    """
    return replace(
        case,
        task=PROBE_TASK,
        units=8,
        batch_size=200,
        train_samples=200,
        epochs=1,
        latency_calls=0,
        seed=0,
        repeat=0,
    )


def availability(case: Case, reason: str | None, probed: ProbeResult | None) -> Availability:
    """Whether a configuration runs here: as its probe showed, else as the rules have it.

    Args:
        case: the configuration.
        reason: why it can't be had, by Keras's rules and this machine's means; None where it can.
        probed: the result of its probe; None where there was none.
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
    )
