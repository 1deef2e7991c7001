"""The comparison table as text, markdown or JSON, and its place between the markers of a file.

Formatting happens here and nowhere before: seconds with three significant digits, accuracies in per cent, memory in
decimal MB or GB. JSON has SI units and full precision instead. Names and messages that come from users are cleaned of
control characters, and in markdown escaped, so that they can neither break a table nor run as HTML.
"""

from __future__ import annotations

import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, assert_never

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from bench.analysis.claims import judge_claims
from bench.analysis.rows import REFERENCE_CELL, InferenceFigures, Row
from bench.analysis.stats import Estimate
from bench.analysis.summary import Section
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.core.units import significant
from bench.report.inference import NOTE, findings, inference_grid, label
from bench.report.limits import LIMITS_NOTE, limits_grid
from bench.report.markdown import escaped
from bench.report.values import (
    NONE,
    Grid,
    clean,
    listed,
    machine_words,
    markdown_table,
    ranged,
    software_words,
    without_nan,
)
from bench.store.files import replace_file

Format = Literal["text", "md", "json"]

BEGIN = "<!-- bench:table -->"
END = "<!-- /bench:table -->"

_NOTHING = "Nothing was measured yet."
_FIRST_ONLY = "†"
_NARROWEST_CELL = len("simple_rnn")


def render(sections: Sequence[Section], fmt: Format, width: int = 80) -> str:
    """The table of each section, its notes and its claims; ends with a newline. `width` (text only) in columns."""
    match fmt:
        case "text":
            return _text(sections, width)
        case "md":
            return _markdown(sections)
        case "json":
            return _json(sections)
        case _:
            assert_never(fmt)


def write_between_markers(path: Path, markdown: str) -> bool:
    """Replace what stands between the two marker lines of a file, in one step; whether its bytes changed.

    Raises:
        UsageError: the file cannot be read or written, or hasn't each marker once, on a line of its own, in order.
    """
    target = path.resolve()
    try:
        old = target.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"can't read {path} ({why}): give a text file with the lines {BEGIN} and {END}.") from error
    begins, ends = (list(re.finditer(rf"^{re.escape(mark)}[ \t]*(?:\r?\n|\Z)", old, re.M)) for mark in (BEGIN, END))
    if len(begins) != 1 or len(ends) != 1 or begins[0].end() > ends[0].start():
        raise UsageError(
            f"{path} needs the line {BEGIN} once, and after it the line {END} once (found {len(begins)} and "
            f"{len(ends)}): the table is written between them."
        )
    newline = "\r\n" if begins[0].group().endswith("\r\n") else "\n"
    body = "\n".join(["", *markdown.strip("\n").splitlines(), "", ""]).replace("\n", newline)
    new = old[: begins[0].end()] + body + old[ends[0].start() :]
    if new == old:
        return False
    try:
        replace_file(target, new.encode())
    except OSError as error:
        raise UsageError(f"can't write {path} ({error.strerror}): make it and its folder writable.") from error
    return True


# --- what the cells of the table say ---

_Two = tuple[str, str]  # a figure, and what belongs to it: its interval, or a second figure


@dataclass(frozen=True)
class _Column:
    head: str
    cell: Callable[[Row], str]
    left: bool = False


def _plus_minus(estimate: Estimate | None, scale: float, decimals: int) -> _Two:
    if estimate is None:
        return NONE, ""
    half = f"±{scale * (estimate.interval.high - estimate.interval.low) / 2:.{decimals}f}" if estimate.interval else ""
    return f"{scale * estimate.value:.{decimals}f}", half


def _accuracy(row: Row) -> _Two:
    return _plus_minus(row.accuracy, 100, 2)


def _loss(row: Row) -> _Two:
    return _plus_minus(row.loss, 1, 4)


def _train(row: Row) -> _Two:
    value, interval = ranged(row.train_seconds)
    return value + (_FIRST_ONLY if row.first_epoch_only else ""), interval


def _ratio(row: Row) -> _Two:
    return ("1", "") if row.cell == REFERENCE_CELL and row.ratio else ranged(row.ratio)


def _generic_ratio(row: Row) -> _Two:
    return ("1", "") if row.configuration.kernel == "generic" and row.generic_ratio else ranged(row.generic_ratio)


def _against_generic(section: Section) -> bool:
    """Whether some cell ran on its generic kernel and on another."""
    return any(row.generic_ratio and row.configuration.kernel != "generic" for row in section.rows)


def _plain(estimate: Estimate | None) -> str:
    return ranged(estimate)[0]


def _speed(row: Row) -> str:
    return f"{float(f'{row.samples_per_second.value:.3g}'):,.0f}" if row.samples_per_second else NONE


def _memory(row: Row) -> str:
    if row.memory_bytes is None:
        return NONE
    mega = row.memory_bytes.value / 1e6
    return f"{significant(mega / 1000)} GB" if abs(mega) >= 999.5 else f"{mega:.0f} MB"


def _parameters(row: Row) -> str:
    return NONE if row.parameters is None else f"{row.parameters:,}"


def _kernel(row: Row) -> _Two:
    asked, ran = row.configuration.kernel, ", ".join(row.kernels_attested)
    if not row.runs or ran == asked:
        return asked, ""
    return asked, f"→ {clean(ran) or '?'}"


def _runs(row: Row) -> str:
    return f"{len(row.runs)}/{row.runs_tried}" if row.left_out else str(row.runs_tried)


def _with_interval(two: Callable[[Row], _Two]) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value, interval = two(row)
        if interval.startswith("±"):
            return f"{value} ± {interval[1:]}"
        return f"{value} ({interval})" if interval else value

    return cell


def _stacked(two: Callable[[Row], _Two]) -> Callable[[Row], str]:
    return lambda row: "\n".join(two(row))


def _wide_columns(section: Section) -> list[_Column]:
    def axis(name: str) -> _Column:
        return _Column(name, lambda row: clean(str(row.axes[name])), left=isinstance(section.rows[0].axes[name], str))

    return [
        _Column("cell", lambda row: clean(row.cell), left=True),
        *(axis(name) for name in section.axes if name != "kernel"),
        _Column("parameters", _parameters),
        _Column("accuracy %", _with_interval(_accuracy)),
        _Column("loss", _with_interval(_loss)),
        _Column("s/epoch", _with_interval(_train)),
        _Column("ratio to SimpleRNN", _with_interval(_ratio)),
        *([_Column("ratio to generic", _with_interval(_generic_ratio))] if _against_generic(section) else []),
        _Column("samples/s", _speed),
        _Column("first s", lambda row: _plain(row.first_epoch_seconds)),
        _Column("compile s", lambda row: _plain(row.compile_seconds)),
        _Column("memory", _memory),
        _Column("kernel", lambda row: " ".join(filter(None, _kernel(row))), left=True),
        _Column("runs", _runs),
        _Column("seeds", lambda row: str(row.seeds)),
    ]


def comparison_grid(section: Section) -> Grid:
    """The table, a line a row."""
    columns = _wide_columns(section)
    heads = tuple((column.head, column.left) for column in columns)
    return Grid(heads, tuple(tuple(column.cell(row) for column in columns) for row in section.rows))


def _narrow_columns(section: Section) -> list[_Column]:
    """Two lines a row, so that three cells fit 80 columns; the axes stand above each group of rows."""
    return [
        _Column("cell\nparameters", _stacked(lambda row: (clean(row.cell), _parameters(row))), left=True),
        _Column("accuracy\n%", _stacked(_accuracy)),
        _Column("loss", _stacked(_loss)),
        _Column("s/epoch", _stacked(_train)),
        _Column("ratio to\nSimpleRNN", _stacked(_ratio)),
        _Column(
            "first s\ncompile", _stacked(lambda row: (_plain(row.first_epoch_seconds), _plain(row.compile_seconds)))
        ),
        _Column("memory\n× generic", _stacked(lambda row: (_memory(row), _generic_ratio(row)[0])))
        if _against_generic(section)
        else _Column("memory", _memory),
        _Column("kernel\n→ ran", _stacked(_kernel), left=True),
        _Column("runs\nseeds", _stacked(lambda row: (_runs(row), str(row.seeds)))),
    ]


# --- what stands around it ---

_SETTING_WORDS: dict[str, Callable[[Any], str]] = {
    "network": lambda v: f"{v} network",
    "backend": str,
    "device": str,
    "units": lambda v: f"{v} units",
    "batch_size": lambda v: f"batch {v}",
    "epochs": lambda v: f"{v} epoch{'s' if v != 1 else ''}",
}
_PROTOCOL = Case(cell="")


def heading(section: Section) -> str:
    """What a section is of: the task, and what all its rows share of network, backend and device."""
    return " · ".join([clean(section.task), *_setting(section, ("network", "backend", "device"))])


def subheadings(section: Section) -> list[str]:
    """The rest of what its rows share: the setting, the machine, the software; some may be empty."""
    others = [name for name in section.shared if name not in {"task", "network", "backend", "device"}]
    own = [f"users' cells of source {section.cells_digest}"] if section.cells_digest else []
    return [
        " · ".join(_setting(section, others)),
        machine_words(section.machine),
        software_words(section.software),
        *own,
    ]


def _setting(section: Section, names: Sequence[str]) -> list[str]:
    """What all rows share: the fields everybody asks about, and those that differ from the protocol."""
    words = []
    for name in names:
        if name not in section.shared:
            continue
        value = section.shared[name]
        if name in _SETTING_WORDS:
            words.append(clean(_SETTING_WORDS[name](value)))
        elif value != getattr(_PROTOCOL, name) and name != "kernel":
            words.append(clean(f"{name}={value}"))
    return words


def notes(section: Section) -> list[str]:
    """What the figures of the table mean, and what isn't in them."""
    rows = section.rows
    said = []
    if any(row.runs for row in rows):
        said += [
            "Intervals are 95 %. Accuracy and loss, on the test set: mean over seeds, Student's t.",
            "s/epoch, training alone: each run's median over its epochs from 2 on, then the median over runs; the "
            "interval is between order statistics from 6 runs on, Student's t on the logarithms below.",
            "ratio to SimpleRNN: geometric mean of the ratios of s/epoch, all else equal, paired by block; Student's t "
            "on the logarithms.",
            "first s, compile s: seconds of the first epoch and of compiling, medians over runs, in no other figure. "
            "memory: peak above the start, median, 1 MB = 10⁶ bytes. kernel: asked → ran. runs: ended ok (/ all).",
        ]
    if "kernel" in section.axes:
        said.append(
            "kernel auto: what Keras picks by itself, which is what people get. generic: the same loop for every cell, "
            "which is the fair comparison of cells."
        )
    if _against_generic(section):
        said.append("ratio to generic (× generic): of s/epoch, to the same cell's generic kernel, paired by block.")
    figures = [f for row in rows for f in (row.accuracy, row.loss, row.train_seconds) if f]
    if any(figure.interval is None for figure in figures):
        said.append("No interval where there is one value only, or all are equal.")
    if any(row.first_epoch_only for row in rows):
        said.append(f"{_FIRST_ONLY} first epoch only: the runs had one epoch, which is not a steady one.")
    if any(row.ratio is None and row.train_seconds for row in rows):
        said.append(f"The ratio is {NONE} where SimpleRNN has no result at the same setting and block.")
    for name in ("accuracy", "loss"):
        for row in rows:
            figure: Estimate | None = getattr(row, name)
            lost = row.seeds - (figure.n if figure else 0)
            if lost:
                said.append(f"{label(row)}: no finite {name} for {lost} of {row.seeds} seeds; left out of it.")
    for row in rows:
        if row.irreproducible_seeds:
            said.append(
                f"{label(row)}: {row.irreproducible_seeds} of {row.seeds} seeds gave another test loss when run again."
            )
    for row in rows:
        for out in row.left_out:
            said.append(f"{label(row)}: {clean(out.reason)} ({out.runs} {out.status}; in no figure).")
    if len(section.commits) > 1:
        said.append(f"Measured by {len(section.commits)} commits of this program: {', '.join(section.commits)}.")
    if inference_grid(section, stacked=False):
        said.append(NOTE)
    if limits_grid(section, stacked=False):
        said.append(LIMITS_NOTE)
    return [*said, *findings(section)]


# --- text ---


def _text(sections: Sequence[Section], width: int) -> str:
    if not sections:
        return f"{_NOTHING}\n"
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=False, force_jupyter=False)
    for i, section in enumerate(sections):
        if i:
            console.print()
        console.print(Text(heading(section)))
        console.print(Text("\n".join(filter(None, subheadings(section)))))
        console.print()
        for part in _text_table(section, console):
            console.print(part)
        for part in (*_text_grid(inference_grid, section, console), *_text_grid(limits_grid, section, console)):
            console.print(part)
        console.print()
        console.print(listed([("·", note) for note in notes(section)]))
        console.print()
        console.print(listed(_judged(section)))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _judged(section: Section) -> list[tuple[str, str]]:
    """Claims under their verdict; those with the same evidence (a cell that was not measured) together."""
    together = itertools.groupby(judge_claims(section), key=lambda claim: (claim.verdict, claim.evidence))
    return [
        (verdict, "\n".join([*(claim.text for claim in claims), clean(evidence)]))
        for (verdict, evidence), claims in together
    ]


def _text_table(section: Section, console: Console) -> list[RenderableType]:
    """One line a row where the width allows; else two, and then the settings as headings in between."""
    wide = _grid(_wide_columns(section), section.rows, gap=2)
    if console.measure(wide, options=console.options.update(width=10_000)).maximum <= console.width:
        return [wide]
    columns = _narrow_columns(section)
    widths = [max(cell_len(line) for line in _lines(column, section.rows)) for column in columns]
    gap = 2 if sum(widths) + 2 * (len(widths) - 1) <= console.width else 1
    # Only a cell's name has no natural limit: it folds.
    widths[0] = min(widths[0], max(console.width - sum(widths[1:]) - gap * (len(widths) - 1), _NARROWEST_CELL))
    names = [name for name in section.axes if name != "kernel"]
    groups: dict[str, list[Row]] = {}
    for row in section.rows:
        groups.setdefault(" · ".join(f"{name} = {clean(str(row.axes[name]))}" for name in names), []).append(row)
    parts: list[RenderableType] = []
    for i, (setting, rows) in enumerate(groups.items()):
        parts += [*([""] if i else []), *([Text(setting)] if setting else [])]
        parts.append(_grid(columns, rows, gap, widths, head=i == 0))
    return parts


def _text_grid(make: Callable[..., Grid | None], section: Section, console: Console) -> list[RenderableType]:
    """A table beneath the comparison; nothing where there is nothing to tell."""
    for stacked in (False, True):
        grid = make(section, stacked=stacked)
        if grid is None:
            return []
        lay_out = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, leading=int(stacked))
        for head, left in grid.heads:
            lay_out.add_column(Text(head), justify="left" if left else "right", overflow="fold")
        for row in grid.rows:
            lay_out.add_row(*map(Text, row))
        if console.measure(lay_out, options=console.options.update(width=10_000)).maximum <= console.width:
            break
    return ["", lay_out]


def _lines(column: _Column, rows: Sequence[Row]) -> list[str]:
    return [line for text in (column.head, *map(column.cell, rows)) for line in text.split("\n")]


def _grid(
    columns: Sequence[_Column], rows: Sequence[Row], gap: int, widths: Sequence[int] | None = None, head: bool = True
) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, gap - 1, 0, 0),
        leading=1 if widths else 0,
        show_header=head,
    )
    for i, column in enumerate(columns):
        width = widths[i] if widths else None
        table.add_column(Text(column.head), justify="left" if column.left else "right", overflow="fold", width=width)
    for row in rows:
        table.add_row(*(Text(column.cell(row)) for column in columns))
    return table


# --- markdown ---


def _markdown(sections: Sequence[Section]) -> str:
    return "\n".join(map(_markdown_section, sections)) if sections else f"{_NOTHING}\n"


def _markdown_section(section: Section) -> str:
    columns = _wide_columns(section)
    lines = [f"### {escaped(heading(section))}", ""]
    lines += ["  \n".join(escaped(line) for line in subheadings(section) if line), ""]
    figures = [[column.cell(row) for column in columns] for row in section.rows]
    lines += markdown_table([(column.head, column.left) for column in columns], figures)
    for grid in filter(None, (inference_grid(section, stacked=False), limits_grid(section, stacked=False))):
        lines += ["", *markdown_table(grid.heads, grid.rows)]
    lines += ["", *(f"- {escaped(note)}" for note in notes(section)), ""]
    claims = [[claim.text, claim.verdict, claim.evidence] for claim in judge_claims(section)]
    lines += markdown_table([("the notebook's claim", True), ("verdict", True), ("figures", True)], claims)
    return "\n".join(lines) + "\n"


# --- JSON ---


def _json(sections: Sequence[Section]) -> str:
    document = {"sections": [_section_object(section) for section in sections]}
    return json.dumps(without_nan(document), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _section_object(section: Section) -> dict[str, Any]:
    return {
        "task": section.task,
        "data_digest": section.data_digest,
        "machine_fingerprint": section.machine_fingerprint,
        "software_fingerprint": section.software_fingerprint,
        "machine": dict(section.machine),
        "software": dict(section.software),
        "program_commits": list(section.commits),
        "shared": dict(section.shared),
        "axes": list(section.axes),
        "rows": [_row_object(row) for row in section.rows],
        "claims": [asdict(claim) for claim in judge_claims(section)],
    }


def _row_object(row: Row) -> dict[str, Any]:
    statuses: Counter[str] = Counter()
    for out in row.left_out:
        statuses[out.status] += out.runs
    return {
        "cell": row.cell,
        "axes": dict(row.axes),
        "configuration_id": row.configuration.configuration_id,
        "parameters": row.parameters,
        "test_accuracy": _estimate_object(row.accuracy),
        "test_loss": _estimate_object(row.loss),
        "train_seconds": _estimate_object(row.train_seconds),
        "train_seconds_first_epoch_only": row.first_epoch_only,
        "samples_per_second": _estimate_object(row.samples_per_second),
        "first_epoch_seconds": _estimate_object(row.first_epoch_seconds),
        "compile_seconds": _estimate_object(row.compile_seconds),
        "ratio_to_simple_rnn": _estimate_object(row.ratio),
        "ratio_to_generic": _estimate_object(row.generic_ratio),
        "memory_above_start_bytes": _estimate_object(row.memory_bytes),
        "limits": asdict(row.limits) if row.limits else None,
        "inference": [_answers_object(answers) for answers in row.answers],
        "predict_over_compiled": _estimate_object(row.predict_ratio),
        "train_seconds_over_keras": _estimate_object(row.keras_train_ratio),
        "compiled_latency_over_keras": _estimate_object(row.keras_answer_ratio),
        "kernel_asked": row.configuration.kernel,
        "kernels_attested": list(row.kernels_attested),
        "runs_ok": len(row.runs),
        "seeds": row.seeds,
        "runs_left_out": dict(statuses),
        "left_out": [asdict(out) for out in row.left_out],
    }


def _answers_object(answers: InferenceFigures) -> dict[str, Any]:
    return {
        "entry": answers.entry,
        "kernels_attested": list(answers.kernels_attested),
        "p50_seconds": _estimate_object(answers.p50_seconds),
        "p95_seconds": _estimate_object(answers.p95_seconds),
        "p99_seconds": _estimate_object(answers.p99_seconds),
        "samples_per_second": {
            str(batch): _estimate_object(speed) for batch, speed in answers.samples_per_second.items()
        },
    }


def _estimate_object(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    interval = estimate.interval
    return {
        "value": estimate.value,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "n": estimate.n,
    }
