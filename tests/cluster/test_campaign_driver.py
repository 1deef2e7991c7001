"""The driver of a campaign on a cluster without Ray: who gets what, and what becomes of it when nodes die."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from bench import store
from bench.cluster.admission import Requirements
from bench.cluster.campaign_driver import PATIENCE_SECONDS, CampaignDriver
from bench.cluster.node import SHARED, SHARED_BY_CARDS, NodeSettings
from bench.cluster.node_state import ClusterNode
from bench.cluster.nodes import Lost, NodeEvent
from bench.core.case import Status
from bench.core.errors import UsageError
from bench.host.hardware import Machine
from bench.host.software import SoftwareKey
from bench.plan.plan import Plan, ScheduledCase, make_plan
from bench.plan.suite import load as load_suite
from bench.run.execution import RunConditions
from bench.run.runner import CampaignOutcome, CampaignSettings
from bench.run.session import SessionSettings
from bench.store import ceilings
from bench.store.campaign import Campaign, owner_lease
from bench.store.lease import Leases
from bench.store.parts import Run
from tests.support.fake_cluster import SOFTWARE, FakeCluster, FakeNode
from tests.support.hosts import a_host
from tests.support.roots import LAPTOP

SERVER = replace(LAPTOP, usable_cores=64, cpu_model="a large one")
CAMPAIGN = Campaign(
    suite="quick",
    plan_hash="0123",
    order_seed=7,
    machine_fingerprint="a cluster",
    software_fingerprint="s",
    program_version="0.1",
    program_commit=None,
    project_commit=None,
    cells_digest="",
    started_at="2026-11-23T01:02:03.000004+00:00",
)


class Record:
    """A reporter that writes down what it is given."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stored: list[str] = []
        self.left: list[float] = []
        self.total = 0

    def campaign_started(self, plan: Plan) -> None:
        pass

    def run_stored(
        self, node: ClusterNode, scheduled: ScheduledCase, run: Run, seconds: float, log: Path | None
    ) -> None:
        self.stored.append(node.name)
        assert log is None or log.is_file()

    def nodes_changed(self, nodes: object, done: int, total: int, left: float) -> None:
        self.left.append(left)
        self.total = total

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Campaigns:
    """Campaigns of a plan in one store, each call of `bench run` on a cluster of its own."""

    folder: Path
    leases: Leases
    plan: Plan
    record: Record = field(default_factory=Record)
    ceilings: bool = False

    def run(self, cluster: FakeCluster, *, shared: bool = False, **options: Any) -> CampaignOutcome:
        software = {SoftwareKey("tensorflow", "none"): SOFTWARE}
        settings = CampaignSettings(
            folder=self.folder,
            conditions=RunConditions(campaign=CAMPAIGN, machine=LAPTOP, software=software, data={}),
            leases=self.leases,
            ceilings=self.ceilings,
        )
        node_settings = NodeSettings(
            campaign=CAMPAIGN, requirements=cast(Requirements, None), silence_seconds=60.0, worker="fake"
        )
        session = SessionSettings(results=self.folder, command="bench run", **options)
        driver = CampaignDriver(
            self.plan, settings, session, node_settings, cluster, self.record, shared=shared, clock=cluster.clock
        )
        return driver.run()

    def problems(self) -> list[str]:
        """What breaks a promise: a case that is missing or there twice, a block whose ratios are across machines."""
        wrong: list[str] = []
        runs = store.load([self.folder], warn=wrong.append).drop_duplicates("run_id")
        planned = {scheduled.case.id for scheduled in self.plan.scheduled}
        if sorted(runs["case_id"]) != sorted(planned):
            wrong.append(f"{len(runs)} runs of {runs['case_id'].nunique()} cases; {len(planned)} were planned")
        for block, of_block in runs.groupby("block"):
            if of_block["machine_fingerprint"].nunique() != 1:
                wrong.append(f"block {block} is on several machines")
        return wrong


@pytest.fixture
def campaigns(tmp_path: Path) -> Iterator[Campaigns]:
    plan = make_plan(load_suite("quick", ["seeds=0..3"]), order_seed=7, host=a_host())
    with Leases(tmp_path) as leases:
        assert leases.take(owner_lease(CAMPAIGN.id)) is None
        yield Campaigns(tmp_path, leases, plan)


def blocks_by_node(cluster: FakeCluster, plan: Plan) -> Mapping[int, set[str]]:
    block_of = {scheduled.case.label(): scheduled.block for scheduled in plan.scheduled}
    nodes: dict[int, set[str]] = {}
    for node, label, _ in cluster.orders:
        nodes.setdefault(block_of[label], set()).add(node)
    return nodes


def test_each_block_is_measured_whole_on_one_node_and_nodes_work_at_once(campaigns: Campaigns) -> None:
    cluster = FakeCluster({"a": FakeNode(), "b": FakeNode(machine=SERVER)})
    outcome = campaigns.run(cluster)
    assert campaigns.problems() == []
    assert outcome.done_now == 12
    assert outcome.statuses[Status.OK] == 12
    assert outcome.wall_time is None
    assert set(map(len, blocks_by_node(cluster, campaigns.plan).values())) == {1}
    assert cluster.now < 6 * 10.0 + 10, "each has done two blocks of three runs of 10 s"
    order = [scheduled.case.label() for scheduled in campaigns.plan.scheduled if scheduled.block == 0]
    assert [label for node, label, _ in cluster.orders if label in order] == order, "the order inside a block is kept"


def test_the_estimate_is_of_the_machines_that_measure(campaigns: Campaigns) -> None:
    campaigns.run(FakeCluster({"a": FakeNode(), "b": FakeNode()}))
    assert campaigns.record.left[-1] == pytest.approx(0)
    assert any(abs(left - 50) < 15 for left in campaigns.record.left), "after 2 of 12 runs of 10 s on two machines"


def test_a_second_call_runs_nothing_again(campaigns: Campaigns) -> None:
    campaigns.run(FakeCluster({"a": FakeNode()}))
    cluster = FakeCluster({"a": FakeNode()})
    assert campaigns.run(cluster).done_now == 0
    assert cluster.orders == []


def test_what_was_begun_by_a_driver_that_died_goes_on_where_such_a_machine_is(
    campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    cluster = FakeCluster({"a": FakeNode()})
    stored = campaigns.record.run_stored

    def dies(*given: Any) -> None:
        stored(*given)
        if len(campaigns.record.stored) == 4:
            raise KilledError

    monkeypatch.setattr(campaigns.record, "run_stored", dies)
    with pytest.raises(KilledError):
        campaigns.run(cluster)
    assert cluster.measuring == {}, "nothing runs on afterwards"
    monkeypatch.undo()

    cluster = FakeCluster({"other kind": FakeNode(machine=SERVER), "same kind": FakeNode()})
    assert campaigns.run(cluster).done_now == 8
    assert campaigns.problems() == []
    assert all(attempt == 1 for _, _, attempt in cluster.orders)


def test_a_lost_block_goes_on_on_a_machine_of_its_kind(campaigns: Campaigns) -> None:
    cluster = FakeCluster({"a": FakeNode(leaves_in_run=2), "b": FakeNode(machine=SERVER), "c": FakeNode()})
    campaigns.run(cluster)
    assert campaigns.problems() == []
    assert len(cluster.orders) == 13, "only the run that died is begun twice"
    assert {"a", "c"} in blocks_by_node(cluster, campaigns.plan).values()
    assert any("was lost while it ran" in note for note in campaigns.record.notes)


def test_a_lost_block_starts_again_on_another_kind_and_nothing_is_paired_across_the_two(campaigns: Campaigns) -> None:
    cluster = FakeCluster({"a": FakeNode(leaves_in_run=3), "b": FakeNode(machine=SERVER)})
    outcome = campaigns.run(cluster)
    assert campaigns.problems() == []
    assert outcome.done_now == 14, "the two runs that were finished on the lost machine are done again"
    assert sorted(attempt for _, _, attempt in cluster.orders)[-2:] == [2, 2]
    kept = store.load([campaigns.folder], all_attempts=True).drop_duplicates("run_id")
    assert len(kept) == 14, "what was measured is kept"


def test_a_process_that_dies_is_started_again_and_its_run_with_it(campaigns: Campaigns) -> None:
    cluster = FakeCluster({"a": FakeNode(dies_in_runs={1, 5})})
    campaigns.run(cluster)
    assert campaigns.problems() == []
    assert cluster.started == ["a", "a", "a"]


def test_a_node_that_dies_again_and_again_is_quarantined_and_says_why(campaigns: Campaigns) -> None:
    cluster = FakeCluster({"a": FakeNode(dies_in_runs=set(range(100)), seconds=1.0), "b": FakeNode()})
    campaigns.run(cluster)
    assert campaigns.problems() == []
    assert cluster.nodes["a"].begun == 3
    assert "the node host is quarantined: it died 3 times" in "\n".join(campaigns.record.notes)


@pytest.mark.parametrize(("fails_after", "leaves_after"), [(12.0, 15.0), (0.1, 1.5)])
def test_a_machine_that_is_taken_away_counts_as_lost_once(
    campaigns: Campaigns, fails_after: float, leaves_after: float
) -> None:
    """Its process dies, it can't be checked again while the cluster still lists it, and then it leaves."""
    died: dict[str, float] = {}

    class Preempted(FakeCluster):
        def start(self, node: str, settings: NodeSettings) -> None:
            if node in died:
                self._after(fails_after, Lost(node, "its node has died"))
            else:
                super().start(node, settings)

        def events(self, seconds: float) -> list[NodeEvent]:
            happened = super().events(seconds)
            for event in happened:
                if isinstance(event, Lost):
                    died.setdefault(event.node, self.now)
            return happened

        def alive(self) -> Mapping[str, str]:
            for node, since in died.items():
                if self.now - since > leaves_after and self.nodes.pop(node, None) is not None:
                    self.nodes[f"after {node}"] = FakeNode(dies_in_runs={1} if len(died) < 2 else set())
            return super().alive()

    campaigns.run(Preempted({"spot": FakeNode(dies_in_runs={1})}))
    assert not any("quarantined" in note for note in campaigns.record.notes)
    assert campaigns.problems() == []


def test_a_node_where_everything_fails_is_quarantined_and_its_runs_are_done_elsewhere(campaigns: Campaigns) -> None:
    cluster = FakeCluster({"a": FakeNode(seconds=2.0), "b": FakeNode(status=Status.FAILED, host="bad")})
    outcome = campaigns.run(cluster)
    assert any("bad is quarantined: its last 3 runs failed" in note for note in campaigns.record.notes)
    assert outcome.statuses[Status.OK] == 12
    assert campaigns.problems() == []


def test_what_fails_everywhere_quarantines_nobody(campaigns: Campaigns) -> None:
    cluster = FakeCluster({name: FakeNode(status=Status.FAILED) for name in "ab"})
    outcome = campaigns.run(cluster)
    assert outcome.statuses[Status.FAILED] == 12
    assert not any("quarantined" in note for note in campaigns.record.notes)


def test_failed_runs_are_done_again_where_that_is_asked(campaigns: Campaigns) -> None:
    campaigns.run(FakeCluster({"a": FakeNode(status=Status.FAILED)}))
    assert campaigns.run(FakeCluster({"a": FakeNode()})).done_now == 0
    assert campaigns.run(FakeCluster({"a": FakeNode()}), retry_failed=True).statuses[Status.OK] == 12


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (FakeNode(seconds=40.0), "took 4 times as long"),
        (FakeNode(disturbed=0.5), "took 50% of its CPU time"),
        (FakeNode(full_disk=True), "no space left"),
    ],
)
def test_a_slow_noisy_or_full_node_is_quarantined(campaigns: Campaigns, node: FakeNode, reason: str) -> None:
    campaigns.plan = make_plan(load_suite("quick", ["seeds=0..9"]), order_seed=7, host=a_host())
    campaigns.run(FakeCluster({"a": FakeNode(), "b": FakeNode(), "bad": replace(node, host="bad")}))
    notes = "\n".join(campaigns.record.notes)
    assert "the node bad is quarantined" in notes
    assert reason in notes
    assert campaigns.problems() == []


def test_what_arrives_damaged_is_measured_again(campaigns: Campaigns) -> None:
    campaigns.run(FakeCluster({"a": FakeNode(mangles={2})}))
    assert campaigns.problems() == []
    assert len(list((campaigns.folder / "runs").glob("*.parquet"))) == 12


def test_a_refused_node_is_named_with_the_reason_and_the_others_measure(campaigns: Campaigns) -> None:
    cluster = FakeCluster({"a": FakeNode(), "b": FakeNode(refusals=("it has Keras 3.14, the driver 3.15",), host="b")})
    campaigns.run(cluster)
    assert "the node b is refused: it has Keras 3.14, the driver 3.15" in campaigns.record.notes
    assert {node for node, _, _ in cluster.orders} == {"a"}


def test_where_no_node_may_measure_the_user_learns_why(campaigns: Campaigns) -> None:
    with pytest.raises(UsageError, match="b is refused: it has Keras"):
        campaigns.run(FakeCluster({"b": FakeNode(refusals=("it has Keras 3.14",), host="b")}))


def test_a_cluster_without_nodes_is_waited_for_and_not_for_ever(campaigns: Campaigns) -> None:
    cluster = FakeCluster({})
    with pytest.raises(
        UsageError, match=r"no node of the cluster can measure: none has processors for Ray \(`ray start"
    ):
        campaigns.run(cluster)
    assert PATIENCE_SECONDS <= cluster.now < 2 * PATIENCE_SECONDS


def test_where_all_nodes_have_left_the_user_learns_it(campaigns: Campaigns) -> None:
    with pytest.raises(UsageError, match="no node of the cluster can measure: all have left it"):
        campaigns.run(FakeCluster({"a": FakeNode(leaves_in_run=2)}))


def test_nodes_whose_processors_are_taken_are_waited_for_and_named(campaigns: Campaigns) -> None:
    taken = {f"n{number}": FakeNode(host=f"n{number}", checked_after=3 * PATIENCE_SECONDS) for number in range(4)}
    campaigns.run(FakeCluster({"a": FakeNode(seconds=4 * PATIENCE_SECONDS), **taken}))
    late = [note for note in campaigns.record.notes if "still waiting" in note]
    assert [note.partition(": another campaign may have")[0] for note in late] == [
        "still waiting for n0, n1, n2 and 1 more"
    ]
    assert campaigns.problems() == []


def test_nodes_on_one_machine_are_marked_and_are_not_compared_with_one_that_is_alone(campaigns: Campaigns) -> None:
    shared = {name: FakeNode(boot="one machine") for name in "ab"}
    campaigns.run(FakeCluster({**shared, "c": FakeNode()}))
    runs = store.load([campaigns.folder]).drop_duplicates("run_id")
    marked = replace(LAPTOP, shared_by=SHARED)
    assert set(runs["machine_fingerprint"]) == {LAPTOP.fingerprint, marked.fingerprint}
    assert campaigns.problems() == []
    assert Machine.from_json(marked.to_json()) == marked


def test_nodes_on_one_machine_without_a_common_lock_never_measure_at_once(campaigns: Campaigns) -> None:
    class Watched(FakeCluster):
        most = 0

        def measure(self, node: str, order: Any) -> None:
            super().measure(node, order)
            self.most = max(self.most, len(self.measuring))

    cluster = Watched({name: FakeNode(boot="one machine", lock=f"lock of {name}") for name in "ab"})
    campaigns.run(cluster)
    assert cluster.most == 1
    assert campaigns.problems() == []


def test_no_block_is_begun_that_would_not_end_in_time(campaigns: Campaigns) -> None:
    cluster = FakeCluster({"a": FakeNode()})
    outcome = campaigns.run(cluster, budget_seconds=75.0)
    assert outcome.done_now == 6
    assert any("for want of time" in note for note in campaigns.record.notes)


def test_a_node_that_joins_later_gets_work(campaigns: Campaigns) -> None:
    class Growing(FakeCluster):
        def alive(self) -> Mapping[str, str]:
            if self.now > 15 and "late" not in self.nodes:
                self.nodes["late"] = FakeNode()
            return super().alive()

    cluster = Growing({"a": FakeNode()})
    campaigns.run(cluster)
    assert {node for node, _, _ in cluster.orders} == {"a", "late"}
    assert campaigns.problems() == []


def test_a_driver_whose_campaign_was_taken_over_stores_nothing_more(campaigns: Campaigns) -> None:
    campaigns.leases.release(owner_lease(CAMPAIGN.id))
    with pytest.raises(UsageError, match="was taken over by another process"):
        campaigns.run(FakeCluster({"a": FakeNode()}))
    assert list((campaigns.folder / "runs").glob("*.parquet")) == []


def test_nodes_that_are_known_to_share_a_machine_are_marked_from_the_first_run_on(campaigns: Campaigns) -> None:
    """A node that was checked late would make the first one's block start again, as on another machine."""

    class Late(FakeCluster):
        def alive(self) -> Mapping[str, str]:
            if self.now > 15:
                self.nodes.setdefault("b", FakeNode(boot="one machine"))
            return super().alive()

    cluster = Late({"a": FakeNode(boot="one machine")})
    campaigns.run(cluster, shared=True)
    assert campaigns.problems() == []
    assert len(cluster.orders) == 12
    runs = store.load([campaigns.folder]).drop_duplicates("run_id")
    assert set(runs["machine_fingerprint"]) == {replace(LAPTOP, shared_by=SHARED).fingerprint}


def test_the_gpus_of_a_machine_measure_at_once_and_their_runs_know_it(campaigns: Campaigns) -> None:
    slots = {f"n/{number}": FakeNode(boot="b", card=f"0{number}:00.0") for number in range(4)}
    cluster = FakeCluster(slots)
    assert campaigns.run(cluster).done_now == 12
    assert campaigns.problems() == []
    assert cluster.now < 3 * 10.0 + 10, "each has done a block of three runs of 10 s"
    assert {SHARED_BY_CARDS} == set(shared_by(campaigns.folder))
    assert any(abs(left - 20) < 10 for left in campaigns.record.left), "four slots, though a single machine"


def test_one_gpu_of_a_machine_shares_it_with_nobody(campaigns: Campaigns) -> None:
    campaigns.run(FakeCluster({"n/0": FakeNode(boot="b", card="01:00.0")}))
    assert set(shared_by(campaigns.folder)) == {None}


@pytest.mark.parametrize(
    ("cards", "at_once"),
    [(("01:00.0", "02:00.0"), True), (("01:00.0", "01:00.0"), False), (("01:00.0", None), False)],
)
def test_containers_on_a_machine_measure_at_once_only_on_cards_that_differ(
    campaigns: Campaigns, cards: tuple[str | None, str | None], at_once: bool
) -> None:
    nodes = {f"{number}": FakeNode(boot="b", lock=f"{number}", card=card) for number, card in enumerate(cards)}
    cluster = FakeCluster(nodes)
    campaigns.run(cluster)
    assert campaigns.problems() == []
    assert (cluster.now < 6 * 10.0 + 10) == at_once


def test_ceilings_are_measured_once_on_each_kind_of_machine_before_its_runs(campaigns: Campaigns) -> None:
    campaigns.ceilings = True
    cluster = FakeCluster({"a": FakeNode(), "b": FakeNode(), "c": FakeNode(machine=SERVER, dies_in_ceilings=True)})
    campaigns.run(cluster)
    assert campaigns.problems() == []
    known = ceilings.load([campaigns.folder], warn=pytest.fail)
    assert {machine for _, machine, _ in known} == {LAPTOP.fingerprint, SERVER.fingerprint}
    assert {software for _, _, software in known} == {SOFTWARE.fingerprint}
    measured = [(node, number) for node, label, number in cluster.orders if label == "ceilings"]
    assert measured == [("a", 3), ("c", 3), ("c", 3)], "three cells; c again, since it died"
    assert next(label for node, label, _ in cluster.orders if node == "a") == "ceilings"
    assert sum("serial chain" in note for note in campaigns.record.notes) == 6
    assert "host: its fan is loud" in campaigns.record.notes
    again = FakeCluster({"a": FakeNode()})
    campaigns.plan = make_plan(load_suite("quick", ["seeds=0..4"]), order_seed=7, host=a_host())
    campaigns.run(again)
    assert "ceilings" not in {label for _, label, _ in again.orders}, "the store has them"


def test_the_loss_of_the_node_that_measures_ceilings_lets_another_do_so(campaigns: Campaigns) -> None:
    campaigns.ceilings = True
    a = FakeNode(dies_in_ceilings=True, seconds=30.0)
    cluster = FakeCluster({"a": a, "b": FakeNode(seconds=1.5)})
    campaigns.run(cluster)
    assert campaigns.problems() == []
    assert [node for node, label, _ in cluster.orders if label == "ceilings"] == ["a", "b"]


def shared_by(folder: Path) -> list[str | None]:
    """What the machine of each run is shared by."""
    runs = store.load([folder]).drop_duplicates("run_id")
    return [Machine.from_json(text).shared_by for text in runs["machine_json"]]
