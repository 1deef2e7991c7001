"""A simulated year of nights: how often `bench history` shows a change that isn't there, and how soon it shows one.

    python -m scripts.simulate_history

Each series is examined every night from the tenth on, as a nightly job does. A *false change* is a place at which a
change was shown on any night (places within five points of each other count once). Values are 100, with a noise of 3 %;
episodes lift several nights by 5 to 15 %, and in the lottery a night in ten has a machine that is 20 % slower.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from bench.analysis.change_points import SEGMENT, change_points
from bench.analysis.stats import Floats
from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown

NIGHTS = 365
NOISE = 3.0
FLOOR = 0.5
"""The noise floor of times, in the unit of the values: 0.5 %."""

Draw = Callable[[np.random.Generator, int], Floats]


def correlated(correlation: float) -> Draw:
    """Noise whose neighbours have this correlation (an autoregression of order one)."""

    def draw(generator: np.random.Generator, nights: int) -> Floats:
        drawn = generator.normal(size=nights)
        for night in range(1, nights):
            drawn[night] = correlation * drawn[night - 1] + np.sqrt(1 - correlation**2) * drawn[night]
        return np.asarray(NOISE * drawn, dtype=np.float64)

    return draw


def episodes(every: float, shortest: int, longest: int) -> Draw:
    """Stretches of slow nights, one in so many nights on average."""

    def draw(generator: np.random.Generator, nights: int) -> Floats:
        lifted = np.zeros(nights)
        night = int(generator.geometric(1 / every))
        while night < nights:
            length = int(generator.integers(shortest, longest + 1))
            lifted[night : night + length] += generator.uniform(5, 15)
            night += length + int(generator.geometric(1 / every))
        return lifted.astype(np.float64)

    return draw


def lottery(generator: np.random.Generator, nights: int) -> Floats:
    """Nights on a slow machine, one in ten."""
    return np.where(generator.random(nights) < 0.1, 20.0, 0.0)


SCENARIOS: dict[str, tuple[Draw, ...]] = {
    "independent noise": (correlated(0.0),),
    "noise correlated by 0.3": (correlated(0.3),),
    "noise correlated by 0.5": (correlated(0.5),),
    "noise correlated by 0.8": (correlated(0.8),),
    "correlated by 0.5, episodes of 3 to 10 nights every month": (correlated(0.5), episodes(30, 3, 10)),
    "independent, episodes of 3 to 10 nights every month": (correlated(0.0), episodes(30, 3, 10)),
    "correlated by 0.5, episodes of 10 to 25 nights every third month": (correlated(0.5), episodes(90, 10, 25)),
    "independent, a lottery of machines": (correlated(0.0), lottery),
    "correlated by 0.5, episodes, and a lottery": (correlated(0.5), episodes(30, 3, 10), lottery),
}


def series(scenario: str, generator: np.random.Generator, nights: int = NIGHTS) -> Floats:
    """The values of one year."""
    return np.asarray(
        100.0 + np.sum([draw(generator, nights) for draw in SCENARIOS[scenario]], axis=0), dtype=np.float64
    )


def false_changes(values: Floats) -> int:
    """How many places of a series that has no change are shown as one, on any night."""
    shown: set[int] = set()
    for nights in range(2 * SEGMENT, len(values) + 1):
        shown.update(change_points(list(values[:nights]), FLOOR))
    places = sorted(shown)
    return sum(not i or place - places[i - 1] > SEGMENT for i, place in enumerate(places))


def within(scenario: str, step: float, at: int, nights: int, number: int, seed: int) -> float:
    """The fraction of series in which a step is shown so many nights after it, near its place."""
    generator = np.random.default_rng(seed)
    seen = 0
    for _ in range(number):
        values = series(scenario, generator, at + nights)
        values[at:] += step
        seen += any(abs(start - at) <= SEGMENT for start in change_points(list(values), FLOOR))
    return seen / number


def main() -> None:
    """Simulate, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=100)
    parser.add_argument("--seed", type=int, default=20261127)
    arguments = parser.parse_args()
    rows = []
    for name in SCENARIOS:
        generator = np.random.default_rng(arguments.seed)
        counts = [false_changes(series(name, generator)) for _ in range(arguments.years)]
        ever = sum(count > 0 for count in counts) / len(counts)
        rows.append((name, f"{np.mean(counts):.2f}", f"{100 * ever:.1f} %"))
    heads = (Column("a year of nights"), Column("false changes", left=False), Column("years with any", left=False))
    print(render_markdown(Document((Table(heads, tuple(rows)),))))
    powers = []
    for name in tuple(SCENARIOS)[0:1] + tuple(SCENARIOS)[2:3] + tuple(SCENARIOS)[4:5]:
        for step in (5, 10, 20):
            found = [within(name, step, 90, nights, arguments.years, arguments.seed) for nights in (7, 14, 30, 60)]
            powers.append((name, f"{step} %", *(f"{100 * each:.0f} %" for each in found)))
    columns = ("after 90 nights of", "slower by", "shown after 7 nights", "14", "30", "60")
    aligned = tuple(Column(head, left=not i) for i, head in enumerate(columns))
    print(render_markdown(Document((Table(aligned, tuple(powers)),))), end="")


if __name__ == "__main__":
    main()
