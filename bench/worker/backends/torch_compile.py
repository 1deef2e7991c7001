"""What torch.compile has made of a model: the graphs that TorchDynamo captured, and those of them that a step executes.

Each graph names the layer that every operation was traced from. Which graphs a step executed is read under torch's
profiler, together with the products that ran outside all of them: code at which Dynamo broke the graph, or gave up.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import torch
from torch._dynamo.utils import counters
from torch._guards import CompileContext
from torch._inductor import config
from torch.profiler import ProfilerActivity, profile

from bench.core.scratch import ScratchFolder
from bench.worker.evidence.programs import (
    BY_TWO,
    OUTSIDE,
    Program,
    Scopes,
    agreed_by_layer,
    counts_in_compiled,
    is_torch_product,
    judge_compiled,
)
from bench.worker.evidence.retracing import Signature, shape_text

_REGION = "Torch-Compiled Region: "
"""What the profiler calls the execution of a captured graph, before the graph's number."""
_GRAPH = "## Call CompiledFxGraph"
"""What it calls the execution of the code that Inductor made of a graph, or of its backward pass."""


@dataclass(frozen=True)
class _Graph:
    """A graph that Dynamo has captured."""

    number: str
    """Dynamo's: that of the frame, and how often that was compiled."""
    operations: tuple[tuple[tuple[str, ...], str], ...]
    """For each operation the places of the modules that it was traced in, outermost first, and what it is called."""
    signature: Signature


@dataclass(frozen=True)
class Execution:
    """What a call has executed."""

    graphs: Sequence[_Graph]
    outside: Mapping[str, int]
    """The products that no graph holds, counted."""


class Compilation:
    """Watches torch.compile from now on, in a process that compiles a single model.

    The code that Inductor makes is kept in a folder of this process, so that compiling takes the time that it takes on
    a machine which has not compiled the model before.
    """

    def __init__(self) -> None:
        self._graphs: list[_Graph] = []
        self._code = ScratchFolder("inductor")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(self._code.path)
        config.pre_grad_custom_pass = self._captured

    def _captured(self, graph: torch.fx.Graph) -> None:
        self._graphs.append(
            _Graph(
                number=str(CompileContext.current_compile_id()),
                operations=tuple(_operations(graph)),
                signature=tuple(_signature(graph)),
            )
        )

    @property
    def programs(self) -> int:
        """How many graphs have been compiled."""
        return int(counters["stats"]["unique_graphs"])

    @property
    def signatures(self) -> list[Signature]:
        """The shapes of each graph's arguments, oldest first."""
        return [graph.signature for graph in self._graphs]

    def executed(self, call: Callable[[], object]) -> Execution:
        """Call what was called before, under the profiler: the graphs that were captured until then and run in it."""
        known = {graph.number: graph for graph in self._graphs}
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            call()
        events = profiler.events()
        numbers = [event.name.removeprefix(_REGION) for event in events if event.name.startswith(_REGION)]
        outside = Counter(event.name for event in events if is_torch_product(event.name) and not _inside_a_graph(event))
        return Execution([known[number] for number in numbers if number in known], outside)

    def forget_code(self) -> None:
        """Delete the code that Inductor has made; what was compiled from it is loaded, and stays."""
        self._code.close()

    def settings(self) -> dict[str, Any]:
        """What Dynamo counted: graphs, frames of Python that it could not compile, and why it broke graphs."""
        frames = counters["frames"]
        return {
            "compiled_graphs": self.programs,
            "frames_not_compiled": int(frames["total"] - frames["ok"]),
            "graph_breaks": [[reason.splitlines()[0], number] for reason, number in counters["graph_break"].items()],
        }


def program(
    executions: Sequence[Execution], model: keras.Model, layers: Mapping[str, keras.Layer], scopes: Scopes
) -> Program:
    """The evidence of a phase by layer.

    Args:
        executions: of each shape that the phase was executed for.
        model: the one that was compiled.
        layers: its recurrent layers by their scopes.
        scopes: how many steps each layer reads.
    """
    names = {id(layer): name for name, layer in layers.items()}
    programs = []
    for execution in executions:
        counts = scopes.counts()
        counts[OUTSIDE].update(execution.outside)
        for graph in execution.graphs:
            for places, operation in graph.operations:
                if not counts_in_compiled(operation):
                    continue
                inside = [name for place in places if (name := names.get(id(_module(place, model)))) is not None]
                # as in `Scopes.owner`: marks are each layer's own, names are not
                owner = (inside[-1] if scopes.unique else inside[0]) if inside else None
                if owner is not None:
                    counts[owner][operation] += 1
        artefact = hashlib.sha256(repr([graph.operations for graph in execution.graphs]).encode()).hexdigest()[:16]
        programs.append(scopes.program(counts, artefact, judge_compiled))
    return agreed_by_layer(programs)


class _AnyName(dict[str, Any]):
    """The local variables of a frame, all of which are the model."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self._model = model

    def __missing__(self, name: str) -> keras.Model:
        return self._model


def _module(place: str, model: keras.Model) -> object:
    """The module that Dynamo's name stands for, a Python expression: `L['self']._nodes_by_depth[3][0].operation`."""
    try:
        return eval(place, {"__builtins__": {}}, {"L": _AnyName(model)})  # Dynamo's own names, no user's
    except (AttributeError, KeyError, IndexError, NameError, SyntaxError, TypeError):
        return None  # something of a frame that is gone


def _operations(graph: torch.fx.Graph) -> Iterator[tuple[tuple[str, ...], str]]:
    for node in graph.nodes:
        if node.op in ("call_function", "call_method", "call_module"):
            name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
            by_two = name == "getitem" and any(getattr(part, "step", None) == 2 for part in _index(node))
            modules = node.meta.get("nn_module_stack") or {}
            yield tuple(place for place, _ in modules.values()), f"{name}{BY_TWO}" if by_two else name


def _index(node: torch.fx.Node) -> tuple[Any, ...]:
    index = node.args[1]
    return index if isinstance(index, tuple) else (index,)


def _signature(graph: torch.fx.Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.op == "placeholder" and hasattr(value := node.meta.get("example_value"), "shape"):
            yield shape_text([size if isinstance(size, int) else None for size in value.shape])


def _inside_a_graph(event: Any) -> bool:
    while event is not None and not event.name.startswith(_GRAPH):
        event = event.cpu_parent
    return event is not None
