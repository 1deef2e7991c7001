"""`bench kernels --equal`: what is refused, what is left out, and how it ends; the numbers are computed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from bench.analysis.reference_network import Problem, compute
from bench.catalog import tasks
from bench.cli import main
from bench.core.case import Case
from bench.run import number_probe
from bench.run.number_probe import Batch, NumbersRun

GENERIC = ("--set", "cells=lstm,gru", "--set", "kernels=generic", "--set", "backends=tensorflow")


def ended(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr("sys.argv", ["bench", "kernels", "--equal", *options])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def by_hand(monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Case], bool] = lambda case: False) -> list[Case]:
    """Let the reference in float32 stand for all kernels; the cases that are asked for. A wrong one ignores masks."""
    asked: list[Case] = []

    def computed(given: Iterable[tuple[Case, Batch]], *_: object) -> Iterator[NumbersRun]:
        for case, batch in given:
            asked.append(case)
            x = np.where(batch.x == -1, np.float32(-1.001), batch.x) if wrong(case) else batch.x
            result = compute(case, tasks.of(case), Problem(x=x, y=batch.y, weights=tuple(batch.weights), names=()))
            gradients = tuple(gradient.astype(np.float32) for gradient in result.gradients)
            yield NumbersRun(
                case=case,
                attested="generic",
                error=None,
                settings_json="{}",
                outputs=result.outputs.astype(np.float32),
                gradients=gradients,
            )

    monkeypatch.setattr(number_probe, "compute_numbers", computed)
    return asked


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--probe"], "--equal and --probe are two tables"),
        (["--options"], "--equal and --options are two tables"),
        (["json:loads"], "--equal is for the matrix"),
        (["--data", "json:loads"], "--data is for a model"),
        (["--set", "kernels=thaeno"], "thaeno"),
    ],
)
def test_what_cannot_be_asked_for_ends_in_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    assert ended(monkeypatch, *options) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["dropout=0.2"], "compare without dropout"),
        (["stateful=true", "batch_size=10", "latency_calls=0"], "a stateful layer computes what any other does"),
        (["cells=tests.real.user_cells:good"], "there is no reference of tests.real.user_cells:good"),
        (["networks=tests.real.user_models:network"], "there is no reference of a network of your own"),
    ],
)
def test_nothing_to_compare_ends_with_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    by_hand(monkeypatch)
    sets = [word for option in ("masks=none", *options) for word in ("--set", option)]
    cells = [] if any(option.startswith("cells") for option in options) else ["--set", "cells=lstm"]
    assert ended(monkeypatch, "--set", "kernels=generic", "--set", "backends=tensorflow", *cells, *sets) == 3
    assert words in capsys.readouterr().err


def test_equal_numbers_end_with_0_and_stand_in_the_order_of_the_axes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = by_hand(monkeypatch)
    options = ("--set", "dtypes=float32,mixed_bfloat16", "--set", "runtimes=keras")
    assert ended(monkeypatch, *GENERIC, *options) == 0
    assert [(case.cell, case.mask, case.dtype) for case in asked] == [
        (cell, mask, dtype)
        for cell in ("lstm", "gru")
        for mask in ("none", "gaps")
        for dtype in ("float32", "mixed_bfloat16")
    ]
    printed = capsys.readouterr().out
    assert printed.count("equal\n") == len(asked)
    printed = " ".join(printed.split())
    assert "gru · cudnn_ready network · task=noise · 16 units · mask=gaps · batch 8 · steps=16" in printed
    assert (
        "1 pair: all equal; the farthest are generic × tensorflow and generic × tensorflow × mixed_bfloat16" in printed
    )


def test_a_kernel_that_differs_ends_with_4_and_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand(monkeypatch, wrong=lambda case: case.cell == "gru" and case.mask == "gaps")
    assert ended(monkeypatch, *GENERIC, "--set", "runtimes=keras", "--format", "json") == 4
    written = capsys.readouterr()
    kernels = json.loads(written.out)["kernels"]
    assert [(each["cell"], each["mask"]) for each in kernels if not each["equal"]] == [("gru", "gaps")]
    assert all(each["outputs"]["allowed_absolute"] < 1e-5 for each in kernels)
    assert "gru × generic × tensorflow × cpu × mask=gaps: DIFFERS" in written.err


def test_a_kernel_that_could_not_be_run_ends_with_4(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(given: Iterable[tuple[Case, Batch]], *_: object) -> Iterator[NumbersRun]:
        for case, _batch in given:
            yield NumbersRun(
                case=case, attested=None, error="it ran out", settings_json=None, outputs=None, gradients=None
            )

    monkeypatch.setattr(number_probe, "compute_numbers", failed)
    assert ended(monkeypatch, *GENERIC, "--set", "masks=none", "--set", "runtimes=keras") == 4
    assert "generic × tensorflow: it ran out" in capsys.readouterr().out
