"""A duel's record as a document: its verdicts with their intervals, the sides, and what a reader has to know beside."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench.core.case import Case
from bench.core.protocol import TimedPhase
from bench.duel.rounds import anchor_words
from bench.duel.sequential import FEWEST_GROUPS
from bench.duel.sides import PINNED_ALLOCATOR
from bench.report.document import Column, Document, Heading, Notes, Paragraph, Table
from bench.report.values import count, duration

_VERDICTS = {
    "same": ("✅", "{side} and {base} take the same time"),
    "faster": ("✅", "{side} is faster than {base}"),
    "slower": ("❌", "{side} is slower than {base}"),
    "inconclusive": ("❔", "inconclusive"),
}

_STOPPED = {
    "precise": "every ratio is known to {precision}",
    "decided": "every verdict is made",
    "time": "the time is over",
}


_USED_FRACTION = 0.01
"""The part of a driver's sample from which on a device counts as in use: samples are in whole per cents."""

_MOSTLY = 0.5
"""A measurement that ended for want of time has used more than this fraction of it; else, as many groups as are ever
made, or too many discarded ones, have ended it."""


def duel_document(record: Mapping[str, Any], *, marked: bool) -> Document:
    """Lay out what `bench.duel.record.to_data` has made, or `duel.json` has kept.

    Args:
        record: the duel.
        marked: put a ✅, ❌ or ❔ before the verdict, as pull requests like it.
    """
    cases = [Case(**side["case"]) for side in record["sides"].values()]
    setting = Paragraph(case_words(cases, TimedPhase(record["phase"])))
    remarks = Notes(tuple(notes(record)))
    if "verdict" in record:
        mark = f"{_VERDICTS[record['verdict']][0]} " if marked else ""
        return Document((Heading(f"{mark}{headline(record)}"), setting, _sides_table(record), remarks))
    return Document(
        (Heading(_summary(record, marked)), setting, _ratios_table(record, marked), _sides_table(record), remarks)
    )


def headline(record: Mapping[str, Any]) -> str:
    """The verdict of a duel between two, with the ratio, its interval, and the number of pairs behind it."""
    ratio, low, high = record["ratio"], record["low"], record["high"]
    figures = "no ratio" if ratio is None else f"{ratio:.4f} × A's time"
    if low is not None:
        figures += f", 95 % {low:.4f} to {high:.4f}"
    verdict = _VERDICTS[record["verdict"]][1].format(base="A", side="B")
    return f"{verdict}: {figures} ({record['pairs']} process pairs, {minutes(record['seconds'])} min)"


def _summary(record: Mapping[str, Any], marked: bool) -> str:
    """How many of several ratios were settled how, and why the measurement ended."""
    verdicts = [contrast["verdict"] for contrast in record["contrasts"]]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in _VERDICTS if verdict in verdicts]
    worst = next(verdict for verdict in ("slower", "inconclusive", "faster", "same") if verdict in verdicts)
    mark = f"{_VERDICTS[worst][0]} " if marked and record["regression_test"] else ""
    figures = (
        f"{count(len(verdicts), 'ratio')}: {', '.join(counts)}"
        if record["regression_test"]
        else (count(len(verdicts), "ratio"))
    )
    return f"{mark}{figures}; {_stopped(record)} ({minutes(record['seconds'])} min)"


def _stopped(record: Mapping[str, Any]) -> str:
    if record["stopped"] == "time" and record["seconds"] < _MOSTLY * record["budget_seconds"]:
        return f"there were {record['groups']} process groups"
    return _STOPPED[record["stopped"]].format(precision=f"± {100 * (record['precision'] or 0):g} %")


def _ratios_table(record: Mapping[str, Any], marked: bool) -> Table:
    columns = (
        Column("ratio"),
        Column("sides", wrap=True),
        Column("time", left=False),
        Column("interval, together 95 %", left=False),
        Column("groups", left=False),
        Column("verdict"),
    )
    sides = record["sides"]
    rows = []
    for contrast in record["contrasts"]:
        base, side = contrast["base"], contrast["side"]
        mark = f"{_VERDICTS[contrast['verdict']][0]} " if marked and record["regression_test"] else ""
        rows.append(
            (
                _ratio_name(contrast),
                f"{sides[side]['title']} / {sides[base]['title']}",
                "" if contrast["ratio"] is None else f"{contrast['ratio']:.4f}",
                "" if contrast["low"] is None else f"{contrast['low']:.4f} to {contrast['high']:.4f}",
                str(contrast["pairs"]),
                f"{mark}{contrast['verdict']}",
            )
        )
    return Table(columns, tuple(rows))


def _ratio_name(contrast: Mapping[str, Any]) -> str:
    """The letters of its two sides, and the quantile that is compared: `B / A, p95`."""
    quantile = contrast.get("quantile")
    return f"{contrast['side'].upper()} / {contrast['base'].upper()}{f', p{100 * quantile:g}' if quantile else ''}"


def _sides_table(record: Mapping[str, Any]) -> Table:
    has_anchor = record.get("anchor") is not None  # records of 2026-11 and before have none
    quantiles = [f"p{100 * contrast['quantile']:g}" for contrast in _contrasts(record) if contrast.get("quantile")]
    quantiles = list(dict.fromkeys(quantiles))
    columns = (
        Column(""),
        Column("side", wrap=True),
        *(Column(name, left=False) for name in quantiles or ["median step"]),
        *((Column("÷ anchor", left=False),) if has_anchor else ()),
        Column("kernel asked → ran"),
    )
    rows = tuple(
        (
            letter.upper(),
            ": ".join(filter(None, (side["title"], side.get("subject")))),
            *(
                f"{1000 * seconds:.4g} ms"
                for seconds in [side[f"{name}_seconds"] for name in quantiles] or [side["step_seconds"]]
            ),
            *(("" if side["anchor_ratio"] is None else f"{side['anchor_ratio']:.4g}",) if has_anchor else ()),
            f"{side['case']['kernel']} → {side['attested_kernel'] or 'unknown'}",
        )
        for letter, side in record["sides"].items()
    )
    return Table(columns, rows)


def notes(record: Mapping[str, Any]) -> list[str]:
    """What a reader has to know beside the verdicts: how they were reached, what was discarded, what differs."""
    texts = _of_verdicts(record)
    most = record["slices_a_side"]
    rounds = sorted({record.get("fewest_rounds", most), most})
    batches = " to ".join(str(number * record["strokes_a_slice"]) for number in rounds)
    calls = TimedPhase(record["phase"]).call_path != ""
    steps = count(record["steps_a_slice"] // record["strokes_a_slice"], "call" if calls else "step")
    if multiples := record.get("multiples"):
        steps += f" ({', '.join(f'{side.upper()}: {many} times as many' for side, many in multiples.items())})"
    is_pair = len(record["sides"]) == 2
    what = "the ratio of the quantiles (Harrell and Davis, 1982) of all calls" if calls else "the median ratio"
    groups = "pairs" if is_pair else "groups"
    analyses = f"Interim analyses at {', '.join(map(str, record['looks']))} {groups}"
    if not record["looks"]:
        analyses = f"There was no analysis, which takes {FEWEST_GROUPS} {groups}"
    texts.append(
        f"The replicate is the process {'pair' if is_pair else 'group'}: {what} of {batches} timed batches a side, of "
        f"{steps} each, {'A B B A' if is_pair else 'in balanced orders'}. {analyses}; all intervals together hold the "
        f"{'ratio' if len(_contrasts(record)) == 1 else 'ratios'} with 95 %."
    )
    if cores := record.get("cores"):  # records until November 2026 have none
        next_round = ", and on another in the next" if len(cores) > 1 else ""
        texts.append(
            f"In a round all sides ran on one processor{next_round}: what disturbs it is in the times of all alike."
        )
    if record["dropped_slices"]:
        texts.append(
            f"{record['dropped_slices']} rounds of a side were contaminated: another side used the processors. "
            f"{record['spoilt_pairs']} {'pairs' if is_pair else 'groups'} were discarded with them."
        )
    texts += dict.fromkeys(text for contrast in _contrasts(record) for text in _of_code(contrast, is_pair))
    if record["phase"] == TimedPhase.PREDICT:
        texts.append(
            "A step of prediction is the compiled program of a batch, as a service calls it, without what "
            "model.predict does around it; the table's call path predict has that too."
        )
    texts.append(
        "Time alone: whether accuracy has changed was not measured (`bench gate --base A --head B` measures both)."
    )
    if anchor := record.get("anchor"):
        texts.append(
            f"÷ anchor: the {'call' if calls else 'step'}'s time in those of a fixed computation measured beside it "
            f"({_anchor(anchor)}), which compares with other occasions on this machine."
        )
    texts += device_notes(record.get("device"))
    variables = [side["variables"].items() for side in record["sides"].values()]
    shared = {name: value for name, value in variables[0] if all((name, value) in of for of in variables)}
    where = f"on {'both' if is_pair else 'all'} sides"
    if PINNED_ALLOCATOR.items() <= shared.items():
        texts.append(f"Set {where}: the pinned allocator, which keeps all arrays in a single heap.")
    if rest := [f"{name}={value}" for name, value in shared.items() if PINNED_ALLOCATOR.get(name) != value]:
        texts.append(f"Set {where}: {', '.join(rest)}.")
    return texts


def _contrasts(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The ratios; a record of 2026-11 and before is of one, and has its fields at the top."""
    return record.get("contrasts") or [record]


def device_notes(device: Mapping[str, Any] | None) -> list[str]:
    """What waiting sides used of a card, and whether it was slowed down; nothing where there was none.

    Args:
        device: what `bench.duel.record.to_data` has kept of it.
    """
    texts = [] if device is None else list(_while_waiting(device["waiting"], device["waiting_device"]))
    if device is not None and device["throttling"]:
        clocks = f", at {device['sm_mhz_lowest']} to {device['sm_mhz_highest']} MHz" if device["sm_mhz_lowest"] else ""
        texts.append(
            f"The device was slower than it could be{clocks}: {', '.join(device['throttling'])}. Sides alternate "
            f"within tens of milliseconds, so that it is in the times of all alike."
        )
    return texts


def _while_waiting(by_side: Mapping[str, float], by_anybody: float | None) -> Iterator[str]:
    begin = "While all sides waited, "
    busy = {side: used for side, used in sorted(by_side.items()) if used >= _USED_FRACTION}
    others_use = by_anybody is not None and by_anybody >= _USED_FRACTION
    often = f"for up to {100 * (by_anybody or 0.0):.0f} % of the time"
    if busy:
        words = ", ".join(f"{side.upper()} for up to {100 * used:.0f} %" for side, used in busy.items())
        yield f"{begin}some kept the device busy, {words} of the time: their work is in the times of others."
    elif by_side:
        yield f"{begin}no side used the device{f', and something else did {often}' if others_use else ''}."
    elif others_use:
        yield f"{begin}the device was in use {often}; its driver does not know by whom."
    elif by_anybody is not None:
        yield f"{begin}nobody used the device."


def _anchor(anchor: Mapping[str, Any]) -> str:
    return ", ".join(filter(None, (anchor_words(anchor), f"{1000 * anchor['step_seconds']:.3g} ms")))


def _of_verdicts(record: Mapping[str, Any]) -> list[str]:
    tolerance, floor = f"{100 * record['tolerance']:g} %", f"{100 * record['floor']:g} %"
    contrasts = _contrasts(record)
    verdicts = {contrast["verdict"] for contrast in contrasts}
    texts = []
    if "same" in verdicts:
        texts.append(f"The same: the whole interval lies within the equivalence margin of {tolerance}.")
    if any(contrast["verdict"] == "same" and contrast["measurable"] for contrast in contrasts):
        texts.append("There is a measurable difference, inside the margin.")
    if verdicts & {"slower", "faster"}:
        texts.append(
            f"{'' if len(contrasts) == 1 else 'Slower, faster: '}"
            f"{'T' if len(contrasts) == 1 else 't'}he whole interval lies beyond the noise floor of {floor}, and some "
            f"of it beyond the equivalence margin of {tolerance}."
        )
    if "inconclusive" in verdicts and record["looks"]:
        texts.append(
            f"Inconclusive: the interval lies neither within the equivalence margin of {tolerance} nor beyond the "
            f"noise floor of {floor}."
        )
    if record["needed_seconds"] is not None:
        budget = math.ceil(record["needed_seconds"] / 60 / 0.9)
        stays = "If the ratio stays" if len(contrasts) == 1 else "If the ratios stay"
        texts.append(f"{stays}, about {duration(record['needed_seconds'])} in all would do: --budget {budget}.")
    if "stopped" in record and "verdict" in record:
        texts.append(f"It ended because {_stopped(record)}.")
    return texts


def _of_code(contrast: Mapping[str, Any], is_pair: bool) -> list[str]:
    """What software differs between two sides, and whether their programs do."""
    who = "" if is_pair else f"{contrast['side'].upper()} / {contrast['base'].upper()}: "
    texts = []
    if contrast["different_packages"]:
        changes = (f"{name} {a or 'none'} → {b or 'none'}" for name, (a, b) in contrast["different_packages"].items())
        texts.append(f"{who}{'S' if is_pair else 's'}oftware that differs: {', '.join(changes)}.")
    equal = f"{who}{'B' if is_pair else 'b'}oth commits execute the same program: "
    if contrast.get("same_code"):
        texts.append(f"{equal}no module that either side imported differs.")
    elif contrast.get("same_programs"):
        texts.append(f"{equal}what differs in their code is in no compiled program.")
    return texts


_PHASES = {TimedPhase.TRAIN: "steps of training", TimedPhase.PREDICT: "steps of prediction"}


def case_words(cases: Sequence[Case], phase: TimedPhase) -> str:
    """What is duelled, in a line: what the sides have in common."""

    def shared(words: Callable[[Case], str]) -> tuple[str, ...]:
        each = {words(case) for case in cases}
        return tuple(each) if len(each) == 1 else ()

    threads = {0: "the backend's threads", 1: "1 thread"}
    cells = ", ".join(dict.fromkeys(case.cell for case in cases))
    return " · ".join(
        (
            f"{cells}, {_PHASES.get(phase, f'single calls, {phase.call_path}')}",
            *shared(lambda case: f"{case.network} network"),
            *shared(lambda case: case.task),
            *shared(lambda case: case.backend),
            *shared(lambda case: case.device),
            *shared(lambda case: f"{case.units} units"),
            *shared(lambda case: f"batch {1 if phase.call_path else case.batch_size}"),
            *shared(lambda case: threads.get(case.threads, f"{case.threads} threads")),
        )
    )


def minutes(seconds: float) -> str:
    """A time as minutes and seconds: 9:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
