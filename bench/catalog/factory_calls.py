"""What is wrong with a factory of the user's, as far as its module's source shows; nothing is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any

from bench.catalog.factories import check_factory, source
from bench.core.errors import UsageError, unknown


@dataclass(frozen=True)
class Call:
    """How a factory is called."""

    returns: str
    """What it returns, with its article."""
    places: tuple[str, ...] = ()
    """The arguments that are passed by their place."""
    keywords: tuple[str, ...] = ()
    """Those that are passed by name."""
    wanted: tuple[str, ...] = ()
    """Those that are passed by name where the factory takes them."""

    def __str__(self) -> str:
        return ", ".join([*self.places, *(f"{name}=…" for name in self.keywords)])


CALLS = {
    "cell": Call("a Keras layer", keywords=("units", "activation", "return_sequences", "name"), wanted=("kernel",)),
    "network": Call("a Keras model", places=("cell", "task", "units")),
    "task": Call("a bench.TaskData"),
    "model": Call("a Keras model"),
    "data factory": Call("what fit takes"),
}
"""By what a factory makes, as messages call it."""

_COMPUTED = frozenset({"__getattr__", "globals", "vars", "locals", "exec", "setattr"})
"""What may bind a module's names in a way that its source does not show."""


def check_call(kind: str, name: str, origin: str, folders: Sequence[str] | None = None) -> None:
    """Refuse a factory that its module does not bind, or that can't be called as its kind is, by the module's source.

    What only running the module would show passes: names that are computed, decorated functions, inherited signatures.

    Args:
        kind: what the factory makes, a key of `CALLS`.
        name: `module:factory`.
        origin: where the name came from ("--set cells", "my.toml").
        folders: where the module is searched for; None: the current one, and those that this process imports from.

    Raises:
        UsageError: as `check_factory` does; or the module is no Python, binds no such name, or something else by it.
    """
    check_factory(kind, name, origin, folders)
    module, _, attribute = name.partition(":")
    content = source(module, folders) or b""
    if b"\0" in content:  # a compiled extension
        return
    try:
        bound = _bindings(content)
    except RecursionError:  # whoever imports it finds out
        return
    except SyntaxError as error:
        raise UsageError(
            f"the {kind} {name!r} ({origin}) can't be used: {module} is no Python in line {error.lineno}: {error.msg}."
        ) from None
    if bound is None:
        return
    if attribute not in bound:
        public = [each for each in bound if not each.startswith("_")]
        where = origin if origin.startswith("on ") else f"in {origin}"
        raise unknown(kind, attribute, public, f"{name} {where}; {module} binds no such name")
    node, *further = bound[attribute]
    call = CALLS[kind]
    if not further and (problem := _problem(node, call)):
        raise UsageError(
            f"the {kind} {name!r} ({origin}) can't be used: {problem}. A factory is a function that is called as "
            f"{attribute}({call}) and returns {call.returns}."
        )


def _bindings(content: bytes) -> dict[str, list[ast.AST]] | None:
    """What a module binds to each name, by its source; None where that isn't known without running it."""
    tree = ast.parse(content)
    bound: dict[str, list[ast.AST]] = {}
    for node in ast.walk(tree):
        if {getattr(node, field, None) for field in ("id", "attr", "name")} & _COMPUTED:
            return None
    for name, node in _bound(tree.body):
        bound.setdefault(name, []).append(node)
    return None if "*" in bound else bound


def _bound(body: Iterable[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """The names that statements bind, each with what binds it; of those in functions, the global ones."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
            inner = (each for each in ast.walk(node) if isinstance(each, ast.Global))
            yield from ((name, each) for each in inner for name in each.names)
            continue
        if isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0], node
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node
        yield from _bound(ast.iter_child_nodes(node))


def _problem(node: ast.AST, call: Call) -> str:
    """Why what a module binds can't be called so; empty where it can, or where the source doesn't show it."""
    what, function = "it", node
    if isinstance(node, ast.ClassDef):
        inits = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
        if node.decorator_list or node.keywords or len(inits) != 1:
            return ""
        what, function = "it is a class, and no factory: its __init__", inits[0]
    if not isinstance(function, ast.FunctionDef) or function.decorator_list:
        return ""
    signature = _signature(function.args)
    places = (*(["self"] if isinstance(node, ast.ClassDef) else []), *call.places)
    keywords = (*call.keywords, *(name for name in call.wanted if name in signature.parameters))
    try:
        signature.bind(*places, **dict.fromkeys(keywords))
    except TypeError as error:
        missing = re.search(r"missing a required.* argument: (.+)", str(error))
        unexpected = re.search(r"unexpected keyword argument (.+)", str(error))
        if missing:
            return f"{what} wants {missing[1]} too"
        return f"{what} doesn't take {unexpected[1] if unexpected else f'{len(call.places)} arguments'}"
    return ""


def _signature(arguments: ast.arguments) -> Signature:
    """The parameters of a function as `inspect.signature` would give them, with None for each default."""
    places: list[tuple[ast.arg, Any]] = [(each, Parameter.POSITIONAL_ONLY) for each in arguments.posonlyargs]
    places += [(each, Parameter.POSITIONAL_OR_KEYWORD) for each in arguments.args]
    required = len(places) - len(arguments.defaults)
    parameters = [
        Parameter(each.arg, kind, default=Parameter.empty if place < required else None)
        for place, (each, kind) in enumerate(places)
    ]
    if arguments.vararg:
        parameters.append(Parameter(arguments.vararg.arg, Parameter.VAR_POSITIONAL))
    parameters += [
        Parameter(each.arg, Parameter.KEYWORD_ONLY, default=Parameter.empty if default is None else None)
        for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        parameters.append(Parameter(arguments.kwarg.arg, Parameter.VAR_KEYWORD))
    return Signature(parameters)
