"""What is printed of processes whose memory is laid out differently."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.layout_table import (
    busy,
    common_table,
    intervals,
    layout_table,
    log_steps,
    own_variances,
    pooled_deviations,
)
from scripts.record_layout import ANCHOR_NAME, CELLS, SETTINGS, Setting

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "results" / "reference" / "duels" / "layout.json"
STEADY, FRESH, UNSTEADY = (
    Setting(name="steady"),
    Setting(name="fresh", fresh_server=True),
    Setting(name="unsteady", shuffled_heap=True),
)
THREE = (STEADY, FRESH, UNSTEADY)


def groups(number: int = 90) -> list[dict[str, Any]]:
    """Processes of one setting differ by 5 %, those of the others by 1 %, on a machine whose speed varies by 10 %."""
    draw = np.random.default_rng(1)
    made = []
    for each in range(number):
        speed = np.exp(draw.normal(0.0, 0.1))
        spreads = {STEADY.name: 0.01, FRESH.name: 0.01, UNSTEADY.name: 0.05, ANCHOR_NAME: 0.0}
        steps = {name: speed * np.exp(draw.normal(0.0, spread)) for name, spread in spreads.items()}
        steps[FRESH.name] *= 1.1
        made.append(
            {
                "cell": CELLS[each % len(CELLS)],
                "load": 1.0,
                "seconds": 20.0,
                "turns": {name: [[step, 1.0, 0.0, 0.1]] * 3 for name, step in steps.items()},
                "server_seconds": {FRESH.name: 3.0},
                "ready_seconds": dict.fromkeys(spreads, 2.0),
                "huge_fraction": dict.fromkeys(spreads, 0.5),
            }
        )
    return made


def test_a_process_s_own_spread_leaves_out_what_all_have_in_common() -> None:
    by_cell = [log_steps(groups(), THREE, cell) for cell in CELLS]
    assert [logs.shape for logs in by_cell] == [(30, 3)] * 3
    steady, fresh, unsteady = pooled_deviations(by_cell)
    assert max(steady, fresh) < 0.02
    assert unsteady == pytest.approx(0.05, rel=0.2)
    lows, highs = intervals(by_cell, 0.95)
    assert lows[2] > highs[0]
    assert lows[2] < 0.05 < highs[2]


def test_own_variances_are_those_of_columns_that_have_the_rest_in_common() -> None:
    draw = np.random.default_rng(2)
    logs = draw.normal(0, 3, (4000, 1)) + draw.normal(0, 1, (4000, 4)) * [1.0, 2.0, 3.0, 0.0]
    assert own_variances(logs) == pytest.approx([1.0, 4.0, 9.0, 0.0], abs=0.4)


def test_the_step_beside_the_first_setting_is_paired_by_group() -> None:
    lines = layout_table(groups(), THREE).splitlines()[2:]
    fresh = [cell.strip() for cell in lines[1].strip("|").split("|")]
    low, high = (float(end) for end in fresh[1].split("(")[1].strip(")").split(" to "))
    assert 1.09 < low < float(fresh[1].split()[0]) < high < 1.11
    assert [line.split("|")[4].strip() for line in lines] == ["2.0 s", "5.0 s", "2.0 s"]
    assert "| simple_rnn | 30 | " in common_table(groups(), THREE)


def test_no_setting_stands_twice() -> None:
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
    assert len({replace(setting, name="") for setting in SETTINGS}) == len(SETTINGS)


def test_the_docs_show_what_was_recorded() -> None:
    recorded = json.loads(RECORDED.read_text())["groups"]
    docs = (ROOT / "docs" / "how-sure.md").read_text()
    assert layout_table(recorded) in docs
    assert common_table(recorded) in docs
    assert busy(recorded) in " ".join(docs.split())
