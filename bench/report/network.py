"""The network of a row, drawn: its layers in order, what each gives to the next, and its parameters. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from bench.catalog.cells import BUILT_IN
from bench.catalog.networks import DENSE_UNITS, NETWORKS
from bench.catalog.tasks import TASKS
from bench.core.case import Case
from bench.report.values import NONE, clean


@dataclass(frozen=True)
class Layer:
    """One layer: what it is, the shape of what it gives for one sample, and its parameters, None where unknown."""

    name: str
    shape: tuple[int, ...]
    parameters: int | None


def layers_of(case: Case) -> tuple[Layer, ...]:
    """The layers of a case, by formula; none for a task or a network that this version doesn't know."""
    task, network = TASKS.get(case.task), NETWORKS.get(case.network)
    if task is None or network is None:
        return ()
    steps, features, classes = task.steps, task.features, task.classes
    cell, (first, second) = clean(case.cell), network.activations
    return (
        Layer("Input: a row a step", (steps, features), 0),
        Layer(f"{cell}, {first}", (steps, case.units), _recurrent(case.cell, features, case.units)),
        Layer("Dropout 0.2", (steps, case.units), 0),
        Layer(f"{cell}, {second}", (case.units,), _recurrent(case.cell, case.units, case.units)),
        Layer("Dropout 0.2", (case.units,), 0),
        Layer("Dense, relu", (DENSE_UNITS,), (case.units + 1) * DENSE_UNITS),
        Layer("Dropout 0.1", (DENSE_UNITS,), 0),
        Layer("Dense, softmax", (classes,), (DENSE_UNITS + 1) * classes),
    )


def _recurrent(cell: str, inputs: int, units: int) -> int | None:
    """Weights of [inputs, units] and [units, units] a gate, and its biases: Keras's GRU has two of them each."""
    gates = BUILT_IN[cell].gates if cell in BUILT_IN else None
    if gates is None:
        return None
    biases = 2 if cell == "gru" else 1
    return gates * units * (inputs + units + biases)


def drawn(layers: tuple[Layer, ...], name: str) -> str:
    """The layers as SVG, one below the other, in the colours of the page that it stands in."""
    width, height, gap = 320, 34, 14
    tall = len(layers) * (height + gap) - gap + 4
    told = "; ".join(f"{layer.name}: {_shape(layer)}, {_parameters(layer)}" for layer in layers)
    parts = [
        f'<svg role="img" class="network" viewBox="0 0 {width + 4} {tall}" aria-label="'
        f'{escape(f"Layers of {clean(name)}: {told}")}" xmlns="http://www.w3.org/2000/svg">'
    ]
    for number, layer in enumerate(layers):
        top = 2 + number * (height + gap)
        kind = "recurrent" if number in (1, 3) else "plain"
        parts.append(f'<rect class="{kind}" x="2" y="{top}" width="{width}" height="{height}" rx="6"/>')
        shown = layer.name if len(layer.name) <= 26 else f"{layer.name[:25]}…"
        parts.append(f'<text x="12" y="{top + 21}">{escape(shown)}</text>')
        figures = _shape(layer) + (f" · {_parameters(layer)}" if layer.parameters != 0 else "")
        parts.append(f'<text class="figures" x="{width - 8}" y="{top + 21}" text-anchor="end">{escape(figures)}</text>')
        if number:
            parts.append(f'<path class="arrow" d="M{width // 2} {top - gap + 1}v{gap - 4}m-3 -4l3 4l3 -4"/>')
    return "".join([*parts, "</svg>"])


def _shape(layer: Layer) -> str:
    return " × ".join(map(str, layer.shape))


def _parameters(layer: Layer) -> str:
    return NONE if layer.parameters is None else f"{layer.parameters:,} parameters"
