"""Runs configurations for a step, each in a process of its own, and keeps the results by machine and software."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.catalog.cache import default_cache
from bench.catalog.matrix import ProbeResult, probe_case
from bench.core.case import Case
from bench.core.protocol import Request
from bench.core.scratch import ScratchFolder
from bench.run.lock import machine_lock
from bench.run.pool import WORKER, Workers
from bench.store.files import make_folder, refused, replace_file

VERSION = 2
"""The version of the files that keep results, and of how programs are judged. Results of another one are forgotten.

2 (2026-11): the kernel of each phase, predictions too.
1 (2026-11): the first.
"""

_SILENCE_SECONDS = 600.0
"""A probe that reports nothing for so long is killed: an unrolled layer takes a minute or two to compile."""


def probe(
    cases: Iterable[Case], data: Path | None, report: Callable[[str], None], *, worker: str = WORKER
) -> Iterator[tuple[Case, ProbeResult]]:
    """Run each configuration for a step, and yield its result as soon as it is there.

    The machine's lock is held meanwhile.

    Args:
        cases: the configurations.
        data: the data of `bench.catalog.matrix.PROBE_TASK`.
        report: called with a sentence while another process holds the lock.
        worker: the module that does a run.
    """
    with (
        machine_lock(report),
        ScratchFolder("probe") as folder,
        Workers(worker=worker, silence_seconds=_SILENCE_SECONDS) as workers,
    ):
        for number, case in enumerate(cases):
            probed = probe_case(case)
            workers.prepare(probed)
            outcome = workers.run(Request(case=probed, data=data, log=folder / f"{number}.log"))
            yield (
                case,
                ProbeResult(
                    status=outcome.status,
                    attested=outcome.metadata.attested_kernel,
                    error=outcome.error,
                    phases=_by_phase(outcome.metadata.attestation_json),
                    probed_at=datetime.now(UTC).isoformat(timespec="seconds"),
                ),
            )


def _by_phase(attestation_json: str | None) -> dict[str, str]:
    """The kernel that each phase's programs showed."""
    evidence = json.loads(attestation_json or "{}")
    shown = {phase: dict.fromkeys(layer["kernel"] for layer in layers.values()) for phase, layers in evidence.items()}
    return {phase: " + ".join(kernels) for phase, kernels in shown.items()}


class ProbeCache:
    """The results of one machine's and software's probes, each in a file of the user's cache."""

    def __init__(self, machine_fingerprint: str, software_fingerprint: str) -> None:
        self._folder = default_cache() / "probes" / f"{machine_fingerprint}-{software_fingerprint}"

    def get(self, case: Case) -> ProbeResult | None:
        """The result of a configuration's probe; None where there was none, or the file is not one of ours."""
        try:
            content = json.loads(self._file(case).read_text(encoding="utf-8"))
            return ProbeResult.from_data(content["answer"]) if content["version"] == VERSION else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, case: Case, result: ProbeResult) -> None:
        """Keep a result, in the place of an earlier one.

        Raises:
            UsageError: the cache cannot be written to.
        """
        content = {"version": VERSION, "case": probe_case(case).canonical, "answer": result.to_data()}
        with refused(self._folder, "set BENCH_CACHE_DIR to another folder"):
            make_folder(self._folder)
            replace_file(self._file(case), json.dumps(content, indent=1).encode())

    def _file(self, case: Case) -> Path:
        return self._folder / f"{probe_case(case).id}.json"
