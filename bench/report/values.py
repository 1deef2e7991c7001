"""How values become words: figures with their digits and units, durations, machines, software, commits.

All that is stored is in SI units and full precision; what a person reads is rounded here and nowhere before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.core.case import written
from bench.core.units import scale_of, significant

if TYPE_CHECKING:
    # which import numpy, and light commands use this module
    from bench.analysis.rows import Row
    from bench.analysis.stats import Estimate, Interval
    from bench.core.case import Case
    from bench.core.metric import Metric, TableColumn

NONE = "–"
"""Stands for what is not known, or was not measured."""

_COMMIT_DIGITS = 12


def ranged(estimate: Estimate | None) -> tuple[str, str]:
    """A positive figure to three significant digits, and its interval as low–high, empty where it has none."""
    if estimate is None:
        return NONE, ""
    value = significant(estimate.value)
    return value, _low_high(estimate.interval, value)


def figure_in(estimate: Estimate | None, column: TableColumn) -> tuple[str, str]:
    """A metric's figure as its column of the table shows it, and its interval, empty where none is shown."""
    if estimate is None:
        return NONE, ""
    scale = scale_of(estimate.value, column.scales)
    value, interval = scale.number(estimate.value), ""
    if column.interval == "range":
        interval = _low_high(estimate.interval, value, scale.factor)
    elif column.interval == "half width" and estimate.interval is not None:
        interval = f"±{scale.number((estimate.interval.high - estimate.interval.low) / 2)}"
    return f"{value}{scale.symbol}", interval


def _low_high(interval: Interval | None, value: str, factor: float = 1.0) -> str:
    """An interval as low–high, with no more decimals than the value has; empty where there is none."""
    if interval is None:
        return ""
    decimals = len(value.partition(".")[2])
    return "–".join(significant(factor * end, decimals) for end in (interval.low, interval.high))


def whole(number: int | None) -> str:
    """A whole number with separators of thousands."""
    return NONE if number is None else f"{number:,}"


def measured_value(metric: Metric, value: float | None) -> str:
    """A metric's value with its unit."""
    return NONE if value is None else metric.unit.shown(value)


def together(value: str, interval: str) -> str:
    """A figure and its interval in one line: `97.50 ± 0.25`, `2.30 (2.15–2.46)`."""
    if not interval:
        return value
    return f"{value} ± {interval[1:]}" if interval.startswith("±") else f"{value} ({interval})"


def broken(heading: str) -> tuple[str, ...]:
    """A heading in two lines: its last word, or `at` and a batch, stands below the rest."""
    first, at, batch = heading.partition(" at ")
    return (first, f"at {batch}") if at else tuple(heading.rsplit(" ", 1))


def percent(fraction: float | None) -> str:
    """A fraction in per cent, to three significant digits."""
    return NONE if fraction is None else f"{significant(100 * fraction)} %"


def row_label(row: Row) -> str:
    """A row among those of its section: its cell, its kernel where one was asked for, and what else differs."""
    kernel = [row.configuration.kernel] if row.configuration.kernel != "auto" else []
    axes = [f"{name}={written(value)}" for name, value in row.axes.items() if name != "kernel"]
    return " × ".join([row.cell, *kernel, *axes])


def case_label(case: Case, axes: Sequence[str]) -> str:
    """A configuration among others: its cell, and the fields (`axes`) in which they differ."""
    return " × ".join([case.cell, *(f"{name}={written(getattr(case, name))}" for name in axes)])


def clean(text: str) -> str:
    """One line without control characters: a cell's name or an error may hold anything."""
    spaced = (" " if c.isspace() else c for c in text)
    return " ".join("".join(c for c in spaced if c.isprintable()).split())


def printable(line: str) -> str:
    """A line as it is, each control character a space: what a user's code raises must not drive the terminal."""
    return "".join(char if char.isprintable() else " " for char in line)


def printable_lines(text: str) -> str:
    """The same of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def commit_words(commit: str | None) -> str:
    """A commit by its first digits, with the mark of uncommitted changes where it has one."""
    if commit is None:
        return NONE
    name, plus, dirty = commit.partition("+")
    return clean(name[:_COMMIT_DIGITS] + plus + dirty)


def machine_words(machine: Mapping[str, Any]) -> str:
    """A machine in a line."""
    cores, quota, memory = (machine.get(name) for name in ("usable_cores", "cpu_quota", "memory_class_gib"))
    words = [
        machine.get("cpu_model") or "unknown processor",
        *([f"{cores} core{'s' if cores != 1 else ''}"] if cores else []),
        *([f"quota of {quota:g}"] if quota else []),
        *([f"{memory:g} GiB"] if memory else []),
        *(machine.get("gpus") or ()),
        *([f"shared by {machine['shared_by']}"] if machine.get("shared_by") else []),
    ]
    return clean(" · ".join(map(str, words)))


def software_words(software: Mapping[str, Any]) -> str:
    """The software in a line."""
    versions = [(name, software.get(name)) for name in ("python", "keras", "numpy")]
    backends = software.get("backends") or {str(software.get("backend")): software.get("backend_version")}
    versions[2:2] = backends.items()
    words = [f"{name} {version}" for name, version in versions if version]
    words += [f"{name}={value}" for name, value in software.get("settings") or ()]
    return clean(" · ".join(words)) or "unknown software"


def worded(name: str, value: Any) -> tuple[str, str]:
    """A fact as a reader calls it: `uptime_seconds`, 2179.67 becomes `uptime`, 36 min."""
    for suffix, words, shown in _UNITS:
        if name.endswith(suffix) and isinstance(value, int | float):
            return name.removesuffix(suffix).replace("_", " ") + words, shown(value)
    return name.replace("_", " "), in_words(value)


def known_facts(facts: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The facts that are known, as a reader calls them: the name without its unit, the value with it."""
    return tuple(worded(name, value) for name, value in facts.items() if not _is_unknown(value))


def in_words(value: Any) -> str:
    """A value without a unit; a mapping as its pairs, a list as its items, and a dash for what is not known."""
    if _is_unknown(value):
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {in_words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        pairs = all(isinstance(item, list | tuple) and len(item) == 2 for item in value)
        return in_words(dict(value)) if pairs else ", ".join(map(in_words, value))
    return str(value)


def _is_unknown(value: Any) -> bool:
    return value is None or value in ("", (), [], {})


def duration(seconds: float) -> str:
    """A time that a person waits: 40 s, 12 min, 3 h 20 min, 11 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours = round(minutes / 60)
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{round(hours / 24)} days"


def count(number: int, noun: str) -> str:
    """1 run, 2 runs, 10,000 runs."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def memory(size_bytes: float) -> str:
    """Memory in the unit that suits it: 412 MiB, 23.5 GiB."""
    mib = size_bytes / 1024**2
    return f"{mib:.0f} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"


def measured_time(seconds: float) -> str:
    """A measured time, to the digits that mean something: 1.23 s, 45.6 ms."""
    if seconds >= 1000:
        return duration(seconds)
    value, unit = (seconds, "s") if seconds >= 0.1 else (seconds * 1000, "ms")
    return f"{f'{value:#.3g}'.rstrip('.')} {unit}"


_UNITS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("_bytes", "", memory),
    ("_gib", "", lambda size: f"{size:g} GiB"),
    ("_seconds", "", measured_time),
    ("seconds", "time", measured_time),
    ("_fraction", "", lambda fraction: f"{100 * fraction:.1f} %"),
    ("_fraction_start", " at the start", lambda fraction: f"{100 * fraction:.1f} %"),
    ("_1m", " (1 min)", lambda load: f"{load:.2f}"),
    ("_5m", " (5 min)", lambda load: f"{load:.2f}"),
    ("_15m", " (15 min)", lambda load: f"{load:.2f}"),
    ("_flops_per_sample", "", lambda flops: f"{flops / 1e6:.4g} MFLOP a sample"),
    ("parameters", "parameters", lambda number: f"{number:,.0f}"),
    ("samples", "samples", lambda number: f"{number:,.0f}"),
    ("accuracy", "accuracy", lambda fraction: f"{100 * fraction:.2f} %"),
    ("loss", "loss", lambda loss: f"{loss:.4f}"),
    ("mae", "mean absolute error", lambda error: f"{error:.4f}"),
    ("r2", "R²", lambda score: f"{score:.4f}"),
)
"""By the end of a fact's name: what stands there instead, and how its value is written."""
