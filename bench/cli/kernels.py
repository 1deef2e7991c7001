"""`bench kernels`: which kernels can be had here, for each cell, backend and device; assumed, or probed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.layout import paragraph, say, table
from bench.cli.options import Format, FormatOption, SetOption

if TYPE_CHECKING:
    from bench.catalog.matrix import Entry
    from bench.catalog.support import Capabilities
    from bench.core.case import Case
    from bench.host.hardware import Machine
    from bench.plan.prepare import PreparedSuite
    from bench.plan.suite import Axes
    from bench.run.probe import Answers

_APART = ("backend", "device", "network", "dtype", "threads")
"""The fields whose values have a matrix each."""


def kernels(
    overrides: SetOption = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Run each for a step, read its program, and keep the answer for this machine."),
    ] = False,
    fmt: FormatOption = Format.TEXT,
) -> None:
    """The matrix of cells × kernels × backends × devices: what runs here, and what can't and why.

    Examples:

      bench kernels

      bench kernels --set backends=tensorflow --set cells=lstm --probe

      bench kernels --set devices=gpu:0 --set networks=notebook,cudnn_ready
    """
    from bench.catalog.matrix import entry
    from bench.host.capabilities import read_capabilities
    from bench.host.hardware import read_machine
    from bench.host.software import read_software
    from bench.run.probe import Answers

    machine = read_machine()
    host = read_capabilities(machine)
    prepared = _crossed(overrides or (), machine)
    plan, axes = prepared.plan(), prepared.suite.axes
    reasons: dict[Case, str | None] = {out.configuration: out.reason for out in plan.excluded}
    reasons |= {scheduled.case.configuration: None for scheduled in plan.scheduled}
    reasons = dict(sorted(reasons.items(), key=lambda one: _place(one[0], axes)))
    known = {
        backend: Answers(machine.fingerprint, read_software(backend).fingerprint)
        for backend, problem in host.backends.items()
        if problem is None
    }
    if probe:
        _probe(list(reasons), host, known)
    entries = [
        entry(case, reason, known[case.backend].of(case) if case.backend in known else None)
        for case, reason in reasons.items()
    ]
    {Format.TEXT: _text, Format.MD: _markdown, Format.JSON: _json}[fmt](entries)


def _crossed(overrides: Sequence[str], machine: Machine) -> PreparedSuite:
    """All that this program knows, crossed, unless the overrides say otherwise."""
    from bench.catalog.backends import BACKENDS
    from bench.catalog.cells import registered
    from bench.catalog.kernels import KERNELS
    from bench.catalog.networks import NETWORKS
    from bench.plan.prepare import PreparedSuite
    from bench.plan.suite import crossed

    axes: dict[str, Sequence[str]] = {
        "cells": list(registered()),
        # only cuDNN cares for the network
        "networks": list(NETWORKS) if machine.gpus else ["notebook"],
        "backends": list(BACKENDS),
        "kernels": list(KERNELS),
        "devices": ["cpu", *(f"gpu:{number}" for number in range(len(machine.gpus)))],
    }
    return PreparedSuite(crossed("kernels", axes, overrides), machine, order_seed=0)


def _place(case: Case, axes: Axes) -> list[int]:
    """Where a case stands: what has a matrix of its own first, then row and column, as the axes order them."""
    from bench.core.axes import AXES

    order = ("backends", "devices", "networks", "dtypes", "threads", "cells", "kernels")
    return [getattr(axes, axis).index(getattr(case, AXES[axis].field)) for axis in order]


def _probe(cases: Sequence[Case], host: Capabilities, known: dict[str, Answers]) -> None:
    """Try what Keras can be asked for, be it in vain, and keep each answer as soon as it is there."""
    from bench.catalog import tasks
    from bench.catalog.cache import obtain
    from bench.catalog.matrix import PROBE_TASK
    from bench.catalog.support import probe_refusal
    from bench.run.probe import probe

    tried = [case for case in cases if probe_refusal(case, host) is None]
    data = obtain(tasks.find(PROBE_TASK, "a probe"), data_dir=None, report=say)
    for number, (case, answer) in enumerate(probe(tried, data, say), start=1):
        known[case.backend].keep(case, answer)
        came_to = f"ran {answer.attested}" if answer.error is None else f"no: {answer.error}"
        say(f"[{number}/{len(tried)}] {case.cell} × {case.kernel} × {case.backend} × {case.device}: {came_to}")


# --- how it is shown ---

_PROBED = "✓"


class _Reasons:
    """Why what can't be had; numbered in the order in which they are first met."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = [one for one in entries if one.reason]
        self._all = {name: {getattr(one.case, name) for one in entries} for name in ("cell", "kernel", *_APART)}
        self.texts: list[str] = []

    def number(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1

    def lines(self) -> list[str]:
        """Each reason behind what it is about: `(4) gru × cudnn × jax: Keras's JAX backend has no cuDNN GRU`."""
        lines = []
        for number, text in enumerate(self.texts, start=1):
            cases = [one.case for one in self._entries if one.reason == text]
            names = []
            for name, every in self._all.items():
                own = list(dict.fromkeys(getattr(case, name) for case in cases))
                names += [", ".join(map(str, own))] if len(own) < len(every) else []
            lines.append(f"({number}) {' × '.join(names) or 'all'}: {' '.join(text.split())}")
        return lines


def _grouped(entries: Sequence[Entry]) -> dict[tuple[Any, ...], dict[str, dict[str, Entry]]]:
    """(backend, device, network, dtype, threads) → cell → kernel → entry."""
    groups: dict[tuple[Any, ...], dict[str, dict[str, Entry]]] = {}
    for one in entries:
        group = groups.setdefault(tuple(getattr(one.case, name) for name in _APART), {})
        group.setdefault(one.case.cell, {})[one.case.kernel] = one
    return groups


def _heading(group: tuple[Any, ...]) -> str:
    backend, device, network, dtype, threads = group
    words = [backend, device, f"{network} network", *([dtype] if dtype != "float32" else [])]
    return " · ".join([*words, *([f"{threads} threads"] if threads else [])])


def _common_reason(cells: dict[str, dict[str, Entry]]) -> str | None:
    """The reason why nothing of a matrix can be had: its backend or its device isn't there."""
    reasons = {one.reason for row in cells.values() for one in row.values()}
    return reasons.pop() if len(reasons) == 1 else None


def _rows(cells: dict[str, dict[str, Entry]], reasons: _Reasons) -> list[list[str]]:
    """The headings of a matrix, and its rows."""
    names = list(dict.fromkeys(kernel for row in cells.values() for kernel in row))
    rows = [["cell", *("auto (default)" if name == "auto" else name for name in names)]]
    for cell, row in cells.items():
        rows.append([cell, *(_cell(row[name], reasons) for name in names)])
    return rows


def _cell(one: Entry, reasons: _Reasons) -> str:
    runs = f"→ {one.kernel or '?'}" if one.case.kernel == "auto" else "runs"
    mark = f" {_PROBED}{'!' if one.surprise else ''}" if one.probed_at else ""
    return f"{runs if one.runs else 'no'}{mark}{f' ({reasons.number(one.reason)})' if one.reason else ''}"


def _legend(entries: Sequence[Entry]) -> list[str]:
    probed = sorted(one.probed_at[:10] for one in entries if one.probed_at)
    lines = ["auto: what Keras picks by itself, which is what people get; generic everywhere is the fair comparison."]
    if len(probed) < len(entries):
        lines.append("Without a mark: assumed, from Keras's rules.")
    if probed:
        dates = probed[0] if probed[0] == probed[-1] else f"{probed[0]} to {probed[-1]}"
        lines.append(f"{_PROBED}: probed ({dates}), run for a step on this machine, its program read.")
    else:
        lines.append("`bench kernels --probe` runs each for a step and reads its program.")
    if any(one.surprise for one in entries):
        lines.append(f"{_PROBED}!: the probe contradicts Keras's rules as this program knows them.")
    return lines


def _text(entries: Sequence[Entry]) -> None:
    reasons = _Reasons(entries)
    for group, cells in _grouped(entries).items():
        typer.secho(_heading(group), bold=True)
        if problem := _common_reason(cells):
            paragraph(problem, indent="  ")
        else:
            headings, *rows = _rows(cells, reasons)
            table(headings, rows, wrap=0, indent="  ")
        typer.echo()
    for line in reasons.lines():
        paragraph(line, indent="  ")
    for line in _legend(entries):
        paragraph(line, dim=True)


def _markdown(entries: Sequence[Entry]) -> None:
    reasons = _Reasons(entries)
    for group, cells in _grouped(entries).items():
        typer.echo(f"### {_heading(group)}\n")
        if problem := _common_reason(cells):
            typer.echo(f"{problem}\n")
            continue
        headings, *rows = _rows(cells, reasons)
        for row in (headings, ["---"] * len(headings), *rows):
            typer.echo(f"| {' | '.join(row)} |")
        typer.echo()
    for line in (*reasons.lines(), *_legend(entries)):
        typer.echo(f"- {line.replace('|', '&#124;').replace('<', '&lt;')}")


def _json(entries: Sequence[Entry]) -> None:
    rows = [
        {
            **{name: getattr(one.case, name) for name in ("cell", "kernel", *_APART)},
            "runs": one.runs,
            "comes_to": one.kernel,
            "reason": one.reason,
            "basis": "probed" if one.probed_at else "assumed",
            "probed_at": one.probed_at,
            "surprise": one.surprise,
        }
        for one in entries
    ]
    typer.echo(json.dumps({"entries": rows}, indent=1))
