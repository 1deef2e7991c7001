"""How near training comes to the measured ceilings of its machine: the arithmetic. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bench.store.ceilings import Ceilings


@dataclass(frozen=True, kw_only=True)
class Efficiency:
    """How near a configuration's training comes to what is possible. A fraction of an unknown ceiling is None."""

    flops_per_second: float
    """By formula: the operations of training over the time they took."""
    seconds_per_dependent_step: float
    """A training step's time over the number of products that wait for each other: a sequence's steps in each recurrent
    layer, forward and back."""
    peak_fraction: float | None
    """Fraction of a large matrix product's speed that training reached."""
    serial_fraction: float | None
    """Fraction of the serial-chain ceiling: the time that the chain of a training step takes by itself over the time of
    the step."""


def efficiency(
    *,
    samples_per_second: float,
    forward_flops: float,
    training_flops: float,
    batch_size: int,
    dependent_steps: int,
    ceilings: Ceilings | None,
) -> Efficiency:
    """The efficiency of a training speed.

    The serial chain of a training step is that of the forward pass, times the operations of training over those of the
    forward pass: the chain was measured forward only.

    Args:
        samples_per_second: the speed of training.
        forward_flops: operations of one sample's forward pass.
        training_flops: operations of one sample's forward and backward pass.
        batch_size: samples a training step.
        dependent_steps: products of a training step that wait for each other.
        ceilings: those of this shape, machine and software; None where none were measured.
    """
    achieved = samples_per_second * training_flops
    step_seconds = batch_size / samples_per_second
    chain_seconds = ceilings and ceilings.serial_seconds * training_flops / forward_flops
    return Efficiency(
        flops_per_second=achieved,
        seconds_per_dependent_step=step_seconds / dependent_steps,
        peak_fraction=achieved / ceilings.peak_flops_per_second if ceilings else None,
        serial_fraction=chain_seconds / step_seconds if chain_seconds else None,
    )
