"""Why results stand in tables of their own, and how to put them into one: a line for each section."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.joining import CODE
from bench.analysis.rows import Row
from bench.analysis.summary import Section
from bench.catalog.cells import REFERENCE_CELL
from bench.report.values import clean, machine_words, software_words


def why_apart(section: Section, before: Sequence[Section]) -> str:
    """In what a section differs from the most similar of those before it, and what would join them.

    Empty for the first.

    Args:
        section: any but the first needs a reason.
        before: the sections that a reader has seen.
    """
    if not before:
        return ""
    differences = min((_differences(section, earlier) for earlier in reversed(before)), key=len)
    names = [name for _, name in differences]
    if not differences:
        return ""
    if all(names):
        way = f"`--join {','.join(names)}` puts them side by side."
    else:
        way = "times are compared within one task, machine and software alone."
    return f"Apart from the table above, because of {' and '.join(what for what, _ in differences)}: {way}"


def _differences(section: Section, earlier: Section) -> list[tuple[str, str]]:
    """Each thing in which two sections differ, in words, and the name that joins it; empty where nothing does."""
    differences: list[tuple[str, str]] = []
    if section.task != earlier.task:
        differences.append((f"another task ({section.task}, not {earlier.task})", ""))
    elif section.data_digest != earlier.data_digest:
        differences.append(("other data", ""))
    if section.machine_fingerprint != earlier.machine_fingerprint:
        differences.append((f"another machine ({machine_words(section.machine)})", ""))
    if section.software_fingerprint != earlier.software_fingerprint:
        differences.append(_software(section, earlier))
    if section.code_digest != earlier.code_digest:
        which = section.code_digest or "none"
        differences.append((f"another version of the users' code ({clean(which)[:12]})", CODE))
    return differences


def _software(section: Section, earlier: Section) -> tuple[str, str]:
    ours, theirs = section.software.get("backend"), earlier.software.get("backend")
    names = ("python", "keras", "numpy", "settings")
    if ours and theirs and ours != theirs and all(section.software.get(n) == earlier.software.get(n) for n in names):
        return f"another backend ({ours}, not {theirs})", "backend"
    return f"other software ({software_words(section.software)})", ""


def joining_fields(section: Section) -> tuple[str, ...]:
    """The fields in which rows without a ratio to SimpleRNN differ from the nearest SimpleRNN that was measured."""
    references = [row for row in section.rows if row.cell == REFERENCE_CELL and row.estimates.get("train_seconds")]
    lacking = [row for row in section.rows if row.ratio is None and row.estimates.get("train_seconds")]
    nearest = [min((_differing(row, reference) for reference in references), key=len, default=()) for row in lacking]
    return tuple(name for name in section.axes if any(name in fields for fields in nearest))


def _differing(row: Row, reference: Row) -> tuple[str, ...]:
    return tuple(name for name, value in row.axes.items() if value != reference.axes[name])
