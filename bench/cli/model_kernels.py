"""`bench kernels MODULE:BUILD`: which kernel each recurrent layer of a user's model runs, phase by phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from bench.cli.options import Format
from bench.cli.output import notify, put
from bench.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bench.core.case import Case

DEFAULT_STEPS = 16
"""The length of random data where a model leaves it open: short, since an unrolled layer is compiled step by step."""
_AXES = ("backends", "devices", "dtypes", "threads")
"""What can be set for a model; the rest is its own."""


def attest(model: str, data: str, steps: int, overrides: Sequence[str], fmt: Format) -> None:
    """Attest the model on each backend and device, and print what was seen.

    Args:
        model: `module:factory`.
        data: the same for its data; empty for random ones.
        steps: the length of random data where the model leaves it open.
        overrides: those of `--set`.
        fmt: how to write it.

    Raises:
        UsageError: a factory's module can't be found, or an axis doesn't concern a model.
        typer.Exit: the model could not be trained somewhere.
    """
    from bench.catalog.factory_calls import check_call
    from bench.core.protocol import ModelRequest
    from bench.report.model_kernels import model_data, model_document
    from bench.run.model_probe import attest_model

    check_call("model", model, "on the command line")
    if data:
        check_call("data factory", data, "--data")
    attestations = []
    for attestation in attest_model(
        _cases(overrides), ModelRequest(factory=model, data_factory=data, steps=steps), notify
    ):
        attestations.append(attestation)
        kernels = {shown["kernel"] for layers in attestation.evidence.values() for shown in layers.values()}
        outcome = attestation.error or f"ran {', '.join(sorted(kernels)) or 'no recurrence'}"
        notify(f"{model} × {attestation.case.backend} × {attestation.case.device}: {outcome}")
    put(fmt, lambda: model_document(model, attestations, steps), lambda: model_data(model, attestations))
    if any(attestation.error for attestation in attestations):
        raise typer.Exit(ExitCode.RUNS_FAILED)


def _cases(overrides: Sequence[str]) -> list[Case]:
    """A case for each backend, device, dtype and number of threads that can be used here; what can't is reported."""
    from itertools import product

    from bench.catalog import check
    from bench.core.axes import AXES
    from bench.core.case import Case
    from bench.host.capabilities import read_capabilities
    from bench.host.hardware import read_machine
    from bench.plan.suite import crossed

    for override in overrides:
        if (axis := override.partition("=")[0]) not in _AXES:
            raise UsageError(f"--set {axis} doesn't concern a model, which is its own: set {', '.join(_AXES)}.")
    machine = read_machine()
    host = read_capabilities(machine)
    usable = [backend for backend, problem in host.backends.items() if problem is None]
    devices = ["cpu", *(f"gpu:{number}" for number in range(len(machine.gpus)))]
    suite = crossed("kernels", {"cells": ["lstm"], "backends": usable[:1], "devices": devices[-1:]}, overrides)
    for plural in _AXES:
        if catalogue := AXES[plural].catalogue:
            for name in getattr(suite.axes, plural):
                check(catalogue, name, suite.origin(plural))
    cases = []
    for values in product(*(getattr(suite.axes, axis) for axis in _AXES)):
        fields = {AXES[axis].field: value for axis, value in zip(_AXES, values, strict=True)}
        case = Case(cell="lstm", **fields)
        problem = host.backends[case.backend] or host.device_problem(case.device)
        if problem:
            notify(f"left out: {case.backend} × {case.device}: {problem}")
        else:
            cases.append(case)
    return cases
