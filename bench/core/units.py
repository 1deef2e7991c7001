"""How a value is written for a reader: its unit, its prefix, its digits. Pure, and light enough for everybody."""

from __future__ import annotations

import math
from dataclasses import dataclass


def significant(x: float, decimals: int | None = None) -> str:
    """Three significant digits, never an exponent; at most `decimals` places where they are given; `–` for NaN."""
    if not math.isfinite(x):
        return "–"
    rounded = float(f"{x:.3g}")
    needed = 2 - math.floor(math.log10(abs(rounded))) if rounded else 0
    return f"{rounded:.{max(0, needed if decimals is None else min(needed, decimals))}f}"


@dataclass(frozen=True)
class Scale:
    """A way to write values: times `factor`, to three significant digits or to `decimals` places, then the symbol."""

    symbol: str = ""
    factor: float = 1.0
    decimals: int | None = None
    """Places after the point, with separators of thousands; None for three significant digits."""
    rounded: bool = False
    """To three significant digits first, where places are given."""
    least: float = 0.0
    """The smallest absolute value that is written so."""

    def number(self, value: float) -> str:
        """The value's digits alone."""
        scaled = self.factor * value
        if self.decimals is None or not math.isfinite(scaled):
            return significant(scaled)
        return f"{float(f'{scaled:.3g}') if self.rounded else scaled:,.{self.decimals}f}"

    def shown(self, value: float) -> str:
        """The value's digits and its symbol."""
        return f"{self.number(value)}{self.symbol}"


@dataclass(frozen=True)
class Unit:
    """The SI unit that values are kept in, and the scales that they are written in."""

    name: str
    """In words, as exports give it; empty for a pure number."""
    scales: tuple[Scale, ...]
    """The first whose `least` a value reaches is taken; the last is for all that are left."""
    difference: str = ""
    """The symbol after a difference of two values, on the last scale, where they aren't compared by their ratio."""

    def shown(self, value: float) -> str:
        """A value with its symbol: `20.2 s`, `3.41 ms`, `95.13 %`."""
        return scale_of(value, self.scales).shown(value)


def scale_of(value: float, scales: tuple[Scale, ...]) -> Scale:
    """The scale that a value is written in."""
    return next((scale for scale in scales if abs(value) >= scale.least), scales[-1])


SECONDS = Unit("seconds", (Scale(" s", least=0.1), Scale(" ms", factor=1e3)))
BYTES = Unit("bytes", (Scale(" MB", factor=1e-6, decimals=0),))
FRACTION = Unit("fraction", (Scale(" %", factor=100, decimals=2),), difference=" points")
PER_SECOND = Unit("1/second", (Scale("/s", decimals=0, rounded=True),))
JOULES = Unit("joules", (Scale(" J"),))
NUMBER = Unit("", (Scale(decimals=4),))
