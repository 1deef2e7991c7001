"""bench.analysis.summary on frames whose truth is known."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from bench.analysis.rows import ExcludedRuns, Row
from bench.analysis.stats import Estimate, mean_t, median_runs, paired_ratio
from bench.analysis.summary import Section, summarise
from bench.core.case import Case
from tests.support.frames import CELLS, MACHINE, MEGABYTE, SOFTWARE, Rows, frame, notebook_like, run, runs


def only(*observed: Rows) -> Section:
    (section,) = summarise(frame(*observed))
    return section


def row_of(section: Section, cell: str, **axes: Any) -> Row:
    (row,) = [r for r in section.rows if r.cell == cell and axes.items() <= r.axes.items()]
    return row


def test_an_empty_frame_has_no_sections() -> None:
    assert summarise(frame(run(Case(cell="gru"))).iloc[:0]) == ()


def test_one_run_gives_figures_without_intervals() -> None:
    section = only(run(Case(cell="gru"), accuracy=0.98, loss=0.06, epoch_seconds=(9.0, 5.0, 7.0)))
    (row,) = section.rows
    assert row.estimates["accuracy"] == Estimate(0.98, None, 1)
    assert row.estimates["loss"] == Estimate(0.06, None, 1)
    assert row.estimates["train_seconds"] == Estimate(6.0, None, 1)
    assert row.estimates["first_epoch_seconds"] == Estimate(9.0, None, 1)
    assert row.estimates["compile_seconds"] == Estimate(2.0, None, 1)
    assert row.estimates["samples_per_second"] == Estimate((4000 / 5 + 4000 / 7) / 2, None, 1)
    assert row.estimates["memory_bytes"] == Estimate(400 * MEGABYTE, None, 1)
    assert row.parameters == 164_202
    assert row.kernels_attested == ("generic",)
    assert (row.excluded, row.seeds, row.first_epoch_only) == ((), 1, False)
    assert row.ratio is None  # there is no SimpleRNN to divide by


def test_figures_over_runs_are_those_of_bench_stats() -> None:
    section = only(*runs(CELLS, range(3), notebook_like))
    for cell in CELLS:
        row = row_of(section, cell)
        figures = [notebook_like(cell, seed) for seed in range(3)]
        seconds = [sum(f["epoch_seconds"][1:]) / 2 for f in figures]
        assert row.estimates["accuracy"] == mean_t(f["accuracy"] for f in figures)
        assert row.estimates["loss"] == mean_t(f["loss"] for f in figures)
        assert row.estimates["train_seconds"] == median_runs(seconds)
        reference = [sum(notebook_like("simple_rnn", s)["epoch_seconds"][1:]) / 2 for s in range(3)]
        assert row.ratio == (Estimate(1.0, None, 3) if cell == "simple_rnn" else paired_ratio(seconds, reference))


def test_rows_come_in_the_order_of_settings_and_then_simple_rnn_lstm_gru_and_others() -> None:
    cells = ("zeta", "gru", "alpha", "lstm", "simple_rnn")
    section = only(*[run(Case(cell=cell, units=units)) for units in (256, 64) for cell in cells])
    order = ["simple_rnn", "lstm", "gru", "alpha", "zeta"]
    assert [(r.axes["units"], r.cell) for r in section.rows] == [(u, c) for u in (64, 256) for c in order]
    assert section.axes == ("units",)
    assert "units" not in section.shared
    assert section.shared["batch_size"] == 32


def test_repeats_and_campaigns_of_a_seed_are_averaged_before_seeds_are_counted() -> None:
    case = Case(cell="gru", seed=0)
    section = only(
        run(case, accuracy=0.90, epoch_seconds=(1.0, 2.0)),
        run(Case(cell="gru", seed=0, repeat=1), accuracy=0.92, epoch_seconds=(1.0, 3.0)),
        run(case, accuracy=0.91, campaign="c2", epoch_seconds=(1.0, 4.0)),
        run(Case(cell="gru", seed=1), accuracy=0.97, epoch_seconds=(1.0, 5.0)),
    )
    (row,) = section.rows
    assert "accuracy" in row.estimates
    expected = mean_t([0.91, 0.97])
    assert row.estimates["accuracy"].value == pytest.approx(expected.value)
    assert row.estimates["accuracy"].n == 2
    assert row.estimates["train_seconds"] == median_runs([2.0, 3.0, 4.0, 5.0])
    assert (len(row.runs), row.seeds) == (4, 2)


def test_float32_rounding_of_an_accuracy_is_no_spread() -> None:
    # 0.333 of 1000 samples, as float32 tells it in two builds of a framework.
    section = only(run(Case(cell="gru"), accuracy=0.33300000429153442), run(Case(cell="gru", seed=1), accuracy=0.333))
    assert section.rows[0].estimates["accuracy"] == Estimate(0.333, None, 2)


def test_the_ratio_pairs_by_campaign_and_block() -> None:
    # Drift of the machine: the second block and the second campaign are far slower, for both cells alike.
    slow = {("c1", 0): 1.0, ("c1", 1): 10.0, ("c2", 0): 5.0}
    observed = [
        run(Case(cell=cell, seed=block), campaign=c, block=block, epoch_seconds=(0.1, factor * s * (1 + 0.01 * block)))
        for (c, block), s in slow.items()
        for cell, factor in (("simple_rnn", 1.0), ("lstm", 2.0 + 0.1 * block))
    ]
    unpaired = run(Case(cell="lstm", seed=7), block=7, epoch_seconds=(0.1, 1e6))
    row = row_of(only(*observed, unpaired), "lstm")
    assert row.ratio is not None
    assert row.ratio.n == 3
    assert row.ratio.value == pytest.approx((2.0 * 2.1 * 2.0) ** (1 / 3))
    assert "train_seconds" in row.estimates
    assert row.estimates["train_seconds"].n == 4


def test_the_ratio_needs_everything_else_equal() -> None:
    section = only(
        run(Case(cell="simple_rnn", units=64), epoch_seconds=(1.0, 2.0)),
        run(Case(cell="lstm", units=64), epoch_seconds=(1.0, 6.0)),
        run(Case(cell="lstm", units=64, kernel="cudnn"), ran="cudnn", epoch_seconds=(1.0, 1.0)),
        run(Case(cell="lstm", units=256), epoch_seconds=(1.0, 9.0)),
    )
    ratio = row_of(section, "lstm", units=64, kernel="auto").ratio
    assert ratio is not None
    assert ratio.value == pytest.approx(3.0)
    assert ratio.n == 1
    assert row_of(section, "lstm", kernel="cudnn").ratio is None
    assert row_of(section, "lstm", units=256).ratio is None


def test_tasks_machines_software_and_data_are_never_mixed() -> None:
    case = Case(cell="gru")
    away = {**MACHINE, "cpu_model": "Another 7"}
    newer = {**SOFTWARE, "keras": "3.16.0"}
    sections = summarise(
        frame(
            run(case, accuracy=0.1),
            run(Case(cell="gru", task="mnist_5k"), accuracy=0.2),
            run(case, accuracy=0.3, machine=away, campaign="c2"),
            run(case, accuracy=0.4, software=newer, campaign="c3"),
            run(case, accuracy=0.5, data="d2", campaign="c4"),
        )
    )
    apart = {s.rows[0].estimates["accuracy"].value for s in sections if len(s.rows[0].runs) == 1}
    assert apart == {0.1, 0.2, 0.3, 0.4, 0.5}
    assert [s.task for s in sections] == ["mnist"] * 4 + ["mnist_5k"]
    assert {s.machine["cpu_model"] for s in sections} == {"Fictional 9000", "Another 7"}


def test_a_failed_run_that_knows_no_data_stays_with_its_task() -> None:
    section = only(run(Case(cell="gru"), data="d9"), run(Case(cell="lstm"), status="failed", error="out of memory"))
    assert section.data_digest == "d9"
    assert [r.cell for r in section.rows] == ["lstm", "gru"]


def test_only_ok_runs_enter_figures_and_the_others_are_counted_with_their_reasons() -> None:
    case = Case(cell="lstm", kernel="cudnn")
    section = only(
        run(case, ran="cudnn", accuracy=0.9),
        *(run(Case(cell="lstm", kernel="cudnn", seed=s), status="invalid", accuracy=0.1, error="?") for s in (1, 2)),
        run(Case(cell="lstm", kernel="cudnn", seed=3), status="invalid", ran="cudnn", error="epoch 2 was traced\nmore"),
        run(Case(cell="lstm", kernel="cudnn", seed=4), status="failed", error="Traceback (\n  File\nValueError: no\n"),
        run(Case(cell="lstm", kernel="cudnn", seed=5), status="timeout"),
    )
    (row,) = section.rows
    assert row.estimates["accuracy"] == Estimate(0.9, None, 1)
    assert row.excluded == (
        ExcludedRuns(status="failed", reason="ValueError: no", runs=1),
        ExcludedRuns(status="invalid", reason="asked cudnn, ran generic", runs=2),
        ExcludedRuns(status="invalid", reason="epoch 2 was traced", runs=1),
        ExcludedRuns(status="timeout", reason="no reason recorded", runs=1),
    )
    assert row.kernels_attested == ("cudnn",)


def test_a_row_whose_runs_all_failed_remains_without_figures() -> None:
    (row,) = only(*(run(Case(cell="gru", seed=s), status="failed", error="boom") for s in range(3))).rows
    assert (row.estimates, row.inference, row.ratio) == ({}, (), None)
    assert row.runs == ()
    assert row.excluded == (ExcludedRuns(status="failed", reason="boom", runs=3),)


def test_one_epoch_is_used_and_marked() -> None:
    (row,) = only(run(Case(cell="gru", epochs=1), epoch_seconds=(9.0,))).rows
    assert row.estimates["train_seconds"] == row.estimates["first_epoch_seconds"] == Estimate(9.0, None, 1)
    assert row.first_epoch_only


def test_a_loss_that_is_not_finite_is_left_out_and_the_count_tells() -> None:
    losses = (0.1, math.nan, math.inf, 0.3)
    (row,) = only(*(run(Case(cell="gru", seed=s), loss=loss) for s, loss in enumerate(losses))).rows
    assert row.estimates["loss"] == mean_t([0.1, 0.3])
    assert "accuracy" in row.estimates
    assert (row.estimates["accuracy"].n, row.seeds) == (4, 4)


def test_it_does_not_depend_on_the_order_of_the_rows_nor_on_their_types() -> None:
    table = frame(*runs(CELLS, range(3), notebook_like), run(Case(cell="gru", seed=3), status="failed", error="boom"))
    expected = summarise(table)
    assert summarise(table.sample(frac=1, random_state=1)) == expected
    plain = table.astype({name: object for name in table.columns if isinstance(table[name].dtype, pd.CategoricalDtype)})
    assert summarise(plain) == expected


def test_a_record_of_the_machine_that_cannot_be_read_costs_its_name_and_nothing_else() -> None:
    table = frame(run(Case(cell="gru"))).assign(machine_json="{torn", software_json="[]")
    (section,) = summarise(table)
    assert (section.machine, section.software) == ({}, {})
    assert "accuracy" in section.rows[0].estimates


def test_a_kernels_ratio_is_to_the_same_cells_generic_kernel_paired_by_block() -> None:
    section = only(
        *(run(Case(cell="lstm", kernel="generic", seed=s), epoch_seconds=(9.0, 2.0 + s)) for s in range(3)),
        *(run(Case(cell="lstm", kernel="xla", seed=s), epoch_seconds=(9.0, 3 * (2.0 + s)), ran="xla") for s in (0, 1)),
        run(Case(cell="gru", kernel="xla"), ran="xla"),
    )
    ratio = row_of(section, "lstm", kernel="xla").generic_ratio
    assert ratio is not None
    assert ratio.value == pytest.approx(3.0)
    assert ratio.n == 2
    assert row_of(section, "lstm", kernel="generic").generic_ratio == Estimate(1.0, None, 3)
    assert row_of(section, "gru", kernel="xla").generic_ratio is None
    assert [row.configuration.kernel for row in section.rows] == ["generic", "xla", "xla"]
