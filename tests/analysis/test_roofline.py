"""bench.analysis.roofline: the fraction of each ceiling that training reaches."""

from __future__ import annotations

import pytest

from bench.analysis.roofline import efficiency
from tests.support.ceilings import CEILINGS


def test_the_arithmetic_of_an_lstm_of_the_protocol() -> None:
    """A training step of 32 samples in 27 ms (34.662 MFLOP a sample, of which the forward pass is 11.822)."""
    reached = efficiency(
        samples_per_second=32 / 0.027,
        forward_flops=11.822e6,
        training_flops=34.662e6,
        batch_size=32,
        dependent_steps=2 * 2 * 28,
        ceilings=CEILINGS,
    )
    assert reached.flops_per_second == pytest.approx(41.08e9, rel=1e-3)
    assert reached.peak_fraction == pytest.approx(0.4108, rel=1e-3)
    assert reached.serial_fraction == pytest.approx(0.004 * 2.932 / 0.027, rel=1e-3)
    assert reached.seconds_per_dependent_step == pytest.approx(0.027 / 112)
    alone = efficiency(
        samples_per_second=1.0, forward_flops=1.0, training_flops=3.0, batch_size=1, dependent_steps=4, ceilings=None
    )
    assert (alone.peak_fraction, alone.serial_fraction, alone.flops_per_second) == (None, None, 3.0)
