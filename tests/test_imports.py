"""Who may import whom: the tree in CONTRIBUTING.md, and what light commands must not pay for."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench
from tests.support.stored import a_store

PACKAGE = Path(bench.__file__).parent

FOLDERS = ("core", "catalog", "host", "plan", "store", "worker", "run", "cluster", "analysis", "duel", "report", "cli")
"""The folders from the bottom up: each may import only what stands before it here, or itself."""

FRAMEWORKS = {"keras", "tensorflow", "jax", "jaxlib", "torch", "onnx", "onnxruntime", "tf2onnx", "ai_edge_litert"}
OWN_FRAMEWORKS = {
    "backends.tensorflow": {"tensorflow"},
    "backends.jax": {"jax", "jaxlib"},
    "backends.torch": {"torch"},
    "backends.torch_compile": {"torch"},
    "iterators": {"tensorflow"},
    "runtimes.torch_nn": {"torch"},
    "runtimes.keras_layout": {"torch"},
    "runtimes.onnx": {"tensorflow", "onnx", "onnxruntime", "tf2onnx"},
    "runtimes.litert": {"tensorflow", "ai_edge_litert"},
}
"""The modules of the worker that may import more than Keras."""
PLOTS = {"seaborn", "matplotlib"}
CLUSTERS = {"ray"}
DATA = {"pandas", "pyarrow", "scipy", "duckdb"}
WORKERS = {"keras", "numpy", "psutil"}
"""What the worker needs beside its own backend (nothing there reads parquet)."""


def modules() -> list[tuple[str, Path]]:
    """(name, file) of each module of the program: `bench.cli.run`."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("bench", *path.relative_to(PACKAGE).with_suffix("").parts)
        found.append((".".join(part for part in parts if part != "__init__"), path))
    return found


def imports(path: Path, *, at_start_only: bool = False) -> Iterator[str]:
    """Full names of what a file imports, in functions too; what is there for type checking alone is left out.

    Args:
        path: the file.
        at_start_only: leave out what functions import when they are called.
    """
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if at_start_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it points"
            assert node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting += ast.iter_child_nodes(node)


def folder_of(module: str) -> str:
    """`bench.cli.run` and `bench.cli` are in the folder `cli`; `bench` itself, and its version, in none.

    `bench.pytest`, which is called from outside as a command is, stands with the commands.
    """
    parts = module.split(".")
    if module.startswith("bench.pytest"):
        return "cli"
    return parts[1] if parts[0] == "bench" and len(parts) > 1 and not parts[1].startswith("_") else ""


def test_every_folder_has_its_place_in_the_order() -> None:
    assert {folder_of(name) for name, _ in modules()} - {""} == set(FOLDERS)


@pytest.mark.parametrize(("name", "path"), modules())
def test_no_folder_imports_one_that_stands_above_it(name: str, path: Path) -> None:
    # the package itself gives users' modules what they name as `bench.NAME`, of the lowest folder alone
    home = folder_of(name) or FOLDERS[-1 if name == "bench.__main__" else 0]
    for imported in filter(None, map(folder_of, imports(path))):
        allowed = FOLDERS.index(imported) <= FOLDERS.index(home)
        assert allowed, f"{name} imports {imported}, which is above it"


@pytest.mark.parametrize(("name", "path"), modules())
def test_frameworks_are_imported_in_the_worker_only_and_plots_in_the_report_only(name: str, path: Path) -> None:
    tops = {imported.split(".")[0] for imported in imports(path)}
    assert folder_of(name) == "worker" or not tops & FRAMEWORKS
    assert folder_of(name) == "report" or not tops & PLOTS


@pytest.mark.parametrize(("name", "path"), modules())
def test_ray_is_imported_where_a_cluster_is_named_and_only_then(name: str, path: Path) -> None:
    assert folder_of(name) == "cluster" or CLUSTERS.isdisjoint(each.split(".")[0] for each in imports(path))
    assert CLUSTERS.isdisjoint(each.split(".")[0] for each in imports(path, at_start_only=True))


def test_nothing_imports_the_worker() -> None:
    """It is started as a process of its own; whoever imported it would import Keras."""
    assert {
        name for name, path in modules() if folder_of(name) != "worker" and "worker" in map(folder_of, imports(path))
    } == set()


@pytest.mark.parametrize(("name", "path"), [one for one in modules() if folder_of(one[0]) == "worker"])
def test_each_backend_is_imported_in_its_own_module_only(name: str, path: Path) -> None:
    """With JAX or torch the worker runs where TensorFlow isn't installed."""
    backends = {imported.split(".")[0] for imported in imports(path)} & (FRAMEWORKS - {"keras"})
    assert backends <= OWN_FRAMEWORKS.get(name.removeprefix("bench.worker."), set())


def test_the_worker_needs_only_keras_numpy_and_psutil() -> None:
    files = dict(modules())
    reached = {name for name in files if folder_of(name) == "worker"}
    waiting, needed = list(reached), set()
    while waiting:
        name = waiting.pop()
        for imported in imports(files[name], at_start_only=folder_of(name) != "worker"):
            inside = next((known for known in (imported, imported.rpartition(".")[0]) if known in files), None)
            if inside is None:
                needed.add(imported.split(".")[0])
            elif inside not in reached:
                reached.add(inside)
                waiting.append(inside)
    assert {"bench.host.noise", "bench.catalog.tasks", "bench.core.protocol"} <= reached
    assert needed - set(sys.stdlib_module_names) - {"bench"} - (FRAMEWORKS - {"keras"}) == WORKERS


LIGHT = [
    "--help",
    "--version",
    "run --help",
    "duel --help",
    "plan",
    "plan quick --format json",
    "run quick --dry-run",
    "slurm quick --nodes 1",
    "cells",
    "tasks",
    "suites",
    "suites quick",
    "kernels",
    "env",
    "table STORE",
    "table STORE --format md",
    "show last STORE",
    "compare STORE STORE",
    "history STORE",
    "export STORE --format pytest-benchmark",
    "gate STORE STORE --self --format json",
    "compact --help",
    "compact --results STORE",
    "data --help",
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, frozenset[str]]:
    """By command: the modules that it imported in a process of its own."""
    folder = tmp_path_factory.mktemp("light")
    a_store(folder / "store")
    code = (
        "import atexit, json, sys; sys.argv = ['bench', *sys.argv[1:]]\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        "from bench.cli import main; main()"
    )
    found = {}
    for command in LIGHT:
        arguments = [str(folder / "store") if part == "STORE" else part for part in command.split()]
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stderr
        found[command] = frozenset(json.loads(done.stderr.splitlines()[-1]))
    return found


@pytest.mark.parametrize("command", LIGHT)
def test_no_command_but_the_worker_imports_a_framework(loaded: dict[str, frozenset[str]], command: str) -> None:
    assert not loaded[command] & (FRAMEWORKS | PLOTS | CLUSTERS)


@pytest.mark.parametrize("command", [one for one in LIGHT if "STORE" not in one])
def test_what_needs_no_data_frame_imports_none(loaded: dict[str, frozenset[str]], command: str) -> None:
    assert not loaded[command] & (DATA | {"numpy"})


def test_the_test_sees_what_is_imported(loaded: dict[str, frozenset[str]]) -> None:
    assert "pandas" in loaded["table STORE"]
    assert "pydantic" in loaded["plan"]
    assert "pydantic" not in loaded["--help"]
