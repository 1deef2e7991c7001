"""Trains a model of the user's for a step on each backend, in a process of its own, and reads what its layers ran."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.core.case import Case, Status
from bench.core.protocol import ModelRequest, Request
from bench.core.scratch import ScratchFolder
from bench.run.lock import machine_lock
from bench.run.pool import Workers

WORKER = "bench.worker.model_attestation"
"""The module whose `measure` attests a model."""
_SILENCE_SECONDS = 600.0
"""An unrolled layer takes a minute or two to compile, and nothing is reported meanwhile."""


@dataclass(frozen=True, kw_only=True)
class ModelAttestation:
    """What the recurrent layers of a model executed on one backend and device."""

    case: Case
    """Its backend, device, dtype and threads are those of the attestation."""
    error: str | None
    """Why there is no evidence; None where there is."""
    evidence: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """phase → path of a layer → `kernel`, `operations` and `artefact`."""
    facts: Mapping[str, Any]
    """`layers` by path, `loss` where one was chosen, and what was read back of the settings."""
    parameters: int | None


def attest_model(
    cases: Iterable[Case], request: ModelRequest, report: Callable[[str], None], *, worker: str = WORKER
) -> Iterator[ModelAttestation]:
    """Attest the model once for each case, and yield each attestation as soon as it is there.

    The machine's lock is held meanwhile.

    Args:
        cases: a backend, device, dtype and number of threads each.
        request: the model and its data.
        report: called with a sentence while another process holds the lock.
        worker: the module that attests.
    """
    with (
        machine_lock(report),
        ScratchFolder("model") as folder,
        Workers(worker=worker, silence_seconds=_SILENCE_SECONDS) as workers,
    ):
        for number, case in enumerate(cases):
            log = folder / f"{number}.log"
            outcome = workers.run(Request(case=case, data=folder, log=log, model=request))
            metadata, failed = outcome.metadata, outcome.status is not Status.OK
            yield ModelAttestation(
                case=case,
                error=(outcome.error or "it ended without an error message") if failed else None,
                evidence=json.loads(metadata.attestation_json or "{}"),
                facts=json.loads(metadata.extra_json or "{}"),
                parameters=metadata.parameters,
            )
