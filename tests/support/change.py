"""A copy of the package with a change in its text, and its commands: what each "how to add" page promises.

changed = copy_of_package(tmp_path)
changed.insert("core/case.py", before='    seed: int = axis(', text='    fan: int = axis(plural="fans", ...)\n')
changed.bench("plan", "quick", "--set", "fans=1,2")
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import bench

_SECONDS = 120.0
_CHECKOUT = Path(__file__).parents[2]
"""Where `tests` is, whose helpers the code that is run may import."""


@dataclass(frozen=True)
class PackageCopy:
    """A copy of `bench/` in a folder of its own, which stands first on the path of the processes that it starts."""

    root: Path
    """The folder that holds the copied `bench/`, and in which the processes run."""
    touched: set[str] = field(default_factory=set)
    """The files that were changed or added, relative to `bench/`."""

    def insert(self, file: str, *, text: str, before: str) -> None:
        """Put `text` in front of the only place where `before` stands in a file of the package."""
        self.replace(file, before, text + before)

    def replace(self, file: str, old: str, new: str) -> None:
        """Put `new` in the place of `old`, which must stand in the file exactly once."""
        path = self.root / "bench" / file
        content = path.read_text(encoding="utf-8")
        assert content.count(old) == 1, f"{old!r} stands {content.count(old)} times in bench/{file}"
        path.write_text(content.replace(old, new), encoding="utf-8")
        self.touched.add(file)

    def add(self, file: str, text: str) -> None:
        """Add a file to the package."""
        path = self.root / "bench" / file
        assert not path.exists(), f"bench/{file} is there already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self.touched.add(file)

    def apply(self, page: str) -> None:
        """Make the change that a page of documentation shows: its `diff` blocks, in order.

        A block names its file from the root of the project; those outside the package are left out. A hunk is found by
        its text, its unchanged and its removed lines together, which must stand in the file exactly once; it has no
        line numbers to go stale.
        """
        for block in re.findall(r"^```diff\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
            before, after, hunks = block.split("\n", 2)
            if not after.startswith("+++ bench/"):
                continue  # beside the package: an extra in pyproject.toml
            file = after.removeprefix("+++ bench/")
            for hunk in re.split(r"^@@.*\n", hunks, flags=re.MULTILINE)[1:]:
                lines = hunk.splitlines(keepends=True)
                old, new = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
                if before == "--- /dev/null":
                    self.add(file, new)
                else:
                    self.replace(file, old, new)

    def bench(self, *arguments: str, code: int = 0) -> str:
        """Run a command of the copy, which must end with `code`, and return what it writes to stdout."""
        return self._run("from bench.cli import main; main()", arguments, code)

    def python(self, source: str) -> str:
        """Run Python code that may import the copy, and return what it prints."""
        return self._run(source, (), 0)

    def _run(self, source: str, arguments: tuple[str, ...], code: int) -> str:
        done = subprocess.run(
            [sys.executable, "-c", source, *arguments],
            capture_output=True,
            text=True,
            cwd=self.root,
            env={
                **os.environ,
                "PYTHONPATH": f"{self.root}{os.pathsep}{_CHECKOUT}",
                "BENCH_CACHE_DIR": str(self.root / "cache"),
                "COLUMNS": "200",
                "NO_COLOR": "1",
            },
            timeout=_SECONDS,
        )
        assert done.returncode == code, f"ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def copy_of_package(folder: Path) -> PackageCopy:
    """Copy the package into a folder; its compiled files go along, and are valid for what isn't changed."""
    package = Path(bench.__file__).parent
    shutil.copytree(package, folder / "bench")
    copy = PackageCopy(folder)
    assert copy.python("import bench; print(bench.__file__)").strip() == str(folder / "bench" / "__init__.py")
    return copy
