"""A small fraction of `scripts/fuzz.py`, with fixed seeds: hostile inputs are read or refused, and nothing else."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.fuzz_targets import TARGETS, UnexpectedExitError, check, mutated

COMMANDS = {"suite", "suite fields", "set", "part", "part fields", "manifest", "manifest fields", "ceilings", "json"}
"""Targets that run whole commands, a tenth of a second each."""


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_inputs_are_read_or_refused(tmp_path: Path, name: str) -> None:
    target, draw = TARGETS[name], random.Random(name)
    seeds = list(target.seeds())
    for data in seeds if name not in COMMANDS else seeds[:1]:
        check(target, data, tmp_path)
    for _ in range(3 if name in COMMANDS else 60):
        check(target, mutated(draw.choice(seeds), draw, target.words), tmp_path)


def test_a_fault_is_noticed(tmp_path: Path) -> None:
    def fails(data: bytes, folder: Path) -> str:
        raise KeyError("a column")

    with pytest.raises(KeyError):
        check(replace(TARGETS["idx"], read=fails), b"", tmp_path)


def test_a_command_that_ends_with_a_fault_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.plan.suite._validated", lambda raw, origins: 1 / 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(UnexpectedExitError, match="ended with 70"):
        check(TARGETS["set"], b"epochs=1", tmp_path)
