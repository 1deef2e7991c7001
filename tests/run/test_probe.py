"""bench.run.probe: configurations are probed in processes of their own, and the results are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.catalog.matrix import ProbeResult
from bench.core.case import Case, Status
from bench.core.errors import UsageError
from bench.run.probe import ProbeCache, probe
from tests.support.harness import FAKE

RAN = ProbeResult(status=Status.OK, attested="generic", error=None, probed_at="2026-11-24T22:00:00+00:00")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))


def test_probes_run_in_processes_of_their_own_and_results_are_kept(tmp_path: Path) -> None:
    cases = [Case(cell="lstm", kernel="generic"), Case(cell="gru", kernel="xla")]
    data = tmp_path / "data.npz"
    data.touch()
    cache = ProbeCache("machine", "software")
    for case, result in probe(cases, data, pytest.fail, worker=FAKE):
        assert (result.status, result.attested) == (Status.OK, "generic")
        cache.put(case, result)
        cache.put(case, result)  # again: the last one stands
    kept = ProbeCache("machine", "software")
    assert [kept.get(case) is not None for case in (*cases, Case(cell="gru", kernel="cudnn"))] == [True, True, False]
    assert ProbeCache("another", "software").get(cases[0]) is None
    assert ProbeCache("machine", "newer").get(cases[0]) is None


def test_a_result_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    case = Case(cell="lstm")
    cache = ProbeCache("m", "s")
    cache.put(case, RAN)
    (file,) = (tmp_path / "cache" / "probes" / "m-s").glob("*.json")
    for content in ("", "[]", '{"version": 0}', file.read_text().replace('"version": 2', '"version": 99')):
        file.write_text(content)
        assert cache.get(case) is None


def test_a_cache_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    with pytest.raises(UsageError, match="cannot write to"):
        ProbeCache("m", "s").put(Case(cell="lstm"), RAN)
