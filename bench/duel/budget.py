"""Whether there is time for a verdict: known before anything is measured, and again from the first process group."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.core.errors import UsageError
from bench.duel.interleaved import ROUND_SECONDS
from bench.duel.sequential import FEWEST_GROUPS

_START_SECONDS = 5.0
"""What it usually takes to start a side's process: to import the backend, to build and to compile."""


_SHORT_START_SECONDS = 3.0
"""What is over before the first process group, and goes unsaid."""


@dataclass(frozen=True)
class BudgetOption:
    """The option that sets the time which a measurement may take."""

    name: str = "--budget"
    fraction: float = 1.0
    """The fraction of what the user gives that is for the measurement."""


def check_budget(budget_seconds: float, sides: int, rounds: int, option: BudgetOption) -> None:
    """Refuse a budget that has no time for the fewest process groups that a verdict takes, as long as they usually are.

    Args:
        budget_seconds: what there is.
        sides: how many there are.
        rounds: of a process group.
        option: what sets the budget.

    Raises:
        UsageError: it is too short.
    """
    group_seconds = sides * (_START_SECONDS + rounds * ROUND_SECONDS)
    if FEWEST_GROUPS * group_seconds > budget_seconds:
        needed_seconds = FEWEST_GROUPS * group_seconds
        raise _too_short(budget_seconds, sides, group_seconds, needed_seconds, option, "usually takes {}")


def check_group(
    group_seconds: float, elapsed_seconds: float, sides: int, budget_seconds: float, option: BudgetOption
) -> None:
    """Refuse a budget that the first process group has shown to be too short.

    Args:
        group_seconds: what a group like it takes.
        elapsed_seconds: what is over with the first one.
        sides: how many took part.
        budget_seconds: what there is.
        option: what sets the budget.

    Raises:
        UsageError: it is too short.
    """
    needed_seconds = elapsed_seconds + (FEWEST_GROUPS - 1) * group_seconds
    if needed_seconds > budget_seconds:
        start_seconds = elapsed_seconds - group_seconds
        started = f", and starting took {start_seconds:.0f} s" if start_seconds > _SHORT_START_SECONDS else ""
        raise _too_short(budget_seconds, sides, group_seconds, needed_seconds, option, f"takes {{}} here{started}")


def _too_short(
    budget_seconds: float, sides: int, group_seconds: float, needed_seconds: float, option: BudgetOption, takes: str
) -> UsageError:
    what = "a process pair" if sides == 2 else f"a group of {sides} processes"
    needed = math.ceil(needed_seconds / option.fraction / 6) / 10
    part = f", {budget_seconds / 60:g} of them for times" if option.fraction < 1 else ""
    return UsageError(
        f"{option.name} {budget_seconds / option.fraction / 60:g} (minutes{part}) is too short: {what} "
        f"{takes.format(f'{group_seconds:.0f} s')}, and there is no verdict on fewer than {FEWEST_GROUPS}: write "
        f"{option.name} {needed:g}."
    )
