"""Temporary folders: of the living they stay, of the killed they go, and no module makes any other."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bench.core.errors import UsageError
from bench.core.scratch import ScratchFolder
from tests.support.harness import ROOT

HOLDER = """
import sys
from bench.core.scratch import ScratchFolder
print(ScratchFolder("held").path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_the_folder_of_a_killed_process_goes_when_the_next_is_made_and_none_before(temporary: Path) -> None:
    (temporary / "bench-mine").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        held = Path(holder.stdout.readline().strip())
        (held / "log").write_text("lines")
        with ScratchFolder("probe") as folder:
            assert folder.parent == held.parent == temporary
            assert held.is_dir()
        holder.kill()
        holder.wait()
    assert held.is_dir()
    with ScratchFolder("probe") as folder:
        assert sorted(path.name for path in temporary.iterdir()) == ["bench-mine", folder.name]
    assert [path.name for path in temporary.iterdir()] == ["bench-mine"]


def test_a_folder_that_goes_before_it_is_locked_is_made_again(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[Path] = []
    flock = fcntl.flock

    def late(handle: int, operation: int) -> None:
        if not removed:
            removed.extend(temporary.iterdir())
            shutil.rmtree(removed[0])
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with ScratchFolder("probe") as folder:
        assert folder.is_dir()
        assert removed[0] != folder


def test_a_full_disk_is_the_users_error(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(UsageError, match=rf"cannot write to {temporary} \(no space left on device\).*set TMPDIR"):
        ScratchFolder("probe")


def test_nothing_else_makes_temporary_folders() -> None:
    makers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "bench").rglob("*.py")
        if "TemporaryDirectory(" in (text := path.read_text(encoding="utf-8")) or "mkdtemp(" in text
    }
    # the cache's are under its lock, and so the next process knows that they are nobody's
    assert makers == {"bench/core/scratch.py", "bench/catalog/cache.py"}
