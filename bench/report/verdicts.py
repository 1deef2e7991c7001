"""A comparison as text, markdown (for a pull request) or JSON. Formatting happens here and nowhere before."""

from __future__ import annotations

import io
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, assert_never

from rich.console import Console
from rich.text import Text

from bench.analysis.comparison import ComparedStore, Comparison
from bench.analysis.findings import Finding
from bench.analysis.matching import ComparisonEnvironment
from bench.analysis.stats import Interval
from bench.analysis.verdict import IMPROVEMENTS, REGRESSIONS, Verdict
from bench.core.case import Case
from bench.core.metrics import METRICS
from bench.core.units import significant
from bench.plan.gate import Gate
from bench.report.markdown import escaped
from bench.report.values import (
    NONE,
    clean,
    grid,
    listed,
    machine_words,
    markdown_table,
    software_words,
    without_nan,
)

Format = Literal["text", "md", "json"]

_WORST_FIRST = (
    Verdict.FAILED,
    Verdict.WORSE,
    Verdict.SLOWER,
    Verdict.MISSING,
    Verdict.INCOMPARABLE,
    Verdict.INCONCLUSIVE,
    Verdict.BETTER,
    Verdict.FASTER,
    Verdict.SAME,
)

_COMMIT_DIGITS = 12


def render(comparison: Comparison, gate: Gate, fmt: Format, width: int = 80) -> str:
    """The findings with what they rest on; ends with a newline. `width` (text only) in columns."""
    match fmt:
        case "text":
            return _text(comparison, gate, width)
        case "md":
            return _markdown(comparison, gate)
        case "json":
            return _json(comparison, gate)
        case _:
            assert_never(fmt)


def headline(comparison: Comparison, gate: Gate) -> str:
    """How many findings there are of each verdict, the worst first, and what of them decides nothing."""
    counts = Counter(finding.verdict for finding in comparison.findings)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _WORST_FIRST if counts[verdict])
    spared = len(comparison.findings) - len(comparison.deciding(gate))
    not_required = f" ({spared} of the inconclusive ones not required)" if spared else ""
    return (said or "nothing to compare") + not_required


# --- what the cells say ---


@dataclass(frozen=True)
class Grounded:
    """Findings on one ground (a task, its data, the machine and the software of both sides), as text."""

    lines: tuple[str, ...]
    heads: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, ...], ...]
    remarks: tuple[str, ...]


def grounded(comparison: Comparison) -> tuple[Grounded, ...]:
    """All findings, for a page that lays them out itself."""
    axes = comparison.axes
    heads = tuple((head, head in _LEFT) for head in ("configuration", *_HEADS))
    return tuple(
        Grounded(
            tuple(_ground_lines(ground)),
            heads,
            tuple((label(f.configuration, axes), *_cells(f)) for f in findings),
            tuple(_remarks(findings, axes)),
        )
        for ground, findings in _by_ground(comparison.findings)
    )


def sides(comparison: Comparison) -> list[tuple[str, str]]:
    """What the two sides are."""
    return _sides(comparison)


def notes(comparison: Comparison, gate: Gate) -> list[str]:
    """What the verdicts rest on."""
    return _notes(comparison, gate)


def label(case: Case, axes: Sequence[str]) -> str:
    """A configuration among others: its cell, and the fields in which they differ."""
    return clean(" × ".join([case.cell, *(f"{name}={getattr(case, name)}" for name in axes)]))


def _subject(finding: Finding) -> str:
    if finding.metric is None:
        return "runs"
    return " ".join(filter(None, [finding.metric.title, finding.detail]))


def figure(name: str, value: float | None) -> str:
    """A metric's value with its unit."""
    if value is None:
        return NONE
    return METRICS[name].unit.shown(value)


def _change(finding: Finding) -> str:
    """The ratio, or the difference in points, with its own 95 % interval."""
    metric, change = finding.metric, finding.change
    if metric is None or change is None:
        return NONE
    if metric.as_ratio:
        return _ranged(_ratio(change.value), change.interval, _ratio, "–")
    return _ranged(_points(change.value), change.interval, _points, " to ")


def _ranged(value: str, interval: Interval | None, shown: Any, between: str) -> str:
    return f"{value} ({shown(interval.low)}{between}{shown(interval.high)})" if interval else value


def _ratio(x: float) -> str:
    return f"{x:.3f}" if x < 9.9995 else significant(x)


def _points(x: float) -> str:
    return f"{100 * x:+.2f}".replace("-", "−")


def _n(finding: Finding) -> str:
    if finding.metric is None:
        return ""
    one, other = finding.base_values, finding.new_values
    return str(one) if one == other else f"{one}/{other}"


_HEADS = ("metric", "base", "new", "new/base (95 %)", "n", "verdict")
_LEFT = frozenset({"configuration", "metric", "verdict"})


def _cells(finding: Finding) -> list[str]:
    name = finding.metric.name if finding.metric else ""
    figures = [figure(name, finding.base), figure(name, finding.new)] if finding.metric else ["", ""]
    return [_subject(finding), *figures, _change(finding) if finding.metric else "", _n(finding), finding.verdict]


# --- what stands around them ---


def _sides(comparison: Comparison) -> list[tuple[str, str]]:
    return [("base", _side(comparison.base)), ("new", _side(comparison.new))]


def _side(side: ComparedStore) -> str:
    def commits(kind: str, found: Sequence[str]) -> list[str]:
        if not found:
            return []
        return [f"{kind} {_short(found[0])}" if len(found) == 1 else f"{len(found)} commits of the {kind}"]

    words = [
        clean(side.name),
        f"{side.runs} run{'s' if side.runs != 1 else ''}",
        *([f"{side.campaigns} campaigns"] if side.campaigns > 1 else []),
        *commits("program", side.program_commits),
        *commits("project", side.project_commits),
    ]
    return " · ".join(words)


def _short(commit: str) -> str:
    name, plus, dirty = commit.partition("+")
    return clean(name[:_COMMIT_DIGITS] + plus + dirty)


def _ground_lines(ground: ComparisonEnvironment) -> list[str]:
    if not ground.machine and not ground.software:
        return []
    lines = [machine_words(ground.machine), software_words(ground.software)]
    for what, found in (("machine", ground.machine_differences), ("software", ground.software_differences)):
        lines += [clean(f"another {what} than the base's: {'; '.join(found)}")] if found else []
    return lines


def _remarks(findings: Sequence[Finding], axes: Sequence[str]) -> list[str]:
    """Each remark once, with what it is about."""
    about: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        for remark in finding.remarks:
            about[clean(remark)].append(finding)
    return [f"{_about(own, axes)}: {remark}." for remark, own in about.items()]


def _about(findings: Sequence[Finding], axes: Sequence[str]) -> str:
    subjects: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        subjects[label(finding.configuration, axes)].append(_subject(finding))
    together: dict[str, list[str]] = defaultdict(list)
    for case, own in subjects.items():
        together[", ".join(dict.fromkeys(own))].append(case)
    return "; ".join(f"{', '.join(cases)} ({own})" for own, cases in together.items())


def _notes(comparison: Comparison, gate: Gate) -> list[str]:
    notes = [*comparison.remarks]
    if comparison.added:
        names = ", ".join(label(case, comparison.axes) for case in comparison.added)
        notes.append(f"only the new side has, so nothing is said of: {names}.")
    resting = dict.fromkeys(f.basis for f in comparison.findings if f.basis)
    if resting:
        notes.append(f"rests on {' / '.join(resting)}.")
    if comparison.intervals:
        level = 100 * comparison.confidence
        notes.append(
            "Shown are intervals of 95 % each: Student's t, of ratios on the logarithms; accuracy is new − base in "
            f"points. A verdict rests on a wider one, of {level:.4g} %, so that all {comparison.intervals} of this "
            "comparison are right together with 95 % (Bonferroni)."
        )
        used = {
            f.metric.name: f.metric for f in comparison.findings if f.metric is not None and f.simultaneous is not None
        }
        margins = "; ".join(
            f"{metric.title} {_margin(name, gate.margins[name].tolerance)}, {_margin(name, gate.margins[name].floor)}"
            for name, metric in used.items()
        )
        rule = "same: all of it within the tolerance. slower, worse: all of it beyond the floor."
        notes.append(f"{rule} Tolerance, floor: {margins}.")
    return notes


def _margin(name: str, value: float) -> str:
    return f"{100 * value:.3g} {'%' if METRICS[name].as_ratio else 'points'}"


def _by_ground(findings: Sequence[Finding]) -> list[tuple[ComparisonEnvironment, list[Finding]]]:
    """Findings on the same ground together, in the order in which the grounds first come."""
    groups: list[tuple[ComparisonEnvironment, list[Finding]]] = []
    for finding in findings:
        for ground, own in groups:
            if ground == finding.environment:
                own.append(finding)
                break
        else:
            groups.append((finding.environment, [finding]))
    return groups


# --- text ---


def _text(comparison: Comparison, gate: Gate, width: int) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=False, force_jupyter=False)
    console.print(listed(_sides(comparison)))
    for ground, findings in _by_ground(comparison.findings):
        console.print()
        for line in _ground_lines(ground):
            console.print(Text(line))
        console.print()
        _print_findings(console, findings, comparison.axes)
        remarks = _remarks(findings, comparison.axes)
        if remarks:
            console.print()
            console.print(listed([("·", remark) for remark in remarks]))
    console.print()
    console.print(listed([("·", note) for note in _notes(comparison, gate)]))
    console.print()
    console.print(Text(headline(comparison, gate)))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _print_findings(console: Console, findings: Sequence[Finding], axes: Sequence[str]) -> None:
    """One table where the width allows; else one below the name of each configuration, their columns in line."""
    labelled = [(label(finding.configuration, axes), _cells(finding)) for finding in findings]
    wide = grid(("configuration", *_HEADS), [[name, *cells] for name, cells in _once(labelled)], left=_LEFT)
    if console.measure(wide, options=console.options.update(width=10_000)).maximum <= console.width:
        console.print(wide)
        return
    widths = [max(len(cells[i]) for cells in [list(_HEADS), *(cells for _, cells in labelled)]) for i in range(6)]
    # Only the name of a metric has no natural limit (inference: its entry and batch): it folds.
    widths[0] = min(widths[0], console.width - sum(widths[1:]) - 2 * (len(widths) - 1))
    groups: dict[str, list[list[str]]] = defaultdict(list)
    for name, cells in labelled:
        groups[name].append(cells)
    for number, (name, rows) in enumerate(groups.items()):
        console.print(Text(name))
        console.print(grid(_HEADS, rows, left=_LEFT, widths=widths, head=number == 0))


def _once(labelled: Sequence[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
    """The name of a configuration stands in its first row."""
    before = ""
    rows = []
    for name, cells in labelled:
        rows.append(("" if name == before else name, cells))
        before = name
    return rows


# --- markdown ---


def _markdown(comparison: Comparison, gate: Gate) -> str:
    lines = [f"### {_mark(comparison)} {escaped(headline(comparison, gate))}", ""]
    lines += ["  \n".join(f"{name}: {escaped(text)}" for name, text in _sides(comparison)), ""]
    for ground, findings in _by_ground(comparison.findings):
        lines += ["  \n".join(map(escaped, _ground_lines(ground))), ""]
        loud = [finding for finding in findings if finding.verdict is not Verdict.SAME]
        if loud:
            lines += [*_findings_table(loud, comparison.axes), ""]
        if len(loud) < len(findings):
            same = [finding for finding in findings if finding.verdict is Verdict.SAME]
            # GitHub reads a table inside <details> only after an empty line
            lines += [f"<details><summary>{len(same)} the same</summary>", ""]
            lines += [*_findings_table(same, comparison.axes), "", "</details>", ""]
        remarks = _remarks(findings, comparison.axes)
        lines += [*(f"- {escaped(remark)}" for remark in remarks), *([""] if remarks else [])]
    notes = [f"- {escaped(note)}" for note in _notes(comparison, gate)]
    lines += ["<details><summary>what this rests on</summary>", "", *notes, "", "</details>"]
    return "\n".join(lines) + "\n"


def _mark(comparison: Comparison) -> str:
    verdicts = {finding.verdict for finding in comparison.findings}
    if Verdict.FAILED in verdicts or verdicts & REGRESSIONS:
        return "❌"
    return "✅" if verdicts and verdicts <= IMPROVEMENTS | {Verdict.SAME} else "❔"


def _findings_table(findings: Sequence[Finding], axes: Sequence[str]) -> list[str]:
    heads = [(head, head in _LEFT) for head in ("configuration", *_HEADS)]
    return markdown_table(heads, [[label(f.configuration, axes), *_cells(f)] for f in findings])


# --- JSON ---


def _json(comparison: Comparison, gate: Gate) -> str:
    document = {
        "base": _side_object(comparison.base),
        "new": _side_object(comparison.new),
        "findings": [_finding_object(finding) for finding in comparison.findings],
        "added": [asdict(case) for case in comparison.added],
        "intervals": comparison.intervals,
        "confidence_of_each": comparison.confidence,
        "margins": {name: asdict(margins) for name, margins in gate.margins.items()},
        "required": sorted(gate.required),
        "remarks": list(comparison.remarks),
        "exit_code": int(comparison.exit_code(gate)),
    }
    return json.dumps(without_nan(document), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _side_object(side: ComparedStore) -> dict[str, Any]:
    return {
        "name": side.name,
        "runs": side.runs,
        "campaigns": side.campaigns,
        "program_commits": list(side.program_commits),
        "project_commits": list(side.project_commits),
        "began": side.began.isoformat(),
        "ended": side.ended.isoformat(),
    }


def _finding_object(finding: Finding) -> dict[str, Any]:
    metric, change = finding.metric, finding.change
    return {
        "configuration": asdict(finding.configuration),
        "configuration_id": finding.configuration.configuration_id,
        "metric": metric.name if metric else None,
        "detail": finding.detail or None,
        "verdict": finding.verdict.value,
        "lower_is_better": metric.lower_is_better if metric else None,
        "base": finding.base,
        "new": finding.new,
        "compared_as": ("ratio" if metric.as_ratio else "difference") if metric else None,
        "change": change.value if change else None,
        "interval_95": _interval_object(change.interval if change else None),
        "interval_of_verdict": _interval_object(finding.simultaneous),
        "base_values": finding.base_values,
        "new_values": finding.new_values,
        "rests_on": finding.basis or None,
        "remarks": list(finding.remarks),
        "machine_differences": list(finding.environment.machine_differences),
        "software_differences": list(finding.environment.software_differences),
        "machine": dict(finding.environment.machine),
        "software": dict(finding.environment.software),
    }


def _interval_object(interval: Interval | None) -> Mapping[str, float] | None:
    return {"low": interval.low, "high": interval.high} if interval else None
