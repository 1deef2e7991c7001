"""The report: one self-contained page, the same in markdown, and the figures as files. Pure but for `write`.

Everything comes from the store. The same store gives the same bytes: there is no date and no commit of the rendering.
Names and messages are user input: Jinja escapes them in the page, `escaped` in markdown.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from bench.analysis.claims import judge_claims
from bench.analysis.comparison import Comparison
from bench.analysis.quality import Quality, judge_quality
from bench.analysis.stats import Estimate
from bench.analysis.summary import Section
from bench.core.errors import UsageError
from bench.plan.gate import Gate
from bench.report import figures as drawing
from bench.report import table as tables
from bench.report import verdicts
from bench.report.answer import answer, exchange, pareto
from bench.report.inference import NOTE, findings, inference_grid, label
from bench.report.limits import limits_grid
from bench.report.markdown import escaped
from bench.report.measured import Measured
from bench.report.network import drawn, layers_of
from bench.report.values import NONE, clean, markdown_table, without_nan

_INPUTS_SHOWN = 200
"""Runs that are listed one by one: those that failed, and those left out."""

Heads = tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Table:
    """Headings, each with whether its column is left-aligned, and rows of text; `empty` says why there are none."""

    caption: str
    heads: Heads
    rows: tuple[tuple[str, ...], ...]
    empty: str = ""

    @property
    def keys(self) -> list[list[str]]:
        """What each cell is sorted by: its leading number where it has one, else its text."""
        return [[_sort_key(cell) for cell in row] for row in self.rows]


@dataclass(frozen=True)
class Part:
    """All that the page says of one section."""

    anchor: str
    heading: str
    subheadings: tuple[str, ...]
    answer: tuple[str, ...]
    exchange: tuple[str, ...]
    table: Table
    limits: Table
    notes: tuple[str, ...]
    inference: Table
    inference_notes: tuple[str, ...]
    claims: Table
    figures: tuple[drawing.Figure | drawing.Empty, ...]
    quality: Table
    recalls: Table
    confusions: tuple[Table, ...]
    quality_note: str
    networks: tuple[tuple[str, Table, str], ...]
    """Name, layers as a table, and drawn."""
    facts: tuple[Table, ...]


@dataclass(frozen=True)
class Compared:
    """Base against new, where two stores were given."""

    headline: str
    sides: tuple[tuple[str, str], ...]
    grounds: tuple[tuple[tuple[str, ...], Table, tuple[str, ...]], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """A whole report, ready to be laid out."""

    title: str
    parts: tuple[Part, ...]
    campaigns: Table
    left_out: Table
    warnings: tuple[str, ...]
    compared: Compared | None = None

    def html(self) -> str:
        """The page: one file, which asks for nothing else."""
        page: str = _template().render(report=self, inline=_inline, identifier=_identifier)
        return page

    def markdown(self) -> str:
        """The same for repositories; figures are named relative to it."""
        return _markdown(self)

    def files(self) -> dict[str, bytes]:
        """By path below the report's folder: all that is written."""
        found = {"index.html": self.html().encode(), "report.md": self.markdown().encode()}
        data: dict[str, Any] = {}
        for part in self.parts:
            for figure in part.figures:
                if isinstance(figure, drawing.Figure):
                    found[f"figures/{part.anchor}{figure.name}.svg"] = figure.svg.encode()
                    found[f"figures/{part.anchor}{figure.name}.png"] = figure.png
                    data[f"{part.anchor}{figure.name}"] = {"title": figure.title, "data": _rounded(list(figure.data))}
        text = json.dumps(without_nan(data), indent=1, ensure_ascii=False, allow_nan=False)
        return {**found, "figures/data.json": f"{text}\n".encode()}


def make(measured: Measured, compared: Compared | None = None) -> Report:
    """The report of what has been measured."""
    many = len(measured.sections) > 1
    parts = tuple(
        _part(measured, section, f"s{number}-" if many else "") for number, section in enumerate(measured.sections, 1)
    )
    tasks = ", ".join(dict.fromkeys(clean(section.task) for section in measured.sections))
    return Report(
        title=f"Recurrent cells on {tasks}" if tasks else "Recurrent cells",
        parts=parts,
        campaigns=_campaigns(measured),
        left_out=_left_out(measured),
        warnings=tuple(map(clean, measured.warnings)),
        compared=compared,
    )


def compared(comparison: Comparison, gate: Gate) -> Compared:
    """The verdicts of a comparison, for a report of its new side."""
    return Compared(
        headline=clean(verdicts.headline(comparison, gate)),
        sides=tuple((clean(name), clean(text)) for name, text in verdicts.sides(comparison)),
        grounds=tuple(
            (ground.lines, Table("Verdicts, new against base", ground.heads, ground.rows), ground.remarks)
            for ground in verdicts.grounded(comparison)
        ),
        notes=tuple(verdicts.notes(comparison, gate)),
    )


def write(report: Report, folder: Path) -> Path:
    """Write the report's files below `folder`; the page's path.

    Raises:
        UsageError: the folder cannot be written to.
    """
    try:
        for name, content in report.files().items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise UsageError(
            f"cannot write the report to {folder} ({error.strerror}): name another folder with --out."
        ) from error
    return folder / "index.html"


def _part(measured: Measured, section: Section, anchor: str) -> Part:
    grid, inference = tables.comparison_grid(section), inference_grid(section, stacked=False)
    limits = limits_grid(section, stacked=False)
    claims = tuple((claim.text, str(claim.verdict), claim.evidence) for claim in judge_claims(section))
    answering = (NOTE, *findings(section)) if inference else tuple(findings(section))
    quality = [found for row in section.rows if (found := judge_quality(row, measured.predictions))]
    return Part(
        anchor=anchor,
        heading=tables.heading(section),
        subheadings=tuple(filter(None, tables.subheadings(section))),
        answer=answer(section),
        exchange=exchange(pareto(section)),
        table=Table("A row a configuration", grid.heads, grid.rows),
        limits=Table(
            "How near training comes to this machine's limit",
            limits.heads if limits else (),
            limits.rows if limits else (),
            empty="no bound was measured with these results (bench env --peak measures them).",
        ),
        notes=tuple(note for note in tables.notes(section) if note not in answering),
        inference=Table(
            "Inference of the trained models",
            inference.heads if inference else (),
            inference.rows if inference else (),
            empty="No inference was timed: the suite has latency_calls = 0.",
        ),
        inference_notes=answering,
        claims=Table(
            "What the measurements say of each", (("claim", True), ("verdict", True), ("evidence", True)), claims
        ),
        figures=drawing.draw_all(measured, section),
        quality=_quality(quality, section),
        recalls=_recalls(quality),
        confusions=tuple(_confusion(one) for one in quality[:_CONFUSIONS]),
        quality_note=_quality_note(quality, section),
        networks=_networks(section),
        facts=(
            _environment(section),
            _evidence(measured, section),
            _order(measured, section),
            _troubled(measured, section),
        ),
    )


# --- quality ---

_CONFUSIONS = 6
"""Matrices on the page; a table of all would be nothing to look at."""


def _quality(found: Sequence[Quality], section: Section) -> Table:
    heads = (
        ("cell", True), ("accuracy %", False), ("macro F1 %", False), ("ROC AUC %", False), ("worst digit", False),
        ("most frequent mistake", True),
    )  # fmt: skip
    rows = []
    for one in found:
        known = [(e.value, digit) for digit, e in enumerate(one.recalls) if e.n]
        worst, digit = min(known)
        taken_for, taken, share = one.worst_confusion
        rows.append(
            (
                label(one.row),
                _percent(one.row.accuracy),
                _percent(one.macro_f1),
                _percent(one.roc_auc, 3),
                f"{digit}: {100 * worst:.1f} %",
                f"{taken_for} taken for {taken}: {100 * share:.2f} %",
            )
        )
    return Table("Scores on the test set", heads, tuple(rows), empty=_no_quality(section))


def _no_quality(section: Section) -> str:
    if not any(row.runs for row in section.rows):
        return "No run ended ok, so there is nothing to score."
    return "These runs keep no predictions: they were measured before bench stored them (schema 1)."


def _recalls(found: Sequence[Quality]) -> Table:
    if not found:
        return Table("Recall by digit", (), ())
    digits = max(len(one.recalls) for one in found)
    heads = (("cell", True), *((str(digit), False) for digit in range(digits)))
    rows = tuple((label(one.row), *(_percent(e, 1, interval=False) for e in one.recalls)) for one in found)
    return Table("Recall by digit, %: the share of its samples that were recognised, mean over seeds", heads, rows)


def _confusion(one: Quality) -> Table:
    digits = range(len(one.confusion))
    heads = (("label", True), *((f"→ {digit}", False) for digit in digits))
    rows = tuple(
        (str(digit), *(f"{100 * share:.1f}" if share else "0" for share in one.confusion[digit])) for digit in digits
    )
    return Table(f"Confusion of {label(one.row)}, % of each label's samples, all runs together", heads, rows)


def _quality_note(found: Sequence[Quality], section: Section) -> str:
    if not found:
        return ""
    damaged = sum(one.damaged for one in found)
    more = f" {damaged} runs' predictions could not be read." if damaged else ""
    few = f" Confusion is shown of the first {_CONFUSIONS} rows." if len(found) > _CONFUSIONS else ""
    return (
        f"On {found[0].samples:,} test samples, a figure a run, then the mean over seeds with its 95 % interval "
        "(Student's t). F1 is the mean over the digits; ROC AUC is each digit against the rest, then their mean."
        f"{few}{more}"
    )


def _percent(estimate: Estimate | None, decimals: int = 2, *, interval: bool = True) -> str:
    if estimate is None or not estimate.n or not math.isfinite(estimate.value):
        return NONE
    value = f"{100 * estimate.value:.{decimals}f}"
    if estimate.interval is None or not interval:
        return value
    return f"{value} ± {50 * (estimate.interval.high - estimate.interval.low):.{decimals}f}"


# --- the networks ---


def _networks(section: Section) -> tuple[tuple[str, Table, str], ...]:
    found: dict[tuple[Any, ...], tuple[str, Table, str]] = {}
    for row in section.rows:
        case = row.configuration
        layers = layers_of(case)
        key = (case.cell, case.network, case.units)
        if not layers or key in found:
            continue
        name = f"{clean(case.cell)}, {case.units} units, {clean(case.network)} network"
        rows = tuple(
            (one.name, " × ".join(map(str, one.shape)), NONE if one.parameters is None else f"{one.parameters:,}")
            for one in layers
        )
        total = NONE if row.parameters is None else f"{row.parameters:,}"
        heads = (("layer", True), ("gives, a sample", True), ("parameters", False))
        found[key] = name, Table(f"{name}: {total} parameters", heads, rows), drawn(layers, name)
    return tuple(found.values())


# --- how it was measured ---


def _environment(section: Section) -> Table:
    rows: list[tuple[str, ...]] = [
        ("machine fingerprint", section.machine_fingerprint or NONE),
        *((f"machine: {key.replace('_', ' ')}", _worded(value)) for key, value in section.machine.items()),
        ("software fingerprint", section.software_fingerprint or NONE),
        *((f"software: {key.replace('_', ' ')}", _worded(value)) for key, value in section.software.items()),
        ("data (SHA-256)", section.data_digest or NONE),
        ("measured by commits", ", ".join(section.commits) or NONE),
    ]
    if section.cells_digest:
        rows.append(("users' cells (digest)", section.cells_digest))
    return Table("Environment", (("fact", True), ("value", True)), tuple((a, clean(b)) for a, b in rows))


def _worded(value: Any) -> str:
    if value is None or value in ([], {}, ""):
        return NONE
    if isinstance(value, list):
        return ", ".join("=".join(map(str, one)) if isinstance(one, list) else str(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _evidence(measured: Measured, section: Section) -> Table:
    """What was read from the executed programs, by row, phase and layer; runs with the same evidence once."""
    ids = {run.run_id: row for row in section.rows for run in row.runs}
    runs = measured.runs_of(section)
    texts: dict[tuple[str, str, str, str, str], int] = {}
    for run_id, attestation in zip(runs["run_id"], runs["attestation_json"], strict=True):
        row = ids.get(str(run_id))
        if row is None or not isinstance(attestation, str):
            continue
        for phase, layers in _object(attestation).items():
            for layer, one in layers.items() if isinstance(layers, dict) else ():
                seen = ", ".join(f"{number} {name}" for name, number in sorted(one.get("operations", {}).items()))
                key = (label(row), clean(phase), clean(layer), clean(str(one.get("kernel"))), clean(seen))
                texts[key] = texts.get(key, 0) + 1
    rows = tuple((*key, str(count)) for key, count in texts.items())
    heads = (
        ("cell", True),
        ("phase", True),
        ("layer", True),
        ("ran", True),
        ("operations seen", True),
        ("runs", False),
    )
    return Table("Evidence of the kernel that ran", heads, rows, empty="No run carries evidence of its kernel.")


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _order(measured: Measured, section: Section) -> Table:
    runs = measured.runs_of(section)
    rows = []
    for campaign, own in runs.groupby("campaign_id", observed=True, sort=False):
        times = own["started_at"]
        rows.append(
            (
                clean(str(campaign)),
                clean(str(own["suite"].iloc[0])),
                str(int(own["order_seed"].iloc[0])) if "order_seed" in own else NONE,
                str(own["block"].nunique()),
                str(len(own)),
                f"{times.min():%Y-%m-%d %H:%M} to {times.max():%Y-%m-%d %H:%M} UTC",
            )
        )
    heads = (
        ("campaign", True), ("suite", True), ("order number", False), ("blocks", False), ("runs", False),
        ("begun", True),
    )  # fmt: skip
    return Table("Order: each block runs all configurations, shuffled by the order number", heads, tuple(rows))


def _troubled(measured: Measured, section: Section) -> Table:
    runs = measured.runs_of(section)
    bad = runs[runs["status"] != "ok"]
    rows = tuple(
        (
            clean(str(run["run_id"])), clean(str(run["cell"])), str(run["kernel"]), str(run["seed"]),
            str(run["status"]), clean(str(run["error"] or "no reason recorded")),
        )
        for run in bad.head(_INPUTS_SHOWN).to_dict("records")
    )  # fmt: skip
    heads = (("run", True), ("cell", True), ("kernel", True), ("seed", False), ("status", True), ("error", True))
    more = f"; the first {_INPUTS_SHOWN} of {len(bad):,}" if len(bad) > _INPUTS_SHOWN else ""
    return Table(f"Runs that failed or were invalid, in no figure{more}", heads, rows, empty="Every run ended ok.")


def _campaigns(measured: Measured) -> Table:
    rows = tuple(
        (
            one.campaign.id,
            clean(str(one.plan.get("command") or NONE)),
            clean(one.campaign.program_commit or NONE),
            str(len(one.case_ids)),
        )
        for one in measured.manifests
    )
    heads = (("campaign", True), ("command", True), ("commit", True), ("runs planned", False))
    return Table(
        "The command that makes it again", heads, rows, empty="The campaigns' manifests are not beside these results."
    )


def _left_out(measured: Measured) -> Table:
    rows: dict[tuple[str, ...], None] = {}
    for manifest in measured.manifests:
        for out in manifest.plan.get("left_out") or ():
            case = out.get("case", {})
            name = f"{case.get('cell')} × {case.get('kernel')} on {case.get('backend')}, {case.get('device')}"
            rows[clean(name), clean(str(out.get("reason")))] = None
    empty = "Nothing was left out of the plan." if measured.manifests else "Not known without the campaigns' manifests."
    return Table(
        "Left out of the plan", (("configuration", True), ("reason", True)), tuple(rows)[:_INPUTS_SHOWN], empty
    )


# --- laying it out ---


@functools.cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template("page.html.j2")


def _inline(figure: drawing.Figure, anchor: str) -> Any:
    """The SVG for a place in the page: ids of its own, the page's ground, ink and grid, a text for who can't see it."""
    import markupsafe

    svg = figure.svg[figure.svg.index("<svg") :]
    own = f"{anchor}{figure.name}-"
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{own}\1"', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\1{own}", svg)
    for fixed, own_colour in (("#ffffff", "none"), (drawing.INK, "currentColor"), (drawing.GRID, "var(--grid)")):
        svg = svg.replace(fixed, own_colour)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # the size in points would not shrink with a narrow screen
    head, rest = svg.split(">", 1)
    svg = re.sub(r' (?:width|height)="[^"]*"', "", head) + ">" + rest
    return markupsafe.Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(figure.alt)}" ', 1))


def _identifier(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


_NUMBER = re.compile(r"[<≥→ ]*([+\-−]?\d[\d,]*(?:\.\d+)?)")
_UNIT_FACTOR = {"GB": 1000.0}


def _sort_key(cell: str) -> str:
    match = _NUMBER.match(cell)
    if match is None:
        return "" if cell == NONE else cell.lower()
    value = float(match[1].replace(",", "").replace("−", "-"))
    unit = cell[match.end() :].split()
    return repr(value * (_UNIT_FACTOR.get(unit[0], 1.0) if unit else 1.0))


def _rounded(value: Any) -> Any:
    """Four significant digits: what two machines agree on."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) and math.isfinite(value) else value


# --- markdown ---


def _markdown(report: Report) -> str:
    lines = [f"# {escaped(report.title)}", ""]
    lines += _bullets([f"Warning: {warning}" for warning in report.warnings])
    if report.compared:
        lines += _markdown_compared(report.compared)
    for part in report.parts:
        lines += _markdown_part(part)
    lines += ["## How to make it again", "", *_markdown_of(report.campaigns), *_markdown_of(report.left_out)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _markdown_compared(compared: Compared) -> list[str]:
    lines = ["## Base against new", "", escaped(compared.headline), ""]
    lines += ["  \n".join(f"{escaped(name)}: {escaped(text)}" for name, text in compared.sides), ""]
    for ground, table, remarks in compared.grounds:
        lines += ["  \n".join(map(escaped, ground)), "", *_markdown_of(table), *_bullets(remarks)]
    return [*lines, *_bullets(compared.notes)]


def _markdown_part(part: Part) -> list[str]:
    lines = [f"## {escaped(part.heading)}", "", "  \n".join(map(escaped, part.subheadings)), ""]
    lines += ["### The answer", "", *_bullets([*part.answer, *part.exchange])]
    lines += ["### Comparison", "", *_markdown_of(part.table), *_markdown_of(part.limits), *_bullets(part.notes)]
    lines += ["### Inference", "", *_markdown_of(part.inference), *_bullets(part.inference_notes)]
    lines += ["### The notebook's claims", "", *_markdown_of(part.claims)]
    lines += ["### Figures", ""]
    for figure in part.figures:
        if isinstance(figure, drawing.Empty):
            lines += [f"**{escaped(figure.title)}**: not drawn, because {escaped(figure.reason)}.", ""]
        else:
            lines += [
                f"![{escaped(figure.alt)}](figures/{part.anchor}{figure.name}.svg)",
                "",
                escaped(figure.caption),
                "",
            ]
    lines += ["### Quality beyond accuracy", "", *_markdown_of(part.quality)]
    lines += _markdown_of(part.recalls) if part.recalls.rows else []
    lines += [line for one in part.confusions for line in _markdown_of(one)]
    lines += [escaped(part.quality_note), ""] if part.quality_note else []
    lines += ["### The network", ""]
    lines += [line for _, table, _ in part.networks for line in _markdown_of(table)]
    lines += [] if part.networks else ["This version knows neither the task nor the network.", ""]
    lines += ["### How it was measured", "", *(line for table in part.facts for line in _markdown_of(table))]
    return lines


def _markdown_of(table: Table) -> list[str]:
    if not table.rows:
        return [f"{escaped(table.caption)}: {escaped(table.empty)}", ""]
    return [f"**{escaped(table.caption)}**", "", *markdown_table(table.heads, table.rows), ""]


def _bullets(texts: Iterable[str]) -> list[str]:
    told = [f"- {escaped(text)}" for text in texts]
    return [*told, ""] if told else []
