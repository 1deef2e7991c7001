"""Which kernel each recurrent layer of a user's model executed (`bench.run.model_probe`), as a document and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.catalog.layer_rules import cudnn_obstacles
from bench.report.document import Block, Column, Document, Heading, Notes, Paragraph, Table
from bench.run.model_probe import ModelAttestation

_AT_DEFAULT = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "use_bias": True,
    "reset_after": True,
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
    "unroll": False,
    "use_cudnn": "auto",
    "stateful": False,
    "go_backwards": False,
}
"""Keras's defaults of the options of a recurrent layer, which a table leaves out."""


def model_document(model: str, attestations: Sequence[ModelAttestation], steps: int) -> Document:
    """A table of layers × phases for each backend and device.

    Args:
        model: how the user named it.
        attestations: in the order in which they are shown.
        steps: the size that random data had where the model leaves one open.
    """
    blocks: list[Block] = []
    for attestation in attestations:
        blocks.append(Heading(_heading(model, attestation)))
        if attestation.error is not None:
            blocks.append(Paragraph(attestation.error, tone="warning", indent=1))
        elif not attestation.evidence.get("train"):
            blocks.append(Paragraph("No recurrent layer was called, and no loop was seen elsewhere.", indent=1))
        else:
            blocks += [_table(attestation), Notes(tuple(_notes(attestation, steps)))]
    return Document(tuple(blocks))


def model_data(model: str, attestations: Sequence[ModelAttestation]) -> dict[str, Any]:
    """The same, JSON-able."""
    return {
        "model": model,
        "attestations": [
            {
                "backend": attestation.case.backend,
                "device": attestation.case.device,
                "dtype": attestation.case.dtype,
                "threads": attestation.case.threads,
                "error": attestation.error,
                "parameters": attestation.parameters,
                "chosen_loss": attestation.facts.get("loss") or None,
                "jit_compile": attestation.facts.get("jit_compile"),
                "layers": [
                    {
                        "path": path,
                        **_facts(attestation, path),
                        "cudnn_obstacle": _obstacle(attestation, path),
                        "phases": {
                            phase: {"kernel": shown[path]["kernel"], "operations": shown[path]["operations"]}
                            for phase, shown in attestation.evidence.items()
                            if path in shown
                        },
                    }
                    for path in _paths(attestation)
                ],
            }
            for attestation in attestations
        ],
    }


def _heading(model: str, attestation: ModelAttestation) -> str:
    case = attestation.case
    words = [model, case.backend, case.device, *([case.dtype] if case.dtype != "float32" else [])]
    return " · ".join([*words, *([f"{case.threads} threads"] if case.threads else [])])


def _paths(attestation: ModelAttestation) -> list[str]:
    return list(dict.fromkeys(path for shown in attestation.evidence.values() for path in shown))


def _facts(attestation: ModelAttestation, path: str) -> Mapping[str, Any]:
    nothing: dict[str, Any] = {"class": None, "shapes": [], "masked": False, "dtype": None, "options": {}}
    known: Mapping[str, Any] = attestation.facts["layers"].get(path, nothing)
    return known


def _table(attestation: ModelAttestation) -> Table:
    phases = list(attestation.evidence)
    rows = []
    for path in _paths(attestation):
        facts = _facts(attestation, path)
        kernels = [attestation.evidence[phase].get(path, {"kernel": "–"})["kernel"] for phase in phases]
        operations = attestation.evidence["train"].get(path, {"operations": {}})["operations"]
        rows.append(
            (
                path,
                facts["class"] or "–",
                tuple(_shape(sizes) for sizes in facts["shapes"]) or "–",
                *kernels,
                _counted(operations),
                _options(facts) or "–",
            )
        )
    heads = ("layer", "class", "reads", *phases, "seen in training", "options")
    return Table(tuple(Column(head, wrap=head in ("seen in training", "options")) for head in heads), tuple(rows))


def _shape(sizes: Sequence[int | None]) -> str:
    return " × ".join("?" if size is None else str(size) for size in sizes)


def _counted(operations: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in operations.items()) or "nothing"


def _options(facts: Mapping[str, Any]) -> str:
    """The options that aren't at their default, and the mask."""
    changed = [f"{name}={value}" for name, value in facts["options"].items() if value != _AT_DEFAULT.get(name, value)]
    return ", ".join([*changed, *(["masked"] if facts["masked"] else [])])


def _notes(attestation: ModelAttestation, steps: int) -> Iterable[str]:
    facts, case = attestation.facts, attestation.case
    yield "read from the programs that ran, in a step of training, of evaluation and of prediction"
    if facts["random"]:
        yield "on random data" + (f"; what the model leaves open was {steps} (--steps)" if facts["open_sizes"] else "")
    if facts["loss"]:
        yield f"the model wasn't compiled: trained with {' and '.join(facts['loss'])}, by its last activation"
    if case.device == "cpu":
        yield "cuDNN runs on NVIDIA GPUs alone; what follows is Keras's rule for one, not what was seen"
    for path in _paths(attestation):
        ran = {shown[path]["kernel"] for shown in attestation.evidence.values() if path in shown}
        reason = _obstacle(attestation, path)
        if case.device == "cpu":
            yield f"{path}: {reason or _allowed(attestation, path)}"
        elif ran != {"cudnn"}:
            yield f"{path} is not cuDNN: {reason or 'no rule of Keras that this program knows gives the reason'}"


def _obstacle(attestation: ModelAttestation, path: str) -> str | None:
    facts = _facts(attestation, path)
    if facts["class"] is None:
        return "a loop of the model's own, outside its recurrent layers"
    obstacles = cudnn_obstacles(
        facts["class"], facts["options"], attestation.case.backend, mask="any" if facts["masked"] else "none"
    )
    return next((obstacle.sentence() for obstacle in obstacles), None)


def _allowed(attestation: ModelAttestation, path: str) -> str:
    masked = _facts(attestation, path)["masked"]
    return "cuDNN" + (", as long as its mask pads on the right alone" if masked else "")
