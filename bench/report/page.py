"""The report: one self-contained page, the same in markdown, and the figures as files. Pure but for `write_report`.

Everything comes from the store. The same store gives the same bytes: there is no date and no commit of the rendering.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bench.analysis.comparison import Comparison
from bench.analysis.rows import Row
from bench.analysis.summary import Section
from bench.core.axes import BY_FIELD, changed
from bench.plan.gate import Gate
from bench.report.across_machines import machine_blocks
from bench.report.claims_table import claims_table
from bench.report.columns import comparison_table
from bench.report.document import (
    Block,
    Callout,
    Column,
    Diagrams,
    Document,
    Figure,
    Gallery,
    Heading,
    Lines,
    Notes,
    Paragraph,
    Table,
)
from bench.report.figures import draw_all
from bench.report.growth import growth_blocks
from bench.report.html import render_html
from bench.report.inference_table import INFERENCE_NOTE, inference_findings, inference_table, streaming_table
from bench.report.jsonout import render_json
from bench.report.markdown import render_markdown
from bench.report.measured import Measured
from bench.report.network import drawn, layers_of
from bench.report.provenance import plan_blocks, provenance_blocks
from bench.report.recommendation import exchange, recommendation
from bench.report.roofline import roofline_table
from bench.report.scores import score_blocks
from bench.report.section_notes import heading, notes, subheadings
from bench.report.values import whole
from bench.report.verdicts import headline, verdict_blocks
from bench.store.files import make_folder, refused, replace_file


def report_document(measured: Measured, compared: tuple[Comparison, Gate] | None = None) -> Document:
    """The report of what has been measured, and of its comparison with a base where there is one."""
    tasks = ", ".join(dict.fromkeys(section.task for section in measured.sections))
    blocks: list[Block] = [
        Paragraph(
            "Which cell to use here, and how certain that is. All that follows comes from the stored observations.",
            tone="soft",
        ),
        *(Paragraph(f"Warning: {warning}", tone="warning") for warning in measured.warnings),
    ]
    if compared is not None:
        title = Heading("Base against new", level=2, anchor="compared")
        blocks += [title, Callout((headline(*compared),)), *verdict_blocks(*compared)]
    many = len(measured.sections) > 1
    for number, section in enumerate(measured.sections, 1):
        blocks += _section(measured, section, f"s{number}-" if many else "")
    blocks += machine_blocks(measured.sections, level=2)
    blocks += growth_blocks(measured.sections)
    if not measured.sections:
        blocks.append(Paragraph("Nothing was measured."))
    blocks += [Heading("How to make it again", level=2), *plan_blocks(measured)]
    return Document(tuple(blocks), title=f"Recurrent cells on {tasks}" if tasks else "Recurrent cells")


def report_files(document: Document) -> dict[str, bytes]:
    """All that is written, by path below the report's folder."""
    files = {"index.html": render_html(document).encode(), "report.md": render_markdown(document).encode()}
    data: dict[str, Any] = {}
    for gallery in (block for block in document.walk() if isinstance(block, Gallery)):
        for figure in gallery.figures:
            if isinstance(figure, Figure):
                name = f"{gallery.prefix}{figure.name}"
                files[f"figures/{name}.svg"] = figure.svg.encode()
                files[f"figures/{name}.png"] = figure.png
                data[name] = {"title": figure.title, "data": _rounded(list(figure.data))}
    return {**files, "figures/data.json": render_json(data, indent=1).encode()}


def write_report(document: Document, folder: Path) -> Path:
    """Write the report's files below a folder.

    Returns:
        the page's path.

    Raises:
        UsageError: the folder cannot be written to.
    """
    for name, content in report_files(document).items():
        path = folder / name
        with refused(path, "name another folder with --out"):
            make_folder(path.parent)
            replace_file(path, content)
    return folder / "index.html"


def _rounded(value: Any) -> Any:
    """Four significant digits: what two machines agree on."""
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) and math.isfinite(value) else value


# --- the parts of a section ---


def _section(measured: Measured, section: Section, prefix: str) -> list[Block]:
    blocks: list[Block] = [
        Heading(heading(section), level=2, anchor=f"{prefix}top"),
        Lines(subheadings(section)),
    ]
    for title, part in PARTS.items():
        blocks += [Heading(title), *part(measured, section)]
    return [replace(block, prefix=prefix) if isinstance(block, Gallery) else block for block in blocks]


def _recommendation(_: Measured, section: Section) -> tuple[Block, ...]:
    return (Callout(recommendation(section), exchange(section)),)


def _comparison(_: Measured, section: Section) -> tuple[Block, ...]:
    elsewhere = (INFERENCE_NOTE, *inference_findings(section))
    return (
        replace(comparison_table(section), caption="A row a configuration", sortable=True),
        replace(roofline_table(section), caption="How near training comes to this machine's ceilings", sortable=True),
        Notes(tuple(note for note in notes(section) if note not in elsewhere)),
    )


def _inference(_: Measured, section: Section) -> tuple[Block, ...]:
    table = replace(inference_table(section), caption="Inference of the trained models", sortable=True)
    streamed = replace(streaming_table(section), caption="Streaming: a step a call", sortable=True)
    notes = (*((INFERENCE_NOTE,) if table.rows else ()), *inference_findings(section))
    return (table, *((streamed,) if streamed.rows else ()), Notes(notes))


def _claims(_: Measured, section: Section) -> tuple[Block, ...]:
    return (replace(claims_table(section), caption="What the measurements show of each"),)


def _figures(measured: Measured, section: Section) -> tuple[Block, ...]:
    return (Gallery(draw_all(measured, section)),)


def _networks(_: Measured, section: Section) -> tuple[Block, ...]:
    drawings: dict[tuple[Any, ...], tuple[str, Table]] = {}
    for row in section.rows:
        case = row.configuration
        if drawn_layers := layers_of(case, row.task):
            drawings.setdefault((case.cell, drawn_layers), _network(row))
    if not drawings:
        return (Paragraph("This version knows neither the task nor the network."),)
    return (Diagrams(tuple(drawings.values())),)


def _network(row: Row) -> tuple[str, Table]:
    case = row.configuration
    layers = layers_of(case, row.task)
    of_layers = ("layers", "bidirectional", "reset_after", "bias", "activation")
    options = [f", {BY_FIELD[name].in_words(value)}" for name, value in changed(case, of_layers)]
    name = f"{case.cell}, {case.units} units, {case.network} network{''.join(options)}"
    rows = tuple((layer.name, " × ".join(map(str, layer.shape)), whole(layer.parameters)) for layer in layers)
    columns = (Column("layer"), Column("gives, a sample"), Column("parameters", left=False))
    return drawn(layers, name), Table(columns, rows, caption=f"{name}: {whole(row.parameters)} parameters")


PARTS: Mapping[str, Callable[[Measured, Section], tuple[Block, ...]]] = MappingProxyType(
    {
        "The recommendation": _recommendation,
        "Comparison": _comparison,
        "Inference": _inference,
        "Claims": _claims,
        "Figures": _figures,
        "Quality beyond accuracy": score_blocks,
        "The network": _networks,
        "How it was measured": provenance_blocks,
    }
)
"""The parts of each section in the order in which a report has them: the title, and what makes its blocks."""
