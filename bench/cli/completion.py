"""What a shell completes: names of suites, axes, and their values. They are looked up when a shell asks."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, MutableMapping

_ASKED, _AXIS = "_BENCH_COMPLETE", "_BENCH_COMPLETE_AXIS"
"""The environment variables by which a shell asks, and by which it is known whose values bash asks for."""


def rejoin_words(environ: MutableMapping[str, str]) -> None:
    """Put together again what bash takes apart: it passes `cells=ls` as the words `cells`, `=` and `ls`.

    What it completes is the last of them alone, for which the axis is kept in the environment.
    """
    if environ.get(_ASKED) != "complete_bash":
        return
    given = environ.get("COMP_WORDS", "").split("\n")[: int(environ.get("COMP_CWORD", "0")) + 1]
    words: list[str] = []
    for before, word in zip(["", *given], given, strict=False):
        if words and (word == "=" or before == "="):
            words[-1] += word
        else:
            words.append(word)
    axis, equals, value = words[-1].partition("=") if words else ("", "", "")
    if equals:
        words[-1] = value
        environ[_AXIS] = axis
    environ.update(COMP_WORDS="\n".join(words), COMP_CWORD=str(len(words) - 1))


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

    asked = os.environ.get(_AXIS)
    name, equals, text = (asked, "=", incomplete) if asked else incomplete.partition("=")
    if not equals:
        return [f"{plural}=" for plural in _beginning(name, AXES)]
    axis = AXES.get(name)
    if axis is None:
        return []
    before, last = _last(text)
    known = _names(axis.catalogue) if axis.catalogue else ()
    values = (False, True) if axis.type is bool else (*axis.default, *known)
    start = "" if asked else f"{name}="
    return [f"{start}{before}{value}" for value in _beginning(last, dict.fromkeys(map(written, values)))]


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
