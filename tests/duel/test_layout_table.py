"""What is printed of processes whose memory is laid out differently."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scripts.layout_table import bootstrap, busy, layout_table, processes
from scripts.record_layout import ANCHOR_NAME, CELLS, SETTINGS, Setting

UNSTEADY, STEADY = Setting(name="unsteady"), Setting(name="steady", fresh_server=True)


def groups(number: int = 60, steady_speed: float = 1.1) -> list[dict[str, Any]]:
    """Processes of one setting differ by 5 %, those of the other by 1 %, on a machine whose speed varies by 10 %."""
    draw = np.random.default_rng(1)
    made = []
    for each in range(number):
        speed = np.exp(draw.normal(0.0, 0.1))
        factors = {UNSTEADY.name: 0.05, STEADY.name: 0.01, ANCHOR_NAME: 0.0}
        turns = {}
        for name, spread in factors.items():
            step = speed * np.exp(draw.normal(0.0, spread)) * (steady_speed if name == STEADY.name else 1.0)
            # every fourth turn of the unsteady setting has one core alone, and takes as much CPU time
            slow = [name == UNSTEADY.name and turn % 4 == 3 for turn in range(8)]
            turns[name] = [[step * (1.6 if alone else 1.0), 1.0 if alone else 1.6, 0.0, 0.1] for alone in slow]
        made.append(
            {
                "cell": CELLS[each % len(CELLS)],
                "load": 1.0,
                "seconds": 20.0,
                "turns": turns,
                "server_seconds": {STEADY.name: 3.0},
                "ready_seconds": dict.fromkeys(factors, 2.0),
                "huge_fraction": dict.fromkeys(factors, 0.5),
            }
        )
    return made


def test_the_spread_between_processes_leaves_the_machines_drift_out() -> None:
    unsteady, steady = (processes(groups(), setting) for setting in (UNSTEADY, STEADY))
    assert unsteady.spread() == pytest.approx(0.05, rel=0.25)
    assert steady.spread() == pytest.approx(0.01, rel=0.25)
    low, high = bootstrap(unsteady, steady, 0.95)
    assert low < 0.2 < high < 0.4
    assert np.median(steady.within) == 0
    assert steady.cpu_seconds.mean() == 5.0
    assert unsteady.cpu_seconds.mean() == 2.0


def test_the_step_beside_the_first_setting_is_paired_by_group() -> None:
    row = layout_table(groups(), (UNSTEADY, STEADY)).splitlines()[-1]
    assert row.startswith("| steady | 1.1")
    assert "(1.0" in row.split("|")[2]


def test_no_setting_stands_twice() -> None:
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
    assert len({replace(setting, name="") for setting in SETTINGS}) == len(SETTINGS)


def test_how_busy_the_machine_was_stands_beside_it() -> None:
    made = [
        {**group, "turns": group["turns"] | {setting.name: group["turns"][STEADY.name] for setting in SETTINGS}}
        for group in groups(6)
    ]
    for group in made:
        for key in ("ready_seconds", "server_seconds", "huge_fraction"):
            group[key] = dict.fromkeys((setting.name for setting in SETTINGS), 0.5)
    assert busy(made) == "6 groups in 2 minutes; load 1.0 (1.0 to 1.0), others used 0.10 cores"
