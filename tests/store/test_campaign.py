from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from bench.core.case import Case
from bench.core.errors import UsageError
from bench.store import campaign as module
from bench.store.campaign import Campaign, commit_of, open_campaign, publish, read_manifests, sweep

CASES = [Case(cell=cell, seed=seed) for seed in (0, 1) for cell in ("gru", "lstm")]
PLAN = {
    "cases": [{"id": case.id, "block": case.seed, "position": place} for place, case in enumerate(CASES)],
    "left_out": [{"case": "gru on gpu:0", "reason": "there is no such device"}],
    "command": ["bench", "run", "quick"],
}


def a_campaign(second: int = 0, **changes: object) -> Campaign:
    whole = Campaign(
        suite="quick",
        plan_hash="0123",
        order_seed=7,
        machine_fingerprint="m",
        software_fingerprint="s",
        program_version="0.1",
        program_commit=None,
        project_commit="abc+dirty",
        cells_digest="",
        started_at=f"2026-11-23T01:02:{second:02d}.000001+00:00",
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def nothing(campaign_id: str) -> list[str]:
    return []


def everything(campaign_id: str) -> list[str]:
    return [case.id for case in CASES]


def test_json_round_trip_keeps_the_id() -> None:
    campaign = a_campaign()
    assert Campaign.from_json(campaign.to_json()) == campaign
    assert Campaign.from_json(campaign.to_json()).id == campaign.id


@pytest.mark.parametrize("name", [field.name for field in fields(Campaign)])
def test_every_fact_is_in_the_id_and_all_but_the_start_in_the_identity(name: str) -> None:
    one = a_campaign()
    other = replace(one, **{name: 8 if name == "order_seed" else "another"})  # type: ignore[arg-type]
    assert other.id != one.id
    assert (other.identity == one.identity) == (name == "started_at")


def test_manifest_keeps_the_whole_plan(tmp_path: Path) -> None:
    campaign, resumed = open_campaign(tmp_path / "new" / "store", a_campaign(), PLAN, nothing, new=False)
    assert (campaign, resumed) == (a_campaign(), False)
    (manifest,) = read_manifests(tmp_path / "new" / "store")
    assert manifest.campaign == campaign
    assert manifest.plan == PLAN
    assert manifest.case_ids == {case.id for case in CASES}


def test_unfinished_campaign_is_resumed_and_a_finished_one_is_not(tmp_path: Path) -> None:
    first, _ = open_campaign(tmp_path, a_campaign(0), PLAN, nothing, new=False)
    assert open_campaign(tmp_path, a_campaign(1), PLAN, lambda _: everything("")[:-1], new=False) == (first, True)
    assert open_campaign(tmp_path, a_campaign(2), PLAN, everything, new=False) == (a_campaign(2), False)
    assert len(read_manifests(tmp_path)) == 2


def test_newest_unfinished_one_is_resumed(tmp_path: Path) -> None:
    for second in (5, 30, 17):
        assert open_campaign(tmp_path, a_campaign(second), PLAN, nothing, new=True) == (a_campaign(second), False)
    wanted = a_campaign(40)
    assert open_campaign(tmp_path, wanted, PLAN, nothing, new=False) == (a_campaign(30), True)
    done = {a_campaign(30).id: everything("")}
    assert open_campaign(tmp_path, wanted, PLAN, lambda id: done.get(id, []), new=False) == (a_campaign(17), True)


def test_another_identity_is_never_resumed(tmp_path: Path) -> None:
    open_campaign(tmp_path, a_campaign(0), PLAN, nothing, new=False)
    wanted = a_campaign(1, project_commit="def")
    assert open_campaign(tmp_path, wanted, PLAN, nothing, new=False) == (wanted, False)


def test_unreadable_manifests_are_named_and_skipped(tmp_path: Path) -> None:
    good, _ = open_campaign(tmp_path, a_campaign(0), PLAN, nothing, new=False)
    folder = tmp_path / "campaigns"
    whole = (folder / f"{good.id}.json").read_text()
    (folder / "cut.json").write_text(whole[: len(whole) // 2])
    (folder / "binary.json").write_bytes(b"\xff\xfe\x00")
    (folder / "list.json").write_text("[]")
    (folder / "renamed.json").write_text(whole)
    (folder / "newer.json").write_text(json.dumps({**json.loads(whole), "manifest_version": 2}))
    (folder / "noplan.json").write_text(json.dumps({**json.loads(whole), "plan": {}}))
    said: list[str] = []
    assert open_campaign(tmp_path, a_campaign(1), PLAN, nothing, new=False, say=said.append) == (good, True)
    for name in ("cut", "binary", "list", "renamed", "newer", "noplan"):
        assert sum(f"{name}.json" in sentence for sentence in said) == 1
    assert len(said) == 6
    assert "upgrade" in next(sentence for sentence in said if "newer.json" in sentence)


OPEN_AT_ONCE = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.store.test_campaign import PLAN, a_campaign, module, nothing, open_campaign, publish
module.publish = lambda *given: (time.sleep(0.3), publish(*given))  # so that all look before one has written
print("ready", flush=True)
sys.stdin.readline()
campaign, resumed = open_campaign(Path(sys.argv[1]), a_campaign(int(sys.argv[2])), PLAN, nothing, new=False)
print(campaign.id, resumed)
"""


def test_harnesses_that_start_at_once_work_on_one_campaign(tmp_path: Path) -> None:
    here = Path(__file__).parents[2]
    command = [sys.executable, "-c", OPEN_AT_ONCE, str(tmp_path / "store")]
    starts = [
        subprocess.Popen(
            [*command, str(second), str(here)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for second in range(4)
    ]
    for process in starts:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in starts:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].split() for process in starts]
    assert len({campaign_id for campaign_id, _ in answers}) == 1
    assert sorted(resumed for _, resumed in answers) == ["False", "True", "True", "True"]
    assert len(read_manifests(tmp_path / "store")) == 1


def test_a_file_in_the_way_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write to .*file.*--results"):
        open_campaign(tmp_path / "file" / "store", a_campaign(), PLAN, nothing, new=False)


def test_an_error_of_the_caller_is_not_taken_for_a_refusal(tmp_path: Path) -> None:
    open_campaign(tmp_path, a_campaign(), PLAN, nothing, new=False)

    def broken(campaign_id: str) -> list[str]:
        raise PermissionError(errno.EACCES, "the caller's own")

    with pytest.raises(PermissionError, match="the caller's own"):
        open_campaign(tmp_path, a_campaign(1), PLAN, broken, new=False)


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


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    def run(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    return run


def test_commit_of_a_checkout(tmp_path: Path, git: Callable[..., str]) -> None:
    assert commit_of(tmp_path) is None
    git("init")
    assert commit_of(tmp_path) is None
    (tmp_path / "code.py").write_text("1")
    (tmp_path / ".gitignore").write_text(".venv\n")
    git("add", ".")
    git("commit", "-m", "first")
    head = git("rev-parse", "HEAD")
    below = tmp_path / "below"
    installed = tmp_path / ".venv" / "bench"
    for folder in (below, installed):
        folder.mkdir(parents=True)
    assert commit_of(tmp_path) == commit_of(below) == head
    assert commit_of(installed) is None
    (tmp_path / "untracked").write_text("")
    assert commit_of(tmp_path) == head
    (tmp_path / "code.py").write_text("2")
    assert commit_of(tmp_path) == commit_of(below) == f"{head}+dirty"
    assert commit_of(tmp_path / "missing") is None


def test_commit_is_none_without_git(tmp_path: Path, git: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    git("init")
    git("commit", "--allow-empty", "-m", "first")
    assert commit_of(tmp_path) is not None
    monkeypatch.setenv("PATH", "")
    assert commit_of(tmp_path) is None


def test_commit_is_none_where_git_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(module, "_GIT_SECONDS", 0.05)
    assert commit_of(tmp_path) is None


def test_campaigns_need_the_standard_library_only() -> None:
    code = "import sys, bench.store.campaign; print(*set(sys.modules) & {'pyarrow', 'numpy', 'pandas', 'keras'})"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
