"""What is said of a duel: its progress, its record, and the verdict in words and markdown."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

from bench.report.values import duration

if TYPE_CHECKING:
    from bench.core.case import Case
    from bench.core.metrics import Margins
    from bench.duel.interleaved import Result, Side
    from bench.duel.sequential import Look, Schedule
    from bench.duel.sides import Made
    from bench.host.hardware import Machine


class Phase(StrEnum):
    """What a slice does."""

    TRAIN = "train"
    PREDICT = "predict"


@dataclass(frozen=True)
class Bout:
    """What is duelled, and all that its report says of it."""

    sides: tuple[Side, Side]
    made: tuple[Made, Made]
    phase: Phase
    margins: Margins
    budget_seconds: float
    machine: Machine


class Progress:
    """Tells of each pair as it ends: its ratio, and the interval so far, drawn beside the tolerance."""

    def __init__(self, stream: TextIO, budget_seconds: float) -> None:
        self._stream, self._budget = stream, budget_seconds
        self._ended = 0

    def pair_ended(self, log_ratio: float | None, so_far: Look, schedule: Schedule, seconds: float) -> None:
        """See `bench.duel.interleaved.Reporter`."""
        self._ended += 1
        clock = f"{_clock(seconds)} of {_clock(self._budget)}"
        if log_ratio is None:
            line = "spoilt: a side used the processors in the other's turns"
        else:
            line = f"{math.exp(log_ratio):.4f}"
            if so_far.low is not None and so_far.high is not None:
                drawn = _drawn(so_far)
                line += f"  so far {so_far.ratio:.4f} ({so_far.low:.4f} to {so_far.high:.4f})  {drawn}"
        at = next((pairs for pairs in schedule.looks if pairs >= so_far.pairs), schedule.most)
        seen = "a look" if at == so_far.pairs and log_ratio is not None else f"next look at {at}"
        print(f"pair {self._ended:2d}  B / A {line}  {clock}  {seen}", file=self._stream, flush=True)


_DRAWN_COLUMNS = 25
_DRAWN_PERCENT = 6.0


def _drawn(so_far: Look) -> str:
    """The interval on a line from −6 to +6 %, with 0 in the middle: `····[==|=]··`."""

    def column(ratio: float | None) -> int:
        percent = 100 * ((ratio or 1.0) - 1)
        place = round((percent / _DRAWN_PERCENT + 1) / 2 * (_DRAWN_COLUMNS - 1))
        return min(max(place, 0), _DRAWN_COLUMNS - 1)

    low, high, middle = column(so_far.low), column(so_far.high), _DRAWN_COLUMNS // 2
    cells = ["·" if place < low or place > high else "=" for place in range(_DRAWN_COLUMNS)]
    cells[low] = "[" if low else "<"
    cells[high] = "]" if high < _DRAWN_COLUMNS - 1 else ">"
    cells[middle] = "|"
    return "".join(cells)


def to_data(bout: Bout, result: Result) -> dict[str, Any]:
    """All that is known of a duel, JSON-able: what `--format json` prints and `duel.json` keeps."""
    from bench.duel import sides

    stopped = result.look
    steps = {side: _step_seconds(result, side) for side in "ab"}
    kernels = [facts.attested_kernel for facts in result.facts]
    return {
        "verdict": stopped.verdict.value,
        "ratio": _finite(stopped.ratio),
        "low": stopped.low,
        "high": stopped.high,
        "confidence": 0.95,
        "measurable": stopped.measurable,
        "pairs": stopped.pairs,
        "log_ratios": list(result.log_ratios),
        "spoilt_pairs": result.spoilt,
        "looks": list(result.schedule.looks),
        "slices_a_side": max((one.turn for one in result.slices), default=-1) + 1,
        "dropped_slices": result.dropped,
        "steps_a_slice": result.pace.steps * result.pace.strokes,
        "strokes_a_slice": result.pace.strokes,
        "seconds": result.seconds,
        "budget_seconds": bout.budget_seconds,
        "needed_seconds": result.needed_seconds,
        "tolerance": bout.margins.tolerance,
        "floor": bout.margins.floor,
        "phase": bout.phase.value,
        "sides": {
            letter: {
                "title": side.title,
                "case": asdict(side.case),
                "parameters": facts.parameters,
                "attested_kernel": kernel,
                "evidence": json.loads(facts.attestation_json or "{}"),
                "step_seconds": steps[letter],
                "variables": dict(side.place.variables),
            }
            for letter, side, facts, kernel in zip("ab", bout.sides, result.facts, kernels, strict=True)
        },
        "different_packages": {
            name: list(versions)
            for name, versions in sides.differing(bout.made[0].packages, bout.made[1].packages).items()
        },
        "machine_fingerprint": bout.machine.fingerprint,
        "machine": json.loads(bout.machine.to_json()),
    }


def _step_seconds(result: Result, side: str) -> float:
    strokes = (stroke for one in result.slices if one.side == side for stroke in one.strokes)
    return statistics.median(strokes) / result.pace.steps


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def headline(record: Mapping[str, Any]) -> str:
    """The verdict in a sentence, with the ratio, its interval, and what it rests on."""
    ratio, low, high = record["ratio"], record["low"], record["high"]
    figures = "no ratio" if ratio is None else f"{ratio:.4f} × A's time"
    if low is not None:
        figures += f", 95 % {low:.4f} to {high:.4f}"
    says = {
        "same": "B and A take the same time",
        "faster": "B is faster than A",
        "slower": "B is slower than A",
        "inconclusive": "not sure",
    }[record["verdict"]]
    return f"{says}: {figures} ({record['pairs']} pairs of processes, {_clock(record['seconds'])} min)"


def remarks_on(record: Mapping[str, Any]) -> list[str]:
    """What a reader has to know beside the verdict, a sentence each."""
    said = []
    tolerance, floor = f"{100 * record['tolerance']:g} %", f"{100 * record['floor']:g} %"
    if record["verdict"] == "same":
        said.append(f"The same: the whole interval lies within the tolerance of {tolerance}.")
        if record["measurable"]:
            said.append("There is a measurable difference, inside the tolerance.")
    elif record["verdict"] == "inconclusive":
        needed = record["needed_seconds"]
        said.append(
            f"Not sure: the interval lies neither within the tolerance of {tolerance} nor beyond the floor of {floor}."
        )
        if needed is not None:
            budget = math.ceil(needed / 60 / 0.9)
            said.append(f"If the ratio stays, about {duration(needed)} in all would do: --budget {budget}.")
    else:
        said.append(
            f"The whole interval lies beyond the floor of {floor}, and not within the tolerance of {tolerance}."
        )
    said.append(
        f"The unit is the pair of processes: the median ratio of {record['slices_a_side'] * record['strokes_a_slice']} "
        f"strokes a side, of {record['steps_a_slice'] // record['strokes_a_slice']} steps each, A B B A. Looks at "
        f"{', '.join(map(str, record['looks']))} pairs; all intervals together hold the ratio with 95 %."
    )
    if record["dropped_slices"]:
        said.append(
            f"{record['dropped_slices']} slices were dropped, in which the other side used the processors; "
            f"{record['spoilt_pairs']} pairs with them."
        )
    if record["different_packages"]:
        changes = (f"{name} {a or 'none'} → {b or 'none'}" for name, (a, b) in record["different_packages"].items())
        said.append(f"Software that differs: {', '.join(changes)}.")
    variables = record["sides"]["a"]["variables"]
    if variables:
        said.append(f"Set on both sides: {', '.join(f'{name}={value}' for name, value in variables.items())}.")
    return said


def rows_of(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row a side, under `HEADINGS`."""
    rows: list[tuple[str, ...]] = []
    for letter, side in record["sides"].items():
        kernel = f"{side['case']['kernel']} → {side['attested_kernel'] or 'unknown'}"
        rows.append((letter.upper(), side["title"], f"{1000 * side['step_seconds']:.4g} ms", kernel))
    return rows


HEADINGS = ("", "side", "median step", "kernel asked → ran")


def to_markdown(record: Mapping[str, Any]) -> str:
    """Fit for a pull request, or a step's summary."""
    from bench.core.case import Case
    from bench.report.markdown import escaped
    from bench.report.values import markdown_table

    mark = {"same": "✅", "faster": "✅", "slower": "❌", "inconclusive": "❔"}[record["verdict"]]
    case = Case(**record["sides"]["a"]["case"])
    lines = [
        f"### {mark} {headline(record)}",
        "",
        described(case, Phase(record["phase"])),
        "",
        *markdown_table([(head, head != HEADINGS[2]) for head in HEADINGS], rows_of(record)),
        "",
        *(f"- {escaped(remark)}" for remark in remarks_on(record)),
    ]
    return "\n".join(lines) + "\n"


def described(case: Case, phase: Phase) -> str:
    """What is duelled, in a line."""
    return " · ".join(
        (
            f"{case.cell}, steps of {'training' if phase is Phase.TRAIN else 'prediction'}",
            f"{case.network} network",
            case.task,
            case.backend,
            case.device,
            f"{case.units} units",
            f"batch {case.batch_size}",
            {0: "the backend's threads", 1: "1 thread"}.get(case.threads, f"{case.threads} threads"),
        )
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
