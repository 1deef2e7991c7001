"""Drives a campaign on a cluster: gives nodes their runs, stores what they send, and survives what dies.

The driver is the only one that writes to the store: a run is published here, whole, when it has arrived. So nothing is
stored twice, whatever comes back from a node that was taken for dead; and the driver, started again, goes on.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

from bench.cluster.ceilings_due import CeilingsDue
from bench.cluster.dispatch import Dispatcher, DueRun
from bench.cluster.health import NodeHealth
from bench.cluster.node import CeilingsOrder, NodeCeilings, NodeRun, NodeSettings, RunOrder
from bench.cluster.node_state import ClusterNode, ClusterReporter, NodeState, unique_name
from bench.cluster.nodes import Admitted, CeilingsArrived, ClusterNodes, Lost, NodeEvent, Refused, RunArrived
from bench.cluster.time_left import TimeLeft
from bench.core.case import Status
from bench.core.errors import UsageError
from bench.plan.plan import Plan
from bench.run.runner import CampaignOutcome, CampaignSettings
from bench.run.session import SessionSettings
from bench.store.campaign import owner_lease
from bench.store.files import publish, remove_stale
from bench.store.parts import write_part
from bench.store.reader import finished, last_attempts

REFRESH_SECONDS = 2.0
"""Between two readings of the cluster's list of nodes."""
PATIENCE_SECONDS = 60.0
"""So long is waited for a node where none can measure, and for the checks of those that are there at the start."""
_EVENT_SECONDS = 1.0


class CampaignDriver:
    """One call of `bench run --on`.

    Args:
        plan: the campaign's.
        settings: all that its runs share.
        session: the options of the call.
        node_settings: what nodes need to know.
        nodes: the cluster's.
        reporter: is given the progress.
        shared: whether the nodes are known to share a machine, whatever they report.
        clock: seconds.
        now: the time that runs begin at, UTC.
    """

    def __init__(
        self,
        plan: Plan,
        settings: CampaignSettings,
        session: SessionSettings,
        node_settings: NodeSettings,
        nodes: ClusterNodes,
        reporter: ClusterReporter,
        *,
        shared: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._plan, self._settings, self._session, self._node_settings = plan, settings, session, node_settings
        self._cluster, self._reporter, self._clock, self._now = nodes, reporter, clock, now
        self._campaign = settings.conditions.campaign
        self._dispatcher = Dispatcher(
            plan.scheduled, last_attempts(settings.folder, self._campaign.id), retry_failed=session.retry_failed
        )
        self._ceilings = CeilingsDue(plan, settings, reporter.note)
        self._health = NodeHealth()
        self._nodes: dict[str, ClusterNode] = {}
        self._idle: dict[str, ClusterNode] = {}
        self._machines: frozenset[str] = frozenset()
        """Fingerprints of the machines on which nodes measure."""
        self._shared = shared
        self._shared_boots: set[str] = set()
        self._first_checks = True
        self._reported_late_checks = False
        self._time = TimeLeft(())
        self._total = self._done = 0
        self._note_once = functools.cache(reporter.note)
        self._began = clock()
        self._refreshed = float("-inf")
        self._without_nodes_since: float | None = None
        self._ticked = float("-inf")

    def run(self) -> CampaignOutcome:
        """Run what the campaign hasn't finished yet.

        Raises:
            UsageError: the store cannot be written to, no node can measure, or the cluster is gone.
        """
        remove_stale(self._settings.folder)
        self._reporter.campaign_started(self._plan)
        self._need_blocks()
        try:
            while self._dispatcher.unfinished:
                self._refresh()
                late = self._give_work()
                if late and not any(node.busy for node in self._nodes.values()):
                    self._reporter.note("blocks are left for want of time: the same command goes on with what is left")
                    break
                for event in self._cluster.events(_EVENT_SECONDS):
                    self._handle(event)
                self._tick()
        finally:
            for node in self._nodes.values():
                if node.measures:
                    self._cluster.stop(node.id)
        self._tick(at_once=True)
        ended = finished(self._settings.folder, self._campaign.id, warn=lambda text: None)
        statuses = [status for _, status in ended.values()]
        return CampaignOutcome(
            statuses={status: statuses.count(status) for status in Status}, done_now=self._done, wall_time=None
        )

    def _change(self, node: ClusterNode, state: NodeState, reason: str = "") -> None:
        measured = node.measures
        if node.state is NodeState.CEILINGS and state is not NodeState.IDLE:
            self._ceilings.give_back(node.machine)
        node.change(state, self._clock(), reason)
        self._idle.pop(node.id, None)
        if state is NodeState.IDLE:
            self._idle[node.id] = node
        if node.measures != measured:
            self._mark_shared()

    # --- nodes come and go ---

    def _refresh(self) -> None:
        """See which nodes are there; every now and then, since a large cluster's list takes time."""
        if self._clock() - self._refreshed < REFRESH_SECONDS:
            return
        self._refreshed = self._clock()
        alive = self._cluster.alive()
        for node in list(self._nodes.values()):
            if node.id in alive and node.state is NodeState.LOST:
                self._start(node)
            elif node.id not in alive and node.state is not NodeState.GONE:
                self._leave(node)
        for identity, host in alive.items():
            if identity not in self._nodes:
                taken = {node.name for node in self._nodes.values() if node.state is not NodeState.GONE}
                node = ClusterNode(identity, unique_name(host, taken), self._clock())
                self._nodes[identity] = node
                self._start(node)
        self._report_late_checks()
        self._check_that_some_measure()

    def _start(self, node: ClusterNode) -> None:
        """Check a node, unless what it did before, in this call, speaks against it."""
        if (problem := self._health.problem(node.name)) is not None:
            self._quarantine(node, problem)
            return
        self._change(node, NodeState.CHECKING)
        self._cluster.start(node.id, self._node_settings)

    def _check_that_some_measure(self) -> None:
        if any(node.measures or node.state is NodeState.LOST for node in self._nodes.values()):
            self._without_nodes_since = None
            return
        if self._without_nodes_since is None:
            self._without_nodes_since = self._clock()
            self._reporter.note(f"no node can measure now; waiting for one, for {PATIENCE_SECONDS:g} s at most")
        kept = [node for node in self._nodes.values() if node.state in (NodeState.REFUSED, NodeState.QUARANTINED)]
        # what is refused stays so: only a new node would help, and that is seen at the next reading
        if self._clock() - self._without_nodes_since >= (2 * REFRESH_SECONDS if kept else PATIENCE_SECONDS):
            reasons = "".join(f"\n  {node.name} is {node.state}: {node.reason}" for node in kept)
            raise UsageError(
                f"no node of the cluster can measure:{reasons or self._without_nodes()}\nWhat is finished is kept: "
                f"mend that, or add a node, and give the command again."
            )

    def _without_nodes(self) -> str:
        if self._nodes:
            return " all have left it."
        return (
            " none has processors for Ray (`ray start --num-cpus`) or a measuring slot "
            "(`--resources '{\"bench_slot\": 1}'`)."
        )

    def _report_late_checks(self) -> None:
        """Ray has no word for a process that waits for its processors: they may be another campaign's."""
        late = [
            node.name
            for node in self._nodes.values()
            if node.state is NodeState.CHECKING and self._clock() - node.since > PATIENCE_SECONDS
        ]
        if late and not self._reported_late_checks:
            self._reported_late_checks = True
            more = f" and {len(late) - 3} more" if len(late) > 3 else ""
            self._reporter.note(
                f"still waiting for {', '.join(late[:3])}{more}: another campaign may have the processors or the "
                f"measuring slot (`ray status` shows what is in use), or what is lacking there is being sent or built"
            )

    def _lose(self, node: ClusterNode, reason: str) -> None:
        """A node's process has died; it is started again where the cluster still has the node when it is asked next."""
        self._health.lost(node.name, checked=node.state is not NodeState.CHECKING)
        self._put_back(node, reason)
        self._change(node, NodeState.LOST, reason)

    def _leave(self, node: ClusterNode) -> None:
        """A node is no longer in the cluster; its process may have died before, or it was not to measure."""
        reason = "it has left the cluster"
        self._health.left(node.name)
        if node.measures:
            if node.state is not NodeState.CHECKING:
                self._health.lost(node.name, checked=True)
            self._put_back(node, reason)
        self._change(node, NodeState.GONE, reason)

    def _put_back(self, node: ClusterNode, reason: str) -> None:
        """Put back what a node that is lost was doing."""
        what = f" while it ran {node.run.scheduled.case.label(self._plan.varying)}" if node.run else ""
        block = self._dispatcher.lost(node.name)
        rest = "" if block is None else f"; block {block + 1} goes on where it can"
        self._reporter.note(f"the node {node.name} was lost{what}: {reason}{rest}")
        self._cluster.stop(node.id)

    def _quarantine(self, node: ClusterNode, reason: str) -> None:
        """Let a node measure no more; what failed there and nowhere else is done again."""
        again = self._health.failed_here_alone(node.name)
        self._dispatcher.lost(node.name, again)
        self._total += len(again)
        self._reporter.note(f"the node {node.name} is quarantined: {reason}")
        self._cluster.stop(node.id)
        self._change(node, NodeState.QUARANTINED, reason)

    # --- what nodes report ---

    def _handle(self, event: NodeEvent) -> None:
        node = self._nodes[event.node]
        if not node.measures:  # it was given up meanwhile
            return
        match event:
            case Admitted(facts=facts):
                node.facts, node.machine = facts, ""
                for note in facts.notes:
                    self._reporter.note(f"{node.name}: {note}")
                if facts.refusals:
                    self._refuse(node, "; ".join(facts.refusals))
                else:
                    self._change(node, NodeState.IDLE)
                    self._mark_shared()
            case RunArrived(result=result):
                self._store(node, result)
            case CeilingsArrived(result=result):
                self._store_ceilings(node, result)
            case Refused(reason=reason) if not node.busy:
                self._refuse(node, reason)
            case Refused(reason=reason):
                self._quarantine(node, reason)
            case Lost(reason=reason):
                self._lose(node, reason)

    def _refuse(self, node: ClusterNode, reason: str) -> None:
        self._reporter.note(f"the node {node.name} is refused: {reason}")
        self._cluster.stop(node.id)
        self._change(node, NodeState.REFUSED, reason)

    def _mark_shared(self) -> None:
        """Mark the machines that several nodes measure on; once marked they stay so, whatever dies."""
        boots = Counter(node.facts.boot for node in self._nodes.values() if node.facts and node.measures)
        newly_shared = {boot for boot, number in boots.items() if number > 1 or self._shared} - self._shared_boots
        self._shared_boots |= newly_shared
        for node in self._nodes.values():
            if node.facts is not None and (not node.machine or node.facts.boot in newly_shared):
                node.mark(node.facts.boot in self._shared_boots)
        self._machines = frozenset(node.machine for node in self._nodes.values() if node.measures and node.machine)

    def _store(self, node: ClusterNode, result: NodeRun) -> None:
        """Publish a run that has arrived; what is not what was asked for is not stored, and is run again."""
        due, folder, run = node.run, self._settings.folder, result.run
        assert due is not None, "a node that measures has a run"
        for note in result.notes:
            self._note_once(f"{node.name}: {note}")
        if not self._settings.leases.holds(owner_lease(self._campaign.id)):
            raise UsageError(
                f"the campaign {self._campaign.id} was taken over by another process, because this one was stopped, or "
                f"did not reach {folder}: its last runs are dropped. The same command goes on once that has ended."
            )
        self._change(node, NodeState.IDLE)
        asked = (self._campaign.id, due.scheduled.case.id, due.attempt)
        if not result.intact or (run.campaign.id, run.case.id, run.attempt) != asked:
            self._reporter.note(f"what {node.name} sent of a run did not arrive as it was made, and is measured again")
            self._lose(node, "its run did not arrive whole")
            return
        log = folder / "logs" / f"{run.id}.log" if result.log else None
        if log is not None:
            publish(log, lambda file: file.write(result.log))
        write_part(folder, run.id, result.part)
        self._done += 1
        node.done += 1
        self._time.saw(due.scheduled, result.seconds)
        self._dispatcher.ended(node.name, due, run.status, run.machine_fingerprint)
        self._health.ended(node.name, due.scheduled, run, result.seconds)
        self._reporter.run_stored(node, due.scheduled, run, result.seconds, log)
        problem = self._health.problem(node.name)
        if problem is not None and any(each.measures for each in self._nodes.values() if each is not node):
            self._quarantine(node, problem)

    def _store_ceilings(self, node: ClusterNode, result: NodeCeilings) -> None:
        for note in result.notes:
            self._note_once(f"{node.name}: {note}")
        self._ceilings.measured(node.name, result)
        self._change(node, NodeState.IDLE)

    # --- work for nodes ---

    def _need_blocks(self) -> None:
        """Ask how many blocks are needed, where that depends on what is measured."""
        if self._session.stopping is not None:
            self._dispatcher.blocks_needed = self._session.stopping.blocks_needed(self._campaign.id)
        due = self._dispatcher.due_runs()
        self._total = self._done + len(due)
        self._time.begin_anew(due)

    def _give_work(self) -> bool:
        """Give each idle node its next run; whether some was left for want of time."""
        if self._first_checks:
            checking = any(node.state is NodeState.CHECKING for node in self._nodes.values())
            if checking and self._clock() - self._began < PATIENCE_SECONDS:
                return False  # whether a machine is shared is seen when all nodes are checked
            self._first_checks = False
        late = False
        for node in list(self._idle.values()):
            if not self._must_wait(node):
                late |= self._give_run(node)
        return late

    def _must_wait(self, node: ClusterNode) -> bool:
        """Whether another node measures on its machine now, and no lock keeps the two apart."""
        facts = node.facts
        return (
            facts is not None
            and facts.boot in self._shared_boots
            and any(each.busy and each.facts and each.facts.excludes(facts) for each in self._nodes.values())
        )

    def _give_run(self, node: ClusterNode) -> bool:
        """Give an idle node its next run, of the next block where its own is done; whether time is wanting for it.

        Before the first on a kind of machine come the ceilings of that kind, where they are wanted.
        """
        due: DueRun | None = None
        if self._dispatcher.block_of(node.name) is not None:
            due = self._dispatcher.next_run(node.name, node.machine)
            if due is None and self._session.stopping is not None:
                self._need_blocks()
        while due is None:
            candidate = self._dispatcher.candidate(node.machine, self._machines)
            if candidate and self._is_late(self._time.expected(candidate)):
                return True
            if self._dispatcher.assign(node.name, node.machine, self._machines) is None:
                return False
            due = self._dispatcher.next_run(node.name, node.machine)
        shared = node.facts is not None and node.facts.boot in self._shared_boots
        if configurations := self._ceilings.take(node.machine):
            self._change(node, NodeState.CEILINGS)
            self._cluster.measure_ceilings(node.id, CeilingsOrder(configurations=configurations, shared=shared))
            return False
        self._change(node, NodeState.MEASURING)
        node.run = due
        self._cluster.measure(
            node.id,
            RunOrder(scheduled=due.scheduled, attempt=due.attempt, started_at=self._now(), shared=shared),
        )
        return False

    def _is_late(self, seconds: float) -> bool:
        """Whether a block would not end in time; the first runs are what the estimate is corrected by."""
        return self._done > 0 and self._clock() - self._began + seconds > self._session.budget_seconds

    def _tick(self, *, at_once: bool = False) -> None:
        if at_once or self._clock() - self._ticked >= _EVENT_SECONDS:
            self._ticked = self._clock()
            nodes = list(self._nodes.values())
            slots = {(node.facts.boot, node.facts.card) for node in nodes if node.facts and node.measures}
            self._reporter.nodes_changed(nodes, self._done, self._total, self._time.left(len(slots)))
