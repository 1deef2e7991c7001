"""What interim analyses may spend (`bench.duel.sequential.ALPHA`, and `PRECISION_ALPHA`), by simulation.

    python -m scripts.duel_boundaries [--duels 100000] [--seed 1]

The levels of the stages are exact for normal values of a known spread. Carried over to Student's t of few values, of
which some are trimmed, together they err a little more often. Simulated measurements have normal process groups, all
sides equal; the columns show in how many any stage's interval of any ratio misses 1, with all of 5 % spent, and with
`ALPHA`.

No stage depends on the ratios themselves, so what holds for a ratio of 1 holds for every ratio; and the chance of a
wrong `slower` or `faster` is at most that of an interval missing the truth on that side, whatever the margins.

A measurement to a precision stops when an interval is narrow enough, and misses if the one that it stopped at doesn't
hold the truth. The columns of it are the worst of many precisions: with a level of 5 % at all analyses, stopping from
`FEWEST_GROUPS` on; and with `PRECISION_ALPHA`, from `PRECISE_FROM` on, and `ALPHA` at the last.
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from bench.analysis.interleaved_figures import PRECISION_ALPHA, TRIMMED
from bench.duel.sequential import (
    ALPHA,
    CONFIDENCE,
    FEWEST_GROUPS,
    MOST_ANALYSES,
    PRECISE_FROM,
)
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

HALF_WIDTHS = tuple(np.geomspace(0.25, 1.2, 16))
"""The precisions that are tried, as fractions of a group's standard deviation: ten to a hundred groups reach them."""


def analysed_at(balance: int, groups: int) -> list[int]:
    """The numbers of groups at which one ratio is analysed, where all groups take equally long and none settles it.

    Args:
        balance: groups from one balanced count to the next.
        groups: in all.
    """
    numbers, tenth = [], 1
    for number in range(FEWEST_GROUPS, groups + 1):
        if number == groups or (number % balance == 0 and MOST_ANALYSES * number >= tenth * groups):
            numbers.append(number)
            tenth = MOST_ANALYSES * number // groups + 1
    return numbers


def stages_of(balance: int, groups: int, alpha: float) -> tuple[Stage, ...]:
    """The stages at one ratio, with what they spend.

    Args:
        balance: groups from one balanced count to the next.
        groups: in all.
        alpha: the chance to err that this ratio has.
    """
    return tuple(Stage(number, spent(alpha, number / groups)) for number in analysed_at(balance, groups))


Floats = npt.NDArray[np.float64]


def trimmed(log_ratios: Floats) -> tuple[Floats, Floats, int]:
    """The trimmed mean, its standard error and the degrees of freedom, along the last axis."""
    n = log_ratios.shape[-1]
    cut = int(TRIMMED * n)
    values = np.sort(log_ratios, axis=-1)
    kept = values[..., cut : n - cut]
    winsorized = np.clip(values, kept[..., :1], kept[..., -1:])
    errors: Floats = winsorized.std(axis=-1, ddof=1) * np.sqrt(n) / kept.shape[-1]
    return kept.mean(axis=-1), errors, kept.shape[-1] - 1


def significance(log_ratios: Floats) -> Floats:
    """The two-sided significance of the trimmed mean's difference from 0, along the last axis."""
    means, errors, freedom = trimmed(log_ratios)
    both_sides: Floats = 2 * stdtr(freedom, -np.abs(means) / errors)
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
    by_size: dict[int, Floats] = {}
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


def missed_at_precision(
    sides: int, balance: int, groups: int, *, alphas: tuple[float, float], fewest: int, duels: int, seed: int
) -> float:
    """The fraction of simulated measurements whose last interval of any ratio misses the truth, at the worst precision.

    Args:
        sides: how many, the base included.
        balance: groups from one balanced count to the next.
        groups: in all.
        alphas: the chance to err that all ratios have together, at an analysis that may stop it, and at the last.
        fewest: the groups from which on a ratio may be precise.
        duels: how many to simulate.
        seed: of the random numbers.
    """
    noise = np.random.default_rng(seed).standard_normal((duels, sides, groups))
    log_ratios = (noise[:, 1:] - noise[:, :1]) / np.sqrt(2)
    settled = np.zeros((len(HALF_WIDTHS), duels, sides - 1), dtype=bool)
    misses = np.zeros_like(settled)
    for number in analysed_at(balance, groups):
        means, errors, freedom = trimmed(log_ratios[..., :number])
        half = stdtrit(freedom, 1 - alphas[number == groups] / (sides - 1) / 2) * errors
        for width, settled_at, misses_at in zip(HALF_WIDTHS, settled, misses, strict=True):
            ends = ~settled_at & (((half <= width) & (number >= fewest)) | (number == groups))
            misses_at |= ends & (np.abs(means) > half)
            settled_at |= ends
    return float(misses.any(axis=2).mean(axis=1).max())


def main() -> None:
    """Print what is missed in each design."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duels", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    whole = 1 - CONFIDENCE
    rules = ((whole, whole), FEWEST_GROUPS), ((PRECISION_ALPHA, ALPHA), PRECISE_FROM)
    heads = "  ".join(f"precise {levels[0]:.1%} from {fewest}" for levels, fewest in rules)
    print(f"sides  balance  groups  {whole:.1%} spent  {ALPHA:.1%} spent  {heads}  stages at")
    for sides, balance, numbers in DESIGNS:
        for groups in numbers:
            duels = 2 * arguments.duels // sides
            rates = missed(sides, balance, groups, alphas=(whole, ALPHA), duels=duels, seed=arguments.seed)
            precise = [
                missed_at_precision(
                    sides, balance, groups, alphas=levels, fewest=fewest, duels=duels, seed=arguments.seed
                )
                for levels, fewest in rules
            ]
            columns = (
                "  ".join(f"{rate:10.2%}" for rate in rates) + "  " + "  ".join(f"{rate:19.2%}" for rate in precise)
            )
            print(f"{sides:5}  {balance:7}  {groups:6}  {columns}  {analysed_at(balance, groups)}", flush=True)


if __name__ == "__main__":
    main()
