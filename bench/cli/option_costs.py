"""`bench kernels --time`: what each option costs, measured as `bench run` measures, in blocks of fresh processes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bench.cli.output import notify
from bench.core.errors import ExitCode
from bench.report.values import count

if TYPE_CHECKING:
    from bench.analysis.option_costs import OptionCost
    from bench.core.case import Case
    from bench.host.hardware import Machine
    from bench.plan.suite import Suite


@dataclass(frozen=True)
class MeasuredCosts:
    """What was measured, by configuration, and how many runs did not end ok."""

    by_case: dict[Case, OptionCost]
    troubled: int


def measure_costs(suite: Suite, plain: Callable[[Case], Case], machine: Machine, results: Path) -> MeasuredCosts:
    """Run the suite, or what is left of it, and compare each configuration with its plain one.

    Args:
        suite: the matrix of options.
        plain: gives the configuration that another one is compared with.
        machine: this one.
        results: the store that keeps the runs.

    Raises:
        NoVerdictError: nothing of it can run here.
        typer.Exit: the user interrupted; what is finished is kept.
    """
    from bench.analysis.option_costs import option_costs
    from bench.cli.progress import CampaignProgress
    from bench.plan.prepare import PreparedSuite
    from bench.report.measured import read_sections
    from bench.run.session import SessionSettings, run_session

    settings = SessionSettings(results=results, command=shlex.join(["bench", *sys.argv[1:]]))
    try:
        with CampaignProgress(sys.stderr) as progress:
            outcome = run_session(PreparedSuite(suite, machine, order_seed=0), settings, progress)
    except KeyboardInterrupt:
        notify("interrupted; everything finished is kept, and the same command goes on from here.")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if outcome.runs.troubled:
        notify(f"{count(outcome.runs.troubled, 'run')} failed, timed out or invalid; logs: {results / 'logs'}")
    sections = read_sections([results], campaign=outcome.campaign.id, warn=notify)
    return MeasuredCosts(option_costs(sections, plain), outcome.runs.troubled)
