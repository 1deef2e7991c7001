"""A duel's record as a document: the verdict with its interval, both sides, and what a reader has to know beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.core.case import Case
from bench.core.protocol import TimedPhase
from bench.report.document import Column, Document, Heading, Notes, Paragraph, Table
from bench.report.values import count, duration

_VERDICTS = {
    "same": ("✅", "B and A take the same time"),
    "faster": ("✅", "B is faster than A"),
    "slower": ("❌", "B is slower than A"),
    "inconclusive": ("❔", "inconclusive"),
}


def duel_document(record: Mapping[str, Any], *, marked: bool) -> Document:
    """Lay out what `bench.duel.record.to_data` has made, or `duel.json` has kept.

    Args:
        record: the duel.
        marked: put a ✅, ❌ or ❔ before the verdict, as pull requests like it.
    """
    mark = f"{_VERDICTS[record['verdict']][0]} " if marked else ""
    columns = (Column(""), Column("side", wrap=True), Column("median step", left=False), Column("kernel asked → ran"))
    rows = tuple(
        (
            letter.upper(),
            side["title"],
            f"{1000 * side['step_seconds']:.4g} ms",
            f"{side['case']['kernel']} → {side['attested_kernel'] or 'unknown'}",
        )
        for letter, side in record["sides"].items()
    )
    return Document(
        (
            Heading(f"{mark}{headline(record)}"),
            Paragraph(case_words(Case(**record["sides"]["a"]["case"]), TimedPhase(record["phase"]))),
            Table(columns, rows),
            Notes(tuple(notes(record))),
        )
    )


def headline(record: Mapping[str, Any]) -> str:
    """The verdict in a sentence, with the ratio, its interval, and the number of pairs behind it."""
    ratio, low, high = record["ratio"], record["low"], record["high"]
    figures = "no ratio" if ratio is None else f"{ratio:.4f} × A's time"
    if low is not None:
        figures += f", 95 % {low:.4f} to {high:.4f}"
    _, verdict = _VERDICTS[record["verdict"]]
    return f"{verdict}: {figures} ({record['pairs']} process pairs, {minutes(record['seconds'])} min)"


def notes(record: Mapping[str, Any]) -> list[str]:
    """What a reader has to know beside the verdict: how it was reached, what was discarded, what differs."""
    texts = []
    tolerance, floor = f"{100 * record['tolerance']:g} %", f"{100 * record['floor']:g} %"
    if record["verdict"] == "same":
        texts.append(f"The same: the whole interval lies within the equivalence margin of {tolerance}.")
        if record["measurable"]:
            texts.append("There is a measurable difference, inside the margin.")
    elif record["verdict"] == "inconclusive":
        texts.append(
            f"Inconclusive: the interval lies neither within the equivalence margin of {tolerance} nor beyond the "
            f"noise floor of {floor}."
        )
        if record["needed_seconds"] is not None:
            budget = math.ceil(record["needed_seconds"] / 60 / 0.9)
            texts.append(
                f"If the ratio stays, about {duration(record['needed_seconds'])} in all would do: --budget {budget}."
            )
    else:
        texts.append(
            f"The whole interval lies beyond the noise floor of {floor}, and some of it beyond the equivalence margin "
            f"of {tolerance}."
        )
    batches = record["slices_a_side"] * record["strokes_a_slice"]
    steps = count(record["steps_a_slice"] // record["strokes_a_slice"], "step")
    texts.append(
        f"The replicate is the process pair: the median ratio of {batches} timed batches a side, of {steps} each, "
        f"A B B A. Interim analyses at {', '.join(map(str, record['looks']))} pairs; all intervals together hold the "
        f"ratio with 95 %."
    )
    if record["dropped_slices"]:
        texts.append(
            f"{record['dropped_slices']} rounds of a side were contaminated: the other side used the processors. "
            f"{record['spoilt_pairs']} pairs were discarded with them."
        )
    if record["different_packages"]:
        changes = (f"{name} {a or 'none'} → {b or 'none'}" for name, (a, b) in record["different_packages"].items())
        texts.append(f"Software that differs: {', '.join(changes)}.")
    texts.append("Time alone: whether accuracy has changed was not measured (`bench gate` compares it).")
    if record.get("same_code"):
        texts.append("Both commits execute the same program: no module that either side imported differs.")
    elif record.get("same_programs"):
        texts.append("Both commits execute the same program: what differs in their code is in no compiled program.")
    variables = record["sides"]["a"]["variables"]
    if variables:
        texts.append(f"Set on both sides: {', '.join(f'{name}={value}' for name, value in variables.items())}.")
    return texts


def case_words(case: Case, phase: TimedPhase) -> str:
    """What is duelled, in a line."""
    return " · ".join(
        (
            f"{case.cell}, steps of {'training' if phase is TimedPhase.TRAIN else 'prediction'}",
            f"{case.network} network",
            case.task,
            case.backend,
            case.device,
            f"{case.units} units",
            f"batch {case.batch_size}",
            {0: "the backend's threads", 1: "1 thread"}.get(case.threads, f"{case.threads} threads"),
        )
    )


def minutes(seconds: float) -> str:
    """A time as minutes and seconds: 9:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
