"""The constant of the duel's boundaries (`bench.duel.sequential.CONSTANT`), found by simulation with its trimmed t.

    python scripts/duel_boundaries.py [--duels 400000] [--seed 1]

Simulated duels have normal pairs with a true ratio of 1. For each schedule and each duel it finds the smallest constant
with which all intervals would have held the true ratio; the constant of a schedule is the 95 % quantile of these, and
`CONSTANT` is the largest over the schedules, rounded up. It prints the coverage with `CONSTANT` too.

No analysis depends on the ratio itself, so what holds for a ratio of 1 holds for every ratio; and the chance of a wrong
`slower` or `faster` is at most that of an interval missing the truth on that side, whatever the margins.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.special import ndtri, stdtr

from bench.duel.sequential import CONFIDENCE, CONSTANT, SHAPE, TRIMMED, Schedule

MOST_PAIRS = (5, 6, 8, 10, 12, 15, 20, 28, 40, 60, 100)


def smallest_constants(schedule: Schedule, duels: int, seed: int) -> np.ndarray:
    """For each simulated duel, the smallest constant with which none of its intervals misses the true ratio."""
    pairs = np.random.default_rng(seed).standard_normal((duels, schedule.most))
    needed = np.zeros(duels)
    for at in schedule.sizes:
        seen = np.sort(pairs[:, :at], axis=1)
        cut = int(TRIMMED * at)
        kept = seen[:, cut : at - cut]
        winsorized = np.clip(seen, kept[:, :1], kept[:, -1:])
        t = np.abs(kept.mean(axis=1)) / (winsorized.std(axis=1, ddof=1) * np.sqrt(at) / kept.shape[1])
        boundary = -ndtri(stdtr(kept.shape[1] - 1, -t))  # the normal boundary of the same significance level
        needed = np.maximum(needed, boundary / (at / schedule.most) ** (SHAPE - 0.5))
    return needed


def main() -> None:
    """Print the constant and the coverage of each schedule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duels", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"{'most pairs':>10}  {'analyses at':24}  {'constant':>8}  coverage with {CONSTANT}")
    constants = []
    for most in MOST_PAIRS:
        schedule = Schedule.up_to(most)
        needed = smallest_constants(schedule, arguments.duels, arguments.seed)
        constants.append(float(np.quantile(needed, CONFIDENCE)))
        print(f"{most:10}  {schedule.sizes!s:24}  {constants[-1]:8.4f}  {100 * np.mean(needed < CONSTANT):.2f} %")
    print(f"largest constant: {max(constants):.4f}")


if __name__ == "__main__":
    main()
