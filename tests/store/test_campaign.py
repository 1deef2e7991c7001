from __future__ import annotations

import errno
import json
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from bench.core.case import Case
from bench.core.errors import UsageError
from bench.store.campaign import Campaign, open_campaign, read_manifests

CASES = [Case(cell=cell, seed=seed) for seed in (0, 1) for cell in ("gru", "lstm")]


PLAN = {
    "cases": [
        {"id": case.id, "block": case.seed, "position": place, "case": asdict(case)} for place, case in enumerate(CASES)
    ],
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
    campaign = a_campaign()
    changed = replace(campaign, **{name: 8 if name == "order_seed" else "another"})  # type: ignore[arg-type]
    assert changed.id != campaign.id
    assert (changed.identity == campaign.identity) == (name == "started_at")


def test_manifest_keeps_the_whole_plan(tmp_path: Path) -> None:
    campaign, resumed = open_campaign(tmp_path / "new" / "store", a_campaign(), PLAN, nothing, new=False)
    assert (campaign, resumed) == (a_campaign(), False)
    (manifest,) = read_manifests(tmp_path / "new" / "store")
    assert manifest.campaign == campaign
    assert manifest.plan == PLAN
    assert manifest.case_ids == {case.id for case in CASES}
    assert list(manifest.cases.values()) == CASES


def test_a_case_of_a_manifest_that_lacks_an_axis_has_its_default(tmp_path: Path) -> None:
    """As those have that were written before the axis was there."""
    older = [{"id": case.id, "case": {"cell": case.cell}} for case in CASES]
    open_campaign(tmp_path, a_campaign(), {**PLAN, "cases": older}, nothing, new=False)
    (manifest,) = read_manifests(tmp_path)
    assert [case.units for case in manifest.cases.values()] == [128] * len(CASES)


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
    (folder / "nocase.json").write_text(whole.replace('"case":', '"kase":'))
    (folder / "infinite.json").write_text(whole.replace('"units": 128', '"units": Infinity'))
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "noplan.json").write_text(json.dumps({**json.loads(whole), "plan": {}}))
    warnings: list[str] = []
    assert open_campaign(tmp_path, a_campaign(1), PLAN, nothing, new=False, warn=warnings.append) == (good, True)
    for name in ("cut", "binary", "list", "renamed", "newer", "nocase", "infinite", "deep", "noplan"):
        assert sum(f"{name}.json" in sentence for sentence in warnings) == 1
    assert len(warnings) == 9
    assert "upgrade" in next(sentence for sentence in warnings if "newer.json" in sentence)


OPEN_AT_ONCE = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from bench.store import campaign as campaigns
from bench.store.files import publish
from tests.store.test_campaign import PLAN, a_campaign, nothing, open_campaign
campaigns.publish = lambda *given: (time.sleep(0.3), publish(*given))  # so that all look before one has written
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


def test_campaigns_need_the_standard_library_only() -> None:
    code = "import sys, bench.store.campaign; print(*set(sys.modules) & {'pyarrow', 'numpy', 'pandas', 'keras'})"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
