"""Which runs stand side by side although their settings differ: `--join units,backend`. Pure.

Times are compared where all else is equal, unless the difference is what is being asked. A join names what is being
asked: fields of the case (a GRU of 74 units beside an LSTM of 64), the backend, which brings its own software with it,
or `code`, the versions of the users' code. What is joined differs from row to row; all the rest stays equal.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.analysis.records import MeasuredRun, stored_object
from bench.catalog.cells import BUILT_IN
from bench.catalog.networks import NETWORKS
from bench.core.axes import AXES, SETTING_FIELDS
from bench.core.case import digest
from bench.core.errors import UsageError, unknown

CODE = "code"
"""The name that joins versions of the users' code."""
_NAMES = (*(name for name in SETTING_FIELDS if name != "task"), CODE)
_OF_THE_BACKEND = ("backend", "backend_version", "libraries")
"""The facts of software that belong to a backend."""


def read_join(text: str) -> tuple[str, ...]:
    """The names of a join, `units,learning_rate`, each once and in the order of the fields of `Case`.

    Raises:
        UsageError: one is no field that can differ, nor `code`.
    """
    fields = {axis.plural: axis.field for axis in AXES.values()}
    given = [fields.get(name, name) for part in text.split(",") if (name := part.strip())]
    for name in given:
        if name in ("task", "cell", "seed"):
            raise UsageError(
                f"{name} (--join {text}) joins nothing: a table compares cells on one task, over its seeds."
            )
        if name not in _NAMES:
            raise unknown("field", name, _NAMES, f"--join {text}")
    return tuple(name for name in _NAMES if name in given)


def side_by_side(runs: Sequence[MeasuredRun], join: Sequence[str]) -> tuple[MeasuredRun, ...]:
    """The runs with what is joined taken out of their section.

    A version of a user's cell or network becomes a part of its name, `my_cells:gru@1a2b3c4d`, since two versions are
    two cells. Backends are joined where each has one version, and where Python, Keras and NumPy agree.

    Args:
        runs: those of a frame.
        join: names, as `read_join` gives them.
    """
    if CODE in join:
        runs = _code_joined(runs)
    return tuple(_backends_joined(runs) if "backend" in join else runs)


def merged_software(software: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The facts in which several software environments agree, and the version of each backend under `backends`."""
    each = list(software)
    if len({facts.get("backend") for facts in each}) < 2:
        return each[0]
    versions = {str(facts.get("backend")): facts.get("backend_version") for facts in each}
    agreed = {name: value for name, value in each[0].items() if all(facts.get(name) == value for facts in each)}
    return {**agreed, "backends": dict(sorted(versions.items()))}


def _code_joined(runs: Sequence[MeasuredRun]) -> list[MeasuredRun]:
    versions: dict[Any, set[str]] = defaultdict(set)
    for run in runs:
        versions[run.section.whatever_code].add(run.section.code_digest)
    joined = []
    for run in runs:
        key = run.section.whatever_code
        if len(versions[key] - {""}) < 2:
            joined.append(run)
            continue
        case, version = run.configuration, run.section.code_digest[:8]
        if version and case.cell not in BUILT_IN:
            case = replace(case, cell=f"{case.cell}@{version}")
        if version and case.network not in NETWORKS:
            case = replace(case, network=f"{case.network}@{version}")
        joined.append(replace(run, section=key, configuration=case))
    return joined


def _backends_joined(runs: Sequence[MeasuredRun]) -> list[MeasuredRun]:
    groups: dict[Any, dict[str, set[str | None]]] = defaultdict(lambda: defaultdict(set))
    keys = []
    for run in runs:
        software = stored_object(run.stored["software_json"])
        common = {name: value for name, value in software.items() if name not in _OF_THE_BACKEND}
        shared = digest(json.dumps(common, sort_keys=True, default=str))
        keys.append(run.section._replace(software_fingerprint=shared))
        groups[keys[-1]][run.configuration.backend].add(run.section.software_fingerprint)
    return [
        replace(run, section=key) if all(len(prints) == 1 for prints in groups[key].values()) else run
        for run, key in zip(runs, keys, strict=True)
    ]
