from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bench.core.errors import UsageError
from bench.core.margins import read_margin, read_percentage
from bench.core.metrics import METRICS
from bench.core.units import NUMBER

TRAINING, ACCURACY = METRICS["train_seconds"], METRICS["accuracy"]
SWITCHES = replace(TRAINING, as_ratio=False, unit=NUMBER, title="switches")


@pytest.mark.parametrize(
    ("written", "metric", "margin"),
    [
        (0.05, TRAINING, 0.05),
        (0, TRAINING, 0.0),
        (0.5, TRAINING, 0.5),
        ("0.05", TRAINING, 0.05),
        ("5 %", TRAINING, 0.05),
        ("5%", TRAINING, 0.05),
        (" 5 percent ", TRAINING, 0.05),
        ("5e-1 %", TRAINING, 0.005),
        ("500 %", TRAINING, 5.0),
        (".5 points", ACCURACY, 0.005),
        ("1 point", ACCURACY, 0.01),
        ("0.5 %", ACCURACY, 0.005),
        ("0.5 percentage points", ACCURACY, 0.005),
        (0.1, ACCURACY, 0.1),
        (3, SWITCHES, 3.0),
        ("3", SWITCHES, 3.0),
    ],
)
def test_a_margin_is_a_number_or_has_its_unit(written: object, metric: object, margin: float) -> None:
    assert read_margin(written, metric, "here") == pytest.approx(margin)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "metric", "sentence"),
    [
        (
            5,
            TRAINING,
            'here would be 500 %, which nobody means: write 0.05, or "5 %", if that was meant, and else "500 %"',
        ),
        ("0.51", TRAINING, "here would be 51 %"),
        (0.5, ACCURACY, 'here would be 50 points, which nobody means: write 0.005, or "0.5 points"'),
        (10**400, TRAINING, "here would be inf %"),
        (math.nan, TRAINING, "here is no number"),
        (math.inf, TRAINING, "here is no number"),
        (True, TRAINING, "here is no number"),
        (None, TRAINING, "here is no number"),
        ([5], TRAINING, "here is no number"),
        ("five %", TRAINING, 'here is no number, nor a text with its unit, as in "5 %"'),
        ("", ACCURACY, 'here is no number, nor a text with its unit, as in "5 points"'),
        ("5,0 %", TRAINING, "here has the unit ',0 %'"),
        ("5 points", TRAINING, "here has the unit 'points', which training isn't compared in: write it as in \"5 %\""),
        ("5 s", TRAINING, "here has the unit 's'"),
        ("5 %", SWITCHES, "here has the unit '%', which switches isn't compared in: write it without a unit"),
    ],
)
def test_what_nobody_means_is_refused(written: object, metric: object, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_margin(written, metric, "here")  # type: ignore[arg-type]
    assert sentence in str(caught.value)


def test_a_percentage_has_its_unit_or_none() -> None:
    assert read_percentage("1.5", "--tolerance 1.5") == read_percentage("1.5 %", "") == pytest.approx(0.015)
    assert read_percentage("0.03 %", "", least=0.1) == pytest.approx(0.0003)
    with pytest.raises(UsageError, match=r"--tolerance 0.03 would be 0.03 %, which nobody means: write 3, if that"):
        read_percentage("0.03", "--tolerance 0.03", least=0.1)
    with pytest.raises(UsageError, match="has the unit 'points': it is a percentage"):
        read_percentage("0.5 points", "--floor 0.5 points")
    with pytest.raises(UsageError, match="--floor nan is no number"):
        read_percentage("nan", "--floor nan")
