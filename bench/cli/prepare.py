"""What `bench plan` and `bench run` both do first: read the suite, look at the machine, make the plan."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.catalog.runtimes import installed_runtimes
from bench.core.errors import UsageError
from bench.host.machine import Machine, device_problem, installed_backends, read_machine
from bench.plan.plan import Plan, make_plan
from bench.plan.suite import Suite, load


@dataclass(frozen=True)
class Prepared:
    """A suite as asked, and the machine it is planned for."""

    suite: Suite
    machine: Machine
    order_seed: int

    def plan(self, substitutes: Mapping[str, str] | None = None) -> Plan:
        """The plan, with `substitutes` for tasks whose data can't be had."""
        return make_plan(
            self.suite,
            order_seed=self.order_seed,
            device_problem=lambda device: device_problem(device, self.machine, os.environ.get("CUDA_VISIBLE_DEVICES")),
            backend_problems=installed_backends(),
            runtime_problems=installed_runtimes(),
            substitutes=substitutes,
        )


def prepare(suite: str, overrides: Iterable[str] | None, order_seed: int, cpus: tuple[int, ...] = ()) -> Prepared:
    """Read the suite with its overrides, and this machine as the workers will see it."""
    return Prepared(load(suite, overrides or ()), read_machine(cpus), order_seed)


def parse_cpus(text: str | None) -> tuple[int, ...]:
    """`0,2-3` → (0, 2, 3).

    Raises:
        UsageError: it isn't such a list, names a processor that this process may not use, or the system cannot pin.
    """
    if text is None:
        return ()
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError(f"--cpus {text}: this system cannot pin a process to processors; leave --cpus out.")
    usable = os.sched_getaffinity(0)
    chosen: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})(?:-([0-9]{1,9}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise UsageError(f"--cpus {text}: {part.strip()!r} is not a processor's number or a range such as 0-3.")
        missing = [cpu for cpu in (first, last) if cpu not in usable] or sorted(set(range(first, last)) - usable)
        if missing:
            listed = ", ".join(map(str, sorted(usable)))
            raise UsageError(f"--cpus {text}: there is no processor {missing[0]} here for us; usable: {listed}.")
        chosen |= set(range(first, last + 1))
    return tuple(sorted(chosen))
