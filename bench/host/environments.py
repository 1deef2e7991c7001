"""Python environments built with uv, each once a machine, by what is installed in it; and the lock of this one.

Standard library only: a node of a cluster that is to be equipped may have nothing but uv.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.core.errors import UsageError, system_refusal

_SHOWN_LINES = 6
"""The last lines that uv printed, which an error quotes."""

_COMPLETE = "complete"
"""The file that marks an environment as whole."""
PROGRAM = "rnn-bench"
"""The distribution of this program, which a lock doesn't name: its copies travel as files."""


def build_environment(lock: str, key: str, python: str, cache: Path, what: str, report: Callable[[str], None]) -> Path:
    """The interpreter of an environment with what a lock names, built where the cache has none; whole or not used.

    Args:
        lock: a complete list of requirements.
        key: the name of its folder in the cache: a digest of all that its content depends on.
        python: the interpreter, or the version of Python, to build it for, as uv takes it.
        cache: the folder for built environments; two processes that want one at once build it once.
        what: how messages call it: "the environment of the driver".
        report: called with a sentence when it is built, which takes a while.

    Raises:
        UsageError: it can't be built; the message has what uv printed, or what the system refuses.
    """
    folder = cache / key
    interpreter, complete = folder / "bin" / "python", folder / _COMPLETE
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            # the interpreter is a link: the Python that it was built with may have been removed since
            if not (complete.exists() and interpreter.exists()):
                report(f"building {what} in {folder}")
                try:
                    _build(folder, lock, python, what, held.fileno())
                    complete.touch()
                finally:  # a part of an environment would fill a disk for nothing
                    if not complete.exists():
                        shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        refusal = system_refusal(error, f"cannot build {what} in {cache}", "set BENCH_CACHE_DIR to another folder")
        raise refusal or error from error
    return interpreter


def _build(folder: Path, lock: str, python: str, what: str, held: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    run_uv(what, "venv", "-q", "--python", python, str(folder), held=held)
    requirements = folder / "lock.txt"
    requirements.write_text(lock, encoding="utf-8")
    interpreter = str(folder / "bin" / "python")
    run_uv(what, "pip", "install", "-q", "--no-deps", "--python", interpreter, "-r", str(requirements), held=held)
    os.sync()  # else a power cut could leave the mark that it is complete, and not what was installed


def built_environment() -> Path | None:
    """The folder of the environment that this process runs in, if `build_environment` has made it."""
    folder = Path(sys.prefix)
    return folder if (folder / _COMPLETE).exists() else None


def run_uv(what: str, *arguments: str, held: int | None = None) -> str:
    """Run uv, and give what it printed.

    Args:
        what: how messages call the environment that is worked on.
        arguments: uv's command and its options.
        held: the descriptor of a lock that uv holds as well: killed, this process leaves a uv that goes on writing.

    Raises:
        UsageError: uv isn't here, or fails.
    """
    # a user's own settings of uv stay in force (an index, a cache), but not those of the project he stands in
    done = subprocess.run(
        [_uv(what), *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ,
        pass_fds=() if held is None else (held,),
    )
    if done.returncode:
        printed = "\n  ".join(done.stderr.strip().splitlines()[-_SHOWN_LINES:])
        raise UsageError(f"{what} cannot be built:\n  {printed}")
    return done.stdout


def _uv(what: str) -> str:
    if importlib.util.find_spec("uv"):
        import uv

        return uv.find_uv_bin()
    if path := shutil.which("uv"):
        return path
    raise UsageError(f"{what} cannot be built, because uv is not here: `pip install uv` adds it.")


def installed_lock() -> tuple[str, tuple[str, ...]]:
    """What is installed in this Python environment, as requirements with their versions; and what can't be one.

    Left out are packages that were installed from a folder or a file of this machine, which no other has.
    """
    from importlib import metadata

    pinned: dict[str, str] = {}
    left_out: dict[str, None] = {}
    for distribution in metadata.distributions():
        spelled = distribution.metadata["Name"]
        name = re.sub(r"[-_.]+", "-", spelled or "").lower()
        if not name or name in pinned or name in left_out or name == PROGRAM:
            continue  # what is left of a package that was removed; of two copies on the path the first is imported
        requirement = _requirement(spelled, distribution.version, distribution.read_text("direct_url.json"))
        if requirement is None:
            left_out[name] = None
        else:
            pinned[name] = requirement
    return "".join(f"{pinned[name]}\n" for name in sorted(pinned)), tuple(sorted(left_out))


def _requirement(name: str, version: str, direct_url: str | None) -> str | None:
    """The requirement of an installed package by what its installer kept (PEP 610); None for one of this machine."""
    if direct_url is None:
        return f"{name}=={version}"
    origin = json.loads(direct_url)
    url = origin["url"]
    if "vcs_info" in origin:
        return f"{name} @ {origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    return None if url.startswith("file:") else f"{name} @ {url}"
