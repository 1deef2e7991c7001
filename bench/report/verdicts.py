"""A comparison as a document: what got better or worse, by configuration and metric, and what that rests on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from bench.analysis.comparison import ComparedStore, Comparison
from bench.analysis.findings import Finding
from bench.analysis.matching import ComparisonEnvironment
from bench.analysis.occasions import MeasuredDrift
from bench.analysis.promises import FindingRuns, RunCounts
from bench.analysis.samples import Pairing
from bench.analysis.stats import Interval
from bench.analysis.verdict import IMPROVEMENTS, REGRESSIONS, Verdict
from bench.core.metric import Metric
from bench.core.metrics import METRICS
from bench.core.units import significant
from bench.plan.gate import Gate
from bench.report.document import (
    Block,
    Column,
    Details,
    Document,
    Either,
    Facts,
    Heading,
    Lines,
    Notes,
    Paragraph,
    Table,
)
from bench.report.jsonout import interval_object
from bench.report.remarks import trend_notes, trends_object
from bench.report.values import (
    NONE,
    case_label,
    clean,
    commit_words,
    count,
    machine_words,
    measured_value,
    software_words,
)

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

_COLUMNS = (
    Column("configuration", group=True),
    Column("metric", wrap=True),
    Column("base", left=False),
    Column("new", left=False),
    Column("new/base (95 %)", left=False),
    Column("n", left=False),
    Column("verdict"),
)


def verdicts_document(
    comparison: Comparison, gate: Gate, subjects: Mapping[str, str] = MappingProxyType({})
) -> Document:
    """The findings with what they rest on; the headline first, in a terminal last.

    Args:
        comparison: what was compared.
        gate: the margins.
        subjects: the first lines of the messages of commits, where they are known.
    """
    text = headline(comparison, gate)
    return Document(
        (
            Either(terminal=(), page=(Heading(f"{_mark(comparison, gate)} {text}"),)),
            *verdict_blocks(comparison, gate, subjects),
            Either(terminal=(Paragraph(text),), page=()),
        )
    )


def headline(comparison: Comparison, gate: Gate) -> str:
    """How many findings there are of each verdict, the worst first, and how many of them decide nothing."""
    counts = Counter(finding.verdict for finding in comparison.findings)
    words = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _WORST_FIRST if counts[verdict])
    spared = len(comparison.findings) - len(comparison.deciding(gate))
    not_required = f" ({spared} of the inconclusive ones not required)" if spared else ""
    return (words or "nothing to compare") + not_required


def verdict_blocks(
    comparison: Comparison, gate: Gate, subjects: Mapping[str, str] = MappingProxyType({})
) -> tuple[Block, ...]:
    """The two sides, the findings by what they were measured on, and what the verdicts rest on; for a page too.

    Args:
        comparison: what was compared.
        gate: the margins.
        subjects: the first lines of the messages of commits, where they are known.
    """
    sides = ("base", _side(comparison.base, subjects)), ("new", _side(comparison.new, subjects))
    blocks: list[Block] = [Facts(sides)]
    for environment, findings in _by_environment(_with_short_details(comparison.findings)):
        blocks += [Lines(_environment_lines(environment)), *_findings(findings, comparison.axes)]
        blocks += [Notes((*_remarks(findings, comparison.axes), *_run_counts(findings, comparison.axes)))]
    return (*blocks, Details("what this rests on", (Notes(tuple(_notes(comparison, gate))),)))


def _with_short_details(findings: Sequence[Finding]) -> list[Finding]:
    """The findings with a remark on the anchor in place of a detail in each row, where it is the same everywhere."""
    anchors = {finding.detail for finding in findings if finding.metric and finding.metric.is_interleaved}
    if len(anchors) != 1 or "" in anchors:
        return list(findings)
    remark = f"the anchor is {next(iter(anchors))}"
    return [replace(f, detail="", remarks=(*f.remarks, remark)) if f.detail in anchors else f for f in findings]


def _mark(comparison: Comparison, gate: Gate) -> str:
    verdicts = {finding.verdict for finding in comparison.deciding(gate)}
    if Verdict.FAILED in verdicts or verdicts & REGRESSIONS:
        return "❌"
    return "✅" if verdicts and verdicts <= IMPROVEMENTS | {Verdict.SAME} else "❔"


# --- the tables ---


def _findings(findings: Sequence[Finding], axes: Sequence[str]) -> tuple[Block, ...]:
    """A row a finding; what is the same is folded where that can be."""
    same = [finding for finding in findings if finding.verdict is Verdict.SAME]
    differing = [finding for finding in findings if finding.verdict is not Verdict.SAME]
    page: list[Block] = [_table(differing, axes)] if differing else []
    page += [Details(f"{len(same)} the same", (_table(same, axes),))] if same else []
    return (Either(terminal=(_table(findings, axes),), page=tuple(page)),)


def _table(findings: Sequence[Finding], axes: Sequence[str]) -> Table:
    rows = tuple((case_label(finding.configuration, axes), *_cells(finding)) for finding in findings)
    return Table(_COLUMNS, rows, sortable=True)


def _cells(finding: Finding) -> tuple[str, ...]:
    metric = finding.metric
    if metric is None:
        return "runs", "", "", "", "", finding.verdict
    n = {finding.base_values: None, finding.new_values: None}
    return (
        _subject(finding),
        measured_value(metric, finding.base),
        measured_value(metric, finding.new),
        _change(metric, finding),
        "/".join(map(str, n)),
        finding.verdict,
    )


def _subject(finding: Finding) -> str:
    return " ".join(filter(None, [finding.metric.title, finding.detail])) if finding.metric else "runs"


def _change(metric: Metric, finding: Finding) -> str:
    """The ratio, or the difference, with its own 95 % interval."""
    change = finding.change
    if change is None:
        return NONE
    number, between = (_ratio, "–") if metric.as_ratio else (partial(_difference, metric), " to ")
    return f"{number(change.value)}{_interval(change.interval, number, between)}"


def _interval(interval: Interval | None, number: Callable[[float], str], between: str) -> str:
    return f" ({number(interval.low)}{between}{number(interval.high)})" if interval else ""


def _ratio(x: float) -> str:
    return f"{x:.3f}" if x < 9.9995 else significant(x)


def _difference(metric: Metric, x: float) -> str:
    """A difference on the last scale of the metric's unit: of fractions it is in points."""
    scale = metric.unit.scales[-1]
    return f"{scale.factor * x:+.{2 if scale.decimals is None else scale.decimals}f}".replace("-", "−")


# --- what stands around them ---


def _side(side: ComparedStore, subjects: Mapping[str, str]) -> str:
    words = [
        side.name,
        count(side.runs, "run"),
        *([f"{side.campaigns} campaigns"] if side.campaigns > 1 else []),
        *_commits("program", side.program_commits, subjects),
        *_commits("project", side.project_commits, subjects),
    ]
    return " · ".join(words)


def _commits(kind: str, commits: Sequence[str], subjects: Mapping[str, str]) -> list[str]:
    if len(commits) > 1:
        return [f"{len(commits)} commits of the {kind}"]
    subject = [f"“{clean(subjects[commit])}”" for commit in commits if commit in subjects]
    return [" ".join([kind, commit_words(commit), *subject]) for commit in commits]


def _environment_lines(environment: ComparisonEnvironment) -> tuple[str, ...]:
    if not environment.machine and not environment.software:
        return ()
    differences = (("machine", environment.machine_differences), ("software", environment.software_differences))
    return (
        machine_words(environment.machine),
        software_words(environment.software),
        *(f"another {what} than the base's: {'; '.join(texts)}" for what, texts in differences if texts),
    )


def _remarks(findings: Sequence[Finding], axes: Sequence[str]) -> list[str]:
    """Each remark once, with what it is about."""
    about: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        for remark in finding.remarks:
            about[remark].append(finding)
    return [f"{_about(concerned, axes)}: {remark}." for remark, concerned in about.items()]


def _run_counts(findings: Sequence[Finding], axes: Sequence[str]) -> list[str]:
    """How many runs were promised, ended and entered each finding; findings with the same counts together."""
    alike: dict[FindingRuns, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.metric is None or not finding.metric.is_interleaved:
            alike[finding.runs].append(finding)
    return [
        f"{_about(concerned, axes) if len(alike) > 1 else 'each finding'}: runs of the base: {_counted(runs.base)}; of "
        f"the new side: {_counted(runs.new)}."
        for runs, concerned in alike.items()
    ]


def _counted(runs: RunCounts) -> str:
    promised = [f"{runs.promised:,} promised"] if runs.promised is not None else []
    return ", ".join([*promised, f"{runs.ended:,} ended", f"{runs.entered:,} entered"])


def _about(findings: Sequence[Finding], axes: Sequence[str]) -> str:
    subjects: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        subjects[case_label(finding.configuration, axes)].append(_subject(finding))
    together: dict[str, list[str]] = defaultdict(list)
    for case, metrics in subjects.items():
        together[", ".join(dict.fromkeys(metrics))].append(case)
    return "; ".join(f"{', '.join(cases)} ({metrics})" for metrics, cases in together.items())


def _notes(comparison: Comparison, gate: Gate) -> list[str]:
    notes = [*comparison.remarks]
    for side, trends in zip((comparison.base, comparison.new), comparison.trends, strict=True):
        named = trend_notes(trends, lambda case: case_label(case, comparison.axes))
        notes += [f"{side.name}: {note}" for note in named]
    if comparison.added:
        names = ", ".join(case_label(case, comparison.axes) for case in comparison.added)
        notes.append(f"only the new side has, so not compared: {names}.")
    resting = dict.fromkeys(f.basis for f in comparison.findings if f.basis)
    if resting:
        notes.append(f"rests on {' / '.join(resting)}.")
    return [*notes, *_interval_notes(comparison), *_margin_notes(comparison, gate)]


def _interval_notes(comparison: Comparison) -> Iterator[str]:
    """What the changes that are shown are, and which intervals the verdicts rest on."""
    changes = [(finding.metric, finding.change) for finding in comparison.findings if finding.metric and finding.change]
    differences = dict.fromkeys(metric for metric, _ in changes if not metric.as_ratio)
    if any(change.interval for _, change in changes):
        yield "The intervals shown are of 95 % each: Student's t, for ratios on their logarithms."
    for unit in dict.fromkeys(metric.unit.difference for metric in differences):
        titles = ", ".join(metric.title for metric in differences if metric.unit.difference == unit)
        yield f"The change of {titles} is new − base{f', in{unit}' if unit else ''}."
    if comparison.intervals > 1 and _judged(comparison):
        level = 100 * comparison.confidence
        yield (
            f"A verdict rests on a wider interval, of {level:.4g} %, so that all {comparison.intervals} of this "
            "comparison hold together with 95 % (Bonferroni)."
        )
    stand_ins = {f.stand_in.title: f.metric.title for f in comparison.findings if f.stand_in and f.metric}
    for stand_in, metric in stand_ins.items():
        yield (
            f"{stand_in} stands for {metric}: the time of a training step over that of a fixed computation measured "
            "beside it (bench run --interleave), which divides out what the machine's drift does to both."
        )
    if any(isinstance(finding.drift, MeasuredDrift) and finding.simultaneous for finding in comparison.findings):
        yield "Where the machine's drift was measured, the verdict's interval may err a fifth as often."


def _margin_notes(comparison: Comparison, gate: Gate) -> Iterator[str]:
    """The rule and the margins of those verdicts that rest on an interval."""
    judged = _judged(comparison)
    if judged:
        margins = "; ".join(
            f"{metric.title} {_margin(name, gate.margins[name].tolerance)}, {_margin(name, gate.margins[name].floor)}"
            for name, metric in judged.items()
        )
        yield (
            "same: the whole interval is within the tolerance. slower, worse, faster, better: all of it is beyond the "
            f"floor, and some of it beyond the tolerance. Tolerance, floor: {margins}."
        )
    if gate.origin:
        yield f"The margins are those of {gate.origin}."


def _judged(comparison: Comparison) -> dict[str, Metric]:
    """By name, the metrics that have a verdict which rests on an interval."""
    return {f.metric.name: f.metric for f in comparison.findings if f.metric is not None and f.simultaneous is not None}


def _margin(name: str, value: float) -> str:
    return f"{100 * value:.3g} {'%' if METRICS[name].as_ratio else 'points'}"


def _by_environment(findings: Sequence[Finding]) -> list[tuple[ComparisonEnvironment, list[Finding]]]:
    """Findings of the same environment together, in the order in which the environments first come."""
    environments: list[ComparisonEnvironment] = []  # which have mappings, and so no hash
    for finding in findings:
        if finding.environment not in environments:
            environments.append(finding.environment)
    return [
        (environment, [finding for finding in findings if finding.environment == environment])
        for environment in environments
    ]


# --- for programs ---


def verdicts_data(comparison: Comparison, gate: Gate) -> dict[str, Any]:
    """The same JSON-able, in SI units and full precision."""
    return {
        "base": _side_object(comparison.base),
        "new": _side_object(comparison.new),
        "findings": [_finding_object(finding) for finding in comparison.findings],
        "added": [asdict(case) for case in comparison.added],
        "intervals": comparison.intervals,
        "confidence_of_each": comparison.confidence,
        "margins": {name: asdict(margins) for name, margins in gate.margins.items()},
        "required": sorted(gate.required),
        "remarks": list(comparison.remarks),
        "trends": dict(zip(("base", "new"), map(trends_object, comparison.trends), strict=True)),
        "exit_code": int(comparison.exit_code(gate)),
    }


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
        "interval_95": interval_object(change.interval if change else None),
        "interval_of_verdict": interval_object(finding.simultaneous),
        "base_values": finding.base_values,
        "new_values": finding.new_values,
        "base_runs": asdict(finding.runs.base),
        "new_runs": asdict(finding.runs.new),
        "rests_on": finding.basis or None,
        "paired_by": finding.pairing.value if finding.pairing is not Pairing.NONE else None,
        "drift": asdict(finding.drift) if finding.drift else None,
        "judged_instead": finding.stand_in.name if finding.stand_in else None,
        "remarks": list(finding.remarks),
        "machine_differences": list(finding.environment.machine_differences),
        "software_differences": list(finding.environment.software_differences),
        "machine": dict(finding.environment.machine),
        "software": dict(finding.environment.software),
    }
