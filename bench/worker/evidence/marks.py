"""Finds the recurrent layers of any model, and marks what they execute, wherever in the model they are.

Names don't do: layers of two submodels may share one, and a layer that is called twice has two scopes. So each layer's
`call` gets a scope of its own around it, before anything is traced; the programs that are then executed bear it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import keras

from bench.worker.evidence.programs import NOT_UNROLLED, OUTSIDE, Program, Scopes, Shape


class Marks:
    """The recurrent layers of a model by their marks, and where in the model each is.

    Those are Keras's and their subclasses, and `Bidirectional`, which may compute both directions itself; and all
    layers that Keras has not, because they may have a loop of their own, or call a layer that they don't keep.
    """

    def __init__(self, model: keras.Model) -> None:
        recurrent = dict(_walk(model, ""))
        self.paths = {f"bench-{number}-": path for number, path in enumerate(recurrent.values())}
        self.layers = dict(zip(self.paths, recurrent, strict=True))
        around = [mark for mark, layer in self.layers.items() if not _is_recurrent(layer) and _holds_recurrent(layer)]
        self.scopes = Scopes(dict.fromkeys(self.paths, NOT_UNROLLED), unique=True, around=around)

    def by_path(self, evidence: Mapping[str, Program]) -> dict[str, Program]:
        """phase → path of a layer → evidence: of all recurrent layers that were called, and of those others in which a
        recurrence is seen in every phase."""
        shown = {
            mark
            for mark, layer in self.layers.items()
            if (_is_recurrent(layer) and self.scopes.shapes[mark])
            or all(mark in program and program[mark].kernel != "none" for program in evidence.values())
        }
        return {
            phase: {
                self.paths.get(mark, mark): ran for mark, ran in program.items() if mark in shown or mark == OUTSIDE
            }
            for phase, program in evidence.items()
        }


def _walk(parent: keras.Layer, path: str) -> Iterator[tuple[keras.Layer, str]]:
    """The layers to mark, each with the names on the way to it; one that is used at several places has the first."""
    for layer in _children(parent):
        place = f"{path}/{layer.name}" if path else layer.name
        foreign = type(layer).__module__.partition(".")[0] != "keras"
        if _is_recurrent(layer) or foreign or isinstance(layer, keras.layers.Bidirectional):
            yield layer, place
        # what a recurrent layer holds is its cell, and what a layer without a recurrent one holds is its own affair
        if not _is_recurrent(layer) and (not foreign or _holds_recurrent(layer)):
            yield from _walk(layer, place)


def _is_recurrent(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.RNN)


def _holds_recurrent(layer: keras.Layer) -> bool:
    return any(_is_recurrent(inner) for inner in layer._flatten_layers(include_self=False))


def _children(layer: keras.Layer) -> list[keras.Layer]:
    inside = layer._layers
    # Keras keeps them in the order in which they were set, but a wrapper's backward layer before its forward one
    return sorted(inside, key=lambda child: child.name.startswith("backward_"))


def mark_calls(
    layers: Mapping[str, keras.Layer], scopes: Scopes, scope: Callable[[str], AbstractContextManager[object]]
) -> Callable[[], None]:
    """Put a scope around the `call` of each layer; returns what takes it off again.

    Around `call`, and not `__call__`, which `TimeDistributed` doesn't use.

    Args:
        layers: by their marks.
        scopes: notes the calls.
        scope: makes the scope of a mark.
    """
    unmarked = {mark: layer.call for mark, layer in layers.items()}

    def marked(mark: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def call_in_scope(*args: Any, **kwargs: Any) -> Any:
            scopes.saw(mark, _shape((args, kwargs)), masked=kwargs.get("mask") is not None)
            with scope(mark):
                return call(*args, **kwargs)

        return call_in_scope

    for mark, layer in layers.items():
        layer.call = marked(mark, unmarked[mark])

    def take_off() -> None:
        for layer in layers.values():
            del layer.call

    return take_off


def _shape(arguments: object) -> Shape:
    """The shape of the first array among the arguments, without the batch."""
    arrays = (leaf for leaf in keras.tree.flatten(arguments) if len(getattr(leaf, "shape", ())) > 1)
    first = next(arrays, None)
    return () if first is None else tuple(first.shape)[1:]
