"""The machine-wide lock: whom it keeps waiting, and what it refuses to write to."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from bench.core.errors import UsageError
from bench.run import lock
from bench.run.lock import LOCK_VARIABLE, machine_lock
from tests.support.harness import ROOT


class Interrupted(Exception):  # noqa: N818 - it names what happened
    """Raised by a signal's handler."""


HOLD = """
import sys, time
from pathlib import Path
from bench.run.lock import machine_lock
with machine_lock(print, Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(path: Path, seconds: float, code: str = HOLD) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(path), str(seconds)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    return holder


def test_the_lock_is_waited_for_and_says_for_whom(tmp_path: Path) -> None:
    notes: list[str] = []
    with hold(tmp_path / "lock", 0.3) as holder, machine_lock(notes.append, tmp_path / "lock"):
        assert holder.wait(5) == 0
    assert notes == [f"another bench (process {holder.pid}) is timing on this machine: waiting for it"]
    with machine_lock(notes.append, tmp_path / "lock"):
        assert len(notes) == 1
        assert (tmp_path / "lock").read_text().strip() == str(os.getpid())


def test_temporary_folders_of_their_own_do_not_part_two_harnesses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch systems give each job a TMPDIR, and macOS each user."""
    code = HOLD.replace(", Path(sys.argv[1])", "")
    code = (
        f"import bench.run.lock as lock, pathlib\nlock.DEFAULT_LOCK = pathlib.Path({str(tmp_path / 'lock')!r})\n{code}"
    )
    monkeypatch.delenv(LOCK_VARIABLE)
    monkeypatch.setattr(lock, "DEFAULT_LOCK", tmp_path / "lock")
    (tmp_path / "another").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "another"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    notes: list[str] = []
    with hold(tmp_path, 0.3, code) as holder:
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr(tempfile, "tempdir", None)
        with machine_lock(notes.append):
            assert notes == [f"another bench (process {holder.pid}) is timing on this machine: waiting for it"]


def test_the_variable_names_another_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOCK_VARIABLE, str(tmp_path / "mine"))
    with machine_lock(pytest.fail):
        assert (tmp_path / "mine").read_text().strip() == str(os.getpid())


def test_the_lock_goes_with_its_holder(tmp_path: Path) -> None:
    with hold(tmp_path / "lock", 1_000) as holder:
        holder.kill()
    with machine_lock(pytest.fail, tmp_path / "lock"):
        pass


def test_waiting_for_the_lock_can_be_interrupted(tmp_path: Path) -> None:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with hold(tmp_path / "lock", 1_000) as holder:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(Interrupted), machine_lock(lambda text: None, tmp_path / "lock"):
                pytest.fail("it was held")
            holder.kill()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_every_user_of_the_machine_may_lock(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with machine_lock(pytest.fail, tmp_path / "lock"):
            assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(before)


def test_another_user_s_lock_that_may_only_be_read_is_locked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lock").write_text("4242")
    opened = os.open

    def as_another_user(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", as_another_user)
    with machine_lock(pytest.fail, tmp_path / "lock"):
        monkeypatch.undo()
        with hold_is_refused(tmp_path / "lock"):
            pass
    assert (tmp_path / "lock").read_text() == "4242"


@contextlib.contextmanager
def hold_is_refused(path: Path) -> Iterator[None]:
    probe = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    assert subprocess.run([sys.executable, "-c", probe, str(path)], capture_output=True, check=False).returncode == 1
    yield


def test_a_link_that_somebody_has_put_there_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with (
        pytest.raises(UsageError, match=r"cannot use .*lock, .*remove it"),
        machine_lock(pytest.fail, tmp_path / "lock"),
    ):
        pass
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_lock_that_cannot_be_made_names_the_way_out(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"No such file or directory.*BENCH_MACHINE_LOCK"),
        machine_lock(pytest.fail, tmp_path / "no folder" / "lock"),
    ):
        pass
