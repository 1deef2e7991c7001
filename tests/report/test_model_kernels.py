"""The table of a user's model: layers × phases, and why a layer is not cuDNN."""

from __future__ import annotations

from typing import Any

import pytest

from bench.catalog.layer_rules import cudnn_obstacles
from bench.core.case import Case
from bench.report.model_kernels import model_data, model_document
from bench.report.text import render_text
from bench.run.model_probe import ModelAttestation

PHASES = ("train", "evaluate", "predict")


def an_attestation(device: str = "cpu", kernel: str = "generic", **options: Any) -> ModelAttestation:
    shown = {"kernel": kernel, "operations": {"While": 2}, "artefact": "aa"}
    masked = options.pop("masked", False)
    kind = options.pop("kind", "LSTM")
    facts = {"class": kind, "shapes": [[16, 8], [None, 8]], "masked": masked, "dtype": "float32", "options": options}
    return ModelAttestation(
        case=Case(cell="lstm", device=device),
        error=None,
        evidence={phase: {"encoder/lstm": shown} for phase in PHASES},
        facts={"layers": {"encoder/lstm": facts}, "loss": ["mean_squared_error"], "random": True, "open_sizes": True},
        parameters=7,
    )


def text(*attestations: ModelAttestation) -> str:
    return render_text(model_document("mine:build", attestations, 16), 200, styled=False)


def test_layers_and_phases_are_a_table_with_what_was_assumed_below_it() -> None:
    shown = text(an_attestation(activation="relu", unroll=False))
    row = next(line for line in shown.splitlines() if line.startswith("encoder/lstm "))
    assert row.split()[:3] == ["encoder/lstm", "LSTM", "16"]
    assert row.split().count("generic") == 3
    assert row.endswith("activation=relu")  # what is at its default is left out
    assert "what the model leaves open was 16 (--steps)" in shown
    assert "trained with mean_squared_error" in shown
    assert "encoder/lstm: activation=relu rules cuDNN out: its kernels have tanh" in shown


def test_on_a_gpu_it_is_said_why_a_layer_is_not_cudnn_and_nothing_where_it_is() -> None:
    refused = text(an_attestation("gpu:0", recurrent_dropout=0.2))
    assert (
        "encoder/lstm is not cuDNN: recurrent_dropout=0.2 rules cuDNN out: where it isn't 0 Keras takes the loop"
        in refused
    )
    assert "not cuDNN" not in text(an_attestation("gpu:0", kernel="cudnn"))
    assert "no rule of Keras that this program knows gives the reason" in text(an_attestation("gpu:0"))


def test_a_failure_and_a_model_without_recurrence_have_a_sentence_each() -> None:
    failed = ModelAttestation(case=Case(cell="lstm"), error="it is no model", evidence={}, facts={}, parameters=None)
    assert "it is no model" in text(failed)
    empty = ModelAttestation(
        case=Case(cell="lstm"), error=None, evidence={phase: {} for phase in PHASES}, facts={"layers": {}}, parameters=1
    )
    assert "No recurrent layer was called" in text(empty)
    assert model_data("mine:build", [failed])["attestations"][0]["error"] == "it is no model"


def test_programs_get_the_same_with_the_obstacle_of_each_layer() -> None:
    (only,) = model_data("mine:build", [an_attestation(use_bias=False)])["attestations"]
    (layer,) = only["layers"]
    assert layer["path"] == "encoder/lstm"
    assert layer["cudnn_obstacle"] == "use_bias=False rules cuDNN out: its layers have biases"
    assert {phase: shown["kernel"] for phase, shown in layer["phases"].items()} == dict.fromkeys(PHASES, "generic")


@pytest.mark.parametrize(
    ("kind", "backend", "options", "masked", "words"),
    [
        ("LSTM", "tensorflow", {}, False, None),
        ("LSTM", "tensorflow", {}, True, None),
        ("LSTM", "jax", {}, True, "mask"),
        ("GRU", "jax", {}, False, "no cuDNN GRU"),
        ("GRU", "torch", {"reset_after": False}, False, "reset_after=False"),
        ("LSTM", "torch", {"unroll": True}, False, "unroll=True"),
        ("LSTM", "jax", {"unroll": True}, False, "unroll=True"),
        ("LSTM", "jax", {"use_cudnn": False}, False, "use_cudnn=False"),
        ("LSTM", "jax", {"recurrent_activation": "hard_sigmoid"}, False, "recurrent_activation=hard_sigmoid"),
        ("ConvLSTM2D", "tensorflow", {}, False, "no cuDNN path for ConvLSTM2D"),
        ("Bidirectional", "jax", {}, False, None),
    ],
)
def test_keras_rules_are_said_in_keras_names(
    kind: str, backend: str, options: dict[str, Any], masked: bool, words: str | None
) -> None:
    obstacles = list(cudnn_obstacles(kind, options, backend, mask="any" if masked else "none"))
    assert bool(obstacles) is bool(words)
    assert words is None or words in obstacles[0].sentence()
