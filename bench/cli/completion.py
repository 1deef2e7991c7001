"""What a shell completes: names of suites, axes, and their values. They are looked up when a shell asks."""

from __future__ import annotations

import importlib
from collections.abc import Iterable


def suites(incomplete: str) -> list[str]:
    """The suites that come with the program."""
    from bench.plan.suite import built_in

    return _beginning(incomplete, built_in())


def fields(incomplete: str) -> list[str]:
    """The fields of a join, the last of a list."""
    from bench.core.axes import SETTING_FIELDS

    before, last = _last(incomplete)
    return [f"{before}{name}" for name in _beginning(last, (*SETTING_FIELDS, "code"))]


def axis_values(incomplete: str) -> list[str]:
    """`cells=` of an axis, and `cells=lstm,gru` of its values: names, or the default where they are numbers."""
    from bench.core.axes import AXES
    from bench.core.case import written

    name, equals, text = incomplete.partition("=")
    if not equals:
        return [f"{plural}=" for plural in _beginning(name, AXES)]
    axis = AXES.get(name)
    if axis is None:
        return []
    before, last = _last(text)
    known = _names(axis.catalogue) if axis.catalogue else ()
    values = (False, True) if axis.type is bool else (*axis.default, *known)
    return [f"{name}={before}{value}" for value in _beginning(last, dict.fromkeys(map(written, values)))]


def _names(catalogue: str) -> Iterable[str]:
    module = importlib.import_module(f"bench.catalog.{catalogue}")
    registry = module.registered() if hasattr(module, "registered") else vars(module).get(catalogue.upper(), ())
    return list(registry)


def _last(text: str) -> tuple[str, str]:
    """What stands before the last item of a list, with its comma, and the last item."""
    before, comma, last = text.rpartition(",")
    return before + comma, last


def _beginning(text: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(text)]
