"""The phases of a run, each declared once: together they name every second of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class RunPhase:
    """A part of a run. A run may have it several times, or not at all."""

    name: str
    """As the store has it."""
    doing: str
    """What a run is doing meanwhile, for its progress."""
    measured: bool = True
    """Whether what the run measures is made in it: its time counts in "measured x % of the wall time"."""


WHOLE_RUN = "run"
"""The phase of the row that stands for the whole run, from its request to its end."""

PHASES: Mapping[str, RunPhase] = MappingProxyType(
    {
        phase.name: phase
        for phase in (
            # from the request to the run's first event: the fork, or a new process and its import
            RunPhase("start", "starting", measured=False),
            RunPhase("setup", "setting up the device and the data", measured=False),
            RunPhase("build", "building"),
            RunPhase("compile", "compiling"),
            # of training and evaluation; where inference is timed, also of its call paths, their export included
            RunPhase("warmup", "warming up", measured=False),
            # from the call of `fit` to its first epoch: the whole training set goes to the backend
            RunPhase("prepare", "preparing the training", measured=False),
            RunPhase("train", "training"),
            RunPhase("validate", "validating"),
            # what `fit` does after its last epoch
            RunPhase("finish", "finishing the training", measured=False),
            RunPhase("evaluate", "evaluating"),
            RunPhase("predict", "timing inference"),
            # the calls at batch 1 together, through all call paths: a row where a counter of energy was read
            RunPhase("calls", "timing inference", measured=False),
            RunPhase("outputs", "predicting the test set"),
            # the files of the user's code, and the programs that were executed
            RunPhase("attest", "reading the evidence", measured=False),
        )
    }
)
"""By name, in the order of a run."""
