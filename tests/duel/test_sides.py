"""What a side's name stands for, and making it: commits unpacked, environments built."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.catalog.backends import BACKENDS
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.duel import sides
from bench.duel.sides import ANCHOR_CASE, PreparedSide, differing, environment_side, resolve, trained_anchor_side
from bench.duel.specification import SideKind, asked, common_kind, kind_of, prepare_sides, settings_of
from bench.run.server import WorkerEnvironment
from tests.support.wheels import a_wheel

USER_CELL = Case(cell="my_cells:small", task="mnist_5k")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("kernel=generic", SideKind.SETTINGS),
        ("units=64 kernel=xla", SideKind.SETTINGS),
        ("env.TF_ENABLE_ONEDNN_OPTS=0 deterministic=true", SideKind.SETTINGS),
        ("tensorflow==2.20.0", SideKind.ENVIRONMENTS),
        ("keras>=3.14 numpy<2.4", SideKind.ENVIRONMENTS),
        ("jax[cuda12]==0.10", SideKind.ENVIRONMENTS),
        ("HEAD~1", SideKind.COMMITS),
        (".", SideKind.COMMITS),
        ("feature/faster", SideKind.COMMITS),
        ("v1.0", SideKind.COMMITS),
    ],
)
def test_what_a_name_stands_for(text: str, kind: SideKind) -> None:
    assert kind_of(text) is kind


def test_a_trained_anchor_is_the_same_whatever_the_cells_are_but_for_where_and_how_they_run() -> None:
    where: dict[str, Any] = {
        "backend": "jax",
        "device": "gpu:0",
        "threads": 2,
        "steady": True,
        "env": "OMP_WAIT_POLICY=passive",
    }
    usual = PreparedSide(title="usual", case=Case(cell="lstm", task="mnist"))
    other = Case(
        cell="my:cell", task="my:data", network="my:net", units=7, dtype="float16", deterministic=True, **where
    )
    assert trained_anchor_side(usual).case == ANCHOR_CASE
    beside = PreparedSide(title="other", case=other, environment=WorkerEnvironment(variables={"OMP_WAIT_POLICY": "p"}))
    anchor = trained_anchor_side(beside)
    assert anchor.case == replace(ANCHOR_CASE, **where)
    assert (anchor.environment, anchor.worker) == (beside.environment, beside.worker)  # and so its server


def test_folders_and_wheels_stand_for_environments(tmp_path: Path) -> None:
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "python").touch()
    wheel = a_wheel(tmp_path, "slow", "1.0", "")
    assert kind_of(str(tmp_path / "env")) is kind_of(str(wheel)) is SideKind.ENVIRONMENTS
    assert kind_of(f"{wheel} keras==3.15.1") is SideKind.ENVIRONMENTS
    with pytest.raises(UsageError, match="between two of a kind"):
        common_kind((str(wheel), "HEAD"))


def test_settings_become_overrides_of_a_suite() -> None:
    assert settings_of("kernel=generic units=64", "A") == ["kernels=generic", "units=64"]
    assert settings_of("cells=gru learning_rate=0.01", "B") == ["cells=gru", "learning_rate=0.01"]


def test_an_environment_is_built_and_what_differs_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a wheel in the place of Keras and its backend, which take a while to install."""
    monkeypatch.setattr(sides, "WORKER_PACKAGES", ())
    slow = replace(BACKENDS["tensorflow"], distributions=("slow",))
    monkeypatch.setitem(BACKENDS, "tensorflow", slow)
    monkeypatch.setattr(sides, "_plain_name", lambda word: "slow")
    monkeypatch.setenv("UV_OFFLINE", "1")
    notes: list[str] = []
    prepared = []
    for letter, version in (("a", "1.0"), ("b", "2.0")):
        wheel = a_wheel(tmp_path / letter, "slow", version, f"version = {version!r}\n")
        prepared.append(environment_side(str(wheel), USER_CELL, tmp_path / "cache", tmp_path / letter, notes.append))
    assert [line.split(" in ")[0] for line in notes] == [
        f"building the environment '{tmp_path}/{letter}/slow-{version}-py3-none-any.whl'"
        for letter, version in (("a", "1.0"), ("b", "2.0"))
    ]
    assert differing(prepared[0].packages, prepared[1].packages) == {"slow": ("1.0", "2.0")}
    code = "import slow, bench, sys; print(slow.version, bench.__file__, len(sys.path))"
    for side, version in zip(prepared, ("1.0", "2.0"), strict=True):
        path = side.environment.path
        assert path is not None
        done = subprocess.run(
            [side.environment.python, "-P", "-c", code],
            env={"PYTHONPATH": os.pathsep.join(map(str, path))},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith(f"{version} ")
        # of all that is installed with the harness, the environment sees the harness alone
        assert [entry.name for entry in path[0].iterdir()] == ["bench"]


def test_requirements_that_cannot_be_met_are_refused_with_what_uv_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(UsageError, match=r"the environment 'keras==0\.0\.1' cannot be built:\n"):
        environment_side("keras==0.0.1", USER_CELL, tmp_path / "cache", tmp_path, print)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels in the place of a package index; of Keras there is nothing but what a test puts there."""
    monkeypatch.setattr(sides, "WORKER_PACKAGES", ())
    monkeypatch.setitem(BACKENDS, "tensorflow", replace(BACKENDS["tensorflow"], distributions=("keras",)))
    for name, value in (("UV_OFFLINE", "1"), ("UV_NO_INDEX", "1"), ("UV_FIND_LINKS", str(tmp_path / "wheels"))):
        monkeypatch.setenv(name, value)
    return tmp_path / "wheels"


def test_keras_2_is_refused_before_any_side_is_built(index: Path, tmp_path: Path) -> None:
    for version in ("2.15.0", "3.9.0"):
        a_wheel(index, "keras", version, "")
    what = asked(("keras==3.9.0", "keras==2.15.0"), ["cells=lstm"])
    notes: list[str] = []
    with pytest.raises(UsageError, match=r"'keras==2\.15\.0' has Keras 2\.15\.0, and a side runs on Keras 3: name a"):
        prepare_sides(what, scratch=tmp_path, cache=tmp_path / "cache", build=False, worker="none", notify=notes.append)
    assert notes == []
    assert not (tmp_path / "cache").exists()


def test_keras_2_from_a_wheel_or_in_an_environment_is_refused_too(index: Path, tmp_path: Path) -> None:
    """Of a wheel it is known when it is installed."""
    wheel = a_wheel(index, "keras", "2.15.0", "")
    with pytest.raises(UsageError, match=r"has Keras 2\.15\.0"):
        environment_side(str(wheel), USER_CELL, tmp_path / "cache", tmp_path, print)


def test_tf_keras_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names tf_keras, which is Keras 2"):
        resolve("tf_keras==2.15.0 tensorflow==2.20.0", "tensorflow", tmp_path)


def test_memory_is_in_huge_pages_on_both_sides_unless_the_user_has_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    pinned = sides.pinned_allocator(WorkerEnvironment(variables={"X": "1"})).variables
    assert "glibc.malloc.hugetlb=1" in pinned["GLIBC_TUNABLES"]
    assert pinned["X"] == "1"
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    assert sides.pinned_allocator(WorkerEnvironment(variables={"X": "1"})).variables == {"X": "1"}
    assert sys.executable == WorkerEnvironment().python


@pytest.mark.parametrize(
    ("pages", "libc", "expected"),
    [
        ("always [madvise] never", ("glibc", "2.36"), None),
        ("[always] madvise never", ("glibc", "2.35"), None),
        ("always madvise [never]", ("glibc", "2.36"), "huge pages are off .*madvise would do"),
        ("always [madvise] never", ("glibc", "2.31"), "glibc 2.35 or newer, and this is glibc 2.31$"),
        ("always [madvise] never", ("", ""), "and this is another library$"),
        (None, ("", ""), None),
    ],
)
def test_what_stands_against_huge_pages_is_said(
    pages: str | None, libc: tuple[str, str], expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr("platform.libc_ver", lambda: libc)
    folder = tmp_path / "kernel/mm/transparent_hugepage"
    folder.mkdir(parents=True)
    if pages:
        (folder / "enabled").write_text(f"{pages}\n")
    reason = sides.small_pages_reason(tmp_path)
    assert (reason is None) == (expected is None)
    if expected:
        assert re.search(expected, reason or "")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    assert sides.small_pages_reason(tmp_path) is None
