"""A fresh process for each run, cheaply: a pool of worker servers, and the killing of runs that fall silent."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

from bench.catalog import variables
from bench.core.case import Case, Status
from bench.core.observation import Observation, RunMetadata
from bench.core.protocol import Event, Finished, Request, Started
from bench.run.device_watch import DeviceWatcher
from bench.run.server import (
    HARNESS_ENVIRONMENT,
    IMPORT_SECONDS,
    Isolation,
    ServedRun,
    Server,
    WorkerEnvironment,
    default_isolation,
    killed_by,
)

WORKER = "bench.worker.measure"
"""The module whose `measure` does a run."""


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """How one run's process ended, and all that it reported."""

    isolation: Isolation
    status: Status = Status.FAILED
    error: str | None = None
    metadata: RunMetadata = field(default_factory=RunMetadata)
    observations: tuple[Observation, ...] = ()
    """In the order in which they were reported."""
    cpu_seconds: float | None = None
    """CPU time of the run's process, its import left out; None where it was killed."""


class Workers:
    """The worker servers of one `bench run`; a context manager that leaves no process behind.

    Args:
        worker: the module that does a run.
        isolation: how a run gets its process; None takes each device's default.
        forking: the backends whose runs on a GPU may fork (`bench.run.forking`).
        silence_seconds: a run that reports nothing for so long is killed.
        devices: watches the device beside each run.
        cpus: logical processors to run on; empty: all that the harness may use.
        environment: where the runs' interpreter and modules come from.
        on_event: called with each event that a run reports.
        on_tick: called about once a second while a run or an import reports nothing.
        clock: seconds.
    """

    def __init__(
        self,
        *,
        worker: str = WORKER,
        isolation: Isolation | None = None,
        forking: frozenset[str] = frozenset(),
        silence_seconds: float,
        devices: DeviceWatcher | None = None,
        cpus: tuple[int, ...] = (),
        environment: WorkerEnvironment = HARNESS_ENVIRONMENT,
        on_event: Callable[[Event], None] = lambda event: None,
        on_tick: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker, self._isolation, self._silence_seconds, self._cpus = worker, isolation, silence_seconds, cpus
        self._forking, self._environment = forking, environment
        self._devices = devices or DeviceWatcher(lambda device, environ: None, lambda card, device: None)
        self._on_event, self._on_tick, self._clock = on_event, on_tick, clock
        self._servers: dict[tuple[str, str, Isolation], Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.close()

    def prepare(self, case: Case) -> None:
        """Wait until the server for a case has imported its backend, so that the import is in no run's time."""
        self._server(case, self._isolation_of(case))

    def run(self, request: Request) -> RunOutcome:
        """Do one run in a process of its own; a forked one that falls silent is tried once more, spawned."""
        isolation = self._isolation_of(request.case)
        outcome = self._run_once(request, isolation)
        if outcome.status is Status.TIMEOUT and isolation is Isolation.FORK:
            forked = outcome
            outcome = self._run_once(request, Isolation.SPAWN)
            if outcome.error:
                outcome = replace(outcome, error=f"{outcome.error} (and before, forked: {forked.error})")
        return outcome

    def _isolation_of(self, case: Case) -> Isolation:
        return self._isolation or default_isolation(case.device, forking_works=case.backend in self._forking)

    def _server(self, case: Case, isolation: Isolation) -> Server:
        server = self._servers.get((case.backend, case.env, isolation))
        if server is not None and server.problem is None and not server.settle():
            self._discard(server)
            server = None
        if server is None:
            server = self._started(case, isolation)
            if server.killed:
                self._discard(server)
                server = self._started(case, isolation)  # killed again, it is what this machine does to it
        return server

    def _started(self, case: Case, isolation: Isolation) -> Server:
        environment = replace(self._environment, variables=self._variables(case))
        server = Server(case.backend, self._worker, isolation, self._cpus, environment)
        self._servers[case.backend, case.env, isolation] = server
        server.wait_ready(self._clock, self._on_tick)
        return server

    def _variables(self, case: Case) -> dict[str, str]:
        """Those that a case's process gets beside the harness's."""
        return {**self._environment.variables, **variables.find(case.env)}

    def _discard(self, server: Server) -> None:
        self._servers = {key: kept for key, kept in self._servers.items() if kept is not server}
        server.close()

    def _run_once(self, request: Request, isolation: Isolation) -> RunOutcome:
        is_lost, outcome = self._requested(request, isolation)
        if is_lost:
            _, outcome = self._requested(request, isolation)
        return outcome

    def _requested(self, request: Request, isolation: Isolation) -> tuple[bool, RunOutcome]:
        """Whether the run was lost with a server that somebody had killed while it was idle; and how it ended."""
        server = self._server(request.case, isolation)
        keep, is_lost = False, False
        try:
            if server.problem is None:
                run = server.request(request)
                outcome = self._collect(run, request, isolation)
                is_lost = outcome.status is Status.FAILED and not run.began and not server.usable
                keep = outcome.status is not Status.TIMEOUT
            else:
                outcome = RunOutcome(isolation=isolation, error=server.problem)
            if outcome.status is not Status.OK and not request.log.exists():
                with contextlib.suppress(OSError):  # where the disk is full, the store reports it next
                    request.log.write_bytes(server.output())
        finally:
            if not keep:
                self._discard(server)  # a silent run is killed with its server
        return is_lost, outcome

    def _collect(self, run: ServedRun, request: Request, isolation: Isolation) -> RunOutcome:
        """Take what the run reports until it has ended, or has been silent for too long."""
        # a spawned run imports first, and can report nothing meanwhile
        patience = self._silence_seconds + (IMPORT_SECONDS if isolation is Isolation.SPAWN else 0.0)
        requested = last_event = self._clock()
        finished = None
        metadata, observations = RunMetadata(), list[Observation]()
        watch = self._devices.watch(request.case, self._variables(request.case))

        def ended(status: Status, error: str | None, cpu_seconds: float | None = None) -> RunOutcome:
            return RunOutcome(
                isolation=isolation,
                status=status,
                error=error,
                metadata=watch.completed(metadata),
                observations=(*observations, *watch.observations()),
                cpu_seconds=cpu_seconds,
            )

        silent = False
        with watch, contextlib.closing(run.events) as events:
            for event in events:
                if event is None:
                    self._on_tick()
                    if self._clock() - last_event > patience:
                        run.dump()
                        silent = True
                        break
                    continue
                last_event = self._clock()
                event = watch.saw(event, last_event)
                if isinstance(event, Started):
                    patience = self._silence_seconds
                    observations.append(Observation(phase="start", seconds=last_event - requested))
                elif isinstance(event, Finished):
                    finished = event
                elif isinstance(event, Observation):
                    observations.append(event)
                elif isinstance(event, RunMetadata):
                    metadata = event
                self._on_event(event)
        if silent:
            way_out = "(--set silence_seconds=… gives a slow configuration longer)"
            return ended(Status.TIMEOUT, f"silent for {patience:g} s, killed {way_out}")
        if finished is not None:
            return ended(finished.status, finished.error, finished.cpu_seconds)
        return ended(Status.FAILED, f"the run's process {_death(run.exit_code())}")


def _death(code: int | None) -> str:
    """How a process ended that had not finished its run."""
    if code is None:
        return "died, and its server with it"
    return f"was {killed_by(-code)}" if code < 0 else f"ended with exit code {code} before it had finished"
