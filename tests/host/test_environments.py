"""Environments are built once, whole or not used; the lock has what another machine can install."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.core.errors import UsageError
from bench.host.environments import build_environment, installed_lock, run_uv
from tests.support.wheels import a_wheel

ROOT = str(Path(__file__).parents[2])


def test_an_environment_is_built_once_also_when_two_processes_want_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    lock = f"tiny @ {a_wheel(tmp_path, 'tiny', '1.0', 'version = 1').as_uri()}\n"
    code = f"""
import sys
from pathlib import Path
from bench.host.environments import build_environment
path = Path({str(tmp_path / "cache")!r})
print(build_environment({lock!r}, "key", sys.executable, path, "the environment", lambda text: print("built")))
"""
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate()[0].splitlines() for process in started]
    assert sorted(len(lines) for lines in printed) == [1, 2]
    (interpreter,) = {lines[-1] for lines in printed}
    subprocess.run([interpreter, "-c", "import tiny; assert tiny.version == 1"], check=True)


def test_what_cannot_be_built_is_refused_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    for _ in range(2):
        with pytest.raises(UsageError, match=r"^the environment of n1 cannot be built:\n"):
            build_environment("tiny==1.0\n", "key", sys.executable, tmp_path, "the environment of n1", print)
        assert not (tmp_path / "key").exists(), "it would fill the disk for nothing"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="n1 cannot be built, because uv is not here: `pip install uv` adds it"):
        run_uv("n1", "--version")


def test_an_environment_whose_python_was_removed_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    notes: list[str] = []
    build = functools.partial(build_environment, "", "key", sys.executable, tmp_path, "the environment", notes.append)
    interpreter = build()
    interpreter.unlink()
    interpreter.symlink_to(tmp_path / "removed")
    assert build() == interpreter
    assert interpreter.exists()
    assert build() == interpreter
    assert len(notes) == 2


FAKE_UV = """#!/bin/sh
echo "$1 begins" >> log
if [ "$1" = pip ]; then while [ ! -e go ]; do sleep 0.02; done; fi
mkdir -p cache/key/bin && ln -sf /bin/sh cache/key/bin/python
echo "$1 ends" >> log
"""


def test_a_uv_whose_builder_was_killed_is_waited_for(tmp_path: Path) -> None:
    """Else it would write into the folder in which the next process builds the environment anew."""
    (tmp_path / "uv").write_text(FAKE_UV)
    (tmp_path / "uv").chmod(0o755)
    code = """
import sys
from pathlib import Path
from bench.host import environments
environments._uv = lambda what: "./uv"
environments.build_environment("", "key", sys.executable, Path("cache"), "the environment", print)
"""

    def builder() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": ROOT})

    def log() -> list[str]:
        return (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []

    def wait_for(lines: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while len(log()) < lines and time.monotonic() < deadline:
            time.sleep(0.02)

    first = builder()
    wait_for(3, 60)
    first.kill()
    first.wait()
    second = builder()
    wait_for(4, 1)  # it may not begin, however long one waits
    (tmp_path / "go").touch()
    assert second.wait() == 0
    assert log() == [f"{word} {what}" for _ in range(2) for word in ("venv", "pip") for what in ("begins", "ends")]
    assert (tmp_path / "cache" / "key" / "complete").exists()


def test_the_lock_leaves_out_what_only_this_machine_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origins = {
        "plain": None,
        "from-git": {"url": "https://x/y.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
        "from-web": {"url": "https://x/z.whl", "archive_info": {}},
        "edited": {"url": "file:///home/me/edited", "dir_info": {"editable": True}},
        "rnn-bench": {"url": "file:///home/me/bench", "dir_info": {"editable": True}},
    }
    for name, origin in origins.items():
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        if origin:
            (info / "direct_url.json").write_text(json.dumps(origin))
    (tmp_path / "~removed-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert installed_lock() == (
        "from-git @ git+https://x/y.git@abc\nfrom-web @ https://x/z.whl\nplain==1.0\n",
        ("edited",),
    )


def test_a_bare_node_can_be_equipped() -> None:
    """What equips it imports nothing but Python's own library, from the program's files."""
    code = (
        "import sys; import bench.cluster.provision; "
        "sys.exit(any('site-packages' in (getattr(m, '__file__', None) or '') for m in list(sys.modules.values())))"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {ROOT!r}); {code}"], check=True)
