"""Environments are built once, whole or not used; the lock has what another machine can install."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.core.errors import UsageError
from bench.host.environments import build_environment, installed_lock, run_uv
from tests.support.wheels import a_wheel


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
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="n1 cannot be built, because uv is not here: `pip install uv` adds it"):
        run_uv("n1", "--version")


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
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(root)!r}); {code}"], check=True
    )
