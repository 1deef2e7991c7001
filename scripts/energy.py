"""Whether a device's counter of energy can be relied on: a load of known length, again and again.

    python -m scripts.energy [cpu|gpu:0] [--repeats 10]

Large products for two and for four seconds in turn, on the processor by NumPy, on a card by torch or JAX. Beyond idle
power, joules a second have to be the same each time, and twice the time has to take twice the joules, within 3 %. Ends
with 1 where they don't, with 3 where there is no counter (virtual machines mostly have none).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from bench.core.units import significant
from bench.host.cuda_devices import CUDA_ORDER
from bench.host.energy import EnergyCounter, measure_idle, open_counter
from bench.host.nvml import open_gpu

LENGTHS = (2.0, 4.0)
"""Seconds."""
TOLERANCE = 0.03
_SIZE = 2048

Work = Callable[[float], float]
"""Loads the device for so many seconds, and gives how long it was."""


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", nargs="?", default="cpu")
    parser.add_argument("--repeats", type=int, default=10)
    given = parser.parse_args()
    os.environ.update(CUDA_ORDER)  # before CUDA starts in this process
    counter = open_counter(open_gpu(given.device), given.device)
    idle = measure_idle(counter, 5.0) if counter else None
    if counter is None or idle is None:
        print(f"{given.device} has no counter of energy that could be read")
        sys.exit(3)
    work = numpy_products() if given.device == "cpu" else card_products(given.device)
    work(LENGTHS[0])  # the first is warm-up: clocks rise, libraries load
    watts = [watts_of_lengths(counter, idle.watts, work) for _ in range(given.repeats)]
    print(f"{given.device}, {counter.source}: {significant(idle.watts)} W idle; beyond that, watts of {LENGTHS} s:")
    for row in watts:
        print("  ".join(f"{value:.1f}" for value in row))
    apart = largest_departure(watts)
    print(f"at most {100 * apart:.1f} % from the median of all: {'good' if apart <= TOLERANCE else 'NOT repeatable'}")
    sys.exit(apart > TOLERANCE)


def watts_of_lengths(counter: EnergyCounter, idle_watts: float, work: Work) -> list[float]:
    """The mean power beyond idle power of a load of each length, in watts.

    Args:
        counter: of the device.
        idle_watts: what it takes without a load.
        work: loads it.
    """
    watts = []
    for length in LENGTHS:
        before = counter.joules()
        seconds = work(length)
        after = counter.joules()
        assert before is not None
        assert after is not None
        watts.append((after - before) / seconds - idle_watts)
    return watts


def largest_departure(watts: Sequence[Sequence[float]]) -> float:
    """How far the farthest is from the median of all, as a fraction of it.

    Args:
        watts: a row for each repeat, a value for each length.
    """
    values = [value for row in watts for value in row]
    middle = statistics.median(values)
    return max(abs(value / middle - 1) for value in values)


def numpy_products() -> Work:
    """Loads the processor."""
    import numpy as np

    square = np.ones((_SIZE, _SIZE), np.float32)
    return lambda seconds: _for(seconds, lambda: square @ square)


def card_products(device: str) -> Work:
    """Loads a card, by torch where it is there, else by JAX."""
    number = int(device.removeprefix("gpu:"))
    try:
        import torch
    except ImportError:
        import jax

        square = jax.device_put(jax.numpy.ones((_SIZE, _SIZE)), jax.devices("gpu")[number])
        return lambda seconds: _for(seconds, lambda: (square @ square).block_until_ready())
    ones = torch.ones((_SIZE, _SIZE), device=f"cuda:{number}")

    def product() -> None:
        for _ in range(20):
            ones @ ones
        torch.cuda.synchronize(number)

    return lambda seconds: _for(seconds, product)


def _for(seconds: float, call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < seconds:
        call()
    return elapsed


if __name__ == "__main__":
    main()
