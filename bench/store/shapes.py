"""What JSON out of a store must be like before it is used: a store may come from anywhere, and hold anything.

The shapes are those of the records that were written, read from their fields: a fact that is there has its field's
type, one that is missing is none of this module's business, and one that no field has (a newer bench wrote it) is a
plain fact: a number, a text, or a short list or mapping of these.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, get_args, get_type_hints

from bench.core.code import ImportedModule
from bench.host.hardware import Machine
from bench.host.software import Software
from bench.host.state import Host

_LARGEST = 2**63
"""Numbers that no column can hold are none that bench wrote, and overflow where they are divided."""

_DEEPEST = 16
"""Layers within layers whose settings are read: a user's model has a few, and what is shown of them is recursive."""


def parsed(text: str | bytes) -> Any:
    """JSON that can be worked with: not deeper than Python can go, without NaN and infinities.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number in JSON")


def check_record(record: type, values: object) -> None:
    """Check values against the fields of a dataclass.

    Args:
        record: the dataclass.
        values: what JSON gave for it.

    Raises:
        ValueError: they are no mapping, or a value hasn't its field's type.
    """
    if not isinstance(values, Mapping):
        raise ValueError("it is no JSON object")
    hints = _hints(record)
    for name, value in values.items():
        if not (_fits(hints[name], value) if name in hints else _is_fact(value)):
            raise ValueError(f"its {name!r} is {_shown(value)}")


_hints = functools.cache(get_type_hints)


def _fits(hint: Any, value: object) -> bool:
    """Whether JSON's value is one of a field of this type; tuples come as lists."""
    arguments = get_args(hint)
    if getattr(hint, "__origin__", None) is tuple:
        if not isinstance(value, list | tuple):
            return False
        if arguments[-1] is Ellipsis:
            return all(_fits(arguments[0], item) for item in value)
        return len(value) == len(arguments) and all(map(_fits, arguments, value))
    if arguments:  # X | None
        return any(_fits(kind, value) for kind in arguments)
    if hint in (int, float):
        return _is_number(value) and (hint is float or isinstance(value, int))
    return hint is NoneType if value is None else isinstance(hint, type) and isinstance(value, hint)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | bool) or _is_number(value)


def _is_fact(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_scalar, value.values()))
    if isinstance(value, list):
        return all(
            all(map(_is_scalar, item)) if isinstance(item, list) and len(item) == 2 else _is_scalar(item)
            for item in value
        )
    return _is_scalar(value)


def _shown(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return type(value).__name__ if isinstance(value, dict | list) else f"{str(value)[:40]!r}"


def _settings(content: object) -> None:
    """Settings as a backend has them after a run; those of a layer hold those of the layers in it."""
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    for name, value in content.items():
        if not _is_setting(value, _DEEPEST):
            raise ValueError(f"its {name[:40]!r} is {_shown(value)}")


def _is_setting(value: object, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(_is_setting(inner, depth - 1) for inner in value.values())
    return _is_fact(value)


def _evidence(content: object) -> None:
    """The evidence of a kernel by phase and layer, as the attestation writes it."""
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    for phase, layers in content.items():
        if not isinstance(layers, dict):
            raise ValueError(f"its {phase[:40]!r} is no JSON object")
        for layer, evidence in layers.items():
            if not (
                isinstance(evidence, dict)
                and isinstance(evidence.get("kernel"), str)
                and isinstance(evidence.get("operations"), dict)
                and all(map(_is_number, evidence["operations"].values()))
                and isinstance(evidence.get("artefact"), str | None)
            ):
                raise ValueError(f"its {phase[:40]!r}, {layer[:40]!r} is no evidence of a kernel")


def _modules(content: object) -> None:
    if not isinstance(content, list):
        raise ValueError("it is no list of modules")
    for values in content:
        check_record(ImportedModule, values)


def _of(record: type) -> Callable[[object], None]:
    return lambda content: check_record(record, content)


JSON_COLUMNS: Mapping[str, Callable[[object], None]] = {
    "machine_json": _of(Machine),
    "software_json": _of(Software),
    "host_json": _of(Host),
    "extra_json": _settings,
    "attestation_json": _evidence,
    "code_json": _modules,
}
"""By column of the store: what raises a ValueError where the parsed content hasn't the column's shape."""
