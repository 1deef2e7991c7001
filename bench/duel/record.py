"""The record of a duel: what `duel.json` keeps, and every timed batch beside it, in `slices.parquet`.

The names in both files are data, and older than the words of the program: a row of `slices.parquet` is one side's part
of a round, its column `turn` the number of the round, its column `strokes` the timed batches, its column `pair` the
process group. `duel.json` keeps a list `contrasts`, a ratio each; where there is one ratio alone, as between A and B,
its fields stand at the top too. Records of 2026-11 and before have them there alone, and no anchor.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.analysis.same_programs import executed_programs
from bench.analysis.stats import harrell_davis
from bench.duel.code import identical_code
from bench.duel.procedure import DuelResult
from bench.duel.rounds import ANCHOR, Round, rows_of, side_key
from bench.duel.sequential import CONFIDENCE, Contrast
from bench.duel.sides import differing
from bench.duel.specification import CALL_QUANTILES, DuelSpecification
from bench.store.files import publish, sweep
from bench.store.lease import Leases

RECORD_FILE = "duel.json"
"""Written last: a folder without it holds no whole duel."""
ROUNDS_FILE = "slices.parquet"


def to_data(specification: DuelSpecification, result: DuelResult) -> dict[str, Any]:
    """All that is known of a duel, JSON-able: what `--format json` prints and `duel.json` keeps."""
    batching, question = result.batching, specification.question
    contrasts = [_contrast_data(specification, result, contrast) for contrast in question.contrasts]
    of_groups = Counter(each.group for each in result.rounds).values()
    data = {
        "stopped": result.stop.value,
        "confidence": CONFIDENCE,
        "contrasts": contrasts,
        "groups": max((each.group for each in result.rounds), default=-1) + 1,
        "spoilt_pairs": result.discarded_groups,
        "looks": list(result.analysed_at),
        "slices_a_side": max(of_groups, default=0),
        "fewest_rounds": min(of_groups, default=0),
        "cores": sorted({each.core for each in result.rounds if each.core is not None}),
        "dropped_slices": sum(side.contaminated for each in result.rounds for side in each.sides.values()),
        "steps_a_slice": batching.steps * batching.batches,
        "strokes_a_slice": batching.batches,
        "multiples": {side_key(side): multiple for side, multiple in batching.multiples.items()},
        "seconds": result.seconds,
        "budget_seconds": question.budget_seconds,
        "needed_seconds": result.needed_seconds,
        "precision": question.precision,
        "tolerance": question.margins.tolerance,
        "floor": question.margins.floor,
        "phase": specification.phase.value,
        "regression_test": specification.is_regression_test,
        "sides": {side_key(number): _side_data(specification, result, number) for number in range(_sides(result))},
        "anchor": {
            **json.loads(result.metadata[ANCHOR].extra_json or "{}"),
            "step_seconds": _step_seconds(result, ANCHOR),
            "steps_a_slice": batching.anchor_steps * batching.batches,
        },
        "device": _device_data(result),
        "machine_fingerprint": specification.machine.fingerprint,
        "machine": json.loads(specification.machine.to_json()),
    }
    if len(contrasts) == 1:
        data |= {name: value for name, value in contrasts[0].items() if name not in ("base", "side")}
    return data


def _sides(result: DuelResult) -> int:
    return max(result.metadata) + 1


def _contrast_data(specification: DuelSpecification, result: DuelResult, contrast: Contrast) -> dict[str, Any]:
    """A ratio, and what differs between its two sides."""
    analysis = result.analyses[contrast]
    base, side = specification.sides[contrast.base], specification.sides[contrast.side]
    return {
        "base": side_key(contrast.base),
        "side": side_key(contrast.side),
        **({} if contrast.quantile is None else {"quantile": contrast.quantile}),
        "verdict": analysis.verdict.value,
        "ratio": analysis.ratio if math.isfinite(analysis.ratio) else None,
        "low": analysis.low,
        "high": analysis.high,
        "measurable": analysis.measurable,
        "pairs": analysis.groups,
        "log_ratios": list(result.log_ratios[contrast]),
        "different_packages": {
            name: list(versions) for name, versions in differing(base.packages, side.packages).items()
        },
        "same_code": identical_code(result.code[contrast.base], result.code[contrast.side]) if base.commit else None,
        "same_programs": _same_programs(specification, result, contrast) if base.commit else None,
    }


def _side_data(specification: DuelSpecification, result: DuelResult, number: int) -> dict[str, Any]:
    """A side, what it ran, and its time beside the anchor's."""
    side, metadata = specification.sides[number], result.metadata[number]
    to_anchor = result.anchor_log_ratios.get(number, ())
    return {
        "title": side.title,
        "commit": side.commit.name if side.commit else None,
        "subject": side.commit.subject if side.commit else "",
        "case": asdict(side.case),
        "parameters": metadata.parameters,
        "attested_kernel": metadata.attested_kernel,
        "evidence": json.loads(metadata.attestation_json or "{}"),
        "step_seconds": _step_seconds(result, number),
        **_calls_data(result, number),
        "anchor_ratio": math.exp(statistics.median(to_anchor)) if to_anchor else None,
        "anchor_log_ratios": list(to_anchor),
        "variables": dict(side.environment.variables),
        "modules": [asdict(module) for module in result.code[number] if not module.name.startswith("bench.")],
    }


def _device_data(result: DuelResult) -> dict[str, Any] | None:
    """What was seen of the sides' cards; None where they have none that can be asked."""
    use = result.device_use
    if use is None:
        return None
    return {**asdict(use), "waiting": {side_key(side): used for side, used in use.waiting.items()}}


def _calls_data(result: DuelResult, number: int) -> dict[str, Any]:
    """The quantiles of a side's single calls, over all its groups; nothing where steps are timed."""
    calls = [seconds for each in result.rounds if number in each.sides for seconds in each.sides[number].call_seconds]
    return {f"p{100 * at:g}_seconds": harrell_davis(calls, at) for at in CALL_QUANTILES} if calls else {}


def _same_programs(specification: DuelSpecification, result: DuelResult, contrast: Contrast) -> bool:
    """Whether it is shown that both sides executed equal programs."""
    base, side = (
        executed_programs(result.metadata[number].attestation_json or "", specification.sides[number].case.backend)
        for number in (contrast.base, contrast.side)
    )
    return base is not None and base == side


@contextmanager
def duel_folder(results: Path) -> Iterator[Path]:
    """The folder for the files of a duel that begins now, leased while it is under way; it is made by who fills it.

    What killed duels have left half done in the store is removed.

    Raises:
        UsageError: the store cannot be written to, or is no folder of this machine, in which the sides write logs.
    """
    os.fspath(results)
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
    return statistics.median(
        seconds for each in result.rounds if side in each.sides for seconds in each.sides[side].step_seconds
    )
