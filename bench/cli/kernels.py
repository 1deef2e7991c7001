"""`bench kernels`: which kernels can be had here, for each cell, backend and device; assumed, or probed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.model_kernels import DEFAULT_STEPS, attest
from bench.cli.options import Format, FormatOption, SetOption
from bench.cli.output import notify, put
from bench.core.errors import UsageError

if TYPE_CHECKING:
    from bench.catalog.support import Capabilities
    from bench.core.case import Case
    from bench.host.hardware import Machine
    from bench.plan.prepare import PreparedSuite
    from bench.plan.suite import Axes
    from bench.run.probe import ProbeCache


def kernels(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODULE:BUILD]", help="A function that returns a Keras model, to attest its layers."),
    ] = None,
    overrides: SetOption = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Run each for a step, read its program, and keep the result for this machine."),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="MODULE:FACTORY", help="What the model is trained on for a step: (x, y), …"),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", metavar="N", min=1, help="The length of random data where the model leaves it open: 16."
        ),
    ] = None,
    fmt: FormatOption = Format.TEXT,
) -> None:
    """The matrix of cells × kernels × backends × devices: what runs here, and what can't and why.

    With MODULE:BUILD, which kernel each recurrent layer of that Keras model runs in training, evaluation and
    prediction, read from the programs of a step. Ends with 4 if it could not be trained.

    Examples:

      bench kernels

      bench kernels --set backends=tensorflow --set cells=lstm --probe

      bench kernels --set devices=gpu:0 --set networks=notebook,cudnn_ready

      bench kernels my_module:build_model --set backends=tensorflow,jax,torch
    """
    if model is not None:
        if probe:
            raise UsageError("--probe is for the matrix: a model's layers are always read from what ran.")
        attest(model, data or "", steps or DEFAULT_STEPS, overrides or (), fmt)
        return
    for option, given in (("--data", data), ("--steps", steps)):
        if given is not None:
            raise UsageError(
                f"{option} is for a model: name its function, as in `bench kernels my_module:build_model`."
            )
    from bench.catalog.matrix import availability
    from bench.host.capabilities import read_capabilities
    from bench.host.hardware import read_machine
    from bench.host.software import read_software
    from bench.report.kernel_matrix import matrix_data, matrix_document
    from bench.run.probe import ProbeCache

    machine = read_machine()
    host = read_capabilities(machine)
    prepared = _crossed(overrides or (), machine)
    plan, axes = prepared.plan(), prepared.suite.axes
    reasons: dict[Case, str | None] = {out.configuration: out.reason for out in plan.excluded}
    reasons |= {scheduled.case.configuration: None for scheduled in plan.scheduled}
    reasons = dict(sorted(reasons.items(), key=lambda item: _place(item[0], axes)))
    known = {
        backend: ProbeCache(machine.fingerprint, read_software(backend).fingerprint)
        for backend, problem in host.backends.items()
        if problem is None
    }
    if probe:
        _probe(list(reasons), host, known)
    known_cases = [
        availability(case, reason, known[case.backend].get(case) if case.backend in known else None)
        for case, reason in reasons.items()
    ]
    put(fmt, lambda: matrix_document(known_cases), lambda: matrix_data(known_cases))


def _crossed(overrides: Sequence[str], machine: Machine) -> PreparedSuite:
    """All that this program knows, crossed, unless the overrides name other values."""
    from bench.catalog.backends import BACKENDS
    from bench.catalog.cells import registered
    from bench.catalog.kernels import KERNELS
    from bench.catalog.networks import NETWORKS
    from bench.plan.prepare import PreparedSuite
    from bench.plan.suite import crossed

    axes: dict[str, Sequence[str]] = {
        "cells": list(registered()),
        # only cuDNN cares for the network
        "networks": list(NETWORKS) if machine.gpus else ["notebook"],
        "backends": list(BACKENDS),
        "kernels": list(KERNELS),
        "devices": ["cpu", *(f"gpu:{number}" for number in range(len(machine.gpus)))],
    }
    return PreparedSuite(crossed("kernels", axes, overrides), machine, order_seed=0)


def _place(case: Case, axes: Axes) -> list[int]:
    """Where a case stands: what has a matrix of its own first, then row and column, as the axes order them."""
    from bench.core.axes import AXES

    order = ("backends", "devices", "networks", "dtypes", "threads", "cells", "kernels")
    return [getattr(axes, axis).index(getattr(case, AXES[axis].field)) for axis in order]


def _probe(cases: Sequence[Case], host: Capabilities, known: dict[str, ProbeCache]) -> None:
    """Try what Keras can be asked for, be it in vain, and keep each result as soon as it is there."""
    from bench.catalog import tasks
    from bench.catalog.cache import obtain
    from bench.catalog.matrix import PROBE_TASK
    from bench.catalog.support import probe_refusal
    from bench.run.probe import probe

    tried = [case for case in cases if probe_refusal(case, host) is None]
    data = obtain(tasks.find(PROBE_TASK, "a probe"), data_dir=None, report=notify)
    for number, (case, result) in enumerate(probe(tried, data, notify), start=1):
        known[case.backend].put(case, result)
        outcome = f"ran {result.attested}" if result.error is None else f"no: {result.error}"
        notify(f"[{number}/{len(tried)}] {case.cell} × {case.kernel} × {case.backend} × {case.device}: {outcome}")
