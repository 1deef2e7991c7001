"""Which block a node gets, and what is due of it, whatever was lost before."""

from __future__ import annotations

import random

import pytest

from bench.cluster.dispatch import Dispatcher
from bench.cluster.time_left import block_assignment
from bench.core.case import Status
from bench.plan.plan import Plan, ScheduledCase, make_plan
from bench.plan.suite import load as load_suite
from bench.store.reader import LastAttempt
from tests.support.hosts import a_host


def a_plan(seeds: int) -> Plan:
    return make_plan(load_suite("quick", [f"seeds=0..{seeds - 1}"]), order_seed=7, host=a_host())


def done_on(machine: str, cases: list[ScheduledCase], status: Status = Status.OK) -> dict[str, LastAttempt]:
    return {scheduled.case.id: LastAttempt(1, status, machine) for scheduled in cases}


def test_a_begun_block_waits_for_a_machine_of_its_kind_while_one_is_there() -> None:
    plan = a_plan(2)
    first = [scheduled for scheduled in plan.scheduled if scheduled.block == 0]
    dispatcher = Dispatcher(plan.scheduled, done_on("x", first[:1]))
    assert dispatcher.assign("node y", "y", {"x", "y"}) == 1
    assert dispatcher.assign("another y", "y", {"x", "y"}) is None
    assert dispatcher.assign("node x", "x", {"x", "y"}) == 0
    due = dispatcher.next_run("node x", "x")
    assert due is not None
    assert due.scheduled == first[1]
    assert due.attempt == 1


def test_a_block_whose_kind_of_machine_is_gone_starts_again_after_all_that_nobody_has_begun() -> None:
    plan = a_plan(2)
    first = [scheduled for scheduled in plan.scheduled if scheduled.block == 0]
    dispatcher = Dispatcher(plan.scheduled, done_on("x", first[:1]))
    assert dispatcher.assign("y1", "y", {"y"}) == 1
    assert dispatcher.assign("y2", "y", {"y"}) == 0
    due = dispatcher.next_run("y2", "y")
    assert due is not None
    assert (due.scheduled, due.attempt) == (first[0], 2)


def test_more_blocks_than_are_needed_are_not_begun() -> None:
    dispatcher = Dispatcher(a_plan(3).scheduled, {})
    dispatcher.blocks_needed = 1
    assert dispatcher.assign("a", "x", {"x"}) == 0
    assert dispatcher.assign("b", "x", {"x"}) is None
    assert {scheduled.block for scheduled in dispatcher.due_runs()} == {0}


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_lost_each_case_ends_once_and_each_block_on_one_kind_of_machine(seed: int) -> None:
    """Random nodes of three kinds come and go, and the driver too, whose memory is what is stored."""
    generator, plan = random.Random(seed), a_plan(6)
    stored: dict[str, list[LastAttempt]] = {}
    for _ in range(1_000):
        last = {case: max(attempts, key=lambda each: each.number) for case, attempts in stored.items()}
        dispatcher = Dispatcher(plan.scheduled, last)
        nodes: dict[str, str] = {}
        while dispatcher.unfinished and generator.random() > 0.05:
            if generator.random() < 0.2 or not nodes:
                nodes[f"node {generator.random()}"] = generator.choice("xyz")
            if generator.random() < 0.1:
                gone = generator.choice(list(nodes))
                dispatcher.lost(gone)
                del nodes[gone]
                continue
            node = generator.choice(list(nodes))
            machine = nodes[node]
            if dispatcher.block_of(node) is None and dispatcher.assign(node, machine, nodes.values()) is None:
                continue
            due = dispatcher.next_run(node, machine)
            if due is None or generator.random() < 0.1:
                continue
            attempts = stored.setdefault(due.scheduled.case.id, [])
            assert due.attempt not in {each.number for each in attempts}, "a run is stored once"
            attempts.append(LastAttempt(due.attempt, Status.OK, machine))
            dispatcher.ended(node, due, Status.OK, machine)
        if not dispatcher.unfinished:
            break
    machines = {
        case: max(attempts, key=lambda each: each.number).machine_fingerprint for case, attempts in stored.items()
    }
    assert set(machines) == {scheduled.case.id for scheduled in plan.scheduled}
    for block in range(plan.blocks):
        assert len({machines[each.case.id] for each in plan.scheduled if each.block == block}) == 1


def test_blocks_go_to_who_is_free_first_and_nodes_of_one_machine_wait_for_each_other() -> None:
    blocks = {number: [each for each in a_plan(4).scheduled if each.block == number] for number in range(4)}
    alone, hour = block_assignment(blocks, {"a": "m1"})
    assert alone == {"a": [0, 1, 2, 3]}
    several, shorter = block_assignment(blocks, {"a": "m1", "b": "m2"})
    assert several == {"a": [0, 2], "b": [1, 3]}
    assert shorter == pytest.approx(hour / 2)
    assert block_assignment(blocks, {"a": "m1", "b": "m1"})[1] == pytest.approx(hour)
