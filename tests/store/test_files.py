from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from bench.core.errors import UsageError
from bench.store.files import publish, replace_file, sweep


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_publish_keeps_an_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "part"
    assert publish(path, lambda file: file.write(b"first"))
    assert not publish(path, lambda file: file.write(b"second"))
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["part"]


def test_publish_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    test_publish_keeps_an_existing_file(tmp_path)


def test_a_full_disk_is_the_users_error_and_leaves_nothing(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    with pytest.raises(UsageError, match=r"no space left.*free some space"):
        publish(tmp_path / "part", lambda file: full.write_bytes(b"x"))
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_refusal_at_sync_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int) -> None:
    def refuse(handle: int) -> None:
        raise OSError(kind, os.strerror(kind))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UsageError, match=r"--results"):
        publish(tmp_path / "part", lambda file: file.write(b"x"))
    assert names(tmp_path) == []


def test_a_failed_check_leaves_nothing(tmp_path: Path) -> None:
    def check(temporary: Path) -> None:
        assert temporary.read_bytes() == b"x"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / "part", lambda file: file.write(b"x"), check)
    assert names(tmp_path) == []


def test_sweep_spares_the_living(tmp_path: Path) -> None:
    (tmp_path / ".dead.0.tmp").write_bytes(b"half")
    (tmp_path / "part.json").write_bytes(b"whole")
    with (tmp_path / ".alive.0.tmp").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert sweep(tmp_path) == 1
        assert names(tmp_path) == [".alive.0.tmp", "part.json"]
    assert sweep(tmp_path) == 1
    assert sweep(tmp_path / "missing") == 0


def test_a_writer_survives_a_sweep_between_creation_and_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.flock
    swept: list[bool] = []

    def late(file: object, operation: int) -> None:
        if not swept:
            swept.append(True)
            monkeypatch.setattr(fcntl, "flock", real)
            assert sweep(tmp_path) == 1
        real(file, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", late)
    assert publish(tmp_path / "part", lambda file: file.write(b"x"))
    assert swept
    assert names(tmp_path) == ["part"]


def test_a_replaced_file_keeps_its_permissions_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(b"old")
    path.chmod(0o640)
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    replace_file(tmp_path / "another", b"first")
    assert names(tmp_path) == ["README.md", "another"]


def test_a_file_that_cannot_be_replaced_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "README.md").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "README.md", b"new")
    assert (tmp_path / "README.md").read_bytes() == b"old"
    assert names(tmp_path) == ["README.md"]


def test_what_killed_writers_of_a_replaced_file_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left = tmp_path / ".page.md.0123456789abcdef.tmp"
    kept = [tmp_path / name for name in (".page.md.swp.tmp", ".another.md.0123456789abcdef.tmp", ".x.tmp")]
    for path in (left, *kept):
        path.write_text("x")
    replace_file(tmp_path / "page.md", b"new")
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "page.md"])
