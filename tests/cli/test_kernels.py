"""`bench kernels`: the matrix as it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bench.host.capabilities
import bench.host.hardware
import bench.host.software
import bench.plan.prepare
from bench.catalog.matrix import ProbeResult
from bench.catalog.support import kernel_refusal
from bench.cli import main
from bench.core.case import Case, Status
from bench.host.hardware import Machine
from bench.run.probe import ProbeCache
from tests.support.roots import LAPTOP


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))


def shown(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *options: str,
    machine: Machine = LAPTOP,
    torch: str | None = "torch: install it",
) -> str:
    for module in (bench.host.hardware, bench.plan.prepare):
        monkeypatch.setattr(module, "read_machine", lambda *_: machine)
    installed = {"tensorflow": None, "jax": None, "torch": torch}
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
    assert "\ncell        auto (default)  generic  unrolled  xla   compiled  cudnn   parallel\n" in out
    assert "\nlstm        → generic       runs     runs      runs  no (1)    no (4)  no (3)\n" in out
    assert "\nmin_gru     → parallel      runs     runs      runs  no (1)    no (5)  runs\n" in out
    assert "runs ✓" in out
    assert "probed (2026-11-24)" in out
    assert "torch · cpu · notebook network\n  not on this machine, and so assumed: torch: install it\n" in out
    assert "(8) gru × cudnn × jax: Keras's JAX backend has no cuDNN GRU" in out
    md = shown(capsys, monkeypatch, "--format", "md")
    assert "| lstm | → generic | runs | runs | runs | no (1) | no (4) | no (3) |" in md


def test_what_compiles_is_missing_only_where_something_would_be_compiled(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton is torch's: a row that is refused on any machine has its reason, and nothing that is missing."""
    with_gpu = Machine.from_json(LAPTOP.to_json().replace('"gpus": []', '"gpus": ["H100"]'))
    monkeypatch.setattr(bench.host.capabilities, "compile_problem", lambda device: f"{device}: no Triton")
    options = ["--set", "devices=gpu:0", "--set", "kernels=compiled", "--set", "networks=cudnn_ready"]
    out = shown(capsys, monkeypatch, *options, "--format", "json", machine=with_gpu, torch=None)
    absent = {(entry["backend"], entry["cell"]): entry["absent"] for entry in json.loads(out)["entries"]}
    assert {key for key, lacking in absent.items() if lacking} == {("torch", "lstm"), ("torch", "gru")}
    assert absent["torch", "gru"] == "gpu:0: no Triton"


def test_with_a_gpu_both_networks_matter(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpu = Machine.from_json(LAPTOP.to_json().replace('"gpus": []', '"gpus": ["H100"]'))
    entries = json.loads(shown(capsys, monkeypatch, "--format", "json", machine=with_gpu))["entries"]
    by = {(e["cell"], e["kernel"], e["backend"], e["device"], e["network"]): e for e in entries}
    assert len(by) == len(entries) == 4 * 7 * 3 * 2 * 3
    refused = by["lstm", "cudnn", "tensorflow", "gpu:0", "notebook"]
    assert refused["reason"].startswith("the second layer's relu rules cuDNN out: layer 1 only; use the network cudnn")
    assert by["lstm", "cudnn", "tensorflow", "gpu:0", "cudnn_ready"]["runs"]
    assert by["lstm", "auto", "tensorflow", "gpu:0", "notebook"]["comes_to"] == "cudnn + generic"
    assert by["simple_rnn", "auto", "tensorflow", "gpu:0", "notebook"]["comes_to"] == "xla"
    assert {e["basis"] for e in entries} == {"assumed"}
    # every impossible one has a reason, and no possible one has
    assert all(bool(e["reason"]) is not e["runs"] for e in entries)
    for e in entries:
        case = Case(**{name: e[name] for name in ("cell", "kernel", "backend", "device", "network")})
        assert e["reason"] == kernel_refusal(case)
        assert e["absent"] == ("torch: install it" if e["backend"] == "torch" else None)


def test_a_device_that_is_not_here_is_assumed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--set", "devices=gpu:0", "--set", "backends=tensorflow", "--set", "cells=lstm,gru")
    out = shown(capsys, monkeypatch, *asked, "--set", "networks=cudnn_ready")
    assert "tensorflow · gpu:0 · cudnn_ready network\n  not on this machine, and so assumed: gpu:0: no Nvidia" in out
    assert "\nlstm  → cudnn         runs     runs      runs  no (1)    runs" in out


@pytest.mark.parametrize("width", [80, 160])
def test_the_matrix_of_options_names_what_rules_cudnn_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    asked = ("--options", "--set", "backends=tensorflow,jax")
    out = shown(capsys, monkeypatch, *asked)
    assert all(len(line) <= width for line in out.splitlines())
    assert "tensorflow · gpu:0 · cudnn_ready network\n  not on this machine, and so assumed: gpu:0" in out
    assert "\ndropout=0.2                        xla (3)     cudnn        cudnn\n" in out
    assert "\nrecurrent_dropout=0.2              xla (3)     generic (4)  generic (4)\n" in out
    assert (
        "(4) lstm, gru × gpu:0: recurrent_dropout=0.2 rules cuDNN out: where it isn't 0 Keras takes the loop"
        in " ".join(out.split())
    )
    assert "| recurrent_dropout=0.2 | xla (3) | generic (4) |" in shown(capsys, monkeypatch, *asked, "--format", "md")


def test_the_matrix_of_options_for_programs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = json.loads(shown(capsys, monkeypatch, "--options", "--format", "json"))["entries"]
    assert len(entries) == 11 * 3 * 3 * 2
    by = {(e["option"], e["cell"], e["backend"], e["device"]): e for e in entries}
    plain = by[None, "lstm", "jax", "gpu:0"]
    assert (plain["comes_to"], plain["not_cudnn"], plain["basis"], plain["phases"]) == ("cudnn", None, "assumed", None)
    masked = by["mask=right", "lstm", "jax", "gpu:0"]
    assert (masked["comes_to"], masked["runs"]) == ("generic", True)
    assert masked["not_cudnn"].startswith("mask=right rules cuDNN out: Keras takes the loop on jax")
    refused = by["mask=gaps", "gru", "tensorflow", "gpu:0"]
    assert (refused["runs"], refused["comes_to"]) == (False, None)
    assert by["stateful=true", "lstm", "tensorflow", "cpu"]["runs"]
    assert by["reset_after=false", "lstm", "tensorflow", "cpu"]["reason"] == "only a GRU has reset_after"
    assert not any(e["not_cudnn"] for e in entries if e["device"] == "cpu")


def test_a_probe_of_an_option_gives_the_kernel_of_each_phase(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    phases = {"train": "generic", "evaluate": "generic", "predict": "unrolled", "compiled": "generic"}
    ProbeCache(LAPTOP.fingerprint, bench.host.software.read_software("jax").fingerprint).put(
        Case(cell="gru", backend="jax", network="cudnn_ready", dropout=0.2),
        ProbeResult(status=Status.OK, attested="mixed", error=None, probed_at="2026-11-24T22:00", phases=phases),
    )
    asked = ("--options", "--set", "backends=jax", "--set", "cells=gru", "--set", "devices=cpu")
    assert "\ndropout=0.2                        generic / generic / unrolled ✓\n" in shown(capsys, monkeypatch, *asked)
