"""Suite × machine → `Plan`: the ordered cases, and those left out, each with its reason. Pure."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench import catalog
from bench.catalog import backends, networks, tasks
from bench.catalog.cells import BUILT_IN
from bench.catalog.networks import arithmetic
from bench.catalog.support import Capabilities, refusal
from bench.core.axes import AXES, varying
from bench.core.case import Case, digest
from bench.core.errors import UsageError
from bench.plan.suite import Suite


@dataclass(frozen=True)
class Planned:
    """A case in its place: its block, and its position in the whole order, both from 0."""

    case: Case
    block: int
    position: int


@dataclass(frozen=True)
class LeftOut:
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
    planned: tuple[Planned, ...]
    left_out: tuple[LeftOut, ...]

    @functools.cached_property
    def varying(self) -> tuple[str, ...]:
        """The fields in which the configurations differ beside the cell, for labels; those left out count too."""
        cases = {planned.case.configuration for planned in self.planned} | {out.configuration for out in self.left_out}
        return varying(cases)

    @property
    def blocks(self) -> int:
        return len({planned.block for planned in self.planned})

    def to_data(self) -> dict[str, Any]:
        """JSON-able, for the campaign's manifest (`bench.store.campaign`)."""
        return {
            "title": self.title,
            "cases": [
                {"id": p.case.id, "block": p.block, "position": p.position, "case": asdict(p.case)}
                for p in self.planned
            ],
            "left_out": [{"case": asdict(out.configuration), "reason": out.reason} for out in self.left_out],
        }

    @property
    def hash(self) -> str:
        cases = [(planned.block, planned.case.id) for planned in self.planned]
        left_out = [(out.configuration.id, out.reason) for out in self.left_out]
        return digest(repr((self.suite, self.order_seed, cases, left_out)))


def make_plan(
    suite: Suite,
    *,
    order_seed: int,
    host: Capabilities,
    substitutes: Mapping[str, str] | None = None,
) -> Plan:
    """Cross the axes, leave out what can't run here, and order the rest in shuffled blocks.

    Args:
        suite: what is asked.
        order_seed: the recorded number that the order inside each block is drawn from.
        host: what the machine that will run the plan offers.
        substitutes: tasks that are run in the place of others whose data can't be had; the caller has said so.

    Raises:
        UsageError: an axis names something that doesn't exist, or a batch is larger than the data.
    """
    _check_names(suite)
    settings = suite.settings
    runnable: list[Case] = []
    left_out: list[LeftOut] = []
    crossed = {axis.field: getattr(suite.axes, plural) for plural, axis in AXES.items() if axis.field != "seed"}
    crossed["task"] = tuple(dict.fromkeys((substitutes or {}).get(task, task) for task in crossed["task"]))
    for values in itertools.product(*crossed.values()):
        case = Case(**dict(zip(crossed, values, strict=True)))
        _check_sizes(case, suite)
        if reason := refusal(case, host):
            left_out.append(LeftOut(case, reason))
        else:
            runnable.append(case)
    planned: list[Planned] = []
    if runnable:
        blocks = itertools.product(range(settings.repeats), suite.axes.seeds)
        for block, (repeat, seed) in enumerate(blocks):
            order = list(runnable)
            # a generator of its own for each block: a longer suite starts with the shorter one's order
            random.Random(f"{order_seed}/{block}").shuffle(order)
            planned += [Planned(replace(case, seed=seed, repeat=repeat), block, 0) for case in order]
    return Plan(
        suite=suite.name,
        title=suite.title,
        order_seed=order_seed,
        silence_seconds=settings.silence_seconds,
        planned=tuple(replace(one, position=position) for position, one in enumerate(planned)),
        left_out=tuple(left_out),
    )


def _check_names(suite: Suite) -> None:
    for plural, axis in AXES.items():
        if axis.catalogue is not None:
            for name in getattr(suite.axes, plural):
                catalog.check(axis.catalogue, name, suite.origin(plural))
    if suite.settings.fallback_task:
        tasks.find(suite.settings.fallback_task, suite.origin("fallback_task"))


def _check_sizes(case: Case, suite: Suite) -> None:
    task = tasks.find(case.task, suite.origin("tasks"))
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


# The model of `estimate_seconds`, fitted to this protocol's training steps (batch 32, 128 units) on a 2-core machine:
# about 13 ms for SimpleRNN and 27 ms for LSTM, which leaves 74 µs for each of the 112 dependent steps and 59 GFLOP/s.
_SECONDS_PER_DEPENDENT_STEP = 74e-6
_FLOPS_PER_SECOND = 59e9
_PREDICT_SECONDS = 0.1
_UNKNOWN_GATES = 4  # a cell whose arithmetic is unknown is expected to cost what an LSTM does


def estimate_seconds(case: Case) -> float:
    """A first guess at a run's wall time; `bench run` corrects it by what it sees."""
    task = tasks.find(case.task, "a case")
    gates = BUILT_IN[case.cell].gates if case.cell in BUILT_IN else _UNKNOWN_GATES
    network = networks.find(case.network)
    flops = arithmetic(network, gates or _UNKNOWN_GATES, case.units, task)
    serial = _SECONDS_PER_DEPENDENT_STEP * 2 * len(network.activations) * task.steps  # forward and backward
    train = case.train_samples or task.train_samples
    steps, test_steps = math.ceil(train / case.batch_size), math.ceil(task.test_samples / case.batch_size)
    step = serial + case.batch_size * flops.training / _FLOPS_PER_SECOND
    test_step = serial / 2 + case.batch_size * flops.forward / _FLOPS_PER_SECOND
    work = case.epochs * steps * step + (case.epochs + 1) * test_steps * test_step
    # through Keras's `predict` and compiled; the larger batches together are about 30 calls of 1,024 samples each
    answers = case.latency_calls * (_PREDICT_SECONDS + serial)
    answers += min(case.latency_calls, 30) * (_PREDICT_SECONDS + serial + 2 * 1024 * flops.forward / _FLOPS_PER_SECOND)
    cost = backends.find(case.backend).cost(case.kernel)
    return cost.compile_seconds + (work + answers) * cost.step_factor


def estimate_all(cases: Sequence[Case]) -> float:
    """The sum of the estimates, each distinct configuration reckoned once: plans have thousands of cases."""
    known: dict[Case, float] = {}
    total = 0.0
    for case in cases:
        configuration = case.configuration
        if configuration not in known:
            known[configuration] = estimate_seconds(configuration)
        total += known[configuration]
    return total
