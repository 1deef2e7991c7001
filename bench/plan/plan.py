"""Suite × machine → `Plan`: the ordered cases, and those left out, each with its reason. Pure."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bench import catalog
from bench.catalog import tasks
from bench.catalog.support import Capabilities, refusal
from bench.core.axes import AXES, varying
from bench.core.case import Case, digest
from bench.core.errors import UsageError
from bench.plan.suite import Axes, Suite


@dataclass(frozen=True)
class ScheduledCase:
    """A case with its place in a plan: its block, and its position in the whole order, both from 0."""

    case: Case
    block: int
    position: int


@dataclass(frozen=True)
class ExcludedCase:
    """A configuration that isn't run, and why."""

    configuration: Case
    reason: str


@dataclass(frozen=True)
class Plan:
    """What is run, in which order: the same for the same suite and order number, on machines that can do the same."""

    suite: str
    title: str
    order_seed: int
    silence_seconds: float
    scheduled: tuple[ScheduledCase, ...]
    excluded: tuple[ExcludedCase, ...]
    data: Mapping[str, str] = field(default_factory=dict)
    """Digest of the content of users' data, by task: measured on other data, it is another plan."""
    claims: tuple[str, ...] = ()
    """What the suite is expected to show; no part of what is measured, and so not of the hash."""

    @functools.cached_property
    def varying(self) -> tuple[str, ...]:
        """The fields in which the configurations differ beside the cell, for labels; those left out count too."""
        runnable = {scheduled.case.configuration for scheduled in self.scheduled}
        return varying(runnable | {out.configuration for out in self.excluded})

    @property
    def blocks(self) -> int:
        """Number of blocks: seeds × repeats, or 0 where nothing can run."""
        return len({scheduled.block for scheduled in self.scheduled})

    def to_data(self) -> dict[str, Any]:
        """JSON-able, for the campaign's manifest (`bench.store.campaign`)."""
        return {
            "title": self.title,
            "claims": list(self.claims),
            "cases": [
                {"id": p.case.id, "block": p.block, "position": p.position, "case": asdict(p.case)}
                for p in self.scheduled
            ],
            "left_out": [{"case": asdict(out.configuration), "reason": out.reason} for out in self.excluded],
        }

    @property
    def hash(self) -> str:
        """Digest of what is run in which order, and of what is excluded and why: a campaign is resumed by it."""
        cases = [(scheduled.block, scheduled.case.id) for scheduled in self.scheduled]
        excluded = [(out.configuration.id, out.reason) for out in self.excluded]
        data = (sorted(self.data.items()),) if self.data else ()
        return digest(repr((self.suite, self.order_seed, cases, excluded, *data)))


def make_plan(
    suite: Suite,
    *,
    order_seed: int,
    host: Capabilities,
    substitutes: Mapping[str, str] | None = None,
    factories_here: bool = True,
) -> Plan:
    """Cross the axes, leave out what can't run here, and order the rest in shuffled blocks.

    A block has the configurations of each part of the suite that has its seed.

    Args:
        suite: what is asked.
        order_seed: the recorded number that the order inside each block is drawn from.
        host: what the machine that will run the plan offers.
        substitutes: tasks that are run in the place of others whose data can't be had; the caller reports it.
        factories_here: whether users' cells and networks are looked for here; else whoever will call them does.

    Raises:
        UsageError: an axis names something that doesn't exist, or a batch is larger than the data.
    """
    _check_names(suite, factories_here)
    settings = suite.settings
    runnable: dict[Case, set[int]] = {}
    excluded: dict[Case, ExcludedCase] = {}
    for axes in suite.crossings:
        for case in _crossed(axes, substitutes or {}):
            _check_sizes(case, suite)
            if reason := refusal(case, host):
                excluded[case] = ExcludedCase(case, reason)
            else:
                runnable.setdefault(case, set()).update(axes.seeds)
    scheduled: list[ScheduledCase] = []
    for block, (repeat, seed) in enumerate(itertools.product(range(settings.repeats), suite.values("seeds"))):
        order = [case for case, seeds in runnable.items() if seed in seeds]
        # a generator of its own for each block: a longer suite starts with the shorter one's order
        random.Random(f"{order_seed}/{block}").shuffle(order)
        of_block = (replace(case, seed=seed, repeat=repeat) if seed or repeat else case for case in order)
        scheduled += [ScheduledCase(case, block, place) for place, case in enumerate(of_block, start=len(scheduled))]
    return Plan(
        suite=suite.name,
        title=_title(suite, substitutes or {}),
        order_seed=order_seed,
        silence_seconds=settings.silence_seconds,
        scheduled=tuple(scheduled),
        excluded=tuple(excluded.values()),
        data={name: task.digest for name in suite.values("tasks") if (task := tasks.find(name)).file},
        claims=suite.claims,
    )


def _title(suite: Suite, substitutes: Mapping[str, str]) -> str:
    """The suite's, and what stands in for data that can't be had."""
    instead = [f"{name} in place of {task}" for task, name in substitutes.items()]
    return f"{suite.title} (here on {', '.join(instead)})" if instead else suite.title


def _crossed(axes: Axes, substitutes: Mapping[str, str]) -> Iterator[Case]:
    """The configurations that axes cross to."""
    crossed = {axis.field: getattr(axes, plural) for plural, axis in AXES.items() if axis.field != "seed"}
    crossed["task"] = tuple(dict.fromkeys(substitutes.get(task, task) for task in crossed["task"]))
    for values in itertools.product(*crossed.values()):
        yield Case(**dict(zip(crossed, values, strict=True)))


def _check_names(suite: Suite, factories_here: bool) -> None:
    for plural, axis in AXES.items():
        if axis.catalogue is not None:
            for name in suite.values(plural):
                catalog.check(axis.catalogue, name, suite.origin(plural), factories_here=factories_here)
    if suite.settings.fallback_task:
        tasks.find(suite.settings.fallback_task, suite.origin("fallback_task"))


def _check_sizes(case: Case, suite: Suite) -> None:
    task = tasks.of(case, suite.origin)
    if case.train_samples > task.train_samples:
        raise UsageError(
            f"train_samples = {case.train_samples} ({suite.origin('train_samples')}) is more than the task {task.name} "
            f"has: {task.train_samples}."
        )
    available = case.train_samples or task.train_samples
    if case.batch_size > available:
        raise UsageError(
            f"batch_size = {case.batch_size} ({suite.origin('batch_size')}) is larger than the training data: "
            f"{available} samples of the task {task.name}."
        )
