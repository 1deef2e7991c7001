"""What is duelled: sides from their names and configurations, the ratios asked for, and the sides made ready."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from bench.catalog.cells import BUILT_IN
from bench.catalog.factory_calls import check_call
from bench.catalog.networks import NETWORKS
from bench.catalog.streaming import streaming_refusal
from bench.core.axes import AXES, BY_FIELD, varying
from bench.core.case import Case, written
from bench.core.errors import UsageError
from bench.core.metric import STREAMING
from bench.core.protocol import TimedPhase
from bench.duel.commits import built_commit_side, commit_side
from bench.duel.rounds import MOST_SIDES, side_key, side_name
from bench.duel.sequential import Contrast, Question
from bench.duel.sides import (
    PreparedSide,
    environment_side,
    is_package,
    pinned_allocator,
    python_of,
    resolve,
    with_variables,
)
from bench.host.hardware import Machine
from bench.plan.prepare import excluded_by_reason, prepare

_SUITE = "quick"
CALL_QUANTILES = (0.5, 0.95)
"""What is compared of single calls: the median, and the tail."""
_DEFAULTS = {"cells": "lstm", "seeds": "0", "epochs": "1", "threads": "1"}
"""The case of a duel unless it is set: the notebook's LSTM on the digits that come with the program, each side on one
thread. Two threads on two cores wait for each other and for the neighbours, and spare a tenth of the time."""

_SETTING = re.compile(r"(\w+|env\.\w+)=([^=\s]\S*)")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w.,-]+\])?(===|==|~=|!=|<=|>=|<|>)\S+")


class SideKind(StrEnum):
    """What the sides of a duel are."""

    SETTINGS = "settings"
    ENVIRONMENTS = "environments"
    COMMITS = "commits"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a user asked for: sides, not made ready yet, and the ratios of which two."""

    kind: SideKind
    names: tuple[str, ...]
    """The commits, environments or settings that are compared, the base first; empty where configurations are."""
    cases: tuple[Case, ...]
    """The case of each side: by configuration, and within it by name."""
    contrasts: tuple[Contrast, ...]

    @property
    def configurations(self) -> int:
        """How many configurations each name is measured in."""
        return len(self.cases) // max(1, len(self.names))


@dataclass(frozen=True, kw_only=True)
class DuelSpecification:
    """What is duelled, where, and which ratios are asked for."""

    kind: SideKind
    sides: tuple[PreparedSide, ...]
    """By number; where there are two, A, the base, and B."""
    anchor: PreparedSide
    phase: TimedPhase
    question: Question
    machine: Machine

    @property
    def is_regression_test(self) -> bool:
        """Whether a ratio above 1 would be a regression: not where configurations are compared with each other."""
        return all(self.sides[each.base].name != self.sides[each.side].name for each in self.question.contrasts)


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


def common_kind(names: Sequence[str]) -> SideKind:
    """What all sides stand for.

    Raises:
        UsageError: they stand for different things, or one is empty.
    """
    kind, *further = map(kind_of, names)
    for number, other_kind in enumerate(further, 1):
        if other_kind is not kind:
            raise UsageError(
                f"a duel is between two of a kind, and A ({names[0]!r}) stands for {kind.value}, {side_name(number)} "
                f"({names[number]!r}) for {other_kind.value}: name two commits, two environments (keras==3.15.1), or "
                f"two settings (kernel=generic)."
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


def asked(
    names: tuple[str, ...],
    overrides: Sequence[str],
    *,
    all_pairs: bool = False,
    phase: TimedPhase = TimedPhase.TRAIN,
) -> Asked:
    """The sides that are asked for: each name in each configuration, and the ratios to the base or between all pairs.

    Args:
        names: of what is compared, the base first; none to compare configurations.
        overrides: of the user for all sides, as `--set` has them: the configurations, crossed.
        all_pairs: ask for the ratio of each two sides that are compared.
        phase: what is timed; of single calls each quantile has a ratio.

    Raises:
        UsageError: a side is no case or cannot run here, there are too few sides or too many, or the time of a step
            means something else on two of them.
    """
    kind = common_kind(names) if names else SideKind.SETTINGS
    of_names = []
    for number, name in enumerate(names or ("",)):
        letter = side_name(number)
        settings = settings_of(name, letter) if kind is SideKind.SETTINGS else []
        where = f"side {letter} ({name})" if name else "a configuration"
        of_names.append(_cases(where, letter, overrides, settings, code_here=kind is SideKind.SETTINGS))
    if kind is SideKind.SETTINGS:
        for number, of_name in enumerate(of_names):
            if of_name in of_names[:number]:
                raise UsageError(
                    f"{'both' if len(names) == 2 else 'two'} sides are the same configuration ({names[number]}): a "
                    f"duel needs two."
                )
    cases = tuple(case for configuration in zip(*of_names, strict=True) for case in configuration)
    if not names and len(cases) < 2:
        raise UsageError(
            "there is one configuration, and nothing to compare it with: name two commits, environments or settings, "
            "as in `bench duel A B`, or several configurations, as in --set cells=lstm,gru."
        )
    if len(cases) > MOST_SIDES:
        raise UsageError(
            f"{len(cases)} sides were asked for, and all are alive at once: name fewer names or configurations, at "
            f"most {MOST_SIDES} sides in all."
        )
    contrasts = _contrasts(max(1, len(names)), len(of_names[0]), all_pairs)
    _check_comparable(cases, contrasts)
    if phase.call_path == STREAMING and (reason := next(filter(None, map(streaming_refusal, cases)), None)):
        raise UsageError(f"--phase {phase}: {reason}.")
    if phase.call_path:
        contrasts = tuple(replace(each, quantile=quantile) for each in contrasts for quantile in CALL_QUANTILES)
    return Asked(kind=kind, names=names, cases=cases, contrasts=contrasts)


def _contrasts(names: int, configurations: int, all_pairs: bool) -> tuple[Contrast, ...]:
    """Names are compared within each configuration; configurations only where nothing else is."""
    if names == 1:
        families = [range(configurations)]
    else:
        families = [range(first, first + names) for first in range(0, names * configurations, names)]
    return tuple(
        Contrast(base, side)
        for family in families
        for base in (family if all_pairs else family[:1])
        for side in family
        if side > base
    )


def _cases(where: str, letter: str, shared: Sequence[str], settings: Sequence[str], *, code_here: bool) -> list[Case]:
    """The cases of a name, one a configuration, in the order in which the axes are crossed.

    Args:
        where: the side in messages.
        letter: of the side.
        shared: the overrides of all sides.
        settings: those of this one.
        code_here: whether a user's cell and network are those of this environment; else each side has its own.
    """
    keys = [{_key(override) for override in given} for given in (shared, settings)]
    if twice := keys[0] & keys[1]:
        raise UsageError(f"{sorted(twice)[0]} is set both by --set and by side {letter}: leave one out.")
    given = [f"{axis}={value}" for axis, value in _DEFAULTS.items() if axis not in keys[0] | keys[1]]
    return _planned(where, [*given, *shared, *settings], code_here)


def _planned(where: str, overrides: Sequence[str], code_here: bool) -> list[Case]:
    """The configurations of the suite with these overrides, in the order in which its axes are crossed."""
    prepared = prepare(_SUITE, [*overrides, "repeats=1"], 0, factories_here=code_here)
    plan, suite = prepared.plan(), prepared.suite
    if plan.excluded:
        reasons = "; ".join(f"{names}: {reason}" for reason, names in excluded_by_reason(plan))
        raise UsageError(f"{where} cannot run here: {reasons}.")
    if (seeds := len(suite.values("seeds"))) > 1:
        raise UsageError(f"a duel is at a single seed, and {seeds} were asked for: give one value for seeds.")

    def place(case: Case) -> list[int]:
        return [suite.values(plural).index(getattr(case, axis.field)) for plural, axis in AXES.items()]

    return sorted((scheduled.case for scheduled in plan.scheduled), key=place)


def _key(override: str) -> str:
    return override.partition("=")[0].strip()


def _check_comparable(cases: Sequence[Case], contrasts: Iterable[Contrast]) -> None:
    for case in cases:
        if case.runtime != "keras":
            raise UsageError(f"a duel runs in Keras, and runtimes={case.runtime} was asked for: leave it out.")
        if case.task != cases[0].task:
            raise UsageError(
                f"the sides work on different data ({cases[0].task}, {case.task}): their times cannot be compared."
            )
    for contrast in contrasts:
        base, side = cases[contrast.base], cases[contrast.side]
        if base.batch_size != side.batch_size:
            raise UsageError(
                f"the sides have different batch sizes ({base.batch_size}, {side.batch_size}): a step must be as many "
                f"samples on both, or its time means nothing."
            )


def prepare_sides(
    what: Asked,
    *,
    scratch: Path,
    cache: Path,
    build: bool,
    worker: str,
    notify: Callable[[str], None],
) -> tuple[PreparedSide, ...]:
    """Unpack the commits, or build the environments, that the sides are named by.

    Args:
        what: the names and cases.
        scratch: a folder that goes with the duel.
        cache: the user's folder that built environments are kept in.
        build: install each commit's package into an environment of its own.
        worker: the module that does the sides' timed batches.
        notify: given a sentence about what takes a while.

    Raises:
        UsageError: a commit or an environment cannot be had, or something else is to be built.
    """
    if build and what.kind is not SideKind.COMMITS:
        raise UsageError(f"--build installs commits, and the sides are {what.kind.value}: leave it out.")
    names = what.names or ("",)
    labels = _labels(what.cases[:: len(names)])
    built_in = not any(_factories(case) for case in what.cases)
    sides: dict[int, PreparedSide] = {}
    folders = [scratch / side_key(place) for place in range(len(names))]
    for place, (name, folder) in enumerate(zip(names, folders, strict=True)):
        folder.mkdir()
        if what.kind is SideKind.ENVIRONMENTS and not python_of(name):
            # all of them, before the first is built, which takes minutes
            for backend in dict.fromkeys(case.backend for case in what.cases[place :: len(names)]):
                resolve(name, backend, folder)
    for place, (name, folder) in enumerate(zip(names, folders, strict=True)):
        of_name = range(place, len(what.cases), len(names))
        if what.kind is SideKind.COMMITS:
            commit = commit_side(name, folder / "tree", what.cases[place], built_in, notify)
            if build:
                commit = built_commit_side(commit, cache, folder, notify)
            else:
                for number in of_name:
                    _check_factories(what.cases[number], commit)
            sides |= {number: replace(commit, case=what.cases[number]) for number in of_name}
        elif what.kind is SideKind.ENVIRONMENTS:
            sides |= {number: environment_side(name, what.cases[number], cache, folder, notify) for number in of_name}
        else:
            sides |= {number: PreparedSide(title=name, case=what.cases[number]) for number in of_name}
        for number, label in zip(of_name, labels, strict=True):
            side = sides[number]
            title = ", ".join(filter(None, (label, side.title)))
            sides[number] = replace(
                side,
                title=title,
                name=name,
                environment=pinned_allocator(with_variables(side.environment, side.case)),
                worker=worker,
            )
    return tuple(sides[number] for number in sorted(sides))


def _factories(case: Case) -> dict[str, str]:
    """What the user's own code makes of a case, and the `module:factory` that does."""
    made = {"cell": case.cell, "network": case.network}
    catalogue: dict[str, Collection[str]] = {"cell": BUILT_IN, "network": NETWORKS}
    return {kind: name for kind, name in made.items() if name not in catalogue[kind]}


def _check_factories(case: Case, side: PreparedSide) -> None:
    """Refuse a commit in which the user's cell or network isn't, or can't be called: before the backend is imported.

    Raises:
        UsageError: so it is.
    """
    environment = side.environment
    folders = [str(environment.folder), *map(str, environment.path or ())]
    try:
        for kind, name in _factories(case).items():
            if ":" in name:  # an entry point is the environment's
                check_call(kind, name, side.title, folders)
    except UsageError as error:
        raise UsageError(
            f"{error} A side imports from its commit alone: name the folder of the packages, as in [tool.bench] "
            f'source = ["python"] in pyproject.toml, or give --build, which installs what building makes of it.'
        ) from None


def _labels(configurations: Sequence[Case]) -> list[str]:
    """What distinguishes each configuration from the rest: `gru kernel=xla`; empty for a single one."""
    several_cells = len({case.cell for case in configurations}) > 1
    fields = [*(["cell"] if several_cells else []), *varying(configurations)]
    return [
        " ".join(
            value if isinstance(value := getattr(case, name), str) and name == "cell" else f"{name}={written(value)}"
            for name in fields
        )
        for case in configurations
    ]
