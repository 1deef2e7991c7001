from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tracemalloc
import zipfile
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.catalog.tasks import (
    PARTS,
    TASKS,
    Arrays,
    Task,
    WrongDataError,
    content_digest,
    find,
    load,
    part_digests,
    verify,
    write_npz,
)
from bench.core.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = Path(str(resources.files("bench") / "catalog" / "data" / "mnist_5k.npz"))


def small_arrays() -> Arrays:
    random = np.random.default_rng(7)
    return Arrays(
        random.integers(0, 256, (6, 28, 28), dtype=np.uint8),
        np.arange(6, dtype=np.uint8),
        random.integers(0, 256, (3, 28, 28), dtype=np.uint8),
        np.arange(3, dtype=np.uint8),
    )


def rewrite(path: Path, arrays: Arrays, **other: Any) -> None:
    """Writes the arrays, some of them replaced by what they must not be."""
    np.savez(path, **dict[str, Any](arrays.parts | other))


def task_of(arrays: Arrays) -> Task:
    return replace(
        TASKS["mnist"],
        train_samples=len(arrays.y_train),
        test_samples=len(arrays.y_test),
        digest=content_digest(arrays),
        part_digests=part_digests(arrays),
    )


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Task, Arrays]:
    arrays = small_arrays()
    path = tmp_path / "small.npz"
    with path.open("wb") as file:
        write_npz(file, arrays, compressed=False)
    return path, task_of(arrays), arrays


def test_the_digest_is_sha256_of_the_four_arrays_bytes_in_order() -> None:
    arrays = small_arrays()
    raw = arrays.x_train.tobytes() + arrays.y_train.tobytes() + arrays.x_test.tobytes() + arrays.y_test.tobytes()
    assert content_digest(arrays) == hashlib.sha256(raw).hexdigest()
    assert part_digests(arrays)[2] == hashlib.sha256(arrays.x_test.tobytes()).hexdigest()


def test_the_digest_does_not_depend_on_the_layout_in_memory() -> None:
    arrays = small_arrays()
    fortran = Arrays(**{name: np.asfortranarray(part) for name, part in arrays.parts.items()})
    assert not fortran.x_train.flags.c_contiguous
    assert content_digest(fortran) == content_digest(arrays)


def test_the_embedded_digits_are_whole_and_stratified() -> None:
    task = TASKS["mnist_5k"]
    arrays = load(EMBEDDED, task)
    assert content_digest(arrays) == task.digest
    assert part_digests(arrays) == task.part_digests
    assert np.bincount(arrays.y_train).tolist() == [400] * 10
    assert np.bincount(arrays.y_test).tolist() == [100] * 10
    assert EMBEDDED.stat().st_size < 1_000_000


def test_embedded_digits_are_not_sorted_by_class() -> None:
    # `train_samples` of a case takes the first ones: they must hold all classes.
    arrays = load(EMBEDDED, TASKS["mnist_5k"])
    assert set(arrays.y_train[:100]) == set(range(10))


def test_mnists_digests_begin_as_published() -> None:
    assert TASKS["mnist"].part_digests[0].startswith("741c988805d0")
    assert TASKS["mnist"].digest != TASKS["mnist_5k"].digest


def test_shapes() -> None:
    task = TASKS["mnist"]
    assert [task.shape(part) for part in PARTS] == [(60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)]


def test_find_task_names_the_nearest() -> None:
    assert find("mnist", "--set tasks") is TASKS["mnist"]
    with pytest.raises(UsageError, match=r"unknown task 'mnits' \(my\.toml\): did you mean 'mnist'"):
        find("mnits", "my.toml")


def test_load_gives_back_what_was_kept(small: tuple[Path, Task, Arrays]) -> None:
    path, task, arrays = small
    read = load(path, task)
    for name in PARTS:
        np.testing.assert_array_equal(read.parts[name], arrays.parts[name])
        assert read.parts[name].dtype == np.uint8


def test_the_same_arrays_give_the_same_bytes() -> None:
    files = io.BytesIO(), io.BytesIO()
    for file in files:
        write_npz(file, small_arrays(), compressed=True)
    assert files[0].getvalue() == files[1].getvalue()


def test_a_missing_file_is_an_error_with_its_name_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.npz cannot be read: No such file.*bench data fetch"):
        load(tmp_path / "gone.npz", TASKS["mnist"])


def test_a_file_with_another_content_names_the_array(small: tuple[Path, Task, Arrays]) -> None:
    path, task, arrays = small
    labels = arrays.y_test.copy()
    labels[1] ^= 1
    rewrite(path, arrays, y_test=labels)
    with pytest.raises(UsageError, match=r"small\.npz: y_test: the content isn't that of mnist"):
        load(path, task)


def test_a_missing_array_is_named(small: tuple[Path, Task, Arrays]) -> None:
    path, task, arrays = small
    np.savez(path, x_train=arrays.x_train, y_train=arrays.y_train)
    with pytest.raises(UsageError, match=r"small\.npz has no array 'x_test'"):
        load(path, task)


def test_another_type_is_refused(small: tuple[Path, Task, Arrays]) -> None:
    path, task, arrays = small
    rewrite(path, arrays, y_train=arrays.y_train.astype(np.int64))
    with pytest.raises(UsageError, match=r"y_train holds int64 6 where mnist has uint8 6"):
        load(path, task)


def test_a_pickle_is_refused_and_not_run(small: tuple[Path, Task, Arrays], tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    path, task, arrays = small
    rewrite(path, arrays, y_test=np.array([Trap()], dtype=object))
    with pytest.raises(UsageError, match=r"small\.npz is not a whole \.npz file"):
        load(path, task)
    assert not (tmp_path / "sprung").exists()


def with_member(path: Path, name: str, content: bytes, compression: int) -> None:
    """The same archive with another content of a member."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for member, kept in {**members, name: content}.items():
            archive.writestr(member, kept)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_unpacks_to_far_more_than_the_task_is_refused_before_it_does(
    small: tuple[Path, Task, Arrays], compression: int
) -> None:
    path, task, _ = small
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (50_000_000,)})
    with_member(path, "x_test.npy", header.getvalue() + bytes(50_000_000), compression)
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(UsageError, match=r"small\.npz: x_t\w+ (has 50,000,\d+ bytes where|is compressed as no)"):
        load(path, task)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_bytes_after_an_array_are_refused(small: tuple[Path, Task, Arrays], tmp_path: Path) -> None:
    path, task, _ = small
    longer = tmp_path / "longer.npz"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(longer, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + (b"x" if name == "y_train.npy" else b""))
    with pytest.raises(UsageError, match=r"longer\.npz: y_train has bytes after its last value"):
        load(longer, task)


@pytest.mark.parametrize("compressed", [False, True])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_are_refused_or_harmless(tmp_path: Path, compressed: bool, data: st.DataObject) -> None:
    """Any flipped byte, anywhere in the file: a clear refusal, or (in a time stamp, say) the very same content."""
    arrays = small_arrays()
    task = task_of(arrays)
    path = tmp_path / "damaged.npz"
    with path.open("wb") as file:
        write_npz(file, arrays, compressed=compressed)
    raw = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, len(raw) - 1))
    raw[where] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    try:
        outcome = content_digest(load(path, task))
    except UsageError as error:
        outcome = str(error)
    assert outcome == task.digest or outcome.startswith(str(path))


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused(small: tuple[Path, Task, Arrays], keep: float) -> None:
    path, task, _ = small
    raw = path.read_bytes()
    path.write_bytes(raw[: int(keep * len(raw)) if isinstance(keep, float) else keep])
    with pytest.raises(UsageError, match=r"small\.npz is not a whole \.npz file"):
        load(path, task)


def test_verify_names_each_file_that_is_wrong() -> None:
    arrays = small_arrays()
    task = task_of(arrays)
    files = dict(zip(PARTS, "abcd", strict=True))
    swapped = arrays.parts | {"x_train": arrays.x_train[::-1], "y_train": arrays.y_train[::-1]}
    with pytest.raises(WrongDataError, match=r"^a and b: the content"):
        verify(swapped, task, files)


def test_importing_the_registry_does_not_import_numpy() -> None:
    code = "import sys, bench.catalog.tasks; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_mnist_5k", ROOT / "scripts" / "make_mnist_5k.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_choice_is_the_documented_rule() -> None:
    random = np.random.default_rng(3)
    digits = random.integers(0, 256, (60, 28, 28), dtype=np.uint8)
    labels = random.integers(0, 4, 60).astype(np.uint8)
    taken = script().choose(digits, labels, 5)
    assert taken.tolist() == sorted(taken.tolist())
    for label in range(4):
        ranked = sorted((hashlib.sha256(digits[i].tobytes()).hexdigest(), i) for i in np.flatnonzero(labels == label))
        assert {i for _, i in ranked[:5]} == set(taken[labels[taken] == label])


@pytest.mark.skipif("BENCH_DATA_DIR" not in os.environ, reason="BENCH_DATA_DIR does not name a folder with MNIST")
def test_the_embedded_file_can_be_made_again_from_mnist(tmp_path: Path) -> None:
    made = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for path in made:
        asked = ["--data-dir", os.environ["BENCH_DATA_DIR"], "--out", str(path)]
        command = [sys.executable, str(ROOT / "scripts" / "make_mnist_5k.py"), *asked]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert TASKS["mnist_5k"].digest in done.stdout
        load(path, TASKS["mnist_5k"])
    assert made[0].read_bytes() == made[1].read_bytes()
