"""The margins that interleaved times are judged by: those of the options, of the project, or the usual ones."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.output import notify
from bench.core.errors import UsageError
from bench.core.margins import read_percentage
from bench.core.metric import Margins
from bench.core.protocol import TimedPhase
from bench.plan.gate import Gate

ToleranceOption = Annotated[
    str | None,
    typer.Option(
        "--tolerance",
        metavar="PERCENT",
        help="What still counts as the same time: 1.5, or '1.5 %'; else what tool.bench.gate has for training, or "
        "1.5 %.",
    ),
]
FloorOption = Annotated[
    str | None,
    typer.Option("--floor", metavar="PERCENT", help="What a difference of times must exceed to be one; usually 0.5 %."),
]
_METRICS = {TimedPhase.TRAIN: "train_seconds", TimedPhase.STREAMING_CALLS: "step_latency_seconds"}
"""The metric whose margins the project declares for what is timed; of all else it is `latency_seconds`."""


def time_margins(tolerance: str | None, floor: str | None, gate: Gate, phase: TimedPhase) -> Margins:
    """The margins of an interleaved measurement.

    Args:
        tolerance: the option's text, a percentage; None where it is not given.
        floor: likewise.
        gate: the project's margins, of which those count that the user named.
        phase: what is timed.

    Raises:
        UsageError: a text is no percentage, or both don't go together.
    """
    from bench.duel.sequential import MARGINS

    metric = _METRICS.get(phase, "latency_seconds")
    usual = gate.margins[metric] if metric in gate.named else MARGINS
    equivalence, noise = usual.tolerance, usual.floor
    if metric in gate.named and None in (tolerance, floor):
        notify(f"times are judged by the margins of {gate.origin}")
    if tolerance is not None:
        equivalence = read_percentage(tolerance, f"--tolerance {tolerance}", least=0.1)
    if floor is not None:
        noise = read_percentage(floor, f"--floor {floor}")
    if not 0 <= noise <= equivalence < 1 or equivalence == 0:
        raise UsageError(
            f"--tolerance {_percent(tolerance, equivalence)} with --floor {_percent(floor, noise)} can't be used: the "
            f"floor lies between 0 and the tolerance, and the tolerance is above 0 % and below 100 %."
        )
    return Margins(tolerance=equivalence, floor=noise)


def _percent(given: str | None, value: float) -> str:
    return f"{100 * value:g}" if given is None else given
