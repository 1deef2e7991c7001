"""GPUs that are seldom at hand: what is expected of each, so that a plan for it can be made and timed without it.

No figure here was measured by this program. Where none is published for the card itself, the time of a dependent step
(one of a sequence's steps in one layer, forward or back) is derived so:

- The loop of a backend that starts each operation by itself: Keras on TensorFlow took 54 ms for 2 × 100 and 543 ms for
  2 × 1,000 of them on a GTX 1080, 270 µs each both times (rnn_benchmarks, arXiv 1806.01818). What limits it is the
  processor, which starts the operations, so a newer card changes little.
- cuDNN took 13 and 82 ms for the same: 65 and 41 µs, all that surrounds it included.
- A loop inside one compiled program (JAX, XLA): some ten kernels a step of about 5 µs each, which is what a card takes
  to start one.
- Starting a process and compiling: what Keras and each backend took on two cores (`bench.catalog.backends`), less for
  a processor that is about twice as fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.core.errors import named

_ANY = ""
"""Stands for each kernel that a backend has no cost of its own for."""


@dataclass(frozen=True)
class LoopCost:
    """What a kernel costs on a card."""

    step_seconds: float
    """The time of a dependent step of training."""
    compile_seconds: float
    """What a run takes to trace, compile and tune."""


@dataclass(frozen=True, kw_only=True)
class DeviceProfile:
    """A card that is not here, as plans and estimates see it."""

    name: str
    model: str
    """As the driver names it."""
    flops_per_second: float
    """The rate of products in float32 with TF32, as far as batches of some hundred samples reach it."""
    start_seconds: Mapping[str, float]
    """By backend: starting a process, importing, and making the first context on the card."""
    costs: Mapping[str, Mapping[str, LoopCost]]
    """By backend and kernel, as attested."""

    def cost(self, backend: str, kernel: str) -> LoopCost:
        """What is expected of a kernel on a backend."""
        costs = self.costs[backend]
        return costs.get(kernel, costs[_ANY])


_CUDNN_STEP_SECONDS = 41e-6
_EAGER_STEP_SECONDS = 270e-6
_COMPILED_STEP_SECONDS = 50e-6

PROFILES = {
    profile.name: profile
    for profile in (
        DeviceProfile(
            name="h100",
            model="NVIDIA H100 80GB HBM3",
            flops_per_second=1e13,
            start_seconds={"tensorflow": 12.0, "jax": 7.0, "torch": 8.0},
            costs={
                "tensorflow": {
                    _ANY: LoopCost(_EAGER_STEP_SECONDS, 4.0),
                    "xla": LoopCost(_COMPILED_STEP_SECONDS, 12.0),
                    "cudnn": LoopCost(_CUDNN_STEP_SECONDS, 4.0),
                },
                "jax": {
                    _ANY: LoopCost(_COMPILED_STEP_SECONDS, 8.0),
                    "unrolled": LoopCost(_COMPILED_STEP_SECONDS, 25.0),
                    "cudnn": LoopCost(_CUDNN_STEP_SECONDS, 6.0),
                },
                "torch": {
                    _ANY: LoopCost(_EAGER_STEP_SECONDS, 1.0),
                    "compiled": LoopCost(0.5 * _EAGER_STEP_SECONDS, 45.0),
                    "cudnn": LoopCost(_CUDNN_STEP_SECONDS, 1.0),
                },
            },
        ),
    )
}


def find(name: str, origin: str = "--for") -> DeviceProfile:
    """The profile of that name.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    return named("device profile", name, PROFILES, origin)


ANY_GPU = PROFILES["h100"]
"""What a run on a GPU is estimated by, whichever it is: the first runs of a campaign correct the estimate."""
