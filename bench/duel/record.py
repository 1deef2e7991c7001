"""The record of a duel: what `duel.json` keeps, and every timed batch beside it, in `slices.parquet`.

The names in both files are data, and older than the words of the program: a row of `slices.parquet` is one side's part
of a round, its column `turn` the number of the round, its column `strokes` the timed batches.
"""

from __future__ import annotations

import json
import math
import shutil
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.analysis.same_programs import executed_programs
from bench.duel.code import identical_code
from bench.duel.procedure import DuelResult
from bench.duel.rounds import Round, SideRound
from bench.duel.sequential import CONFIDENCE
from bench.duel.sides import differing
from bench.duel.specification import DuelSpecification
from bench.store.files import publish, sweep
from bench.store.lease import Leases

RECORD_FILE = "duel.json"
"""Written last: a folder without it holds no whole duel."""
ROUNDS_FILE = "slices.parquet"


def rows_of(rounds: Iterable[Round]) -> list[dict[str, Any]]:
    """The rows of `slices.parquet`: one a side and round, A before B."""
    return [
        {
            "pair": each.group,
            "turn": each.number,
            "side": "ab"[number],
            "steps": side.steps,
            "seconds": side.seconds,
            "cpu_seconds": side.cpu_seconds,
            "idle_cpu_seconds": side.idle_cpu_seconds,
            "start_seconds": side.start_seconds,
            "strokes": side.batches,
        }
        for each in rounds
        for number, side in sorted(each.sides.items())
    ]


def rounds_of(rows: Sequence[Mapping[Any, Any]]) -> tuple[Round, ...]:
    """The rounds that `rows_of` wrote down, in the order of their pairs and numbers."""
    sides: dict[tuple[int, int], dict[int, SideRound]] = {}
    for row in rows:
        sides.setdefault((int(row["pair"]), int(row["turn"])), {})["ab".index(row["side"])] = SideRound(
            steps=int(row["steps"]),
            batches=tuple(map(float, row["strokes"])),
            cpu_seconds=row["cpu_seconds"],
            idle_cpu_seconds=row["idle_cpu_seconds"],
            start_seconds=row["start_seconds"],
        )
    return tuple(Round(group=group, number=number, sides=sides[group, number]) for group, number in sorted(sides))


def to_data(specification: DuelSpecification, result: DuelResult) -> dict[str, Any]:
    """All that is known of a duel, JSON-able: what `--format json` prints and `duel.json` keeps."""
    stopped, batching = result.analysis, result.batching
    a, b = specification.sides
    return {
        "verdict": stopped.verdict.value,
        "ratio": stopped.ratio if math.isfinite(stopped.ratio) else None,
        "low": stopped.low,
        "high": stopped.high,
        "confidence": CONFIDENCE,
        "measurable": stopped.measurable,
        "pairs": stopped.groups,
        "log_ratios": list(result.log_ratios),
        "spoilt_pairs": result.discarded_pairs,
        "looks": list(result.schedule.sizes),
        "slices_a_side": max((each.number for each in result.rounds), default=-1) + 1,
        "dropped_slices": sum(side.contaminated for each in result.rounds for side in each.sides.values()),
        "steps_a_slice": batching.steps * batching.batches,
        "strokes_a_slice": batching.batches,
        "seconds": result.seconds,
        "budget_seconds": specification.budget_seconds,
        "needed_seconds": result.needed_seconds,
        "tolerance": specification.margins.tolerance,
        "floor": specification.margins.floor,
        "phase": specification.phase.value,
        "sides": {
            letter: {
                "title": side.title,
                "case": asdict(side.case),
                "parameters": metadata.parameters,
                "attested_kernel": metadata.attested_kernel,
                "evidence": json.loads(metadata.attestation_json or "{}"),
                "step_seconds": _step_seconds(result, index),
                "variables": dict(side.environment.variables),
                "modules": [asdict(module) for module in code if not module.name.startswith("bench.")],
            }
            for index, (letter, side, metadata, code) in enumerate(
                zip("ab", specification.sides, result.metadata, result.code, strict=True)
            )
        },
        "different_packages": {name: list(versions) for name, versions in differing(a.packages, b.packages).items()},
        "same_code": identical_code(*result.code) if a.commit else None,
        "same_programs": _same_programs(specification, result) if a.commit else None,
        "machine_fingerprint": specification.machine.fingerprint,
        "machine": json.loads(specification.machine.to_json()),
    }


def _same_programs(specification: DuelSpecification, result: DuelResult) -> bool:
    """Whether it is shown that both sides executed equal programs."""
    a, b = (
        executed_programs(metadata.attestation_json or "", side.case.backend)
        for side, metadata in zip(specification.sides, result.metadata, strict=True)
    )
    return a is not None and a == b


@contextmanager
def duel_folder(results: Path) -> Iterator[Path]:
    """The folder for the files of a duel that begins now, leased while it is under way; it is made by who fills it.

    What killed duels have left half done in the store is removed.

    Raises:
        UsageError: the store cannot be written to.
    """
    with Leases(results) as leases:
        sweep(results / "duels")
        for name in leases.names():
            folder = results / name
            if folder.parent.name == "duels" and leases.take(name) is None:  # who held it was killed
                sweep(folder)
                if not (folder / RECORD_FILE).exists():
                    shutil.rmtree(folder, ignore_errors=True)
                leases.release(name)
        name = f"duels/{datetime.now(UTC).strftime('%Y%m%dT%H%M%S.%fZ')}"
        leases.take(name)
        yield results / name


def keep(folder: Path, record: Mapping[str, Any], rounds: Iterable[Round]) -> None:
    """Write a duel's files.

    Raises:
        UsageError: the folder cannot be written to.
    """
    import pandas as pd

    frame = pd.DataFrame(rows_of(rounds))
    publish(folder / ROUNDS_FILE, lambda file: frame.to_parquet(file, index=False))
    publish(folder / RECORD_FILE, lambda file: file.write(json.dumps(record, indent=1).encode()))


def _step_seconds(result: DuelResult, side: int) -> float:
    """The median time of a step over a side's timed batches."""
    return statistics.median(seconds for each in result.rounds for seconds in each.sides[side].batches) / (
        result.batching.steps
    )
