"""Whether kernels compute the same (`bench.analysis.equality`), as a document and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis.equality import HOW, MARGIN, REPETITIONS, Difference, NumberComparison, question
from bench.core.axes import BY_FIELD, changed
from bench.core.case import Case
from bench.report.document import Block, Column, Document, Heading, Notes, Paragraph, Table
from bench.report.values import count


@dataclass(frozen=True, kw_only=True)
class EqualityResult:
    """What came of one kernel."""

    case: Case
    attested: str | None
    """The kernel that the executed programs showed."""
    comparison: NumberComparison | None
    """With the reference; None where nothing was computed."""
    error: str | None
    """Why nothing was; None where it was."""


def equality_document(
    results: Sequence[EqualityResult], pairs: Sequence[NumberComparison], left_out: Sequence[tuple[str, str]]
) -> Document:
    """A table for each network and batch: how far each kernel is from the reference, and how far it may be.

    Args:
        results: in the order in which they are shown.
        pairs: of those kernels that computed the same batch.
        left_out: why kernels were not tried, and which.
    """
    groups: dict[Case, list[EqualityResult]] = {}
    for result in results:
        groups.setdefault(question(result.case), []).append(result)
    blocks: list[Block] = []
    for asked, group in groups.items():
        blocks += [Heading(_heading(asked)), _table(group)]
        blocks += [
            Paragraph(f"{_how(each.case)}: {each.error}", tone="warning", indent=1) for each in group if each.error
        ]
        if text := _farthest_pair([pair for pair in pairs if question(pair.first) == asked]):
            blocks.append(Paragraph(text, indent=1))
    blocks += [Heading("left out")] if left_out else []
    for reason, names in left_out:
        blocks += [Paragraph(reason, indent=1), Paragraph(names, tone="soft", indent=2)]
    return Document((*blocks, Notes(_legend())))


def equality_data(
    results: Sequence[EqualityResult], pairs: Sequence[NumberComparison], left_out: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """The same, JSON-able, with all pairs.

    Args:
        results: in the order in which they are given.
        pairs: of those kernels that computed the same batch.
        left_out: why kernels were not tried, and which.
    """
    return {
        "kernels": [
            {
                **_fields(result.case),
                "attested": result.attested,
                "error": result.error,
                **(_compared(result.comparison) if result.comparison else {}),
            }
            for result in results
        ],
        "pairs": [
            {"first": _fields(pair.first), "second": _fields(pair.second or pair.first), **_compared(pair)}
            for pair in pairs
        ],
        "left_out": [{"reason": reason, "configurations": names} for reason, names in left_out],
    }


def _fields(case: Case) -> dict[str, Any]:
    options = dict(changed(case, [name for name in BY_FIELD if name not in HOW]))
    return {"cell": case.cell, **options, **{name: getattr(case, name) for name in HOW}}


def _compared(comparison: NumberComparison) -> Mapping[str, Any]:
    return {
        "outputs": _figures(comparison.outputs),
        "gradients": comparison.gradients and _figures(comparison.gradients),
        "equal": comparison.equal,
    }


def _figures(difference: Difference) -> dict[str, Any]:
    return {
        "of": difference.array,
        "largest_absolute": difference.absolute,
        "largest_relative": difference.relative,
        "allowed_absolute": difference.allowed,
    }


def _heading(asked: Case) -> str:
    names = [name for name in BY_FIELD if name not in ("cell", "network")]
    words = [BY_FIELD[name].in_words(value) for name, value in changed(asked, names)]
    return " · ".join([asked.cell, f"{asked.network} network", *words])


def _how(case: Case) -> str:
    """What computes it: `xla × tensorflow`."""
    words = [case.kernel, case.backend, *([case.runtime] if case.runtime != "keras" else [])]
    words += [case.device] if case.device != "cpu" else []
    words += [case.dtype] if case.dtype != "float32" else []
    return " × ".join([*words, *([f"{case.threads} threads"] if case.threads else [])])


def _table(group: Sequence[EqualityResult]) -> Table:
    rows = []
    for result in group:
        compared = result.comparison
        outputs, gradients = (compared.outputs, compared.gradients) if compared else (None, None)
        verdict = "failed" if compared is None else "equal" if compared.equal else "DIFFERS"
        where = gradients.array if gradients else "–"
        cells = (*_shown(outputs), *_shown(gradients), where, verdict)
        rows.append((_how(result.case), result.attested or "–", *cells))
    heads = ("kernel", "ran", "outputs differ by", "allowed", "gradients differ by", "allowed", "of", "verdict")
    figures = {"outputs differ by", "allowed", "gradients differ by"}
    return Table(tuple(Column(head, left=head not in figures) for head in heads), tuple(rows))


def _shown(difference: Difference | None) -> tuple[str, str]:
    if difference is None:
        return "–", "–"
    return f"{difference.absolute:.1e} ({difference.relative:.1e})", f"{difference.allowed:.1e}"


def _farthest_pair(pairs: Sequence[NumberComparison]) -> str:
    if not pairs:
        return ""
    worst = max(pairs, key=lambda pair: pair.of_allowed)
    apart = sum(not pair.equal for pair in pairs)
    parts = [("outputs", worst.outputs), *([("gradients", worst.gradients)] if worst.gradients else [])]
    far = ", ".join(f"{name} by {part.absolute:.1e} of {part.allowed:.1e} allowed" for name, part in parts if part)
    number = f"{apart} of {count(len(pairs), 'pair')} differ" if apart else f"{count(len(pairs), 'pair')}: all equal"
    return f"{number}; the farthest are {_how(worst.first)} and {_how(worst.second or worst.first)}: {far}"


def _legend() -> tuple[str, ...]:
    return (
        "The same batch and weights for each, against a reference in float64 that is written from the equations: the "
        "largest difference, absolute and (in brackets) to the reference's largest element; of gradients, that of the "
        "weight which is the farthest off.",
        f"Allowed: {MARGIN:g} times the largest of {REPETITIONS} differences that the reference has from itself when "
        "each result of an operation is perturbed as the number format would round it; a pair is allowed both sums.",
    )
