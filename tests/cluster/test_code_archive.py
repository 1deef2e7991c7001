"""The user's code travels whole, is proved on arrival, and what wasn't sent is known."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cluster import code_archive
from bench.cluster.code_archive import CodeArchive, pack_code, unpack_code
from bench.core.code import ImportedModule
from bench.core.errors import UsageError
from tests.support.git import git


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module, a package, and what no one wants to have sent."""
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "project"
    for name, text in {
        "sent_cells.py": "from sent_package.helper import units\n\ndef make(): return units\n",
        "sent_package/__init__.py": "",
        "sent_package/helper.py": "units = 3\n",
        "sent_package/weights.bin": "\udcff",
        "results/local/runs/1.parquet": "x" * 1000,
        "env/pyvenv.cfg": "",
        "env/lib/x.py": "",
        ".hidden/x.py": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, errors="surrogateescape")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    return folder


def packed(factory: str, folder: Path) -> tuple[CodeArchive, bytes]:
    archive = pack_code([factory], folder)
    assert archive is not None
    return archive


def unreachable() -> bytes:
    raise AssertionError("what the node has is not fetched")


@pytest.mark.parametrize("factory", ["sent_cells:make", "sent_package.helper:make"])
def test_the_folder_arrives_as_it_was_and_is_kept(factory: str, project: Path) -> None:
    archive, content = packed(factory, project)
    assert set(archive.files) == {
        "sent_cells.py",
        "sent_package/__init__.py",
        "sent_package/helper.py",
        "sent_package/weights.bin",
    }
    folder = unpack_code(archive, lambda: content, print)
    for name in archive.files:
        assert (folder / name).read_bytes() == (project / name).read_bytes()
    assert (archive.working_folder, archive.import_folders) == (".", (".",))
    assert unpack_code(archive, unreachable, print) == folder


def test_a_package_is_not_sent(project: Path) -> None:
    assert pack_code(["numpy:array"], project) is None
    assert pack_code([], project) is None


def test_equal_folders_have_equal_archives(project: Path) -> None:
    first, _ = packed("sent_cells:make", project)
    os.utime(project / "sent_cells.py", (0, 0))
    assert packed("sent_cells:make", project)[0] == first
    (project / "sent_package" / "helper.py").write_text("units = 4\n")
    assert packed("sent_cells:make", project)[0].digest != first.digest


def test_git_has_the_word_about_what_is_sent(project: Path) -> None:
    git(project, "init", "-q")
    (project / ".gitignore").write_text("*.bin\nresults\nenv\n")
    git(project, "add", "sent_cells.py", ".gitignore")
    archive, _ = packed("sent_cells:make", project)
    assert set(archive.files) == {
        ".gitignore",
        ".hidden/x.py",
        "sent_cells.py",
        "sent_package/__init__.py",
        "sent_package/helper.py",
    }


def test_a_source_folder_beside_where_one_stands_is_sent_with_the_checkout(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(project, "init", "-q")
    (project / "src" / "laid_out").mkdir(parents=True)
    (project / "src" / "laid_out" / "__init__.py").write_text("def make(): ...\n")
    (project / "experiments").mkdir()
    (project / "experiments" / "suite.toml").write_text("")
    monkeypatch.syspath_prepend(str(project / "src"))
    monkeypatch.chdir(project / "experiments")
    archive, _ = packed("laid_out:make", Path.cwd())
    assert (archive.working_folder, archive.import_folders) == ("experiments", ("src",))
    assert "src/laid_out/__init__.py" in archive.files


def test_a_module_from_elsewhere_is_refused_by_name(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "far_away.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    with pytest.raises(UsageError, match=r"^far_away:make is imported from .*elsewhere, which is outside of .*project"):
        pack_code(["far_away:make"], project)


def test_a_folder_that_is_too_large_is_refused_by_its_largest_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_archive, "MOST_BYTES", 30)
    with pytest.raises(UsageError, match=r"the largest file is sent_cells\.py"):
        pack_code(["sent_cells:make"], project)


def test_what_arrives_otherwise_is_refused(project: Path) -> None:
    archive, content = packed("sent_cells:make", project)
    (project / "sent_package" / "helper.py").write_text("units = 4\n")
    _, changed = packed("sent_cells:make", project)
    with pytest.raises(UsageError, match="is not what the driver sent"):
        unpack_code(archive, lambda: changed, print)
    with pytest.raises(UsageError, match="is damaged"):
        unpack_code(archive, lambda: content[: len(content) // 2], print)
    with pytest.raises(UsageError, match=r"'\.\./x\.py', which is no file of a folder"):
        unpack_code(archive, lambda: code_archive._packed({"../x.py": b""}), print)


def test_a_kept_folder_that_was_changed_is_made_again(project: Path) -> None:
    archive, content = packed("sent_cells:make", project)
    folder = unpack_code(archive, lambda: content, print)
    (folder / "sent_cells.py").write_text("changed\n")
    notes: list[str] = []
    assert unpack_code(archive, lambda: content, notes.append) == folder
    assert (folder / "sent_cells.py").read_bytes() == (project / "sent_cells.py").read_bytes()
    assert notes == [f"{folder} was changed: making it again."]


def test_modules_that_were_not_sent_are_known(project: Path) -> None:
    archive, _ = packed("sent_cells:make", project)
    sent = ImportedModule(name="sent_cells", file="/x/sent_cells.py", sha256=archive.files["sent_cells.py"])
    package = ImportedModule(name="ncps", file="/y/ncps.py", sha256="0" * 64, distribution="ncps 1.0.1")
    strange = ImportedModule(name="helper", file="/y/helper.py", sha256="0" * 64)
    assert archive.unexpected([sent, package]) == ()
    assert archive.unexpected([sent, strange]) == (
        "helper was imported from /y/helper.py, whose content was not sent from the driver",
    )


def test_two_processes_that_want_it_at_once_get_one_folder(project: Path, tmp_path: Path) -> None:
    archive, content = packed("sent_cells:make", project)
    (tmp_path / "content").write_bytes(content)
    code = f"""
from pathlib import Path
from bench.cluster.code_archive import CodeArchive, unpack_code
archive = {archive!r}
print(unpack_code(archive, Path({str(tmp_path / "content")!r}).read_bytes, lambda text: None))
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        for _ in range(2)
    ]
    (folder,) = {process.communicate()[0].strip() for process in processes}
    assert (Path(folder) / "sent_package" / "helper.py").read_text() == "units = 3\n"
    assert [path.name for path in Path(folder).parent.iterdir() if path.name != ".lock"] == [archive.digest]
