"""What is duelled: sides from their names, a case for each, and the sides made ready."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from bench.catalog.cells import BUILT_IN
from bench.core.axes import BY_FIELD
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.core.metric import Margins
from bench.core.protocol import TimedPhase
from bench.duel.commits import built_commit_side, commit_side
from bench.duel.sides import (
    PreparedSide,
    environment_side,
    is_package,
    pinned_allocator,
    python_of,
)
from bench.host.hardware import Machine
from bench.plan.prepare import excluded_by_reason, prepare

_SUITE = "quick"
_USER_CELL = re.compile(r"\s*cells\s*=\s*[\w.]+:\w+\s*")
_STAND_IN = "cells=lstm"
"""Stands in the plan for a cell of the user's, which each side imports by itself."""
_DEFAULTS = {"cells": "lstm", "seeds": "0", "epochs": "1", "threads": "1"}
"""The case of a duel unless it is set: the notebook's LSTM on the digits that come with the program, each side on one
thread. Two threads on two cores wait for each other and for the neighbours, and spare a tenth of the time."""

_SETTING = re.compile(r"(\w+)=([^=\s]\S*)")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w.,-]+\])?(===|==|~=|!=|<=|>=|<|>)\S+")


class SideKind(StrEnum):
    """What the sides of a duel are."""

    SETTINGS = "settings"
    ENVIRONMENTS = "environments"
    COMMITS = "commits"


@dataclass(frozen=True, kw_only=True)
class DuelSpecification:
    """What is duelled, where, and by which margins."""

    sides: tuple[PreparedSide, PreparedSide]
    """A, the base, and B."""
    phase: TimedPhase
    margins: Margins
    """Equivalence margin and noise floor, as fractions of A's time."""
    budget_seconds: float
    machine: Machine


def kind_of(text: str) -> SideKind:
    """What a user's name of a side stands for.

    `kernel=generic` (several, with spaces between them) are settings; `tensorflow==2.20.0` are requirements of an
    environment, as are a folder or a wheel to install beside them, and a folder with `bin/python` is an environment;
    all else is a commit, with `.` for the working tree.

    Raises:
        UsageError: the name is empty.
    """
    words = text.split()
    if not words:
        raise UsageError(
            "a side of a duel is empty: name a commit, requirements (keras==3.15.1) or settings (units=64)."
        )
    if all(_SETTING.fullmatch(word) for word in words):
        return SideKind.SETTINGS
    if all(_REQUIREMENT.fullmatch(word) or is_package(word) for word in words) or python_of(text):
        return SideKind.ENVIRONMENTS
    return SideKind.COMMITS


def common_kind(a: str, b: str) -> SideKind:
    """What both sides stand for.

    Raises:
        UsageError: they stand for different things, or one is empty.
    """
    kind, kind_of_b = kind_of(a), kind_of(b)
    if kind is not kind_of_b:
        raise UsageError(
            f"a duel is between two of a kind, and A ({a!r}) stands for {kind.value}, B ({b!r}) for "
            f"{kind_of_b.value}: name two commits, two environments (keras==3.15.1), or two settings (kernel=generic)."
        )
    return kind


def settings_of(text: str, letter: str) -> list[str]:
    """A side's settings as overrides of a suite: `kernel=generic units=64` → `kernels=generic`, `units=64`.

    Raises:
        UsageError: a setting has several values.
    """
    overrides = []
    for word in text.split():
        key, _, value = word.partition("=")
        if "," in value or ".." in value:
            raise UsageError(f"{word!r} (side {letter}) has several values: a side of a duel is one configuration.")
        overrides.append(f"{BY_FIELD[key].plural if key in BY_FIELD else key}={value}")
    return overrides


def cases_of(a: str, b: str, kind: SideKind, overrides: Sequence[str]) -> tuple[Case, Case]:
    """The cases of A and of B: the same but for the settings that are duelled.

    Args:
        a: the base, as the user named it.
        b: what is compared with it.
        kind: what both stand for.
        overrides: those of the user for both sides, as `--set` has them.

    Raises:
        UsageError: a side is no case, or several, or cannot run here, or the cases' steps cannot be compared.
    """
    user_cell = None if kind is SideKind.SETTINGS else next(filter(_USER_CELL.fullmatch, overrides), None)
    shared = [_STAND_IN if override == user_cell else override for override in overrides]
    cases = []
    for letter, text in (("A", a), ("B", b)):
        settings = settings_of(text, letter) if kind is SideKind.SETTINGS else []
        case = _case(letter, text, shared, settings)
        cases.append(replace(case, cell=user_cell.partition("=")[2].strip()) if user_cell else case)
    _check_comparable(cases[0], cases[1])
    if kind is SideKind.SETTINGS and cases[0] == cases[1]:
        raise UsageError(f"both sides are the same configuration ({a}): a duel needs two.")
    return cases[0], cases[1]


def _case(letter: str, text: str, shared: Sequence[str], settings: Sequence[str]) -> Case:
    """A side's case, from the overrides of both sides and its settings."""
    keys = [{override.partition("=")[0].strip() for override in given} for given in (shared, settings)]
    if twice := keys[0] & keys[1]:
        raise UsageError(f"{sorted(twice)[0]} is set both by --set and by side {letter}: leave one out.")
    defaults = [f"{axis}={value}" for axis, value in _DEFAULTS.items() if axis not in keys[0] | keys[1]]
    plan = prepare(_SUITE, [*defaults, *shared, *settings, "repeats=1"], 0).plan()
    if not plan.scheduled:
        reasons = "; ".join(f"{names}: {reason}" for reason, names in excluded_by_reason(plan))
        raise UsageError(f"side {letter} ({text}) cannot run here: {reasons}.")
    if len(plan.scheduled) > 1:
        several_cells = len({scheduled.case.cell for scheduled in plan.scheduled}) > 1
        axes = ", ".join([*(["cell"] if several_cells else []), *plan.varying]) or "seeds"
        raise UsageError(
            f"a duel is over one configuration, and {len(plan.scheduled)} were asked for: give one value for {axes}."
        )
    return plan.scheduled[0].case


def _check_comparable(a: Case, b: Case) -> None:
    for case in (a, b):
        if case.runtime != "keras":
            raise UsageError(f"a duel runs in Keras, and runtimes={case.runtime} was asked for: leave it out.")
    if a.batch_size != b.batch_size:
        raise UsageError(
            f"the sides have different batch sizes ({a.batch_size}, {b.batch_size}): a step must be as many samples on "
            f"both, or its time means nothing."
        )
    if a.task != b.task:
        raise UsageError(f"the sides work on different data ({a.task}, {b.task}): their times cannot be compared.")


def prepare_sides(
    names: tuple[str, str],
    kind: SideKind,
    cases: tuple[Case, Case],
    *,
    scratch: Path,
    cache: Path,
    build: bool,
    worker: str,
    notify: Callable[[str], None],
) -> tuple[PreparedSide, PreparedSide]:
    """Unpack the commits, or build the environments, that the sides are named by.

    Args:
        names: of A and of B, as the user gave them.
        kind: what both stand for.
        cases: of A and of B.
        scratch: a folder that goes with the duel.
        cache: the user's folder that built environments are kept in.
        build: install each commit's package into an environment of its own.
        worker: the module that does the sides' timed batches.
        notify: given a sentence about what takes a while.

    Raises:
        UsageError: a commit or an environment cannot be had, or something else is to be built.
    """
    if build and kind is not SideKind.COMMITS:
        raise UsageError(f"--build installs commits, and the sides are {kind.value}: leave it out.")
    sides = []
    for letter, name, case in zip("ab", names, cases, strict=True):
        folder = scratch / letter
        folder.mkdir()
        if kind is SideKind.COMMITS:
            side = commit_side(name, folder / "tree", case, case.cell in BUILT_IN, notify)
            if build:
                side = built_commit_side(side, cache, folder, notify)
        elif kind is SideKind.ENVIRONMENTS:
            side = environment_side(name, case, cache, folder, notify)
        else:
            side = PreparedSide(title=name, case=case)
        sides.append(replace(side, environment=pinned_allocator(side.environment), worker=worker))
    return sides[0], sides[1]
