"""bench.duel.layout: a project's source folders, as its build backend is told them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.errors import UsageError
from bench.duel.layout import source_folders, top_level_names

PYPROJECTS = {
    "setuptools where": '[tool.setuptools.packages.find]\nwhere = ["python"]\n',
    "setuptools package-dir": '[tool.setuptools.package-dir]\n"" = "python"\n',
    "hatch sources": '[tool.hatch.build.targets.wheel]\nsources = ["python"]\n',
    "hatch packages": '[tool.hatch.build.targets.wheel]\npackages = ["python/my"]\n',
    "maturin": '[tool.maturin]\npython-source = "python"\n',
    "pdm": '[tool.pdm.build]\npackage-dir = "python"\n',
    "poetry": '[[tool.poetry.packages]]\ninclude = "my"\nfrom = "python"\n',
}


def a_project(folder: Path, pyproject: str, *folders: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in folders:
        (folder / name).mkdir(parents=True)
    (folder / "pyproject.toml").write_text(pyproject)
    return folder


@pytest.mark.parametrize("backend", PYPROJECTS)
def test_each_build_backend_s_folder_is_found(tmp_path: Path, backend: str) -> None:
    root = a_project(tmp_path, PYPROJECTS[backend], "python/my", "src")
    assert source_folders(root) == (root / "python", root / "src", root)


def test_setup_cfg_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "setup.cfg").write_text(
        "[options]\npackage_dir =\n    = lib\n[options.packages.find]\nwhere = python\n"
    )
    assert source_folders(tmp_path) == (tmp_path / "python", tmp_path / "lib", tmp_path)


def test_what_is_declared_decides_alone_even_where_only_the_working_tree_declares_it(tmp_path: Path) -> None:
    old = a_project(tmp_path / "old", "", "python", "src")
    now = a_project(tmp_path / "now", '[tool.bench]\nsource = ["python"]\n', "python")
    assert source_folders(now) == (now / "python",)
    assert source_folders(old, now) == (old / "python",)
    assert source_folders(old) == (old / "src", old)


DEEP = f"a = {'[' * 100_000}"
LONG = f"[tool.setuptools.packages.find]\nwhere = ['{'x' * 10_000}']\n"


@pytest.mark.parametrize("text", ["not = [toml", "", DEEP, LONG, '[tool.setuptools]\npackages = ["my"]\n'])
def test_a_pyproject_that_says_nothing_of_it_leaves_the_usual_layout(tmp_path: Path, text: str) -> None:
    root = a_project(tmp_path, text)
    assert source_folders(root) == (root,)


@pytest.mark.parametrize("declared", ['"python"', "[1]", '[""]'])
def test_a_source_that_is_no_list_of_folders_is_refused(tmp_path: Path, declared: str) -> None:
    root = a_project(tmp_path, f"[tool.bench]\nsource = {declared}\n")
    with pytest.raises(UsageError, match=r"is no list of folders: write\s+source = "):
        source_folders(root)


def test_a_folder_outside_of_the_project_is_never_taken(tmp_path: Path) -> None:
    root = a_project(tmp_path / "project", '[tool.setuptools.packages.find]\nwhere = ["..", "/"]\n')
    assert source_folders(root) == (root,)


def test_top_level_names_are_modules_packages_and_namespace_packages(tmp_path: Path) -> None:
    (tmp_path / "space" / "inner").mkdir(parents=True)
    (tmp_path / "space" / "inner" / "cells.py").touch()
    (tmp_path / "my_cells.py").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "not-a-name").mkdir()
    assert top_level_names([tmp_path]) == {"space", "my_cells"}
