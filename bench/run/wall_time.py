"""What the wall time of a campaign is spent on, each second of it by a name."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from bench.core.observation import Observation
from bench.core.phases import PHASES


@dataclass(frozen=True)
class WallTime:
    """The wall time of one call of `bench run`."""

    seconds: Mapping[str, float]
    """All of it by what it was spent on: the phases of the runs (`bench.core.phases.PHASES`), `unnamed` in runs, and
    beside them `import` (until a server has imported its backend), `trial builds` (of users' factories), `lock` (while
    another bench was timing on this machine), and `between runs`."""

    @property
    def total_seconds(self) -> float:
        """Until the call ended."""
        return sum(self.seconds.values())

    @property
    def measured_fraction(self) -> float:
        """Fraction of it in phases that measure."""
        measured = sum(seconds for name, seconds in self.seconds.items() if _is_measured(name))
        return measured / self.total_seconds

    @property
    def other_fractions(self) -> Mapping[str, float]:
        """What the rest was spent on, as fractions of the whole, the largest first."""
        rest = {name: seconds for name, seconds in self.seconds.items() if not _is_measured(name)}
        return {name: rest[name] / self.total_seconds for name in sorted(rest, key=rest.__getitem__, reverse=True)}


def _is_measured(name: str) -> bool:
    return name in PHASES and PHASES[name].measured


class WallTimeMeter:
    """Counts what wall time is spent on, from when it is made."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._started = clock, clock()
        self._seconds = defaultdict[str, float](float)

    @contextlib.contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Count what is done in this context."""
        begun = self._clock()
        yield
        self._seconds[name] += self._clock() - begun

    def add_run(self, observations: Iterable[Observation], seconds: float) -> None:
        """Count a run, which has taken so many seconds, by its phases."""
        self._seconds["unnamed"] += seconds
        for observation in observations:
            self._seconds[observation.phase] += observation.seconds or 0.0
            self._seconds["unnamed"] -= observation.seconds or 0.0

    def read(self) -> WallTime:
        """All of it until now."""
        between = self._clock() - self._started - sum(self._seconds.values())
        return WallTime({**self._seconds, "between runs": between})
