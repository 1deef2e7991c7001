"""A folder for a machine with a GPU and without a network: the program, and the wheels that such a machine lacks.

A machine that is made for torch and JAX has these, and what a data scientist has beside them; it has no Keras, and what
bench brings with it is unknown there. So the kit holds all of bench's dependencies but the largest, at the versions
that are installed here, and `bench.run.on_gpu`, its script, unpacks those that are lacking.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import bench
from bench.core.errors import UsageError
from bench.host.checkout import COMMIT_FILE, program_commit
from bench.run import on_gpu
from bench.store.files import refused

DISTRIBUTION = "rnn-bench"
THERE = ("jax", "torch", "numpy", "scipy", "pandas", "pyarrow", "matplotlib")
"""Distributions that the machine must have, together with all that they depend on: 50 MB and more in all."""
_EXTRA = "gpu"
_NOT_NEEDED = ("tensorflow", "uv")
MOST_BYTES = 60 << 20
"""The largest that the folder may be: it has to pass where a model would not."""
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014", "manylinux1")

Download = Callable[[Sequence[str], str, Path], None]
"""Puts the wheels of requirements (`keras==3.15.1`), for a version of Python, into a folder."""


def build_kit(folder: Path, python: str, download: Download | None = None) -> int:
    """Make the kit in an empty or new folder; its size in bytes.

    Args:
        folder: where.
        python: the version of Python of the machine with the GPU, `3.12`.
        download: gets the wheels; None: pip does.

    Raises:
        UsageError: the folder is in use or cannot be written to, a wheel cannot be had, or the kit would be too large.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: name a new folder for the kit.")
    package = Path(bench.__file__).parent
    with refused(folder):
        wheels = folder / "wheels"
        wheels.mkdir(parents=True)
        program = folder / "program" / package.name
        shutil.copytree(package, program, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        commit = program_commit()
        (program / COMMIT_FILE).write_text(f"{commit or ''}\n", encoding="utf-8")
        shutil.copyfile(str(on_gpu.__file__), folder / "run.py")
    (download or _pip)(requirements(), python, wheels)
    facts = {"version": bench.__version__, "commit": commit, "python": python, "there": THERE}
    with refused(folder):
        (folder / "kit.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise UsageError(f"the kit in {folder} has {size >> 20} MiB, and {MOST_BYTES >> 20} are the most.")
    return size


def requirements() -> list[str]:
    """The distributions that the kit brings, each at the version that is installed here, if it is: `keras==3.15.1`."""
    from packaging.requirements import Requirement

    wanted: dict[str, str] = {}
    queue = _declared()
    while queue:
        requirement = Requirement(queue.pop())
        name = requirement.name.lower().replace("_", "-")
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in ("", _EXTRA)):
            continue
        if name in wanted or name in (*THERE, *_NOT_NEEDED):
            continue
        try:
            wanted[name] = f"{name}=={metadata.version(name)}"
            queue += metadata.requires(name) or ()
        except metadata.PackageNotFoundError:  # of the extra alone, which few machines have use for
            wanted[name] = f"{name}{requirement.specifier}"
    return sorted(wanted.values())


def _declared() -> list[str]:
    """What bench itself depends on: in a checkout by its pyproject.toml.

    The metadata of an editable installation have what was declared when it was made.
    """
    project_file = Path(bench.__file__).parents[1] / "pyproject.toml"
    if not project_file.is_file():
        return list(metadata.requires(DISTRIBUTION) or ())
    project = tomllib.loads(project_file.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"][_EXTRA]]


def _pip(wanted: Sequence[str], python: str, folder: Path) -> None:
    platforms = [word for name in _PLATFORMS for word in ("--platform", f"{name}_x86_64")]
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    command = [sys.executable, "-m", "pip", "download", *options, *platforms, "--dest", str(folder), *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last_line = next(reversed(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
        raise UsageError(f"pip cannot get the wheels for Python {python}: {last_line}")
