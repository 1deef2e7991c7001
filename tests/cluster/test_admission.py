"""A node is checked before it measures: it gets the driver's settings, code and data, or is refused by name."""

from __future__ import annotations

import os
import pickle
import platform
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from bench.catalog import tasks
from bench.catalog.cache import obtain
from bench.catalog.tasks import PARTS, TASKS, Arrays, content_digest, part_digests, write_npz
from bench.cluster.admission import CODE, Admission, Requirements, admit, adopt_settings, requirements_of
from bench.core.errors import UsageError
from bench.plan.plan import Plan
from bench.plan.prepare import prepare
from tests.support.git import git

CELLS = "import keras\n\n\ndef make(units, **_):\n    return keras.layers.GRU(units)\n"
DATA = """
import numpy as np
from bench import TaskData

def factory():
    part = np.arange(80.0).reshape(10, 4, 2), np.arange(10) % 2
    return TaskData(target="class", train=part, test=part, title="mine")
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A project with a cell and data; what a check does to this process is undone afterwards."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "cells_here.py").write_text(CELLS)
    (folder / "data_here.py").write_text(DATA)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "driver"))
    monkeypatch.delenv("BENCH_DATA_DIR", raising=False)
    with patch.dict(os.environ), patch.object(sys, "path", [entry for entry in sys.path if entry]):
        yield monkeypatch
    tasks._prepared.clear()


def required(*overrides: str) -> tuple[Requirements, dict[str, bytes], Plan]:
    plan = prepare("quick", ["epochs=1", *overrides], 0).plan()
    data = {
        name: obtain(tasks.find(name), data_dir=None, report=print) for name in {p.case.task for p in plan.scheduled}
    }
    requirements, sent = requirements_of(plan, data, Path.cwd())
    return pickle.loads(pickle.dumps(requirements)), sent, plan


def as_node(requirements: Requirements, sent: dict[str, bytes], tmp_path: Path) -> tuple[Admission, list[str]]:
    """The check in another folder, with another cache, and what was fetched."""
    fetched: list[str] = []
    (tmp_path / "elsewhere").mkdir(exist_ok=True)
    os.chdir(tmp_path / "elsewhere")
    os.environ["BENCH_CACHE_DIR"] = str(tmp_path / "node")
    tasks._prepared.clear()

    def fetch(name: str) -> bytes:
        fetched.append(name)
        return sent[name]

    return admit(requirements, fetch, lambda text: None), fetched


def test_a_node_like_the_driver_may_measure_what_comes_with_the_program(
    driver: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    requirements, sent, _ = required()
    assert sent == {}
    admission, fetched = as_node(requirements, sent, tmp_path)
    assert (admission.refusals, admission.sentence, fetched) == ((), "", [])
    assert admission.node == platform.node()
    file = admission.data["mnist_5k"]
    assert file is not None
    assert file.is_file()


def test_the_users_code_and_data_arrive_once(driver: pytest.MonkeyPatch, tmp_path: Path) -> None:
    requirements, sent, plan = required("cells=cells_here:make", "tasks=data_here:factory", "batch_size=5")
    admission, fetched = as_node(requirements, sent, tmp_path)
    assert admission.refusals == ()
    assert sorted(fetched) == sorted([CODE, "data_here:factory"])
    assert Path.cwd().is_relative_to(tmp_path / "node" / "code")
    assert Path("cells_here.py").read_text() == CELLS
    file = admission.data["data_here:factory"]
    assert file is not None
    assert file.is_relative_to(tmp_path / "node")
    task = tasks.of(plan.scheduled[0].case)  # known to this process, by the file
    assert tasks.load(file, task).x_train[0, 0].tolist() == [0, 1]
    again, fetched = as_node(requirements, sent, tmp_path)
    assert (again, fetched) == (admission, [])


def a_task() -> Any:
    random = np.random.default_rng(3)
    parts = {name: random.integers(0, 10, (6, 28, 28) if name.startswith("x") else 6, dtype=np.uint8) for name in PARTS}
    arrays = Arrays(**parts)
    return arrays, replace(
        TASKS["mnist"],
        train_samples=6,
        test_samples=6,
        digest=content_digest(arrays),
        part_digests=part_digests(arrays),
    )


def test_data_of_the_catalogue_come_from_the_nodes_cache_else_from_the_driver_verified(
    driver: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arrays, task = a_task()
    driver.setitem(TASKS, "mnist", task)
    (tmp_path / "mine").mkdir()
    with (tmp_path / "mine" / "mnist.npz").open("wb") as file:
        write_npz(file, arrays, compressed=False)
    plan = prepare("quick", ["tasks=mnist", "batch_size=2", "train_samples=0"], 0).plan()
    path = tmp_path / "mine" / "mnist.npz"
    requirements, sent = requirements_of(plan, {"mnist": path}, Path.cwd())
    damaged = {"mnist": sent["mnist"][:-40]}
    refused, _ = as_node(requirements, damaged, tmp_path)
    assert "the driver: " in refused.sentence
    assert refused.sentence.startswith(f"{platform.node()} is refused: the data of task 'mnist' cannot be had")
    admission, fetched = as_node(requirements, sent, tmp_path)
    assert (admission.refusals, fetched) == ((), ["mnist"])
    assert as_node(requirements, sent, tmp_path)[1] == []


def test_other_data_of_the_users_are_refused(driver: pytest.MonkeyPatch, tmp_path: Path) -> None:
    requirements, sent, _ = required("tasks=data_here:factory", "batch_size=5")
    wanted = replace(requirements, prepared={"data_here:factory": "0" * 64})
    admission, _ = as_node(wanted, sent, tmp_path)
    assert "the data of data_here:factory that arrived here are not those of the driver" in admission.sentence


def test_a_node_that_differs_or_lacks_something_is_refused_by_name(driver: pytest.MonkeyPatch, tmp_path: Path) -> None:
    requirements, sent, _ = required()
    installation = requirements.installation
    other = replace(installation, program=replace(installation.program, content="0" * 64, version="9.9"))
    admission, _ = as_node(replace(requirements, installation=other), sent, tmp_path)
    assert f"{platform.node()} is refused: the program differs: bench 9.9" in admission.sentence
    gpu = tuple(replace(case, device="gpu:7") for case in requirements.configurations)
    admission, _ = as_node(replace(requirements, configurations=gpu), sent, tmp_path)
    (reason,) = admission.refusals
    assert "gpu:7" in reason


def test_settings_are_the_drivers_and_no_others() -> None:
    """Ray gives its workers a number of threads, and hides cards from those that ask for none."""
    ray = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HOME": "/home/x"}
    with patch.dict(os.environ, ray, clear=True):
        adopt_settings({"TF_ENABLE_ONEDNN_OPTS": "0"})
        assert dict(os.environ) == {"HOME": "/home/x", "TF_ENABLE_ONEDNN_OPTS": "0"}


def test_the_commit_of_the_results_is_the_drivers(driver: pytest.MonkeyPatch) -> None:
    assert required("cells=cells_here:make")[0].origin is None
    git(Path.cwd(), "init", "-q")
    git(Path.cwd(), "add", ".")
    git(Path.cwd(), "commit", "-q", "-m", "a")
    for overrides in (["cells=cells_here:make"], []):
        requirements = required(*overrides)[0]
        assert requirements.commit == git(Path.cwd(), "rev-parse", "HEAD")
        origin = requirements.origin
        assert origin is not None
        assert str(int(origin.committed_at.timestamp())) == git(Path.cwd(), "log", "-1", "--format=%ct")


def test_code_that_cannot_be_sent_is_refused_before_any_node_is_asked(
    driver: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "beside_cells.py").write_text(CELLS)
    driver.syspath_prepend(str(tmp_path / "beside"))
    with pytest.raises(UsageError, match="beside_cells:make is imported from"):
        required("cells=beside_cells:make")
