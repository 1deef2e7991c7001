"""`bench kernels MODULE:BUILD`: what is refused before anything runs."""

from __future__ import annotations

import json

import pytest

from bench.cli import main
from bench.core.case import Case
from bench.run import model_probe
from bench.run.model_probe import ModelAttestation


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nowhere:build"], "no module for the model 'nowhere:build' (on the command line)"),
        (["build"], "no module for the model 'build'"),
        (["platform:node", "--data", "nowhere:data"], "no module for the data factory 'nowhere:data' (--data)"),
        (["platform:node", "--set", "cells=lstm"], "--set cells doesn't concern a model"),
        (["platform:node", "--set", "backends=thaeno"], "thaeno"),
        (["platform:node", "--probe"], "--probe is for the matrix"),
        (["--data", "platform:node"], "--data is for a model"),
        (["--steps", "3"], "--steps is for a model"),
    ],
)
def test_what_cannot_be_asked_for_ends_in_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "kernels", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_a_model_that_could_not_be_trained_somewhere_ends_with_4(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(cases: list[Case], *_: object) -> list[ModelAttestation]:
        return [ModelAttestation(case=c, error="it is none", evidence={}, facts={}, parameters=None) for c in cases]

    monkeypatch.setattr(model_probe, "attest_model", refused)
    monkeypatch.setattr("sys.argv", ["bench", "kernels", "platform:node", "--format", "json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 4
    written = capsys.readouterr()
    assert json.loads(written.out)["attestations"][0]["error"] == "it is none"
    assert "platform:node × tensorflow × cpu: it is none" in written.err
