"""A metric over commits or dates as text, markdown, JSON, or a plot."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, assert_never

from rich.console import Console
from rich.text import Text

from bench.analysis.history import SEGMENT, Change, Series
from bench.core.axes import varying
from bench.core.errors import UsageError
from bench.report.markdown import escaped
from bench.report.values import NONE, clean, grid, listed, machine_words, markdown_table, software_words
from bench.report.verdicts import figure, label

Format = Literal["text", "md", "json"]

_COMMIT_DIGITS = 12
_HEADS = ("date", "commit", "value", "runs", "level")
_LEFT = frozenset({"date", "commit", "level"})
PLOTS = (".png", ".svg", ".pdf")


def render(found: Sequence[Series], fmt: Format, width: int = 80) -> str:
    """Each series as a table, and its change points in words; ends with a newline. `width` (text only) in columns."""
    match fmt:
        case "text":
            return _text(found, width)
        case "md":
            return _markdown(found)
        case "json":
            return _json(found)
        case _:
            assert_never(fmt)


def axes(found: Sequence[Series]) -> tuple[str, ...]:
    """The fields in which the configurations differ, without the cell."""
    return varying(series.configuration for series in found)


def title(one: Series, among: Sequence[str]) -> str:
    """What a series shows."""
    return " · ".join(filter(None, [label(one.configuration, among), one.metric.title, clean(one.detail)]))


def _rows(one: Series) -> list[list[str]]:
    starts = {change.index: change for change in one.changes}
    return [
        [
            f"{point.began:%Y-%m-%d %H:%M}",
            _short(point.commit),
            figure(one.metric.name, point.value),
            str(point.n),
            _moved(one, starts[i]) if i in starts else "",
        ]
        for i, point in enumerate(one.points)
    ]


def _moved(one: Series, change: Change) -> str:
    name = one.metric.name
    size = f"× {change.ratio:.3f}" if one.metric.as_ratio else f"{100 * (change.new - change.old):+.2f} points"
    levels = f"{figure(name, change.old)} → {figure(name, change.new)}"
    return f"{'worse' if one.worse(change) else 'better'}: {levels} ({size})"


def _short(commit: str | None) -> str:
    if commit is None:
        return NONE
    name, plus, dirty = commit.partition("+")
    return clean(name[:_COMMIT_DIGITS] + plus + dirty)


def _in_words(one: Series) -> list[str]:
    few = len(one.points) < 2 * SEGMENT
    if not one.changes:
        return [f"{len(one.points)} points: too few for a change, which takes {2 * SEGMENT}"] if few else ["no change"]
    return [
        f"{_moved(one, change)}, between {_where(change.before)} and {_where(change.after)}" for change in one.changes
    ]


def _where(point: Any) -> str:
    return f"{_short(point.commit)} ({point.began:%Y-%m-%d})"


def _ground(one: Series) -> list[str]:
    return [machine_words(one.machine), software_words(one.software)]


# --- text, markdown, JSON ---


def _text(found: Sequence[Series], width: int) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=False, force_jupyter=False)
    among = axes(found)
    for i, one in enumerate(found):
        if i:
            console.print()
        console.print(Text("\n".join([title(one, among), *_ground(one)])))
        console.print()
        console.print(grid(_HEADS, _rows(one), left=_LEFT))
        console.print()
        console.print(listed([("·", line) for line in _in_words(one)]))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _markdown(found: Sequence[Series]) -> str:
    among = axes(found)
    lines = []
    for one in found:
        lines += [f"### {escaped(title(one, among))}", "", "  \n".join(map(escaped, _ground(one))), ""]
        lines += [*(f"- {escaped(line)}" for line in _in_words(one)), ""]
        lines += [f"<details><summary>{len(one.points)} points</summary>", ""]
        lines += [*markdown_table([(head, head in _LEFT) for head in _HEADS], _rows(one)), "", "</details>", ""]
    return "\n".join(lines)


def _json(found: Sequence[Series]) -> str:
    document = [
        {
            "configuration": vars(one.configuration),
            "metric": one.metric.name,
            "detail": one.detail or None,
            "machine": dict(one.machine),
            "software": dict(one.software),
            "points": [
                {"began": p.began.isoformat(), "commit": p.commit, "value": p.value, "n": p.n} for p in one.points
            ],
            "changes": [
                {
                    "index": change.index,
                    "after_commit": change.before.commit,
                    "up_to_commit": change.after.commit,
                    "old": change.old,
                    "new": change.new,
                    "worse": one.worse(change),
                }
                for change in one.changes
            ],
        }
        for one in found
    ]
    return json.dumps({"series": document}, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


# --- plot ---


def plot(found: Sequence[Series], path: Path) -> None:
    """Draw the series below each other, the change points as lines between the points that they lie between.

    Raises:
        UsageError: the file is of a kind that cannot be drawn, or cannot be written.
    """
    if path.suffix not in PLOTS:
        raise UsageError(f"cannot plot into {str(path)!r}: its name must end in {', '.join(PLOTS)}.")
    import matplotlib as mpl
    import pandas as pd
    import seaborn as sns

    mpl.use("agg")
    from matplotlib.figure import Figure

    among = axes(found)
    with sns.axes_style("whitegrid"):
        drawn = Figure(figsize=(9, 2.6 * len(found)), layout="constrained")
        for axis, one in zip(drawn.subplots(len(found), squeeze=False)[:, 0], found, strict=True):
            data = pd.DataFrame({"point": range(len(one.points)), "value": [p.value for p in one.points]})
            sns.lineplot(data, x="point", y="value", marker="o", ax=axis)
            edges = [0, *(change.index for change in one.changes), len(one.points)]
            for change, end in zip(one.changes, edges[2:], strict=True):
                colour = "tab:red" if one.worse(change) else "tab:green"
                axis.axvline(change.index - 0.5, color=colour, linestyle="--")
                axis.hlines(change.new, change.index - 0.5, end - 0.5, color=colour)
            labels = [f"{p.began:%Y-%m-%d}\n{_short(p.commit)[:7]}" for p in one.points]
            shown = range(0, len(labels), max(1, len(labels) // 8))
            axis.set_xticks(list(shown), [labels[i] for i in shown], fontsize="small")
            axis.set(title=title(one, among), xlabel="", ylabel=one.metric.name)
            axis.set_ylim(bottom=0 if one.metric.as_ratio else None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn.savefig(path, dpi=150)
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror}): name another file with --plot.") from error
