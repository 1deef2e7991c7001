"""`bench kernels --equal`: whether kernels, backends and runtimes compute the same, each with the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from bench.cli.options import Format
from bench.cli.output import notify, put
from bench.core.errors import ExitCode, NoVerdictError

if TYPE_CHECKING:
    from bench.analysis.equality import KernelNumbers
    from bench.core.case import Case
    from bench.report.equal_numbers import EqualityResult
    from bench.run.number_probe import NumbersRun


def compare_numbers(overrides: Sequence[str], fmt: Format) -> None:
    """Let each configuration compute a batch, and print how far it is from the reference and from each other one.

    Args:
        overrides: those of `--set`.
        fmt: how to write it.

    Raises:
        NoVerdictError: nothing that was asked for can be computed here.
        typer.Exit: a kernel computes something else, or could not be run.
    """
    from bench.analysis.equality import batch_of, pairs, question
    from bench.report.equal_numbers import equality_data, equality_document
    from bench.run.number_probe import Batch, compute_numbers

    cases, left_out = _cases(overrides)
    if not cases:
        reasons = "; ".join(reason for reason, _ in left_out)
        raise NoVerdictError(f"nothing that was asked for can be computed here: {reasons}.")
    batches = [(case, batch_of(question(case))) for case in cases]
    given = [(case, Batch(x=batch.x, y=batch.y, weights=batch.weights)) for case, batch in batches]
    results: list[EqualityResult] = []
    computed: list[KernelNumbers] = []
    for number, run in enumerate(compute_numbers(given, notify), start=1):
        result = _judged(run, computed)
        results.append(result)
        verdict = result.error or ("equal" if result.comparison and result.comparison.equal else "DIFFERS")
        notify(f"[{number}/{len(given)}] {_label(run.case)}: {verdict}")
    of_pairs = pairs(computed)
    put(fmt, lambda: equality_document(results, of_pairs, left_out), lambda: equality_data(results, of_pairs, left_out))
    if any(result.comparison is None or not result.comparison.equal for result in results):
        raise typer.Exit(ExitCode.RUNS_FAILED)


def _judged(run: NumbersRun, computed: list[KernelNumbers]) -> EqualityResult:
    """A run beside the reference; what it computed is added to `computed`."""
    from bench.analysis.equality import KernelNumbers, against_reference
    from bench.report.equal_numbers import EqualityResult

    comparison = None
    if run.outputs is not None:
        numbers = KernelNumbers(
            case=run.case,
            attested=run.attested,
            settings_json=run.settings_json,
            outputs=run.outputs,
            gradients=run.gradients,
        )
        computed.append(numbers)
        comparison = against_reference(numbers)
    return EqualityResult(case=run.case, attested=run.attested, comparison=comparison, error=run.error)


def _label(case: Case) -> str:
    words = [case.cell, case.kernel, case.backend, *([case.runtime] if case.runtime != "keras" else []), case.device]
    return " × ".join([*words, *([f"mask={case.mask}"] if case.mask != "none" else [])])


def _cases(overrides: Sequence[str]) -> tuple[list[Case], list[tuple[str, str]]]:
    """What is computed, and what is left out: reasons, and the configurations that each is the reason of."""
    from bench.analysis.equality import HOW
    from bench.catalog.backends import BACKENDS
    from bench.catalog.cells import BUILT_IN
    from bench.catalog.kernels import KERNELS
    from bench.catalog.runtimes import RUNTIMES
    from bench.catalog.support import numbers_refusal
    from bench.core.axes import AXES
    from bench.host.capabilities import read_capabilities
    from bench.host.hardware import read_machine
    from bench.plan.plan import ExcludedCase, make_plan
    from bench.plan.prepare import excluded_by_reason
    from bench.plan.suite import crossed

    machine = read_machine()
    host = read_capabilities(machine)
    gpus = [f"gpu:{number}" for number in range(len(machine.gpus))]
    axes: dict[str, Sequence[str | int]] = {
        "cells": list(BUILT_IN),
        "tasks": ["noise"],
        "networks": ["cudnn_ready"],
        "backends": [name for name in BACKENDS if host.backends[name] is None],
        # torch.compile takes minutes: it is asked for by name
        "kernels": [name for name in KERNELS if name != "compiled"],
        "devices": ["cpu", *gpus],
        "runtimes": [name for name in RUNTIMES if host.runtimes[name] is None],
        # right padding is a case of its own for cuDNN alone, which is on a GPU
        "masks": ["none", *(["right"] if gpus else []), "gaps"],
        "units": [16],
        "steps": [16],
        "features": [8],
        "batch_size": [8],
        # a runtime that only infers is left out where no inference is asked for
        "latency_calls": [1],
    }
    if any(override.startswith("tasks=") for override in overrides):
        axes = {axis: values for axis, values in axes.items() if axis not in ("steps", "features")}  # its own
    suite = crossed("kernels", axes, overrides)
    plan = make_plan(suite, order_seed=0, host=host)
    runnable = dict.fromkeys(each.case.configuration for each in plan.scheduled)
    reasons = {case: numbers_refusal(case) for case in runnable}
    excluded = (*plan.excluded, *(ExcludedCase(case, reason) for case, reason in reasons.items() if reason))
    tried = [case for case, reason in reasons.items() if reason is None]

    def place(case: Case) -> tuple[list[int], list[int]]:
        """What is compared stands together, and what computes it in the order of the axes."""
        asked, computes = list[int](), list[int]()
        for plural, axis in AXES.items():
            where = getattr(suite.axes, plural).index(getattr(case, axis.field))
            (computes if axis.field in HOW else asked).append(where)
        return asked, computes

    tried.sort(key=place)
    return tried, excluded_by_reason(replace(plan, excluded=excluded))
