"""What there is to compare: cells, networks, kernels, number formats, runtimes, tasks; and what can run where.

Each module is a registry with `find(name, origin)`, which gives what has that name or raises `UsageError` with the
nearest known one.
"""

from __future__ import annotations

import importlib


def check(catalogue: str, name: str, origin: str, *, factories_here: bool = True) -> None:
    """Refuse a name that a catalogue doesn't have, or a factory that can't be called, as far as its source shows.

    Args:
        catalogue: the registry, named as its module: the `catalogue` of an axis (`bench.core.axes`).
        name: what was asked for.
        origin: where the name came from ("--set cells", "my.toml"), for the message.
        factories_here: whether a `module:factory` is looked for here; else whoever will call it does, and only its
            form is checked.

    Raises:
        UsageError: the catalogue has no such name; the message gives the nearest one. Or as
            `bench.catalog.factory_calls.check_call` does.
    """
    # imported when needed: `bench --help` needs none of them
    if not factories_here:
        from bench.catalog.factories import FACTORY

        if FACTORY.fullmatch(name):
            return
    entry = importlib.import_module(f"bench.catalog.{catalogue}").find(name, origin)
    factory = getattr(entry, "factory", "")
    if factory and not getattr(entry, "built_in", False):
        from bench.catalog.factory_calls import check_call

        check_call(catalogue.removesuffix("s"), factory, origin)
