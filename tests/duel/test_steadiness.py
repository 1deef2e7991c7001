"""What is printed of processes whose steps are unsteady for a known reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scripts.record_steadiness import ANCHOR_NAME, CELLS, EXPERIMENTS, Experiment, Setting
from scripts.steadiness import bootstrap, cores_table, experiment_table, followed_table, processes, tables

UNSTEADY, STEADY = Setting(name="unsteady", threads=0), Setting(name="steady", fresh_server=True)
EXPERIMENT = Experiment(settings=(UNSTEADY, STEADY), turn_seconds=0.1, rounds=8)


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
                "experiment": "memory",
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
    row = experiment_table(groups(), EXPERIMENT).splitlines()[-1]
    assert row.startswith("| steady | 1.1")
    assert "(1.0" in row.split("|")[2]


def test_slow_turns_are_told_by_the_cores_that_they_used() -> None:
    lines = [line.split("|") for line in cores_table(groups(), UNSTEADY).splitlines()[2:]]
    assert [cells[1].strip() for cells in lines[::2]] == list(CELLS)
    for alone, both in zip(lines[::2], lines[1::2], strict=True):
        assert (alone[3].strip(), both[3].strip()) == ("25 %", "75 %")
        assert (alone[4].strip(), both[4].strip()) == ("1.60", "1.00")
        assert (alone[5].strip(), both[5].strip()) == ("1.00", "1.00")


def test_a_cell_that_follows_the_anchor_wholly_does_so_by_one() -> None:
    for line in followed_table(groups(), STEADY).splitlines()[2:]:
        slope, low, _, high = line.split("|")[3].replace("(", "").replace(")", "").split()
        assert float(low) < 1 < float(high)
        assert float(slope) == pytest.approx(1.0, abs=0.06)


def test_no_setting_stands_twice_in_an_experiment() -> None:
    for experiment in EXPERIMENTS.values():
        assert len({setting.name for setting in experiment.settings}) == len(experiment.settings)
        assert len({replace(setting, name="") for setting in experiment.settings}) == len(experiment.settings)
    assert tables({"groups": []}) == ""
