"""bench.worker.evidence.code: what a process imported, in processes of their own."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
import json, bench, annotated_types
before = frozenset(sys.modules)
import my.cells
from bench.core.code import to_json
from bench.worker.evidence.code import imported_modules
print(to_json(imported_modules(before, with_bench="program" in sys.argv)))
"""


def imported(path: list[Path], *arguments: str) -> dict[str, dict[str, str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, *filter(None, sys.path)]))},
        capture_output=True,
        text=True,
        check=True,
    )
    return {module["name"]: module for module in json.loads(done.stdout)}


def a_package(folder: Path, cells: str) -> Path:
    (folder / "my").mkdir(parents=True)
    (folder / "my" / "helper.py").write_text("x = 1\n")
    (folder / "my" / "cells.py").write_text(cells)
    return folder


def test_the_user_s_modules_are_recorded_with_their_content_and_nothing_else(tmp_path: Path) -> None:
    path = a_package(tmp_path / "python", "import csv, annotated_types\nfrom my import helper\n")
    found = imported([path])
    assert set(found) == {"my.cells", "my.helper"}  # `my` is a namespace package: it has no file
    helper = path / "my" / "helper.py"
    assert found["my.helper"] == {
        "name": "my.helper",
        "file": str(helper.resolve()),
        "sha256": hashlib.sha256(helper.read_bytes()).hexdigest(),
        "distribution": "",
    }


def test_a_package_that_only_the_user_s_code_imports_is_recorded_with_its_version(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("shellingham")
    assert spec is not None
    assert spec.origin is not None

    found = imported([a_package(tmp_path, "import shellingham.posix\n")])
    assert found["shellingham"]["file"] == str(Path(spec.origin).resolve())
    assert found["shellingham"]["distribution"].startswith("shellingham 1.")


def test_the_file_is_the_one_that_was_imported_not_the_one_that_was_asked_for(tmp_path: Path) -> None:
    """A finder before the path, as some editable installs leave it in site-packages, gives the working tree."""
    tree = a_package(tmp_path / "commit", "")
    checkout = a_package(tmp_path / "checkout", "")
    hook = f"""
import sys, importlib.util
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "my.cells":
            return importlib.util.spec_from_file_location(name, {str(checkout / "my/cells.py")!r})
sys.meta_path.insert(0, Finder())
"""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(hook)
    found = imported([tmp_path / "hook", tree])
    assert found["my.cells"]["file"] == str((checkout / "my" / "cells.py").resolve())


def test_bench_s_own_modules_are_recorded_only_for_a_comparison_of_its_commits(tmp_path: Path) -> None:
    path = [a_package(tmp_path, "")]
    assert not any(name.startswith("bench") for name in imported(path))
    assert {"bench", "bench.core.code"} <= set(imported(path, "program"))
