"""What every command that runs something does first: read the suite and the machine, and make the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.host.capabilities import read_capabilities
from bench.host.hardware import Machine, read_machine
from bench.plan.plan import Plan, make_plan
from bench.plan.suite import Suite, load


@dataclass(frozen=True)
class PreparedSuite:
    """A suite with its overrides, and the machine that it is planned for."""

    suite: Suite
    machine: Machine
    order_seed: int

    def plan(self, substitutes: Mapping[str, str] | None = None) -> Plan:
        """The plan, with `substitutes` for tasks whose data can't be had."""
        return make_plan(
            self.suite,
            order_seed=self.order_seed,
            host=read_capabilities(self.machine),
            substitutes=substitutes,
        )


def prepare(suite: str, overrides: Iterable[str] | None, order_seed: int, cpus: tuple[int, ...] = ()) -> PreparedSuite:
    """Read the suite with its overrides, and this machine as the workers will see it."""
    return PreparedSuite(load(suite, overrides or ()), read_machine(cpus), order_seed)
