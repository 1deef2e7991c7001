"""A user's data: what a factory may return, what is refused and how it is named; prepared in a process of its own."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import Stream, TaskData
from bench.catalog import tasks
from bench.catalog.cache import obtain
from bench.catalog.tasks.description import from_json, to_json
from bench.catalog.tasks.users import task_of
from bench.catalog.users_data import prepare_task
from bench.core import code
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.plan.prepare import prepare

X, LABELS = np.zeros((6, 4, 3)), np.array([0, 1, 2, 0, 1, 2])


def data(target: str = "class", y: Any = LABELS, x: Any = X, lengths: Any = None, **rest: Any) -> TaskData:
    part = (x, y) if lengths is None else (x, y, lengths)
    return TaskData(target=target, train=part, test=part, **rest)


@pytest.mark.parametrize(
    ("given", "outputs", "y_shape"),
    [
        (data(), 3, (6,)),
        (data(classes=7), 7, (6,)),
        (data("class_per_step", np.ones((6, 4), int)), 2, (6, 4)),
        (data("number", np.ones(6)), 1, (6, 1)),
        (data("number", np.ones((6, 5))), 5, (6, 5)),
        (data("number_per_step", np.ones((6, 4))), 1, (6, 4, 1)),
        (data("number_per_step", np.ones((6, 4, 2))), 2, (6, 4, 2)),
    ],
)
def test_every_kind_of_target(given: TaskData, outputs: int, y_shape: tuple[int, ...]) -> None:
    task, arrays = task_of("my:data", given)
    assert (task.steps, task.features, task.outputs) == (4, 3, outputs)
    assert task.target.name == given.target
    assert arrays.y_train.shape == y_shape
    assert task.mask_value is None


def test_a_validation_set_of_its_own_is_known_to_who_reads_the_store() -> None:
    task, _ = task_of("my:data", data(validation=(X, LABELS)))
    assert task.validation_samples == 6
    assert from_json(to_json(task)) == replace(task, code_json="")
    without, _ = task_of("my:data", data())
    assert from_json(to_json(without)) == without
    assert "validation_samples" not in to_json(without)  # as it was kept before there were any


def test_tokens_are_counted_and_embedded() -> None:
    task, _ = task_of("my:data", data(x=np.array([[0, 5]] * 6), embedding=8))
    assert (task.steps, task.features, task.vocabulary) == (2, 8, 6)


def test_numbers_may_be_numpys() -> None:
    counts = {"classes": LABELS.max() + 1, "vocabulary": np.int32(9), "embedding": np.uint8(8)}
    task, _ = task_of("my:data", data(x=np.ones((6, 4), int), **counts))
    assert (task.outputs, task.vocabulary, task.features) == (3, 9, 8)
    assert from_json(to_json(task)) == task


def test_what_marks_padding_is_no_value_of_the_data() -> None:
    x = np.full((6, 4, 3), -5.3)
    task, _ = task_of("my:data", data(x=x, lengths=np.array([1, 2, 3, 4, 4, 4])))
    assert task.mask_value == -8
    tokens, _ = task_of("my:data", data(x=np.ones((6, 4), int), lengths=np.full(6, 3)))
    assert tokens.mask_value == 0


def test_a_stream_is_padded_and_has_the_lengths_of_its_samples() -> None:
    def samples() -> Iterator[tuple[Any, Any]]:
        for steps in (2, 5, 3):
            yield np.ones((steps, 1)), np.full((steps, 1), steps)

    test = (np.zeros((2, 4, 1)), np.zeros((2, 4, 1)))
    task, arrays = task_of("my:data", TaskData(target="number_per_step", train=Stream(samples(), 3), test=test))
    assert task.steps == 5
    assert arrays.lengths_train is not None
    assert arrays.lengths_train.tolist() == [2, 5, 3]
    assert arrays.y_train[:, :, 0].tolist() == [[2, 2, 0, 0, 0], [5] * 5, [3, 3, 3, 0, 0]]
    # the test set, of 4 steps, is as long as the longest, and the fifth is padding
    assert arrays.x_test.shape == (2, 5, 1)
    assert arrays.lengths_test is not None
    assert arrays.lengths_test.tolist() == [4, 4]


NOTHING: Any = None
NO_PAIRS: Any = [X[0]]
NAN = X.copy()
NAN[2, 1, 0] = np.nan


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"train": (X, LABELS)}, "my:data returned a dict, where a bench.TaskData is expected"),
        (data("label"), "the target 'label' is none of class, class_per_step, number, number_per_step"),
        (data(y=np.ones((6, 4), int)), "train y has the shape 6 × 4, where 6 is expected: a class per sequence"),
        (data("class_per_step"), "train y has the shape 6, where 6 × 4 is expected: a class per step"),
        (data(y=LABELS - 1), "train y (int64, from -1 to 1) must hold whole numbers from 0"),
        (data(y=LABELS + 0.5), "train y (float64, from 0.5 to 2.5) must hold whole numbers from 0"),
        (data(y=LABELS + 2**31), "from 2147483648 to 2147483650) must hold whole numbers from 0 to 2,147,483,647"),
        (data(x=np.full((6, 4), 2**40)), "train x holds the token 1099511627776, and tokens are at most 2,147,483,647"),
        (data(classes=2), "y goes up to 2, and there are 2 classes, from 0"),
        (data(x=np.zeros((6, 4))), "train x has the shape 6 × 4 (float64), where samples × steps × features is"),
        (data(x=np.array([["a"]])), "train x holds <U1, where numbers are expected"),
        (data(x=[[1.0], [1.0, 2.0]]), "train x is no array"),
        (data(x=NAN), "train x holds a value that isn't finite, at [2, 1, 0]"),
        (data(lengths=np.full(6, 5)), "train lengths (int64, 6, from 5 to 5) must hold 6 whole numbers from 1 to 4"),
        (
            data(x=np.zeros((6, 4), int), lengths=np.full(6, 3)),
            "train x holds the token 0; tokens are from 1: 0 is",
        ),
        (TaskData(target="class", train=(X,), test=(X,)), "train is a tuple, where (x, y), (x, y, lengths) or a"),
        (TaskData(target="class", train=Stream([(X[0], 1)], 2), test=(X, LABELS)), "train gave 1 samples, and its"),
        (
            TaskData(target="class", train=Stream(itertools.repeat((X[0], 1)), 2), test=(X, LABELS)),
            "train gave more samples than its length, 2: end it there, as itertools.islice does",
        ),
        (TaskData(target="class", train=Stream([], 0), test=(X, LABELS)), "the length of its Stream is 0, where a"),
        (TaskData(target="class", train=Stream(NO_PAIRS, 1), test=(X, LABELS)), "sample 0 is a ndarray, where (x, y)"),
        (
            TaskData(target="class", train=NOTHING, test=(X, LABELS)),
            "train is None, where (x, y), (x, y, lengths) or a",
        ),
        (data(validation=(X[:0], LABELS[:0])), "validation x has the shape 0 × 4 × 3: there is nothing in it"),
        (data(validation=(X, LABELS + 3), classes=3), "y goes up to 5, and there are 3 classes, from 0"),
        (data(classes=2.5), "classes is 2.5, where a whole number from 1 to 2,147,483,647 is expected"),
        (data(x=np.ones((6, 4), int), embedding=0), "embedding is 0, where a whole number from 1"),
        (data(x=np.ones((6, 4), int), vocabulary=-3), "vocabulary is -3, where a whole number from 1"),
        (data(title=3), "the title is a int, where text is expected"),
        (data("number", np.full(6, 1e300)), "train y holds values up to 1e+300, with which float32 can't compute"),
        (
            TaskData(target="class", train=(X, LABELS), test=(X[..., :2], LABELS)),
            "test x has 2 features, and train",
        ),
        (TaskData(target="number", train=(X, np.ones((6, 2))), test=(X, np.ones((6, 3)))), "outputs differ"),
    ],
)
def test_what_cannot_be_used_names_the_array_and_what_is_expected(given: object, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        task_of("my:data", given)
    assert sentence in str(refused.value)


MODULE = """
import os, sys
import numpy as np
import bench

def factory():
    print("a line that the user's code prints")
    x = np.arange(80.0).reshape(10, 4, 2) + float(os.environ["MY_DATA_OFFSET"])
    return bench.TaskData(target="class", train=(x, np.arange(10) % 2), test=(x, np.arange(10) % 2), title="mine")

def failing():
    raise ValueError("no such file")

def ending():
    os._exit(3)

def leaving():
    print("no data today")
    sys.exit()
"""


@pytest.fixture
def offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A folder with the module `my_set`, whose values an environment variable moves."""
    (tmp_path / "my_set.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MY_DATA_OFFSET", "0")
    yield monkeypatch
    tasks._prepared.clear()


def test_data_are_prepared_by_a_process_of_their_own_and_proved_when_read(offset: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    task = prepare_task("my_set:factory", "--set tasks=my_set:factory", said.append)
    assert "my_set" not in sys.modules
    assert said[0].startswith("my_set:factory: mine, 10 + 10 samples, kept in ")
    case = Case(cell="gru", task="my_set:factory")
    assert tasks.of(case) == task
    path = obtain(task, data_dir=None, report=said.append)
    assert path == task.file
    assert path is not None
    assert tasks.load(path, task).x_train[0, 0].tolist() == [0, 1]
    assert [module.name for module in code.from_json(task.code_json)] == ["my_set"]
    # the file with another content: what its name and its description promise is not there
    offset.setenv("MY_DATA_OFFSET", "1")
    other = prepare_task("my_set:factory", "a test", said.append)
    assert other.file is not None
    assert other.digest != task.digest
    damaged = tasks.read_description(other.file)
    with pytest.raises(UsageError, match="the content isn't that of my_set:factory"):
        tasks.load(path, damaged.__class__(**{**vars(damaged), "file": path}))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("my_set:failing", "the task 'my_set:failing' cannot be made: ValueError: no such file (a test)."),
        ("my_set:nothing", "unknown task 'nothing' (my_set:nothing in a test; my_set binds no such name)"),
        ("my_set:ending", "its process ended: it printed nothing (a test)."),
        ("my_set:leaving", "its process ended: no data today (a test)."),
        ("my_sets:factory", "no module for the task 'my_sets:factory' (a test)"),
    ],
)
def test_what_a_factory_does_wrong_is_one_sentence(offset: pytest.MonkeyPatch, name: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        prepare_task(name, "a test", print)
    assert sentence in str(refused.value)


def test_other_data_are_another_plan(offset: pytest.MonkeyPatch) -> None:
    """So that an unfinished campaign is not resumed on them."""
    plans = []
    for values in ("0", "0", "5"):
        os.environ["MY_DATA_OFFSET"] = values
        overrides = ["tasks=my_set:factory", "batch_size=5", "cells=gru"]
        plans.append(prepare("quick", overrides, 0).plan())
    assert plans[0].hash == plans[1].hash != plans[2].hash
    assert json.loads(json.dumps(plans[0].to_data())) == plans[0].to_data()


def test_a_task_that_was_not_prepared_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the data of the task 'my:gone' \(a test\) are not prepared"):
        tasks.of(Case(cell="gru", task="my:gone"), "a test")
