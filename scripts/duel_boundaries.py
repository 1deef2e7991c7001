"""What all interim analyses may spend (`bench.duel.sequential.ALPHA`), by simulation with the trimmed t that is used.

    python -m scripts.duel_boundaries [--duels 100000] [--seed 1]

The levels of the stages are exact for normal values of a known spread. Carried over to Student's t of few values, of
which some are trimmed, together they err a little more often. Simulated measurements have normal process groups, all
sides equal; the columns show in how many any stage's interval of any ratio misses 1, with all of 5 % spent, and with
`ALPHA`.

No stage depends on the ratios themselves, so what holds for a ratio of 1 holds for every ratio; and the chance of a
wrong `slower` or `faster` is at most that of an interval missing the truth on that side, whatever the margins.
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from bench.duel.sequential import ALPHA, CONFIDENCE, FEWEST_GROUPS, MOST_ANALYSES, TRIMMED
from bench.duel.spending import Stage, significance_level, spent

DESIGNS = (
    (2, 1, (5, 6, 8, 10, 12, 15, 20, 28, 40, 60, 100)),
    (2, 2, (6, 8, 10, 12, 15, 20, 28, 40, 60, 100)),
    (2, 4, (8, 10, 12, 20, 28, 40, 60)),
    (3, 6, (6, 12, 18, 24, 40)),
    (4, 4, (8, 12, 20, 40)),
    (8, 8, (8, 16, 24, 40)),
)
"""Sides, groups from one balanced count to the next, groups in all."""


def stages_of(balance: int, groups: int, alpha: float) -> tuple[Stage, ...]:
    """The stages at one ratio, where all groups take equally long and none settles it.

    Args:
        balance: groups from one balanced count to the next.
        groups: in all.
        alpha: the chance to err that this ratio has.
    """
    stages: list[Stage] = []
    tenth = 1
    for number in range(FEWEST_GROUPS, groups + 1):
        if number == groups or (number % balance == 0 and MOST_ANALYSES * number >= tenth * groups):
            stages.append(Stage(number, spent(alpha, number / groups)))
            tenth = MOST_ANALYSES * number // groups + 1
    return tuple(stages)


def significance(log_ratios: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The two-sided significance of the trimmed mean's difference from 0, along the last axis."""
    n = log_ratios.shape[-1]
    cut = int(TRIMMED * n)
    values = np.sort(log_ratios, axis=-1)
    kept = values[..., cut : n - cut]
    winsorized = np.clip(values, kept[..., :1], kept[..., -1:])
    t = np.abs(kept.mean(axis=-1)) / (winsorized.std(axis=-1, ddof=1) * np.sqrt(n) / kept.shape[-1])
    both_sides: npt.NDArray[np.float64] = 2 * stdtr(kept.shape[-1] - 1, -t)
    return both_sides


def missed(sides: int, balance: int, groups: int, *, alphas: tuple[float, ...], duels: int, seed: int) -> list[float]:
    """The fraction of simulated measurements in which any interval misses the truth, for each chance to spend.

    Args:
        sides: how many, the base included.
        balance: groups from one balanced count to the next.
        groups: in all.
        alphas: the chances to err that all ratios have together.
        duels: how many to simulate.
        seed: of the random numbers.
    """
    noise = np.random.default_rng(seed).standard_normal((duels, sides, groups))
    log_ratios = noise[:, 1:] - noise[:, :1]
    by_size: dict[int, npt.NDArray[np.float64]] = {}
    fractions = []
    for alpha in alphas:
        stages = stages_of(balance, groups, alpha / (sides - 1))
        misses = np.zeros(duels, dtype=bool)
        for number, stage in enumerate(stages):
            if stage.values not in by_size:
                by_size[stage.values] = significance(log_ratios[..., : stage.values]).min(axis=1)
            misses |= by_size[stage.values] < significance_level(stages[: number + 1])
        fractions.append(float(misses.mean()))
    return fractions


def main() -> None:
    """Print what is missed in each design."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duels", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    whole = 1 - CONFIDENCE
    print(f"sides  balance  groups  {whole:.1%} spent  {ALPHA:.1%} spent  stages at")
    for sides, balance, numbers in DESIGNS:
        for groups in numbers:
            duels = 2 * arguments.duels // sides
            rates = missed(sides, balance, groups, alphas=(whole, ALPHA), duels=duels, seed=arguments.seed)
            stages = [stage.values for stage in stages_of(balance, groups, whole)]
            print(f"{sides:5}  {balance:7}  {groups:6}  {rates[0]:10.2%}  {rates[1]:10.2%}  {stages}", flush=True)


if __name__ == "__main__":
    main()
