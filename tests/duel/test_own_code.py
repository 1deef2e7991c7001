"""A duel between two commits measures their code, or refuses: never the working tree's, however it was installed.

In each layout the project is really installed as editable, into an environment of its own, and its second commit makes
the cell three times as large. Both sides importing the working tree would be `same`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import uv

from bench.run.lock import LOCK_VARIABLE
from tests.support.git import git
from tests.support.harness import ROOT

SETUPTOOLS = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
PROJECT = '[project]\nname = "my"\nversion = "1"\n'
CELL = "def x(units, activation, return_sequences, name): ...\n"
EXTENSION = """
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_size", NULL, -1, NULL};
PyMODINIT_FUNC PyInit__size(void) {
    PyObject *made = PyModule_Create(&module);
    PyModule_AddIntConstant(made, "size", SIZE);
    return made;
}
"""


def an_environment(folder: Path) -> Path:
    """A virtual environment with, behind its own, all that is installed here; its interpreter."""
    subprocess.run([uv.find_uv_bin(), "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    here = [entry for entry in sys.path if "site-packages" in entry]
    (packages / "here.pth").write_text("\n".join(here) + "\n")
    return folder / "bin" / "python"


def a_project(folder: Path, files: Mapping[str, str]) -> Path:
    """A repository of two commits: in the files of the second, SIZE is 300 instead of 100."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for size in (100, 300):
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("SIZE", str(size)))
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", f"size {size}")
    return folder


def installed(python: Path, project: Path, *more: str) -> None:
    options = ["--offline", "--no-deps", "--no-build-isolation", "--python", str(python), *more]
    subprocess.run([uv.find_uv_bin(), "pip", "install", "-q", *options, "-e", str(project)], check=True)


def duel(python: Path, project: Path, results: Path, cell: str = "my.cells:x") -> subprocess.CompletedProcess[str]:
    arguments = ["HEAD~1", "HEAD", "--set", f"cells={cell}", "--results", str(results), "--format", "json"]
    return subprocess.run(
        [str(python), "-m", "tests.support.harness", "duel", *arguments],
        cwd=project,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "BENCH_TEST_SIDE": "tests.support.importing_side",
            LOCK_VARIABLE: str(results.parent / "lock"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


SLOWER = {
    "flat": ("my/cells.py", '[tool.setuptools]\npackages = ["my"]\n'),
    "src": ("src/my/cells.py", '[tool.setuptools.packages.find]\nwhere = ["src"]\n'),
    "python": ("python/my/cells.py", '[tool.setuptools.packages.find]\nwhere = ["python"]\n'),
    "namespace": ("python/space/my/cells.py", '[tool.setuptools.packages.find]\nwhere = ["python"]\n'),
}


@pytest.mark.parametrize("layout", SLOWER)
def test_the_commits_own_code_is_measured(tmp_path: Path, layout: str) -> None:
    file, settings = SLOWER[layout]
    files = {"pyproject.toml": SETUPTOOLS + PROJECT + settings, file: CELL + "size = SIZE\nfrom . import helper\n"}
    files[file.replace("cells", "helper")] = ""
    project = a_project(tmp_path / "project", files)
    python = an_environment(tmp_path / "env")
    installed(python, project)
    cell = "space.my.cells:x" if layout == "namespace" else "my.cells:x"
    done = duel(python, project, tmp_path / "results", cell)
    assert done.returncode == 1, done.stderr
    record = json.loads(done.stdout)
    assert (record["verdict"], record["same_code"]) == ("slower", False)
    assert record["ratio"] == pytest.approx(3, rel=0.05)
    for side in record["sides"].values():
        modules = {module["name"]: module["file"] for module in side["modules"]}
        assert {cell.partition(":")[0], cell.partition(":")[0].replace("cells", "helper")} <= set(modules)
        assert not any(name.startswith(str(project)) for name in modules.values())


HOOK = """
import importlib.util, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "my":
            return importlib.util.spec_from_file_location(
                name, {init!r}, submodule_search_locations=[{folder!r}])
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("hook", ["setuptools' finder", "a finder before the path"])
def test_an_editable_hook_that_gives_the_working_tree_is_refused(tmp_path: Path, hook: str) -> None:
    """setuptools makes one where the package's folder has another name; meson-python puts its own before the path."""
    renamed = hook.startswith("setuptools")
    folder = "lib/mine" if renamed else "my"
    settings = '[tool.setuptools]\npackages = ["my"]\n'
    settings += '[tool.setuptools.package-dir]\nmy = "lib/mine"\n' if renamed else ""
    files = {
        "pyproject.toml": SETUPTOOLS + PROJECT + settings,
        f"{folder}/__init__.py": "",
        f"{folder}/cells.py": CELL + "size = SIZE\n",
    }
    project = a_project(tmp_path / "project", files)
    python = an_environment(tmp_path / "env")
    if renamed:
        installed(python, project)
    else:
        (packages,) = (tmp_path / "env").glob("lib/python*/site-packages")
        (packages / "_my_hook.py").write_text(
            HOOK.format(init=str(project / "my" / "__init__.py"), folder=str(project / "my"))
        )
        (packages / "my.pth").write_text("import _my_hook\n")
    done = duel(python, project, tmp_path / "results")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "HEAD~1 (" in done.stderr
    if renamed:  # the path alone does not lead to it, which is known before a side begins
        assert "no module for the cell 'my.cells:x'" in done.stderr
    else:
        assert f"did not run its own code: it imported my from {project}/{folder}/__init__.py" in done.stderr
    assert "[tool.bench] source" in done.stderr
    assert "--build" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_module_that_only_the_working_tree_has_is_refused(tmp_path: Path) -> None:
    files = {
        "pyproject.toml": SETUPTOOLS + PROJECT + '[tool.setuptools.packages.find]\nwhere = ["python"]\n',
        "python/space/cells.py": CELL + "from space.added import size  # SIZE\n",
    }
    project = a_project(tmp_path / "project", files)
    python = an_environment(tmp_path / "env")
    installed(python, project)
    (project / "python" / "space" / "added.py").write_text("size = 100\n")
    git(project, "commit", "-q", "--allow-empty", "-m", "without the module")
    done = duel(python, project, tmp_path / "results", "space.cells:x")
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"space.added from {project}/python/space/added.py" in done.stderr


def test_a_project_that_is_installed_and_not_editable_is_measured_from_its_commits(tmp_path: Path) -> None:
    files = {"pyproject.toml": SETUPTOOLS + PROJECT + '[tool.setuptools]\npackages = ["my"]\n'}
    project = a_project(tmp_path / "project", {**files, "my/cells.py": CELL + "size = SIZE\n"})
    python = an_environment(tmp_path / "env")
    (packages,) = (tmp_path / "env").glob("lib/python*/site-packages")
    shutil.copytree(project / "my", packages / "my")
    done = duel(python, project, tmp_path / "results")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["verdict"] == "slower"


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler here")
@pytest.mark.parametrize("package", ["my", "namespace"])
def test_a_compiled_extension_of_the_working_tree_is_refused_and_the_way_out_is_named(
    tmp_path: Path, package: str
) -> None:
    files = {
        "pyproject.toml": SETUPTOOLS + PROJECT,
        "setup.py": "from setuptools import Extension, setup\n"
        'setup(packages=["my"], package_dir={"": "src"}, ext_modules=[Extension("my._size", ["src/my/size.c"])])\n',
        "src/my/cells.py": CELL + "from my._size import size\n",
        "src/my/size.c": EXTENSION,
        ".gitignore": "*.so\nbuild\n*.egg-info\n",
    }
    if package == "my":
        files["src/my/__init__.py"] = ""
    project = a_project(tmp_path / "project", files)
    python = an_environment(tmp_path / "env")
    installed(python, project)
    assert list((project / "src" / "my").glob("_size*.so"))
    done = duel(python, project, tmp_path / "results")
    assert done.returncode == (4 if package == "my" else 2), done.stdout + done.stderr
    assert "_size" in done.stderr
    assert "--build" in done.stderr
    assert "Traceback" not in done.stderr
