"""Leases: one process at a time, of this machine or of others, whatever becomes of the one before."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UsageError
from bench.host.processes import ProcessIdentity
from bench.store import lease
from bench.store.files import create
from bench.store.lease import SILENT_SECONDS, Leases

HERE = ProcessIdentity.current()
ENDED = replace(HERE, started="1")
"""A process of this machine that lives no more."""
ELSEWHERE = replace(HERE, host="build7", namespace="another boot", pid=77)
NAME = "runs/c-block-3"


class Clock:
    """Of an observer; `watch` lets it pass, with an inspection each second."""

    now = 50.0

    def __call__(self) -> float:
        return self.now

    def watch(self, leases: Leases, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            leases.holder(NAME)


def leave(store: Path, process: ProcessIdentity) -> Path:
    """A lease that its holder has not given back: it was killed, or lives elsewhere."""
    leases = Leases(store, process=process)
    assert leases.take(NAME) is None
    (path,) = files(store)
    return path


def files(store: Path) -> list[Path]:
    return sorted(path for path in store.rglob("*") if path.is_file())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(tmp_path: Path, clock: Clock) -> Iterator[Leases]:
    with Leases(tmp_path, clock=clock) as taken:
        yield taken


def test_a_lease_is_one_holder_s_until_it_is_given_back(tmp_path: Path, leases: Leases) -> None:
    assert leases.take(NAME) is None
    assert leases.holds(NAME)
    with Leases(tmp_path) as second:
        holder = second.take(NAME)
        assert holder is not None
        assert (holder.process, holder.seen_alive) == (HERE, True)
        assert not second.holds(NAME)
        assert second.holder("runs/c-block-33") is None
        leases.release(NAME)
        assert second.take(NAME) is None
        assert not leases.holds(NAME)
        assert second.names() == [NAME]
    assert files(tmp_path) == []


def test_the_lease_of_a_process_that_has_ended_is_taken_at_once(tmp_path: Path, leases: Leases) -> None:
    left = leave(tmp_path, ENDED)
    assert leases.holder(NAME) is None
    assert leases.take(NAME) is None
    assert leases.holds(NAME)
    assert not left.exists()
    assert len(files(tmp_path)) == 1


def test_a_sweep_removes_what_killed_processes_of_this_machine_left_and_no_more(tmp_path: Path, leases: Leases) -> None:
    leave(tmp_path, ENDED)
    Leases(tmp_path, process=ELSEWHERE).take("campaigns/c-owner")
    leases.take("runs/mine")
    leases.sweep("campaigns", "runs")
    assert leases.names() == ["campaigns/c-owner", "runs/mine"]
    assert leases.holds("runs/mine")


def test_one_of_another_machine_lives_as_long_as_its_lease_is_seen_to_be_touched(
    tmp_path: Path, leases: Leases, clock: Clock
) -> None:
    path = leave(tmp_path, ELSEWHERE)
    holder = leases.take(NAME)
    assert holder is not None
    assert (holder.process.host, holder.seen_alive) == ("build7", False)
    for _ in range(3):
        clock.watch(leases, int(SILENT_SECONDS) - 5)
        # a file server whose clock goes back by a day: only that the time changes counts
        os.utime(path, ns=(0, path.stat().st_mtime_ns - 86_400 * 10**9))
        holder = leases.take(NAME)
        assert holder is not None
        assert holder.seen_alive
    clock.watch(leases, int(SILENT_SECONDS))
    assert leases.take(NAME) is None
    assert not path.exists()


def test_who_has_not_watched_meanwhile_takes_nobody_for_dead(tmp_path: Path, leases: Leases, clock: Clock) -> None:
    """Both may have been stopped together, as by `docker pause`, or a whole virtual machine."""
    leave(tmp_path, ELSEWHERE)
    for _ in range(2):
        assert leases.take(NAME) is not None
        clock.now += 1_000
    assert leases.take(NAME) is not None


def test_a_holder_touches_its_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.02)
    with Leases(tmp_path) as leases:
        leases.take(NAME)
        (path,) = files(tmp_path)
        for _ in range(2):
            os.utime(path, (0, 0))
            deadline = time.monotonic() + 30
            while path.stat().st_mtime == 0:
                assert time.monotonic() < deadline
                time.sleep(0.01)


def test_a_holder_that_was_stopped_for_long_learns_that_it_holds_nothing_any_more(
    tmp_path: Path, leases: Leases, clock: Clock
) -> None:
    stopped = Leases(tmp_path, process=ELSEWHERE)
    assert stopped.take(NAME) is None
    clock.watch(leases, int(SILENT_SECONDS) + 1)
    assert leases.take(NAME) is None
    assert not stopped.holds(NAME)
    leases.release(NAME)
    assert leases.take(NAME) is None  # a file of the same name as the stopped holder's
    assert not stopped.holds(NAME)
    stopped.release(NAME)
    assert leases.holds(NAME)


def test_a_lease_that_cannot_be_read_for_a_moment_is_still_held(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert leases.take(NAME) is None
    monkeypatch.setattr(lease, "_POLL_SECONDS", 0.0)
    opened, failures = Path.open, [2]

    def open_later(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.suffix == ".lease" and failures[0]:
            failures[0] -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_later)
    assert leases.holds(NAME)
    failures[0] = 100
    assert not leases.holds(NAME)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"pid": "x"}'])
def test_a_lease_that_cannot_be_read_is_watched_as_another_machine_s(
    tmp_path: Path, leases: Leases, clock: Clock, content: bytes
) -> None:
    leave(tmp_path, ENDED).write_bytes(content)
    holder = leases.take(NAME)
    assert holder is not None
    assert "an unknown machine" in str(holder)
    clock.watch(leases, int(SILENT_SECONDS) + 1)
    assert leases.take(NAME) is None


def test_a_dead_holder_s_name_that_a_third_has_taken_meanwhile_is_not_taken_from_it(
    tmp_path: Path, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the judgement and the takeover, a successor comes and goes, and a third takes the first generation."""
    leave(tmp_path, ENDED)
    successor, third = Leases(tmp_path), Leases(tmp_path)

    def late(path: Path, content: bytes) -> bool:
        monkeypatch.setattr(lease, "create", create)
        assert successor.take(NAME) is None
        successor.release(NAME)
        assert third.take(NAME) is None
        return create(path, content)

    monkeypatch.setattr(lease, "create", late)
    assert leases.take(NAME) is not None
    assert third.holds(NAME)
    assert len(files(tmp_path)) == 1


def test_a_listing_that_a_network_file_system_remembers_gives_nobody_a_second_lease(
    tmp_path: Path, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path, ENDED)
    successor = Leases(tmp_path)
    assert successor.take(NAME) is None  # its file is of the second generation
    listed, generations = [], Leases._generations

    def stale(self: Leases, name: str) -> dict[int, Path]:
        listed.append(name)
        return {} if len(listed) == 1 else generations(self, name)

    monkeypatch.setattr(Leases, "_generations", stale)
    assert leases.take(NAME) is not None
    assert successor.holds(NAME)
    assert len(files(tmp_path)) == 1


RACE = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from bench.store.lease import Leases
leases = Leases(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(*[n for n in range(int(sys.argv[2])) if leases.take(f"runs/race-{n}") is None], flush=True)
sys.stdin.readline()
"""


def test_of_several_that_take_over_from_the_dead_at_once_one_succeeds(tmp_path: Path) -> None:
    races, dead = 60, Leases(tmp_path, process=ENDED)
    for number in range(0, races, 2):
        dead.take(f"runs/race-{number}")
    command = [sys.executable, "-c", RACE, str(tmp_path), str(races), str(Path(__file__).parents[2])]
    takers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(3)
    ]
    taken: list[int] = []
    for reads in range(2):
        for taker in takers:
            assert taker.stdout is not None
            line = taker.stdout.readline()
            taken += map(int, line.split()) if reads else []
        for taker in takers:
            assert taker.stdin is not None
            taker.stdin.write("go\n")
    for taker in takers:
        taker.communicate(timeout=30)
    assert sorted(taken) == list(range(races))
    assert len(files(tmp_path)) == races
    # they have ended without giving back
    with Leases(tmp_path) as leases:
        leases.sweep("campaigns", "runs")
    assert files(tmp_path) == []


# --- file systems ---


def refusing(kind: int) -> Callable[..., None]:
    def link(*_: Any) -> None:
        raise OSError(kind, os.strerror(kind))

    return link


@pytest.mark.parametrize("kind", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_has_leases_too(
    tmp_path: Path, leases: Leases, monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    monkeypatch.setattr(os, "link", refusing(kind))
    leave(tmp_path, ENDED)
    assert leases.take(NAME) is None
    second = Leases(tmp_path)
    assert second.take(NAME) is not None
    assert create(tmp_path / "x", b"1")
    assert not create(tmp_path / "x", b"2")
    assert (tmp_path / "x").read_bytes() == b"1"
    (tmp_path / "x").unlink()
    leases.release(NAME)
    assert files(tmp_path) == []


def test_a_link_whose_reply_was_lost_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An NFS client sends the request again, and it is refused since it had succeeded."""
    real = os.link

    def twice(source: Path, target: Path) -> None:
        real(source, target)
        real(source, target)

    monkeypatch.setattr(os, "link", twice)
    assert create(tmp_path / "x", b"1")
    assert [path.name for path in files(tmp_path)] == ["x"]


def test_a_store_that_cannot_be_written_to_is_the_user_s_error(
    tmp_path: Path, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refusing(errno.EROFS))
    with pytest.raises(UsageError, match=r"cannot write to .*runs \(read-only file system\): make it writable"):
        leases.take(NAME)
    assert files(tmp_path) == []
