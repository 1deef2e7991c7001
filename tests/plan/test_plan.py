from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.catalog import device_profiles
from bench.core.axes import AXES
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.plan.estimate import estimate_all
from bench.plan.plan import Plan, make_plan
from bench.plan.prepare import prepare
from bench.plan.suite import Axes, Settings, Suite, load
from tests.support.hosts import a_host


def plan(
    suite: str | Suite = "quick",
    *overrides: str,
    order_seed: int = 0,
    substitutes: dict[str, str] | None = None,
    **changes: Any,
) -> Plan:
    """The plan on a machine that has no GPU."""
    asked = load(suite, overrides) if isinstance(suite, str) else suite
    no_gpu: dict[str, Any] = {"device_problem": lambda device: None if device == "cpu" else f"{device}: no GPU here"}
    return make_plan(asked, order_seed=order_seed, host=a_host(**{**no_gpu, **changes}), substitutes=substitutes)


def order(made: Plan) -> list[tuple[int, str, int, int]]:
    return [
        (scheduled.block, scheduled.case.cell, scheduled.case.seed, scheduled.case.repeat)
        for scheduled in made.scheduled
    ]


# The order


def test_the_order_of_quick_is_what_it_always_was() -> None:
    assert order(plan()) == [
        (0, "simple_rnn", 0, 0),
        (0, "gru", 0, 0),
        (0, "lstm", 0, 0),
        (1, "simple_rnn", 1, 0),
        (1, "lstm", 1, 0),
        (1, "gru", 1, 0),
        (2, "gru", 2, 0),
        (2, "simple_rnn", 2, 0),
        (2, "lstm", 2, 0),
    ]


def test_the_hash_of_quick_is_what_it_always_was() -> None:
    assert plan().hash == "b80f0728dcd5cd21"


def test_the_ids_of_the_protocols_cases_are_those_of_stored_runs() -> None:
    ids = {scheduled.case.cell: scheduled.case.id for scheduled in plan("mnist_rows", "seeds=0").scheduled}
    assert ids == {"simple_rnn": "6a284081d15f9fb7", "lstm": "ca687b713c8df061", "gru": "a57a6d39472271a7"}
    assert plan("mnist_rows").scheduled[0].case.configuration_id in ids.values()


def test_what_a_case_leaves_at_its_default_is_not_in_its_id() -> None:
    assert Case(cell="lstm").canonical == '{"cell": "lstm"}'
    assert Case(cell="lstm", seed=3, units=64).canonical == '{"cell": "lstm", "seed": 3, "units": 64}'


def test_another_number_gives_another_order_of_the_same_cases() -> None:
    first, second = plan("quick", "seeds=0..9"), plan("quick", "seeds=0..9", order_seed=1)
    assert order(first) != order(second)
    assert sorted(order(first)) == sorted(order(second))
    assert first.hash != second.hash


def test_positions_count_from_0_and_blocks_follow_each_other() -> None:
    made = plan("quick", "seeds=3,1", "repeats=2", "units=64,128")
    assert [scheduled.position for scheduled in made.scheduled] == list(range(24))
    assert [scheduled.block for scheduled in made.scheduled] == sorted(scheduled.block for scheduled in made.scheduled)
    assert made.blocks == 4


def test_the_order_inside_blocks_differs_between_them() -> None:
    made = plan("quick", "seeds=0..19")
    assert (
        len(
            {
                tuple(scheduled.case.cell for scheduled in made.scheduled if scheduled.block == block)
                for block in range(20)
            }
        )
        == 6
    )


@pytest.mark.parametrize(
    ("short", "long"),
    [(["seeds=0..2"], ["seeds=0..9"]), (["repeats=2"], ["repeats=5"]), (["seeds=4"], ["seeds=4,0", "repeats=3"])],
)
def test_a_longer_suite_keeps_the_order_of_the_shorter_one(short: list[str], long: list[str]) -> None:
    some, more = plan("quick", *short).scheduled, plan("quick", *long).scheduled
    assert len(more) > len(some)
    assert more[: len(some)] == some


def test_a_block_has_what_each_part_with_its_seed_crosses_to_and_that_once(tmp_path: Path) -> None:
    path = tmp_path / "parts.toml"
    path.write_text(
        "[axes]\ntasks = ['mnist_5k']\n[[parts]]\ncells = ['lstm']\nseeds = [0, 1, 2]\n"
        "[[parts]]\ncells = ['gru', 'lstm']\nunits = [128, 64]\nseeds = [1]\n"
    )
    made = plan(str(path))
    blocks: dict[int, list[tuple[str, int, int]]] = {}
    for scheduled in made.scheduled:
        case = scheduled.case
        blocks.setdefault(scheduled.block, []).append((case.cell, case.units, case.seed))
    small, large = [("lstm", 128, 1), ("gru", 128, 1)], [("lstm", 64, 1), ("gru", 64, 1)]
    assert {block: sorted(cases) for block, cases in blocks.items()} == {
        0: [("lstm", 128, 0)],
        1: sorted(small + large),
        2: [("lstm", 128, 2)],
    }
    assert len({scheduled.case.id for scheduled in made.scheduled}) == len(made.scheduled)


def on_a_gpu(suite: str) -> Plan:
    profile = device_profiles.PROFILES["h100"]
    return prepare(suite, ["backends=torch,jax"], 0, profile=profile).plan()


def test_eight_minutes_on_a_gpu_answer_the_first_question_in_every_block_and_the_rest_once() -> None:
    made = on_a_gpu("gpu_8min")
    first_question = {("lstm", backend, kernel, 128) for backend in ("torch", "jax") for kernel in ("generic", "cudnn")}
    blocks: dict[int, set[tuple[str, str, str, int]]] = {}
    for scheduled in made.scheduled:
        case = scheduled.case
        blocks.setdefault(scheduled.block, set()).add((case.cell, case.backend, case.kernel, case.units))
    assert sum(first_question <= cases for cases in blocks.values()) >= 5
    assert blocks[0] == first_question  # the first thing that is whole
    asked = {(scheduled.case.cell, scheduled.case.kernel) for scheduled in made.scheduled}
    assert {(cell, "auto") for cell in ("simple_rnn", "lstm", "gru")} | {("gru", "cudnn"), ("lstm", "cudnn")} <= asked
    assert {("lstm", "compiled"), ("gru", "compiled")} <= asked
    left_out = {(out.configuration.cell, out.configuration.kernel) for out in made.excluded}
    assert ("simple_rnn", "compiled") in left_out  # with its reason
    assert 512 in {scheduled.case.units for scheduled in made.scheduled}
    # whatever the profile's figures are worth, by them all but the last block takes some eight minutes
    assert {each.case.kernel for each in made.scheduled if each.block == max(blocks)} == {"compiled"}
    assert 5 * 60 < estimate_all([each.case for each in made.scheduled if each.block < max(blocks)]) < 12 * 60


suites = st.builds(
    lambda seeds, units, epochs, repeats: Suite(
        name="s",
        axes=Axes(tasks=("mnist_5k",), seeds=tuple(seeds), units=tuple(units), epochs=tuple(epochs)),
        settings=Settings(repeats=repeats),
    ),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
    units=st.lists(st.integers(1, 300), min_size=1, max_size=2, unique=True),
    epochs=st.lists(st.integers(1, 5), min_size=1, max_size=2, unique=True),
    repeats=st.integers(1, 3),
)


@given(suites, st.integers(0, 2**63))
def test_each_block_has_each_configuration_once_with_one_seed_and_repeat(suite: Suite, number: int) -> None:
    made = plan(suite, order_seed=number)
    blocks: dict[int, list[Case]] = {}
    for scheduled in made.scheduled:
        blocks.setdefault(scheduled.block, []).append(scheduled.case)
    configurations = {scheduled.case.configuration_id for scheduled in made.scheduled}
    assert len(configurations) == len(suite.axes.units) * len(suite.axes.epochs) * len(suite.axes.cells)
    for cases in blocks.values():
        assert {case.configuration_id for case in cases} == configurations
        assert len(cases) == len(configurations)
        assert len({(case.seed, case.repeat) for case in cases}) == 1
    wanted = {(seed, repeat) for seed in suite.axes.seeds for repeat in range(suite.settings.repeats)}
    assert {(cases[0].seed, cases[0].repeat) for cases in blocks.values()} == wanted
    assert len({scheduled.case.id for scheduled in made.scheduled}) == len(made.scheduled) == suite.runs
    assert made == plan(suite, order_seed=number)
    assert made.hash == plan(suite, order_seed=number).hash


def test_every_axis_reaches_its_field() -> None:
    values: dict[str, Any] = {
        "cells": "gru",
        "tasks": "mnist_5k",
        "networks": "cudnn_ready",
        "kernels": "unrolled",
        "units": 7,
        "batch_size": 8,
        "epochs": 9,
        "seeds": 10,
    }
    settings = ["train_samples=100", "learning_rate=0.5", "decay=0.25"]
    (scheduled,) = plan("mnist_rows", *(f"{axis}={value}" for axis, value in values.items()), *settings).scheduled
    assert scheduled.case == Case(
        **{AXES[axis].field: value for axis, value in values.items()},
        train_samples=100,
        learning_rate=0.5,
        decay=0.25,
    )


# What is left out


def test_what_cannot_run_here_is_left_out_with_its_reason() -> None:
    made = plan("quick", "devices=cpu,gpu:0", "kernels=auto,cudnn", "seeds=0,1")
    reasons = {
        (out.configuration.cell, out.configuration.device, out.configuration.kernel): out.reason
        for out in made.excluded
    }
    assert len(reasons) == len(made.excluded) == 9
    assert reasons["lstm", "gpu:0", "auto"] == reasons["gru", "gpu:0", "cudnn"] == "gpu:0: no GPU here"
    assert "no cuDNN path for SimpleRNN" in reasons["simple_rnn", "cpu", "cudnn"]
    assert "NVIDIA GPUs only, and the device is cpu" in reasons["lstm", "cpu", "cudnn"]
    assert {scheduled.case.kernel for scheduled in made.scheduled} == {"auto"}
    assert made.blocks == 2


def test_relu_in_the_second_layer_rules_cudnn_out() -> None:
    made = plan(
        "quick",
        "devices=gpu:0",
        "kernels=cudnn",
        "cells=lstm",
        "networks=notebook,cudnn_ready",
        device_problem=lambda _: None,
    )
    assert {scheduled.case.network for scheduled in made.scheduled} == {"cudnn_ready"}
    assert [out.configuration.network for out in made.excluded] == ["notebook"]
    assert "use the network cudnn_ready" in made.excluded[0].reason


def test_a_backend_that_is_not_installed_leaves_all_out() -> None:
    made = plan(backends={"tensorflow": "tensorflow is not installed"})
    assert made.scheduled == ()
    assert made.blocks == 0
    assert {out.reason for out in made.excluded} == {"tensorflow is not installed"}


def test_what_is_left_out_is_part_of_the_hash() -> None:
    assert plan("quick", "devices=cpu,gpu:0").hash != plan("quick").hash
    silent = plan("quick", "silence_seconds=5")
    assert silent.silence_seconds == 5
    assert silent.hash == plan("quick").hash  # when a run is given up is no part of what is measured


def test_a_task_stands_in_for_another_and_is_run_once() -> None:
    made = plan("mnist_rows", "tasks=mnist,mnist_5k", substitutes={"mnist": "mnist_5k"})
    assert made.title.endswith("(here on mnist_5k in place of mnist)")
    assert {scheduled.case.task for scheduled in made.scheduled} == {"mnist_5k"}
    assert len(made.scheduled) == 9


# What cannot be planned


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("cells=lsmt", "unknown cell 'lsmt' (--set cells=lsmt): did you mean 'lstm'?"),
        (
            "cells=lstm,my.module:factory",
            "no module for the cell 'my.module:factory' (--set cells=lstm,my.module:factory)",
        ),
        ("networks=notebok", "unknown network 'notebok' (--set networks=notebok): did you mean 'notebook'?"),
        ("kernels=cuda", "unknown kernel 'cuda' (--set kernels=cuda): did you mean 'cudnn'?"),
        ("devices=gpu", "unknown device 'gpu' (--set devices=gpu): did you mean 'gpu:0'?"),
        ("devices=cuda:0", "unknown device 'cuda:0'"),
        ("tasks=mnst", "unknown task 'mnst' (--set tasks=mnst): did you mean 'mnist'?"),
        ("backends=tensorfow", "unknown backend 'tensorfow' (--set backends=tensorfow): did you mean 'tensorflow'?"),
        ("fallback_task=mnist5k", "unknown task 'mnist5k' (--set fallback_task=mnist5k): did you mean 'mnist_5k'?"),
        (
            "batch_size=32,4001",
            "batch_size = 4001 (--set batch_size=32,4001) is larger than the training data: 4000 samples",
        ),
        (
            "train_samples=4001",
            "train_samples = 4001 (--set train_samples=4001) is more than the task mnist_5k has: 4000",
        ),
    ],
)
def test_what_cannot_be_planned(override: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan("quick", override)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_batch_of_all_the_samples_that_are_used_is_the_largest() -> None:
    assert plan("quick", "batch_size=4000").scheduled
    assert plan("quick", "train_samples=50", "batch_size=50").scheduled
    with pytest.raises(UsageError, match="larger than the training data: 50 samples of the task mnist_5k"):
        plan("quick", "train_samples=50", "batch_size=51")


def test_a_wrong_name_is_an_error_even_where_nothing_could_run() -> None:
    with pytest.raises(UsageError, match="unknown cell"):
        plan("quick", "cells=x", "devices=gpu:0")


# What else a plan says


def test_what_varies_is_what_labels_need() -> None:
    assert plan().varying == ()
    assert plan("quick", "units=64,128", "devices=cpu,gpu:0").varying == ("device", "units")
    assert plan().scheduled[0].case.label(plan("quick", "units=64,128").varying) == "simple_rnn units=128 seed=0"


def test_a_plan_goes_into_a_manifest_and_comes_back() -> None:
    made = plan("quick", "kernels=auto,cudnn")
    data = json.loads(json.dumps(made.to_data()))
    cases = [Case(**entry["case"]) for entry in data["cases"]]
    assert cases == [scheduled.case for scheduled in made.scheduled]
    assert [entry["id"] for entry in data["cases"]] == [case.id for case in cases]
    assert [(Case(**entry["case"]), entry["reason"]) for entry in data["left_out"]] == [
        (out.configuration, out.reason) for out in made.excluded
    ]


def test_the_suite_of_kernels_ends_within_twenty_minutes_and_leaves_out_what_cannot_be_had() -> None:
    made = plan("kernels", backends=dict.fromkeys(("tensorflow", "jax", "torch")))
    assert 10 * 60 < estimate_all([scheduled.case for scheduled in made.scheduled]) < 20 * 60
    assert made.blocks == 3  # enough for intervals
    ran = {(scheduled.case.backend, scheduled.case.kernel) for scheduled in made.scheduled}
    assert ran == {
        *(("tensorflow", kernel) for kernel in ("auto", "generic", "unrolled", "xla")),
        *(("jax", kernel) for kernel in ("auto", "generic", "unrolled")),
        *(("torch", kernel) for kernel in ("auto", "generic")),
    }
    reasons = {(o.configuration.cell, o.configuration.kernel, o.configuration.backend): o.reason for o in made.excluded}
    assert reasons["gru", "cudnn", "jax"] == "Keras's JAX backend has no cuDNN GRU"
    assert len(made.scheduled) == 3 * 27
    assert len(made.excluded) == 3 * 5 * 3 - 27
