"""Digests of executed programs by what they compute: equal in every process, wherever the source stands.

Names, addresses, line numbers and counters are no part of them; operations, their order, their settings, constants and
what flows from which to which are. So two commits that differ in what no program contains execute equal ones. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

_DIGITS = 16

_HLO_NAME = re.compile(r"%[\w.\-]+")
_HLO_FINGERPRINT = re.compile(r'fingerprint_before_lhs="[^"]*"')
"""XLA's own, of the program with its names."""


def hlo_digest(text: str) -> str:
    """The digest of an HLO module, from its text without metadata and with its constants in full."""
    numbers: dict[str, int] = {}
    _, _, body = text.partition(",")  # the module's name stands before it
    renamed = _HLO_NAME.sub(lambda name: f"%{numbers.setdefault(name[0], len(numbers))}", body)
    return _digest(_HLO_FINGERPRINT.sub("", renamed))


_GRAPH_NAMES = frozenset(
    {
        *("_class", "_gradient_op_type", "_user_specified_name", "shared_name", "container", "cd_name"),
        *("forward_function_name", "backward_function_name", "_original_func_name", "_construction_context"),
        *("forward_func_name", "backward_func_name", "_output_shapes"),
    }
)
"""Attributes of a TensorFlow operation that hold names, with counters in them, or what is inferred."""


def graph_digest(graph_def: Any) -> str:
    """The digest of a TensorFlow graph (a `GraphDef`) and of all functions that it calls."""
    library = {function.signature.name: function for function in graph_def.library.function}
    known: dict[str, str] = {}

    def of_function(name: str) -> str:
        if name not in known:
            known[name] = "itself"  # while it is being read
            function = library[name]
            arguments = [argument.name for argument in function.signature.input_arg]
            results = [function.ret[result.name] for result in function.signature.output_arg]
            known[name] = _digest(
                "\n".join(_lines(function.node_def, arguments, results, of_attributes))
                + f"\n{[argument.type for argument in function.signature.input_arg]}"
                + f"\n{of_attributes(function.attr)}"
            )
        return known[name]

    def of_attributes(attributes: Mapping[str, Any]) -> list[str]:
        shown = []
        for name in sorted(set(attributes) - _GRAPH_NAMES):
            value = attributes[name]
            called = [each.name for each in (value.func, *value.list.func) if each.name]
            content = (
                [of_function(each) if each in library else each for each in called]
                if called
                else value.SerializeToString(deterministic=True)
            )
            shown.append(f"{name}={content!r}")
        return shown

    return _digest("\n".join(_lines(graph_def.node, (), (), of_attributes)))


def _lines(nodes: Any, arguments: Iterable[str], results: Iterable[str], of_attributes: Any) -> Iterable[str]:
    """A line for each operation, its inputs by their places; the last names the results."""
    places = {name: f"argument {place}" for place, name in enumerate(arguments)}
    places |= {node.name: str(place) for place, node in enumerate(nodes)}

    def placed(name: str) -> str:
        control = "^" if name.startswith("^") else ""
        node, colon, output = name.removeprefix("^").partition(":")
        return f"{control}{places[node]}{colon}{output}"

    for node in nodes:
        yield f"{node.op} on {node.device} of {[placed(each) for each in node.input]}: {of_attributes(node.attr)}"
    yield str([placed(each) for each in results])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
