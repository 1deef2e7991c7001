from __future__ import annotations

import importlib
import itertools
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from bench.catalog import cells, check
from bench.catalog.cells import BUILT_IN, registered, users_factories
from bench.catalog.factories import sources_digest
from bench.catalog.kernels import KERNELS
from bench.core.axes import AXES
from bench.core.errors import UsageError

FACTORY = "def factory(units, activation, return_sequences, name): ...\n"
POISON = "raise SystemExit('imported')\n"


def digest(names: Iterable[str]) -> str:
    """That of the sources of the users' cells among `names`."""
    return sources_digest(users_factories(names))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the user stands in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str = FACTORY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    importlib.invalidate_caches()
    return path


def install(site: Path, package: str, entry_points: str) -> None:
    """What pip leaves of a package that registers entry points."""
    info = site / f"{package}-1.0.dist-info"
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    write(info / "entry_points.txt", f"[bench.cells]\n{entry_points}\n")


# Registered cells


def test_the_cells_that_come_with_the_program() -> None:
    assert {name: cell.gates for name, cell in BUILT_IN.items()} == {
        "simple_rnn": 1,
        "lstm": 4,
        "gru": 3,
        "min_gru": 2,
    }
    assert [BUILT_IN[name].state_gates for name in ("lstm", "gru", "min_gru")] == [4, 3, 0]
    assert all(cell.built_in and cells.find(cell.name) is cell for cell in BUILT_IN.values())


def test_a_cell_from_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "fancy" / "__init__.py", POISON)
    install(tmp_path, "fancy", "indrnn = fancy.cells:indrnn\nsru = fancy.cells:sru [extra]")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = registered()
    assert [*found] == [*BUILT_IN, "indrnn", "sru"]
    assert (found["sru"].factory, found["sru"].gates, found["sru"].built_in) == ("fancy.cells:sru", None, False)
    assert "fancy" in found["sru"].title
    assert cells.find("indrnn") == found["indrnn"]


def test_an_entry_point_that_has_a_name_of_ours_is_ignored_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(tmp_path, "fancy", "lstm = fancy:lstm\nsru = fancy:sru")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [*registered()] == [*BUILT_IN, "sru"]
    assert cells.find("lstm") is BUILT_IN["lstm"]
    assert caplog.messages == [
        "ignored: the entry point 'lstm' of the package fancy (group bench.cells) has the name of another cell, "
        "keras.layers.LSTM: name it as fancy:lstm."
    ]


def test_a_name_that_two_packages_register_is_of_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for package in ("one", "two", "three"):
        install(tmp_path, package, f"sru = {package}:sru")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert cells.find("gru") is BUILT_IN["gru"]
    assert "sru" not in registered()
    with pytest.raises(UsageError) as caught:
        cells.find("sru", "--set cells")
    for package in ("one", "two", "three"):
        assert f"{package}:sru" in str(caught.value)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("value", ["fancy", "fancy:", "fancy:a-b", ":sru", "not a factory"])
def test_an_entry_point_that_names_no_factory_concerns_who_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    install(tmp_path, "fancy", f"sru = {value}")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [*registered()] == [*BUILT_IN]
    for _ in range(2):
        with pytest.raises(UsageError, match=r"the cell 'sru' \(my.toml\) can't be used: .* package fancy .*:fac"):
            cells.find("sru", "my.toml")
    assert len(caplog.messages) == 1
    assert "'sru' of the package fancy" in caplog.text


@pytest.mark.parametrize("content", [b"[bench.cells]\nno equals sign\n", b"[bench.cells]\nsru = \xff:a\n"])
def test_a_package_whose_metadata_are_malformed_is_ignored_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    install(tmp_path, "fancy", "")
    (tmp_path / "fancy-1.0.dist-info" / "entry_points.txt").write_bytes(content)
    install(tmp_path, "sound", "sru = sound:sru")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert cells.find("sru").factory == "sound:sru"
    assert len(caplog.messages) == 1
    assert "fancy-1.0.dist-info" in caplog.text


def test_of_two_copies_of_a_package_the_first_on_the_path_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for folder, factory in (("late", "old"), ("early", "new")):
        install(tmp_path / folder, "fancy", f"sru = fancy:{factory}")
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    assert cells.find("sru").factory == "fancy:new"
    assert not caplog.messages


def test_a_slip_gets_the_name_that_was_meant() -> None:
    with pytest.raises(UsageError, match=r"unknown cell 'LSTM' \(my.toml\): known: gru, lstm, min_gru, simple_rnn."):
        cells.find("LSTM", "my.toml")
    with pytest.raises(UsageError, match=r"unknown cell 'simplernn' \(--set cells\): did you mean 'simple_rnn'\?"):
        cells.find("simplernn", "--set cells")


# module:factory


def test_a_factory_is_found_from_the_folder_one_stands_in_and_not_imported(here: Path) -> None:
    write(here / "mine.py", POISON + FACTORY)
    write(here / "pack" / "__init__.py", POISON)
    write(here / "pack" / "deep" / "cells.py", POISON)  # a folder without __init__.py between them
    for name in ("mine:factory", "pack.deep.cells:factory", "pack:factory"):
        cell = cells.find(name)
        assert (cell.name, cell.factory, cell.gates) == (name, name, None)
    assert not {"mine", "pack", "pack.deep"} & set(sys.modules)


def test_a_factory_is_found_in_the_environment() -> None:
    assert cells.find("email.mime.text:MIMEText").factory == "email.mime.text:MIMEText"


@pytest.mark.parametrize(
    "name",
    [
        "mine:factory",
        "mine:",
        ":factory",
        ":",
        "mine:a:b",
        "mine:1",
        "mine:a b",
        "pack.nowhere:factory",
        "pack.:factory",
        ".pack:factory",
        "..pack:factory",
        "pack/cells:factory",
        "../pack:factory",
        "folder:factory",
        "pack.cells.deeper:factory",
        "sys:path",
    ],
)
def test_a_factory_whose_module_is_not_there(here: Path, name: str) -> None:
    write(here / "pack" / "__init__.py")
    write(here / "pack" / "cells.py")
    (here / "folder").mkdir()
    with pytest.raises(UsageError) as caught:
        cells.find(name, "--set cells")
    assert f"no module for the cell {name!r} (--set cells)" in str(caught.value)


# The digest of users' sources


def test_the_digest_changes_with_the_source(here: Path) -> None:
    source = write(here / "mine.py")
    digests = {digest(["mine:factory"])}
    for text in (FACTORY + "#\n", "", FACTORY.replace("units", "n")):
        source.write_text(text)
        digests.add(digest(["mine:factory"]))
    assert len(digests) == 4
    source.write_text(FACTORY)
    assert digest(["mine:factory"]) in digests


def test_the_digest_is_of_own_cells_only_and_of_no_order(here: Path) -> None:
    write(here / "mine.py")
    write(here / "other.py")
    assert digest(["lstm", "gru"]) == digest([]) == ""
    both = {
        digest(names) for names in itertools.permutations(["mine:factory", "other:factory", "lstm", "mine:factory"])
    }
    assert len(both) == 1
    assert both != {digest(["mine:factory"])}
    assert digest(["mine:factory"]) != digest(["mine:another"])


def test_the_digest_of_an_entry_points_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "fancy", "sru = fancy:sru")
    source = write(tmp_path / "fancy.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = digest(["sru"])
    source.write_text("# changed\n")
    assert before != digest(["sru"]) != ""


def test_a_factory_in_a_zip_file_is_read_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for number in range(2):
        archive = tmp_path / f"{number}.zip"
        with zipfile.ZipFile(archive, "w") as content:
            content.writestr("zipped.py", f"# {number}\n")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(archive))
            digests.add(digest(["zipped:factory"]))
    assert len(digests) == 2


# Kernels and networks


def test_every_kernel_but_auto_pins_all_switches() -> None:
    for kernel in KERNELS.values():
        switches = {kernel.use_cudnn, kernel.unroll, kernel.jit_compile}
        # `compiled` needs the loops that Keras's LSTM and GRU have beside cuDNN
        assert ("auto" in switches) is (kernel.name in ("auto", "compiled"))
    pinned = [(k.use_cudnn, k.unroll, k.jit_compile, k.scan) for k in KERNELS.values()]
    assert len(set(pinned)) == len(KERNELS)


@pytest.mark.parametrize(
    ("catalogue", "slip", "meant"),
    [
        ("backends", "tensorflw", "tensorflow"),
        ("cells", "lstmm", "lstm"),
        ("devices", "gpu", "gpu:0"),
        ("dtypes", "flaot32", "float32"),
        ("kernels", "unroled", "unrolled"),
        ("networks", "cudnn-ready", "cudnn_ready"),
        ("runtimes", "onnx_runtime", "onnxruntime"),
        ("tasks", "mnits", "mnist"),
    ],
)
def test_each_catalogue_names_what_was_meant(catalogue: str, slip: str, meant: str) -> None:
    assert catalogue in {axis.catalogue for axis in AXES.values()}
    check(catalogue, meant, "x")
    with pytest.raises(UsageError, match=rf"unknown {catalogue[:-1]} '{slip}' \(x\): did you mean '{meant}'\?"):
        check(catalogue, slip, "x")
