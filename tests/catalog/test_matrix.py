"""`bench kernels`: what is assumed, what was probed, and how both are shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bench.host.hardware
import bench.host.software
import bench.plan.prepare
from bench.catalog.matrix import ProbeResult, availability, probe_case
from bench.catalog.support import kernel_refusal
from bench.cli import main
from bench.core.case import Case, Status
from bench.core.errors import UsageError
from bench.host.hardware import Machine
from bench.run.probe import ProbeCache, probe
from tests.support.harness import FAKE
from tests.support.roots import LAPTOP

RAN = ProbeResult(status=Status.OK, attested="generic", error=None, probed_at="2026-11-24T22:00:00+00:00")
FELL_BACK = ProbeResult(
    status=Status.INVALID, attested="generic", error="asked for the kernel xla, …", probed_at=RAN.probed_at
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))


def test_what_is_assumed() -> None:
    default = availability(Case(cell="lstm", device="gpu:0"), None, None)
    assert (default.runs, default.kernel, default.probed_at) == (True, "cudnn + generic", None)
    assert availability(Case(cell="my:cell"), None, None).kernel is None  # whose rules nobody knows
    asked = availability(Case(cell="gru", kernel="xla"), None, None)
    assert (asked.runs, asked.kernel) == (True, "xla")
    refused = availability(Case(cell="gru", kernel="cudnn"), "no GPU", None)
    assert (refused.runs, refused.kernel, refused.reason) == (False, None, "no GPU")


def test_what_was_probed_is_reported_and_a_contradiction_too() -> None:
    case = Case(cell="lstm", kernel="xla")
    ran = availability(case, None, ProbeResult(status=Status.OK, attested="xla", error=None, probed_at="now"))
    assert (ran.runs, ran.kernel, ran.probed_at, ran.surprise) == (True, "xla", "now", False)
    fell_back = availability(case, None, FELL_BACK)
    assert (fell_back.runs, fell_back.reason, fell_back.surprise) == (False, "asked for the kernel xla, …", True)
    # where the rule foresaw it, its words are better than an error's
    foreseen = availability(case, "it has no XLA", FELL_BACK)
    assert (foreseen.runs, foreseen.reason, foreseen.surprise) == (False, "it has no XLA", False)
    assert availability(case, "it has no XLA", RAN).surprise


def test_a_probe_is_the_same_configuration_on_little_data() -> None:
    case = Case(cell="gru", kernel="unrolled", backend="jax", network="cudnn_ready", seed=3, epochs=9)
    tried = probe_case(case)
    assert (tried.cell, tried.kernel, tried.backend, tried.network) == ("gru", "unrolled", "jax", "cudnn_ready")
    assert (tried.task, tried.train_samples, tried.epochs, tried.seed) == ("mnist_5k", 200, 1, 0)
    assert tried == probe_case(Case(cell="gru", kernel="unrolled", backend="jax", network="cudnn_ready"))


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
    for content in ("", "[]", '{"version": 0}', file.read_text().replace('"version": 1', '"version": 99')):
        file.write_text(content)
        assert cache.get(case) is None


def test_a_cache_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    with pytest.raises(UsageError, match="cannot write to"):
        ProbeCache("m", "s").put(Case(cell="lstm"), RAN)


def shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *options: str, machine: Machine = LAPTOP
) -> str:
    for module in (bench.host.hardware, bench.plan.prepare):
        monkeypatch.setattr(module, "read_machine", lambda *_: machine)
    installed = {"tensorflow": None, "jax": None, "torch": "torch: install it"}
    monkeypatch.setattr(bench.host.software, "installed_backends", lambda: installed)
    monkeypatch.setattr("sys.argv", ["bench", "kernels", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (None, 0)
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 160])
def test_the_matrix_as_it_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    ProbeCache(LAPTOP.fingerprint, bench.host.software.read_software("jax").fingerprint).put(
        Case(cell="gru", backend="jax", kernel="unrolled"),
        ProbeResult(status=Status.OK, attested="unrolled", error=None, probed_at="2026-11-24T22:00:00+00:00"),
    )
    out = shown(capsys, monkeypatch)
    assert all(len(line) <= width for line in out.splitlines())
    assert "\ncell        auto (default)  generic  unrolled  xla   cudnn\n" in out
    assert "\nlstm        → generic       runs     runs      runs  no (2)\n" in out
    assert "runs ✓" in out
    assert "probed (2026-11-24)" in out
    assert "torch · cpu · notebook network\n  torch: install it\n" in out
    assert "(4) gru × cudnn × jax: Keras's JAX backend has no cuDNN GRU" in out
    md = shown(capsys, monkeypatch, "--format", "md")
    assert "| lstm | → generic | runs | runs | runs | no (2) |" in md


def test_with_a_gpu_both_networks_matter(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpu = Machine.from_json(LAPTOP.to_json().replace('"gpus": []', '"gpus": ["H100"]'))
    entries = json.loads(shown(capsys, monkeypatch, "--format", "json", machine=with_gpu))["entries"]
    by = {(e["cell"], e["kernel"], e["backend"], e["device"], e["network"]): e for e in entries}
    assert len(by) == len(entries) == 3 * 5 * 3 * 2 * 2
    refused = by["lstm", "cudnn", "tensorflow", "gpu:0", "notebook"]
    assert refused["reason"].startswith("the second layer's relu rules cuDNN out: layer 1 only; use the network cudnn")
    assert by["lstm", "cudnn", "tensorflow", "gpu:0", "cudnn_ready"]["runs"]
    assert by["lstm", "auto", "tensorflow", "gpu:0", "notebook"]["comes_to"] == "cudnn + generic"
    assert by["simple_rnn", "auto", "tensorflow", "gpu:0", "notebook"]["comes_to"] == "xla"
    assert {e["basis"] for e in entries} == {"assumed"}
    # every impossible one has a reason, and no possible one has
    assert all(bool(e["reason"]) is not e["runs"] for e in entries)
    for e in entries:
        if e["backend"] != "torch":  # which isn't installed here
            case = Case(**{name: e[name] for name in ("cell", "kernel", "backend", "device", "network")})
            assert e["reason"] == kernel_refusal(case)
