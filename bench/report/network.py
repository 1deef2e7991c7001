"""The network of a row, drawn: its layers in order, what each gives to the next, and its parameters. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from bench.catalog import networks
from bench.catalog.cells import BUILT_IN, Cell
from bench.catalog.networks import NETWORKS, Dense, Dropout, Embedding, Layer, Recurrent, parameters
from bench.catalog.tasks import Task
from bench.core.case import Case
from bench.report.values import NONE, clean


@dataclass(frozen=True)
class DrawnLayer:
    """One layer as a reader sees it."""

    name: str
    shape: tuple[int, ...]
    """What it gives for one sample: steps × width, or width."""
    parameters: int | None
    """None for a cell whose arithmetic is unknown."""
    recurrent: bool = False


def layers_of(case: Case, task: Task | None) -> tuple[DrawnLayer, ...]:
    """The layers of a case, by formula; none for a task or a network that this version doesn't know."""
    if task is None or case.network not in NETWORKS:
        return ()
    # a store may name cells that aren't installed here
    cell = BUILT_IN.get(case.cell, Cell(case.cell, "", ""))
    inputs = (task.steps,) if task.vocabulary else (task.steps, task.features)
    return (
        DrawnLayer(f"Input: a {task.words.step} a step", inputs, 0),
        *(
            DrawnLayer(_title(placed.layer, cell, task), placed.outputs, parameters(placed, cell), bool(placed.name))
            for placed in networks.of(case).placed(case.units, task)
        ),
    )


def _title(layer: Layer, cell: Cell, task: Task) -> str:
    match layer:
        case Recurrent(activation):
            both = "2 × " if layer.bidirectional else ""
            return f"{both}{clean(cell.name)}, {activation}"
        case Embedding(vocabulary):
            return f"Embedding of {vocabulary:,} tokens"
        case Dropout(rate):
            return f"Dropout {rate:g}"
        case Dense(_, activation):
            return f"Dense, {activation}"
    return f"Dense, {task.target.activation}"


def drawn(layers: tuple[DrawnLayer, ...], name: str) -> str:
    """The layers as SVG, one below the other, in the colours of the page that it stands in."""
    width, height, gap = 320, 34, 14
    tall = len(layers) * (height + gap) - gap + 4
    described = "; ".join(f"{layer.name}: {_shape(layer)}, {_parameters(layer)}" for layer in layers)
    parts = [
        f'<svg role="img" class="network" viewBox="0 0 {width + 4} {tall}" aria-label="'
        f'{escape(f"Layers of {clean(name)}: {described}")}" xmlns="http://www.w3.org/2000/svg">'
    ]
    for number, layer in enumerate(layers):
        top = 2 + number * (height + gap)
        kind = "recurrent" if layer.recurrent else "plain"
        parts.append(f'<rect class="{kind}" x="2" y="{top}" width="{width}" height="{height}" rx="6"/>')
        figures = _shape(layer) + (f" · {_parameters(layer)}" if layer.parameters != 0 else "")
        room = max(26, 46 - len(figures))  # letters
        shown = layer.name if len(layer.name) <= room else f"{layer.name[: room - 1]}…"
        parts.append(f'<text x="12" y="{top + 21}">{escape(shown)}</text>')
        parts.append(f'<text class="figures" x="{width - 8}" y="{top + 21}" text-anchor="end">{escape(figures)}</text>')
        if number:
            parts.append(f'<path class="arrow" d="M{width // 2} {top - gap + 1}v{gap - 4}m-3 -4l3 4l3 -4"/>')
    return "".join([*parts, "</svg>"])


def _shape(layer: DrawnLayer) -> str:
    return " × ".join(map(str, layer.shape))


def _parameters(layer: DrawnLayer) -> str:
    return NONE if layer.parameters is None else f"{layer.parameters:,} parameters"
