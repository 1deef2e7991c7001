"""What every command that runs something does first: read the suite and the machine, and make the plan."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bench.catalog import tasks
from bench.catalog.cache import sources_to_ask
from bench.catalog.device_profiles import DeviceProfile
from bench.catalog.support import Capabilities, ideal_host
from bench.catalog.users_data import prepare_task
from bench.core.case import written
from bench.host.capabilities import read_capabilities
from bench.host.hardware import Machine, read_machine
from bench.plan.plan import Plan, make_plan
from bench.plan.suite import Suite, load

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MissingData:
    """Data of a task that are not on this machine."""

    task: str
    sources: tuple[str, ...]
    """Where on the network `bench run` asks for them, in order."""
    stand_in: str
    """The task that is run instead where none has them; empty where nothing is run then."""


@dataclass(frozen=True)
class PreparedSuite:
    """A suite with its overrides, and the machine that it is planned for."""

    suite: Suite
    machine: Machine
    order_seed: int
    host: Capabilities | None = None
    """What a machine that is not here offers; None: what this one does."""
    factories_here: bool = True
    """Whether users' cells and networks are looked for here; else whoever will call them does."""

    def plan(self, substitutes: Mapping[str, str] | None = None) -> Plan:
        """The plan, with `substitutes` for tasks whose data can't be had."""
        return make_plan(
            self.suite,
            order_seed=self.order_seed,
            host=self.host or read_capabilities(self.machine),
            substitutes=substitutes,
            factories_here=self.factories_here,
        )

    def missing_data(self, data_dir: Path | None = None) -> tuple[MissingData, ...]:
        """The data that would have to be got first.

        Args:
            data_dir: a folder that the user has named for them; None takes the usual places.
        """
        stand_in = self.suite.settings.fallback_task
        tasks_asked = {name: tasks.find(name, self.suite.origin("tasks")) for name in self.suite.values("tasks")}
        return tuple(
            MissingData(task=name, sources=sources, stand_in=stand_in if stand_in != name else "")
            for name, task in tasks_asked.items()
            if (sources := sources_to_ask(task, data_dir=data_dir))
        )


def prepare(
    suite: str,
    overrides: Iterable[str] | None,
    order_seed: int,
    cpus: tuple[int, ...] = (),
    profile: DeviceProfile | None = None,
    *,
    factories_here: bool = True,
) -> PreparedSuite:
    """Read the suite with its overrides, prepare the data of users' tasks, and see this machine as the workers will.

    Args:
        suite: its name, or its file.
        overrides: those of `--set`, `axis=value,value`.
        order_seed: the number that the order inside each block is drawn from.
        cpus: the processors that the workers are pinned to; none where they are not.
        profile: a card that is not here, for a plan of what would run on a machine with it and every backend.
        factories_here: whether users' cells and networks are looked for here; else whoever will call them does.

    Raises:
        UsageError: as `bench.plan.suite.load` and `bench.catalog.users_data.prepare_task` do.
    """
    loaded = load(suite, overrides or ())
    for task in loaded.values("tasks"):
        if ":" in task:
            prepare_task(task, loaded.origin("tasks"), _log.info)
    machine = read_machine(cpus)
    if profile is None:
        return PreparedSuite(loaded, machine, order_seed, factories_here=factories_here)
    return PreparedSuite(loaded, replace(machine, gpus=(profile.model,)), order_seed, ideal_host())


def excluded_by_reason(plan: Plan) -> list[tuple[str, str]]:
    """Why configurations are left out, each reason once, and which ones: `gru × jax × cudnn, … and 3 more`."""
    by_reason: dict[str, list[str]] = {}
    for out in plan.excluded:
        values = [(field, getattr(out.configuration, field)) for field in plan.varying]
        words = [value if isinstance(value, str) else f"{field}={written(value)}" for field, value in values]
        by_reason.setdefault(out.reason, []).append(" × ".join([out.configuration.cell, *words]))
    lines = []
    for reason, names in by_reason.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines.append((reason, f"{', '.join(names[:3])}{more}"))
    return lines
