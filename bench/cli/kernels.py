"""`bench kernels`: which kernels can be had here, for each cell, backend and device; assumed, or probed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.equal_numbers import compare_numbers
from bench.cli.model_kernels import DEFAULT_STEPS, attest
from bench.cli.option_costs import measure_costs
from bench.cli.options import LOCAL_RESULTS, Format, FormatOption, SetOption
from bench.cli.output import notify, put
from bench.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bench.catalog.support import Capabilities
    from bench.core.case import Case
    from bench.host.hardware import Machine
    from bench.plan.suite import Suite
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
    options: Annotated[
        bool,
        typer.Option("--options", help="The matrix of the options of layers: which kernel Keras picks with each."),
    ] = False,
    time: Annotated[
        bool,
        typer.Option(
            "--time", help="That matrix, and what each option costs: training time, a ratio to the plain one."
        ),
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option("--results", metavar="DIR", help=f"Where the runs of --time are kept: {LOCAL_RESULTS}."),
    ] = None,
    equal: Annotated[
        bool,
        typer.Option("--equal", help="Whether they compute the same: outputs and gradients, with the same weights."),
    ] = False,
    fmt: FormatOption = Format.TEXT,
) -> None:
    """The matrix of cells × kernels × backends × devices: what can be had, and what can't and why.

    What this machine lacks is shown as assumed, from Keras's rules.

    With --time, each option is trained by itself and without it, in blocks of fresh processes that `bench run` would
    make: interrupted, it goes on where it was, and `bench table` shows the runs. Ends with 4 if some failed.

    With --equal, each computes the same batch with the same weights; outputs and gradients are set beside a reference
    in float64, and what the number format allows. Ends with 4 if one computes something else, or can't be run.

    With MODULE:BUILD, which kernel each recurrent layer of that Keras model runs in training, evaluation and
    prediction, read from the programs of a step. Ends with 4 if it could not be trained.

    Examples:

      bench kernels

      bench kernels --set backends=tensorflow --set cells=lstm --probe

      bench kernels --set devices=gpu:0 --set networks=notebook,cudnn_ready

      bench kernels --options --set backends=tensorflow --set cells=lstm,gru

      bench kernels --time --set backends=tensorflow --set cells=lstm

      bench kernels --equal --set cells=lstm --set backends=tensorflow,jax

      bench kernels my_module:build_model --set backends=tensorflow,jax,torch
    """
    switches = {"--probe": probe, "--options": options, "--time": time, "--equal": equal}
    on = [option for option, given in switches.items() if given]
    if model is not None:
        if on:
            raise UsageError(f"{on[0]} is for the matrix: a model's layers are always read from what ran.")
        attest(model, data or "", steps or DEFAULT_STEPS, overrides or (), fmt)
        return
    of_model: dict[str, object] = {"--data": data, "--steps": steps}
    for option, value in of_model.items():
        if value is not None:
            raise UsageError(
                f"{option} is for a model: name its function, as in `bench kernels my_module:build_model`."
            )
    if results is not None and not time:
        raise UsageError("--results is where --time keeps its runs: give --time too.")
    if equal:
        if len(on) > 1:
            raise UsageError(f"--equal and {on[0]} are two tables: give one of them.")
        compare_numbers(overrides or (), fmt)
        return
    from bench.catalog.matrix import availability
    from bench.catalog.support import missing
    from bench.host.capabilities import read_capabilities
    from bench.host.hardware import read_machine
    from bench.host.software import read_software
    from bench.report.kernel_matrix import matrix_data, matrix_document
    from bench.run.probe import ProbeCache

    machine = read_machine()
    host = read_capabilities(machine)
    suite = _crossed(overrides or (), machine, options=options or time)
    reasons = _reasons(suite, options=options or time)
    known = {
        backend: ProbeCache(machine.fingerprint, read_software(backend).fingerprint)
        for backend, problem in host.backends.items()
        if problem is None
    }
    if probe:
        _probe(list(reasons), host, known)
    known_cases = [
        availability(
            case, reason, known[case.backend].get(case) if case.backend in known else None, missing(case, host)
        )
        for case, reason in reasons.items()
    ]
    if not (options or time):
        put(fmt, lambda: matrix_document(known_cases), lambda: matrix_data(known_cases))
        return
    from bench.report.option_matrix import option_data, option_document

    costs = measure_costs(suite, lambda case: _plain(case, suite), machine, results or LOCAL_RESULTS) if time else None
    by_case = costs.by_case if costs else {}
    put(fmt, lambda: option_document(known_cases, by_case), lambda: option_data(known_cases, by_case))
    if costs and costs.troubled:
        raise typer.Exit(ExitCode.RUNS_FAILED)


def _reasons(suite: Suite, *, options: bool) -> dict[Case, str | None]:
    """Each configuration that is shown, in order, and why it can't be had by the rules; None where it can."""
    from bench.catalog.support import ideal_host, refusal
    from bench.plan.plan import make_plan

    host = ideal_host()
    plan = make_plan(suite, order_seed=0, host=host)
    cases = [out.configuration for out in plan.excluded] + [each.case.configuration for each in plan.scheduled]
    in_order = sorted(dict.fromkeys(cases), key=lambda case: _place(case, suite, options=options))
    return {case: refusal(case, host) for case in in_order}


def _plain(case: Case, suite: Suite) -> Case:
    """The configuration of the matrix of options without an option: with those that hold for all of it."""
    from bench.catalog.matrix import OPTIONS_TRIED
    from bench.core.axes import AXES

    plurals = [plural for part in OPTIONS_TRIED for plural in part]
    return replace(case, **{AXES[plural].field: getattr(suite.axes, plural)[0] for plural in plurals})


def _crossed(overrides: Sequence[str], machine: Machine, *, options: bool) -> Suite:
    """All that this program knows, crossed, unless the overrides name other values."""
    from bench.catalog.backends import BACKENDS
    from bench.catalog.cells import BUILT_IN, registered
    from bench.catalog.kernels import KERNELS
    from bench.catalog.matrix import OPTIONS_TIMED, OPTIONS_TRIED
    from bench.catalog.networks import NETWORKS
    from bench.plan.suite import crossed

    axes: dict[str, Sequence[object]] = {
        "cells": list(registered()),
        # only cuDNN cares for the network
        "networks": list(NETWORKS) if machine.gpus else ["notebook"],
        "backends": list(BACKENDS),
        "kernels": list(KERNELS),
        "devices": ["cpu", *(f"gpu:{number}" for number in range(len(machine.gpus)))],
    }
    if not options:
        return crossed("kernels", axes, overrides)
    # tanh in both layers, so that the option alone decides; and a GPU, which is where it does
    axes |= {
        "cells": [cell.name for cell in BUILT_IN.values() if cell.has_options],
        "networks": ["cudnn_ready"],
        "kernels": ["auto"],
        **OPTIONS_TIMED,
    }
    axes |= {"devices": axes["devices"] if machine.gpus else ["cpu", "gpu:0"]}
    return crossed("kernels --time", axes, overrides, OPTIONS_TRIED)


def _place(case: Case, suite: Suite, *, options: bool) -> list[int]:
    """Where a case stands: what has a matrix of its own first, then row and column, as the axes order them."""
    from bench.catalog.matrix import OPTIONS_TRIED
    from bench.core.axes import AXES

    order = ["backends", "devices", "networks", "dtypes", "threads"]
    # an option that stands further below decides before those above it, which are at their first value then
    order += [plural for part in reversed(OPTIONS_TRIED) for plural in part] if options else []
    return [suite.values(axis).index(getattr(case, AXES[axis].field)) for axis in (*order, "cells", "kernels")]


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
