"""What torch.compile needs of a host."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.host.capabilities import compile_problem


def test_without_a_compiler_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no-such-compiler is not here: install it, or name one in CXX" in (compile_problem("cpu") or "")
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert "torch.compile needs a C++ compiler, and " in (compile_problem("cpu") or "")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert compile_problem("cpu") is None


def test_without_pythons_headers_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    assert f"{tmp_path} has no Python.h: install python3-dev" in (compile_problem("cpu") or "")


def test_on_a_gpu_triton_makes_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "Triton, which torch's builds for CUDA bring" in (compile_problem("gpu:0") or "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert compile_problem("gpu:0") == compile_problem("cpu")
