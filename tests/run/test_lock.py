"""The machine-wide lock: whom it keeps waiting, and what it refuses to write to."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from bench.core.errors import UsageError
from bench.run import lock
from bench.run.lock import LOCK_VARIABLE, cards_in_use, machine_lock
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


def test_a_folder_that_has_the_machines_lock_alone_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where an administrator has put it there; root may write to any folder, so that the system stands in."""
    (tmp_path / "lock").touch()
    opened = os.open

    def without_making(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", without_making)
    with machine_lock(pytest.fail, tmp_path / "lock"), hold_is_refused(tmp_path / "lock"):
        pass
    with (
        pytest.raises(UsageError, match=r"lock\.card-1, .*Permission denied"),
        machine_lock(pytest.fail, tmp_path / "lock", card="1"),
    ):
        pass


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


class Waiter:
    """Takes a lock in a thread, and holds it until it is let go."""

    def __init__(self, path: Path, card: str | None = None) -> None:
        self.notes: list[str] = []
        self.held, self._let_go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, args=(path, card), daemon=True)
        self._thread.start()

    def _hold(self, path: Path, card: str | None) -> None:
        with machine_lock(self.notes.append, path, card=card):
            self.held.set()
            self._let_go.wait(60)

    def end(self) -> None:
        self._let_go.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def waits(self) -> bool:
        """Whether it has reported that it waits; waits for that itself."""
        deadline = time.monotonic() + 60
        while not self.notes and not self.held.is_set() and time.monotonic() < deadline:
            time.sleep(0.005)
        return bool(self.notes) and not self.held.is_set()


def test_runs_on_cards_of_their_own_overlap_and_two_on_one_card_do_not(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert cards_in_use(path) == frozenset()
    with machine_lock(pytest.fail, path, card="00:3B:00.0"), machine_lock(pytest.fail, path, card="1"):
        assert cards_in_use(path) == {"00-3B-00.0", "1"}
        second = Waiter(path, "1")
        assert second.waits()
        assert second.notes == [f"another bench (process {os.getpid()}) is timing on the GPU 1: waiting for it"]
    assert second.held.wait(60)
    assert cards_in_use(path) == {"1"}
    second.end()


def test_the_whole_machine_excludes_its_cards_and_waits_for_those_alone_that_came_before(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = Waiter(path, "1")
    assert first.held.wait(60)
    whole = Waiter(path)
    assert whole.waits()
    late = Waiter(path, "2")
    assert late.waits(), "else a machine whose runs on cards overlap would never be free"
    assert "is the next to time on this machine" in late.notes[0]
    first.end()
    assert whole.held.wait(60)
    assert not late.held.is_set()
    whole.end()
    assert late.held.wait(60)
    late.end()
