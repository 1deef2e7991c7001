"""Any Keras model, trained, evaluated and used for a step: which kernel each of its recurrent layers executed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import keras

from bench.core import code
from bench.core.observation import RunMetadata
from bench.core.protocol import Emit, FailedRun, ModelRequest, Request
from bench.worker.evidence.code import imported_modules
from bench.worker.evidence.marks import Marks
from bench.worker.failure import USERS_ERRORS, failure_reason
from bench.worker.random_data import fitting_losses, open_sizes, random_inputs, random_targets
from bench.worker.session import preload as preload
from bench.worker.session import start_session
from bench.worker.users_code import load_factory

_OPTIONS = (
    *("activation", "recurrent_activation", "use_bias", "reset_after"),
    *("dropout", "recurrent_dropout", "unroll", "use_cudnn", "stateful", "go_backwards"),
)


def measure(request: Request, emit: Emit) -> None:
    """Attest a model of the user's: `RunMetadata` with the evidence by phase and layer, and the facts of each layer.

    Raises:
        FailedRun: the model can't be made, or not be trained on the data.
    """
    asked = request.model
    assert asked is not None
    backend = start_session(request.case)
    keras.utils.set_random_seed(0)
    before = frozenset(sys.modules)
    model = _made(asked)
    loss = _compiled(model, asked)
    fitted = _data(asked, model)
    marks = Marks(model)
    backend.mark(marks.layers, marks.scopes)
    x = fitted["x"]
    once: dict[str, Any] = {"verbose": 0}
    if not asked.data_factory:
        once["batch_size"] = len(keras.tree.flatten(x)[0])
    phases: dict[str, Callable[[], object]] = {
        "train": lambda: model.fit(**fitted, epochs=1, steps_per_epoch=1, **once),
        "evaluate": lambda: model.evaluate(**fitted, steps=1, **once),
        "predict": lambda: model.predict(x, steps=1, **once),
    }
    try:
        evidence = backend.run_attested(model, marks.layers, marks.scopes, phases)
    except USERS_ERRORS as error:
        whose = "your data" if asked.data_factory else "random data (--data module:factory gives it others)"
        raise FailedRun(f"the model can't be trained for a step on {whose}: {failure_reason(error)}") from error
    if missing := [phase for phase in phases if phase not in evidence]:
        why = "it was compiled with run_eagerly=True" if model.run_eagerly else "Keras kept none"
        raise FailedRun(f"no program is left to show what ran in {' and '.join(missing)}: {why}")
    shown = marks.by_path(evidence)
    facts = {
        "layers": {path: _facts(marks, mark) for mark, path in marks.paths.items() if path in shown["train"]},
        "loss": loss,
        "random": not asked.data_factory,
        "open_sizes": not asked.data_factory and open_sizes(model),
        "jit_compile": model.jit_compile,
        **backend.read_back(model),
    }
    ran = {evidence.kernel for program in shown.values() for evidence in program.values()}
    emit(
        RunMetadata(
            parameters=int(model.count_params()),
            attested_kernel=ran.pop() if len(ran) == 1 else "mixed" if ran else None,
            attestation_json=json.dumps(
                {
                    phase: {layer: asdict(evidence) for layer, evidence in program.items()}
                    for phase, program in shown.items()
                }
            ),
            extra_json=json.dumps(facts),
            code_json=code.to_json(imported_modules(before)),
        )
    )


def _made(asked: ModelRequest) -> keras.Model:
    factory = load_factory(f"the model {asked.factory!r}", asked.factory, "a Keras model")
    try:
        model = factory()
    except USERS_ERRORS as error:
        raise FailedRun(f"the model {asked.factory!r} can't be built: {failure_reason(error)}") from error
    if not isinstance(model, keras.Model):
        raise FailedRun(f"{asked.factory!r} returned a {type(model).__name__}, not a keras.Model")
    return model


def _compiled(model: keras.Model, asked: ModelRequest) -> list[str]:
    """Compile a model that isn't, with a loss that fits each of its outputs; the losses, none where it was compiled."""
    if model.compiled:
        return []
    if asked.data_factory:
        raise FailedRun("the model isn't compiled: compile it in its factory, to train it on data of your own")
    losses = fitting_losses(model)
    model.compile(optimizer="adam", loss=losses if len(losses) > 1 else losses[0])
    return losses


def _data(asked: ModelRequest, model: keras.Model) -> dict[str, Any]:
    """The arguments of `fit`: `x`, and where there are any `y` and `sample_weight`."""
    if not asked.data_factory:
        x = random_inputs(model, asked.steps)
        try:
            outputs = model(x, training=False)
        except USERS_ERRORS as error:
            raise FailedRun(
                f"the model can't be called on random data (--data module:factory gives it others, --steps another "
                f"length than {asked.steps}): {failure_reason(error)}"
            ) from error
        return {"x": x, "y": random_targets(model, outputs)}
    factory = load_factory(f"the data {asked.data_factory!r}", asked.data_factory, "what fit takes")
    try:
        made = factory()
    except USERS_ERRORS as error:
        raise FailedRun(f"the data {asked.data_factory!r} can't be made: {failure_reason(error)}") from error
    return dict(zip(("x", "y", "sample_weight"), made if isinstance(made, tuple) else (made,), strict=False))


def _facts(marks: Marks, mark: str) -> dict[str, Any]:
    """What is known of a layer beside its kernel, JSON-able: its class, the shapes that it reads, its options."""
    layer = marks.layers[mark]
    cell = getattr(layer, "cell", layer)
    options = {name: _option(getattr(layer, name, getattr(cell, name, None))) for name in _OPTIONS}
    kind = type(layer)
    return {
        "class": kind.__name__ if kind.__module__.startswith("keras.") else f"{kind.__module__}.{kind.__name__}",
        "shapes": marks.scopes.shapes[mark],
        "masked": mark in marks.scopes.masked,
        "dtype": layer.compute_dtype,
        "options": {name: value for name, value in options.items() if value is not None},
    }


def _option(value: object) -> object:
    return getattr(value, "__name__", None) or type(value).__name__ if callable(value) else value
