"""`aeon:NAME`: the files of an installed package, read without importing it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from bench.catalog import tasks
from bench.catalog.tasks import aeon
from bench.catalog.users_data import prepare_task
from bench.core.errors import UsageError

HEADER = "#A comment\n@problemName Small\n@univariate false\n@classLabel true a b\n@data\n"
TRAIN = "1,2,3:4,5,6:a\n7,8:9,10:b\n"
TEST = "1,2:3,4:b\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package called aeon with data sets, whose code must not be run."""
    data = tmp_path / "aeon" / "datasets" / "data"
    (tmp_path / "aeon").mkdir()
    (tmp_path / "aeon" / "__init__.py").write_text("raise AssertionError('imported')")
    for name, header, train, test in (
        ("Small", HEADER, TRAIN, TEST),
        ("Numbers", "@targetlabel true\n@data\n", "1,2,3:0.5\n", "4,5,6:1.5\n"),
        ("Gaps", HEADER, "1,?:3,4:a\n", TEST),
    ):
        (data / name).mkdir(parents=True)
        (data / name / f"{name}_TRAIN.ts").write_text(header + train)
        (data / name / f"{name}_TEST.ts").write_text(header + test)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    return data


def test_sequences_of_several_lengths_are_read_and_padded(package: Path) -> None:
    assert aeon.names() == ("Gaps", "Numbers", "Small")
    task = prepare_task("aeon:Small", "a test", print)
    arrays = tasks.load(task.file, task)
    assert (task.steps, task.features, task.outputs, task.target.name) == (3, 2, 2, "class")
    assert arrays.x_train.tolist() == [[[1, 4], [2, 5], [3, 6]], [[7, 9], [8, 10], [0, 0]]]
    assert arrays.y_train.tolist() == [0, 1]
    assert arrays.y_test.tolist() == [1]
    assert arrays.lengths_train is not None
    assert arrays.lengths_train.tolist() == [3, 2]
    numbers = prepare_task("aeon:Numbers", "a test", print)
    assert (numbers.target.name, numbers.outputs, numbers.mask_value) == ("number", 1, None)
    assert "aeon" not in sys.modules


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("aeon:Smal", "unknown aeon data set 'Smal' (a test): did you mean 'Small'?"),
        ("aeon:Gaps", "Gaps_TRAIN.ts has sequences with gaps"),
    ],
)
def test_what_cannot_be_read_is_refused(package: Path, name: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        prepare_task(name, "a test", print)
    assert sentence in str(refused.value)


def test_without_the_package_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aeon, "_folder", lambda: None)
    with pytest.raises(UsageError, match="pip install --no-deps aeon"):
        aeon.read("aeon:JapaneseVowels", "a test")
    assert aeon.names() == ()


@pytest.mark.skipif(importlib.util.find_spec("aeon") is None, reason="aeon is not installed")
def test_the_vowels_have_7_to_29_steps() -> None:
    train = aeon.read("aeon:JapaneseVowels", "a test").train
    lengths = [len(x) for x, _ in train.samples]  # type: ignore[union-attr]
    assert (len(lengths), min(lengths), max(lengths)) == (270, 7, 26)
