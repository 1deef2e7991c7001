"""bench.analysis.device_state: runs on a device that was slowed down or shared are marked, and stay in every figure.

The rows are composed, as `bench.run.device_watch` would have made them; no card was there.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.analysis.comparison import compare
from bench.analysis.device_state import DeviceState, marks
from bench.analysis.summary import summarise
from bench.core.case import Case
from bench.plan.gate import Gate
from tests.support.frames import Rows, frame, run
from tests.support.rendering import table_in

CAPPED = {
    "device_throttling": "power cap, heat, by hardware",
    "device_sm_mhz_highest": 1980,
    "device_sm_mhz_lowest": 1410,
}
QUIET = {"device_throttling": "", "device_sm_mhz_highest": 1980, "device_sm_mhz_lowest": 1965, "device_others": 0}
JOULES = {"device_memory_bytes": 512_000_000}


def on_gpu(seed: int, state: dict[str, Any], joules: float | None = None, **changes: Any) -> Rows:
    rows = run(Case(cell="lstm", device="gpu:0", seed=seed), **changes)
    for row in rows:
        row |= state
        if row["phase"] == "train" and joules is not None:
            row["energy_joules"] = joules
    return rows


def text(table: pd.DataFrame) -> str:
    return " ".join(table_in(summarise(table), "text", 120).split())


def test_the_fall_of_the_clock_is_that_of_the_runs_that_were_slowed_down() -> None:
    states = [
        DeviceState.of(stored) for stored in (CAPPED, QUIET, {**QUIET, "device_others": 2}, {}, {"device_others": None})
    ]
    assert [state.marked for state in states] == [True, False, True, False, False]
    assert marks(states) == (
        "the clock fell from 1980 to 1410 MHz in 1 of 5 runs: power cap, heat, by hardware; "
        "other processes were on the card in 1 of 5 runs"
    )
    assert marks([states[1], states[3]]) == ""


def test_a_slowed_run_is_in_the_figures_and_under_the_table() -> None:
    table = frame(*(on_gpu(seed, CAPPED if seed == 1 else QUIET) for seed in range(3)))
    assert "lstm: the clock fell from 1980 to 1410 MHz in 1 of 3 runs: power cap" in text(table)
    (section,) = summarise(table)
    assert len(section.rows[0].runs) == 3
    assert "slower than it could be" not in text(frame(*(on_gpu(seed, QUIET) for seed in range(3))))


BESIDE = {
    "host_json": '{"hostname": "n1", "neighbour_gpu_fraction": 0.62, "neighbour_runs": 3}',
    "other_cpu_fraction": 0.215,
}


def test_what_was_timed_beside_a_run_is_under_the_table() -> None:
    table = frame(*(on_gpu(seed, BESIDE if seed else QUIET) for seed in range(3)))
    beside = "beside up to 3 other runs in 2 of 3 runs, the other GPUs were busy 62 % of the time, other processes took"
    assert f"lstm {beside} 22 % of the CPU time. Times of a machine that measures alone" in text(table)
    assert "slower than it could be" not in text(table), "the card itself was left alone"
    alone = frame(*(on_gpu(seed, QUIET) for seed in range(6)))
    assert "Measured while other runs" not in text(alone)
    new = frame(*(on_gpu(seed, BESIDE, campaign="c2") for seed in range(6)))
    remarks = {remark for finding in compare(alone, new, Gate()).findings for remark in finding.remarks}
    assert any(remark.startswith("the new side was measured beside up to 3 other runs in 6 of 6") for remark in remarks)


def test_a_comparison_across_marks_states_them() -> None:
    base = frame(*(on_gpu(seed, QUIET) for seed in range(6)))
    new = frame(*(on_gpu(seed, CAPPED, epoch_seconds=(9.0, 7.0, 7.0), campaign="c2") for seed in range(6)))
    remarks = {remark for finding in compare(base, new, Gate()).findings for remark in finding.remarks}
    assert (
        "the device of the new side: the clock fell from 1980 to 1410 MHz in 6 of 6 runs: power cap, heat, by hardware"
        in remarks
    )
    assert not any("the device of the base" in remark for remark in remarks)


def test_memory_and_energy_of_a_device_are_columns_where_they_were_measured() -> None:
    measured = text(frame(*(on_gpu(seed, {**QUIET, **JOULES}, joules=100.0 + seed) for seed in range(3))))
    assert "J/epoch" in measured
    assert "device memory" in measured
    assert "98–104" in measured  # with its interval
    assert "J/epoch: joules beyond the device's idle power" in measured
    plain = text(frame(*(run(Case(cell="lstm", seed=seed)) for seed in range(3))))
    assert "J/epoch" not in plain
    assert "device memory" not in plain


def test_a_gate_judges_energy() -> None:
    base = frame(*(on_gpu(seed, QUIET, joules=100.0 + 0.1 * seed) for seed in range(8)))
    new = frame(*(on_gpu(seed, QUIET, joules=120.0 + 0.1 * seed, campaign="c2") for seed in range(8)))
    verdicts = {
        finding.metric.name: str(finding.verdict) for finding in compare(base, new, Gate()).findings if finding.metric
    }
    assert verdicts["epoch_energy_joules"] == "worse"
