"""Tasks whose data are made: their definitions, computed again from the arrays; their sizes, and what has none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench
from bench.catalog import tasks
from bench.catalog.cache import obtain
from bench.catalog.cells import BUILT_IN
from bench.catalog.networks import Embedding, arithmetic, parameters
from bench.catalog.networks import find as find_network
from bench.catalog.tasks import Arrays, Task, content_digest
from bench.core.case import Case
from bench.core.errors import UsageError

DIGITS = Path(bench.__file__).parent / "catalog" / "data" / "mnist_5k.npz"


def made(name: str, path: Path | None = None, **sizes: Any) -> tuple[Task, Arrays]:
    task = tasks.of(Case(cell="gru", task=name, **sizes))
    arrays = tasks.load(path, task)
    train, test = task.train_samples, task.test_samples
    inputs = (task.steps, task.features)
    assert arrays.x_train.shape == (train, *inputs)
    assert arrays.x_test.shape == (test, *inputs)
    return task, arrays


@pytest.mark.parametrize("steps", [2, 50, 201])
def test_adding_asks_for_the_sum_of_two_marked_numbers(steps: int) -> None:
    """Le et al. (2015), section 4.1; a mark in each half of the sequence."""
    _, arrays = made("adding", steps=steps)
    numbers, marks = arrays.x_train[..., 0], arrays.x_train[..., 1]
    assert set(np.unique(marks)) <= {0, 1}
    assert (marks[:, : steps // 2].sum(axis=1) == 1).all()
    assert (marks[:, steps // 2 :].sum(axis=1) == 1).all()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    np.testing.assert_allclose(arrays.y_train[:, 0], (numbers * marks).sum(axis=1), rtol=1e-6)


def test_the_baseline_of_adding_is_the_variance_of_its_target() -> None:
    task, arrays = made("adding")
    assert task.baseline is not None
    # of 10,000 samples the variance's standard error is about 0.0014
    assert float(np.var(arrays.y_train)) == pytest.approx(task.baseline.loss, abs=0.006)


def test_copy_memory_asks_for_its_symbols_after_a_delay() -> None:
    """Arjovsky et al. (2016), section 5.1, with T = 5."""
    task, arrays = made("copy_memory", steps=25)
    shown = arrays.x_train.argmax(axis=2)
    assert (arrays.x_train.sum(axis=2) == 1).all()
    assert set(np.unique(shown[:, :10])) == set(range(1, 9))
    assert (shown[:, 10:14] == 0).all()
    assert (shown[:, 14] == 9).all()
    assert (shown[:, 15:] == 0).all()
    assert (arrays.y_train[:, :-10] == 0).all()
    assert np.array_equal(arrays.y_train[:, -10:], shown[:, :10])
    assert task.baseline is not None
    assert task.baseline.loss == pytest.approx(10 * math.log(8) / 25)
    assert task.outputs == 9


def test_noise_has_any_size_and_is_never_scored() -> None:
    task, arrays = made("noise", steps=7, features=3, classes=2)
    assert not task.scored
    assert set(np.unique(arrays.y_train)) == {0, 1}
    assert abs(float(arrays.x_train.mean())) < 0.02
    assert made("noise")[0].steps == 28


@pytest.mark.parametrize("coarse", [1, 2, 4])
def test_pixels_are_averaged_and_permuted(coarse: int) -> None:
    images = tasks.load(DIGITS, tasks.TASKS["mnist_5k"]).x_test
    _, in_order = made("pixel_mnist_5k", DIGITS, coarse=coarse)
    _, permuted = made("permuted_mnist_5k", DIGITS, coarse=coarse)
    block = images[17, :coarse, coarse : 2 * coarse]
    assert in_order.x_test[17, 1, 0] == np.round(block.mean())
    assert np.array_equal(np.sort(permuted.x_test, axis=1), np.sort(in_order.x_test, axis=1))
    # one order for all samples, training and test
    steps = in_order.x_test.shape[1]
    order = np.random.RandomState(92916).permutation(steps)
    for part in ("x_train", "x_test"):
        assert np.array_equal(permuted.parts[part], in_order.parts[part][:, order])
    assert in_order.y_test is not None


DIGESTS = {
    ("adding", 50): "9f05c4021813",
    ("copy_memory", 120): "512ce9aee2bc",
    ("noise", 28): "cc21b8b4b0a5",
    ("pixel_mnist_5k", 784): "3a1f5c3d07e9",
    ("permuted_mnist_5k", 784): "288cc416789f",
}


@pytest.mark.parametrize(("name", "steps"), DIGESTS)
def test_a_recipe_makes_what_it_made_before(name: str, steps: int) -> None:
    """Other data need another version of the recipe: runs before and after must not stand in one table."""
    task, arrays = made(name, DIGITS)
    assert task.steps == steps
    assert content_digest(arrays)[:12] == DIGESTS[name, steps]
    assert task.recipe is not None
    assert task.recipe.version == 1


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ({"task": "mnist", "steps": 5}, "the task mnist can't take steps = 5 (a test): its data have 28 steps"),
        ({"task": "adding", "features": 5}, "the task adding can't take features = 5"),
        ({"task": "adding", "coarse": 2}, "tasks that take coarse: pixel_mnist, pixel_mnist_5k, permuted_mnist"),
        ({"task": "adding", "steps": 1}, "can't take steps = 1 (a test): two steps are marked"),
        ({"task": "copy_memory", "steps": 20}, "can't take steps = 20 (a test): 10 symbols are shown"),
        ({"task": "noise", "classes": 1}, "can't take classes = 1 (a test): there are two classes or more"),
        ({"task": "pixel_mnist", "coarse": 3}, "can't take coarse = 3 (a test): the side of its digits"),
    ],
)
def test_a_size_that_a_task_cannot_have_is_refused_by_name(case: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        tasks.of(Case(cell="gru", **case), "a test")
    assert sentence in str(refused.value)
    assert tasks.known(Case(cell="gru", **case)) is None


def test_the_file_of_a_recipe_is_that_of_its_source(tmp_path: Path) -> None:
    said: list[str] = []
    options: dict[str, Any] = {"data_dir": None, "cache_dir": tmp_path, "offline": True, "report": said.append}
    assert obtain(tasks.TASKS["permuted_mnist_5k"], **options) == DIGITS
    assert obtain(tasks.TASKS["adding"], **options) is None
    assert not list(tmp_path.iterdir())


def test_a_described_task_is_read_where_nobody_knows_it() -> None:
    stored = Case(cell="gru", task="gone:since", steps=9)
    for task in tasks.TASKS.values():
        again = tasks.known(stored, tasks.to_json(task))
        assert again is not None
        for name in ("title", "steps", "features", "outputs", "target", "scored", "baseline", "words"):
            assert getattr(again, name) == getattr(task, name)
        assert tasks.family_of(tasks.to_json(task)) == task.family
    assert tasks.known(stored, "{}") is tasks.known(stored, None) is None
    assert tasks.family_of("[]") is tasks.family_of(None) is None


def test_a_target_for_each_step_gives_an_output_for_each() -> None:
    task = tasks.of(Case(cell="gru", task="copy_memory", steps=30))
    placed = find_network("notebook").placed(8, task)
    assert [layer.outputs for layer in placed if layer.name] == [(30, 8), (30, 8)]
    assert placed[-1].outputs == (30, 9)
    dense = 2 * 30 * (8 * 32 + 32 * 9)
    flops = arithmetic(find_network("notebook"), 3, 8, task)
    recurrent = 2 * 30 * 3 * (10 * 8 + 8 * 8 + 8 * 8 + 8 * 8)
    assert flops.forward == recurrent + dense


def test_tokens_are_embedded_first() -> None:
    task = tasks.of(Case(cell="gru", task="noise", steps=5, features=4))
    tokens = Task(**{**vars(task), "vocabulary": 100, "recipe": None})
    first, second, *_ = find_network("single").placed(8, tokens)
    assert first.layer == Embedding(100)
    assert (first.inputs, first.outputs, second.inputs) == ((5,), (5, 4), (5, 4))
    assert parameters(first, BUILT_IN["gru"]) == 400
    plain, embedded = (arithmetic(find_network("single"), 3, 8, each) for each in (task, tokens))
    # the embedding is trained, so the first recurrent layer's inputs have a gradient
    assert plain.forward == embedded.forward
    assert embedded.training - plain.training == 2 * 5 * 3 * 4 * 8
