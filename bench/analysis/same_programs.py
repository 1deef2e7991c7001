"""Which versions of the users' code are one program, because what their runs executed and computed is equal. Pure.

An unrelated function that was added to a cell's file makes another version of the code, and the same program. Two
versions are one if they share a configuration, and if in each that they share there are runs of equal seeds, all of
which executed programs of one digest and gave the same losses to the last bit. Where that isn't shown they stay apart:
without evidence, where a program calls Python, and on backends whose programs aren't all that is executed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from bench.catalog.backends import BACKENDS
from bench.core.case import Status

_UNKNOWN = frozenset({"opaque", "mixed"})
"""Kernels whose evidence does not show all that was executed: Python was called, or may have been."""


class ExecutedRun(NamedTuple):
    """What one run executed and computed."""

    configuration_id: str
    seed: int
    programs: tuple[tuple[str, str], ...] | None
    """The digests of the executed programs by phase; None where they do not show all that was executed."""
    losses: tuple[tuple[str, float, float], ...]
    """(phase, epoch, loss) of each observation that has one; epoch 0 for evaluation."""


def executed_programs(evidence: str, backend: str) -> tuple[tuple[str, str], ...] | None:
    """The digests of the programs that a run executed, by phase, in order.

    None where they do not show all that was executed: there is no evidence, a program calls Python, or the backend is
    one whose programs are not all.

    Args:
        evidence: of the run, JSON, as the store has it.
        backend: the run's.
    """
    try:
        phases = json.loads(evidence)
    except ValueError:
        return None
    if backend not in BACKENDS or not BACKENDS[backend].programs_are_all or not isinstance(phases, dict):
        return None
    shown = [(phase, each) for phase, layers in phases.items() for each in layers.values()]
    if any(each["kernel"] in _UNKNOWN or not each.get("artefact") for _, each in shown):
        return None
    return tuple(sorted({(phase, each["artefact"]) for phase, each in shown})) or None


def executed_by_run(runs: pd.DataFrame, frame: pd.DataFrame) -> list[ExecutedRun | None]:
    """What each run executed, aligned with `runs`; None for those that did not end ok.

    Args:
        runs: a row for each run.
        frame: their observations.
    """
    having = frame[frame["loss"].notna()]
    losses: dict[str, list[tuple[str, float, float]]] = defaultdict(list)
    columns = (having["run_id"].astype(str), having["phase"].astype(str), having["epoch"].fillna(0), having["loss"])
    for run_id, phase, epoch, loss in zip(*columns, strict=True):
        losses[run_id].append((phase, float(epoch), float(loss)))
    names = ("run_id", "status", "configuration_id", "seed", "backend", "runtime", "attestation_json")
    return [
        None
        if status != Status.OK
        else ExecutedRun(
            configuration_id=str(configuration),
            seed=int(seed),
            programs=executed_programs(str(evidence), str(backend)) if runtime == "keras" else None,
            losses=tuple(sorted(losses[str(run_id)])),
        )
        for run_id, status, configuration, seed, backend, runtime, evidence in zip(
            *(runs[name] for name in names), strict=True
        )
    ]


def versions_as_executed(runs: Mapping[str, Sequence[ExecutedRun]]) -> list[list[str]]:
    """The versions of the users' code, those that are one program together, in their order.

    Args:
        runs: those that ended ok, by version.
    """
    by_case = {version: _by_case(executed) for version, executed in runs.items()}
    groups: list[list[str]] = []
    for version in runs:
        for group in groups:
            relations = [_same(by_case[version], by_case[member]) for member in group]
            if True in relations and False not in relations:
                group.append(version)
                break
        else:
            groups.append([version])
    return groups


_Results = frozenset[tuple[tuple[tuple[str, str], ...] | None, tuple[tuple[str, float, float], ...]]]


def _by_case(runs: Sequence[ExecutedRun]) -> dict[str, dict[int, _Results]]:
    """By configuration and seed: what was executed and computed."""
    by_case: dict[str, dict[int, _Results]] = defaultdict(dict)
    for run in runs:
        seeds = by_case[run.configuration_id]
        seeds[run.seed] = seeds.get(run.seed, frozenset()) | {(run.programs, run.losses)}
    return by_case


def _same(a: Mapping[str, Mapping[int, _Results]], b: Mapping[str, Mapping[int, _Results]]) -> bool | None:
    """Whether two versions are one program; None where they share no configuration."""
    shared = a.keys() & b.keys()
    if not shared:
        return None
    return all(_equal(a[configuration], b[configuration]) for configuration in shared)


def _equal(a: Mapping[int, _Results], b: Mapping[int, _Results]) -> bool:
    seeds = a.keys() & b.keys()
    for seed in seeds:
        results = a[seed] | b[seed]
        if len(results) > 1 or any(programs is None or not losses for programs, losses in results):
            return False
    return bool(seeds)
