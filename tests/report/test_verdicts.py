"""bench.report.verdicts: golden outputs, widths, hostile names.

After a wanted change of the output, look at what `BENCH_WRITE_GOLDEN=1 pytest tests/report/test_verdicts.py` makes
of them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bench.analysis.comparison import Comparison, compare
from bench.core.case import Case
from bench.core.metrics import METRICS
from bench.plan.gate import Gate, read_gate
from bench.report.values import measured_value
from bench.report.verdicts import headline
from tests.analysis.test_comparison import BASE, judged, side, wobbling
from tests.support.frames import MACHINE, MEGABYTE, SOFTWARE, Rows, frame, run
from tests.support.rendering import Format, verdicts_in

GOLDEN = Path(__file__).parents[1] / "golden"
HOSTILE = "a|b`<script>alert(1)</script>\n| --- |\n**x**[y](z)\x1b[31m\\"


def hard_case() -> Comparison:
    """Every verdict, two machines, a hostile name, axes, and sides that were not measured in turns."""

    def sized(campaign: str, units: int, mean: float, generator: int, accuracy: float, memory: int) -> list[Rows]:
        seconds = wobbling(mean, 0.004, generator)
        return [
            run(
                Case(cell="lstm", units=units, seed=seed),
                campaign=campaign,
                epoch_seconds=(9.0, seconds(seed)),
                accuracy=round(accuracy + 0.001 * ((seed * generator) % 5), 4),
                loss=round(0.1 + 0.004 * ((seed * generator) % 5), 4),
                memory_bytes=(memory + generator * seed) * MEGABYTE,
            )
            for seed in range(6)
        ]

    away = {**MACHINE, "cpu_model": "Fictional 9001"}
    newer = {**SOFTWARE, "backend_version": "2.22.0"}
    gone = run(Case(cell="gru", units=64), campaign="old")
    crashed = run(Case(cell=HOSTILE), campaign="new", status="failed", error=f"ValueError: {HOSTILE}")
    old = frame(
        *sized("old", 64, 5.0, 1, 0.95, 400),
        *sized("old", 128, 20.0, 2, 0.96, 500),
        gone,
        *side("old", cell="simple_rnn", n=2),
        *side("old", cell="simple_rnn", n=2, more={"units": 32}),
    )
    new = frame(
        *sized("new", 64, 5.6, 3, 0.90, 400),
        *sized("new", 128, 18.0, 2, 0.96, 300),
        crashed,
        *side("new", cell="simple_rnn", n=2, machine=away),
        *side("new", cell="simple_rnn", n=2, more={"units": 32}, software=newer),
        run(Case(cell="lstm", units=512), campaign="new"),
    )
    new["started_at"] += pd.Timedelta(hours=26)
    return compare(old, new, Gate(drift=0.01), names=("results/main", "results/local"))


@pytest.mark.parametrize(
    ("name", "fmt", "width"),
    [("verdicts_wide.txt", "text", 140), ("verdicts_narrow.txt", "text", 80), ("verdicts.md", "md", 0)],
)
def test_golden(name: str, fmt: Format, width: int) -> None:
    made = verdicts_in(hard_case(), Gate(), fmt, width)
    if os.environ.get("BENCH_WRITE_GOLDEN"):
        (GOLDEN / name).write_text(made)
    assert made == (GOLDEN / name).read_text()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_text_fits_its_width_and_has_no_control_codes(width: int) -> None:
    for line in verdicts_in(hard_case(), Gate(), "text", width).splitlines():
        assert len(line) <= width
        assert line.isprintable()
        assert line == line.rstrip()


def test_a_figure_stands_in_one_line_at_eighty_columns() -> None:
    comparison = judged(BASE, side("new", wobbling(5.5, 0.01, 2), accuracy=lambda seed: 0.5 + 0.01 * seed))
    text = verdicts_in(comparison, Gate(), "text", 80)
    assert re.search(r"training +5\.0\d s +5\.5\d s +1\.\d{3} \(1\.\d{3}–1\.\d{3}\) +8 +slower$", text, re.M)
    assert re.search(r"accuracy +90\.35 % +53\.50 % +−36\.85 \(−\S+ to −\S+\) +8 +worse$", text, re.M)


@settings(deadline=None, max_examples=25)
@given(st.text(max_size=30))
@example(HOSTILE)
@example("```\n# x")
@example("__init__ *x* ~~y~~ _z_")
def test_no_name_breaks_the_markdown_or_runs_as_html(name: str) -> None:
    machine = {**MACHINE, "cpu_model": name}
    old = [run(Case(cell=f"x{name}x"), machine=machine), run(Case(cell="gru"), machine=machine)]
    new = [run(Case(cell=f"x{name}x"), status="failed", error=f"x{name}x", campaign="new", machine=machine)]
    comparison = compare(frame(*old), frame(*new), Gate(), names=(f"x{name}x", "new"))
    tokens = MarkdownIt("commonmark").enable("table").parse(verdicts_in(comparison, Gate(), "md"))
    inner = [child for token in tokens for child in token.children or []]
    assert not {t.type for t in [*tokens, *inner]} & {"code_inline", "fence", "link_open", "image", "em_open"}
    ours = {"<details>", "</details>", "<summary>", "</summary>"}
    assert {t.content.split(">")[0] + ">" for t in [*tokens, *inner] if t.type.startswith("html")} <= ours
    assert sum(t.type == "tr_open" for t in tokens) == 4  # two grounds: a heading and a row each


def test_the_headline_counts_the_worst_first_and_tells_what_is_not_required() -> None:
    said = headline(hard_case(), Gate())
    assert said.startswith("1 failed, ")
    assert said.index("worse") < said.index("missing") < said.index("same")
    assert "of the inconclusive ones not required)" in said
    assert "not required" not in headline(judged(BASE, BASE), read_gate({"require": ["loss"]}, "here"))


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [
        ("train_seconds", 20.24, "20.2 s"),
        ("latency_seconds", 0.00341, "3.41 ms"),
        ("accuracy", 0.95131, "95.13 %"),
        ("loss", 0.08714, "0.0871"),
        ("memory_bytes", 1_234_000_000.0, "1,234 MB"),
        ("throughput", 2984.0, "2,980/s"),
        ("loss", None, "–"),
    ],
)
def test_figures_have_their_units(metric: str, value: float | None, shown: str) -> None:
    assert measured_value(METRICS[metric], value) == shown


def test_a_change_has_the_unit_of_its_metric() -> None:
    """Accuracy in points; R², which is no fraction, as the number that it is."""

    def measured(campaign: str, r2: float) -> pd.DataFrame:
        runs = [run(Case(cell="gru", seed=seed), campaign=campaign, accuracy=0.9 + r2) for seed in range(3)]
        return frame(*([{**row, "r2": r2 + 0.001 * seed} for row in rows] for seed, rows in enumerate(runs)))

    comparison = compare(measured("old", 0.01), measured("new", 0.03), Gate(drift=0.01), names=("old", "new"))
    lines = [" ".join(line.split()) for line in verdicts_in(comparison, Gate(), "text", 140).splitlines()]
    assert any("R² 0.0110 0.0310 +0.0200" in line for line in lines), lines
    assert any("91.00 % 93.00 % +2.00" in line for line in lines), lines
    assert "· The change of accuracy is new − base, in points." in lines
    assert "· The change of R² is new − base." in lines
