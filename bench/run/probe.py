"""Tries configurations for a step, each in a process of its own, and keeps the answers by machine and software."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.catalog.cache import default_cache
from bench.catalog.matrix import Answer, probe_case
from bench.core.case import Case
from bench.core.protocol import Request
from bench.run.lock import machine_lock
from bench.run.pool import WORKER, Workers
from bench.store.files import make_folder, refused, replace_file

VERSION = 1
"""Of the files that keep the answers; and of how programs are judged. Answers of another version are forgotten.

1 (2026-11): the first.
"""

_SILENCE_SECONDS = 600.0
"""A probe that reports nothing for so long is killed: an unrolled layer takes a minute or two to compile."""


def probe(
    cases: Iterable[Case], data: Path, waiting: Callable[[str], None], *, worker: str = WORKER
) -> Iterator[tuple[Case, Answer]]:
    """Try each configuration, and give its answer as soon as it is there; the machine's lock is held meanwhile."""
    with (
        machine_lock(waiting),
        tempfile.TemporaryDirectory(prefix="bench-probe-") as folder,
        Workers(worker=worker, silence_seconds=_SILENCE_SECONDS) as workers,
    ):
        for number, case in enumerate(cases):
            tried = probe_case(case)
            workers.prepare(tried)
            ended = workers.run(Request(case=tried, data=data, log=Path(folder) / f"{number}.log"))
            yield (
                case,
                Answer(
                    status=ended.status,
                    attested=ended.metadata.attested_kernel,
                    error=ended.error,
                    probed_at=datetime.now(UTC).isoformat(timespec="seconds"),
                ),
            )


class Answers:
    """The answers of one machine and software, each in a file of the user's cache."""

    def __init__(self, machine_fingerprint: str, software_fingerprint: str) -> None:
        self._folder = default_cache() / "probes" / f"{machine_fingerprint}-{software_fingerprint}"

    def of(self, case: Case) -> Answer | None:
        """What a probe came to; None where there was none, or the file is not one of ours."""
        try:
            content = json.loads(self._file(case).read_text(encoding="utf-8"))
            return Answer.from_data(content["answer"]) if content["version"] == VERSION else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, case: Case, answer: Answer) -> None:
        """Keep an answer, in the place of an earlier one.

        Raises:
            UsageError: the cache cannot be written to.
        """
        content = {"version": VERSION, "case": probe_case(case).canonical, "answer": answer.to_data()}
        with refused(self._folder):
            make_folder(self._folder)
            replace_file(self._file(case), json.dumps(content, indent=1).encode())

    def _file(self, case: Case) -> Path:
        return self._folder / f"{probe_case(case).id}.json"
