"""The interleaved measurement of a campaign: what is kept gives the same figures again as were judged."""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bench.analysis.interleaved_figures import InterleavedFigures, InterleavedKey, latest
from bench.core.case import Case
from bench.duel import interleaved_cells
from bench.duel.interleaved_cells import (
    PRECISION,
    InterleavedSettings,
    families,
    load_interleaved,
    question_of,
)
from bench.duel.procedure import DuelResult, GroupReporter, measure_until_settled
from bench.duel.sequential import Contrast, Question
from bench.host.hardware import read_machine
from bench.host.software import SoftwareKey, read_software
from bench.plan.prepare import prepare
from tests.duel.test_procedure import MadeUp, Reported

CELLS = ("simple_rnn", "lstm", "gru")


class Notes(Reported):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def made_up(
    monkeypatch: pytest.MonkeyPatch, results: Path, overrides: tuple[str, ...] = ()
) -> tuple[Notes, DuelResult]:
    """A measurement of made-up groups, kept in a store, as if LSTM took 2.3 and GRU 2.5 times as long."""
    ended: list[DuelResult] = []

    def measured(
        cases: list[Case], settings: InterleavedSettings, budget_seconds: float, reporter: GroupReporter
    ) -> tuple[Question, DuelResult]:
        question = question_of(len(cases), budget_seconds)
        runner = MadeUp(*(2.1 + 0.2 * side for side in range(1, len(cases))), noise=0.002)
        result = measure_until_settled(runner, reporter, question, clock=runner.clock)
        ended.append(result)
        return question, result

    monkeypatch.setattr(interleaved_cells, "_measured", measured)
    plan = prepare("quick", overrides, 0).plan()
    settings = InterleavedSettings(
        results=results,
        campaign_id="0123456789abcdef",
        machine=read_machine(),
        software={SoftwareKey("tensorflow", "none"): read_software("tensorflow")},
        data={"mnist_5k": None},
        budget_seconds=600.0,
    )
    notes = Notes()
    interleaved_cells.interleave(plan, settings, notes)
    return notes, ended[0]


def known_case(known: Mapping[InterleavedKey, InterleavedFigures], cell: str) -> Case:
    (case,) = (case for case, _ in known if case.cell == cell)
    return case


def test_cells_are_measured_against_each_other_within_each_setting() -> None:
    plan = prepare("quick", ["cells=gru,simple_rnn", "units=8,16", "runtimes=keras"], 0).plan()
    assert {tuple((case.cell, case.units) for case in cases) for cases in families(plan)} == {
        (("simple_rnn", 8), ("gru", 8)),
        (("simple_rnn", 16), ("gru", 16)),
    }
    assert all(case.seed == case.repeat == 0 for cases in families(plan) for case in cases)
    assert families(prepare("quick", ["cells=gru"], 0).plan()) == []


def test_what_is_kept_is_judged_again_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, result = made_up(monkeypatch, tmp_path)
    known = load_interleaved([tmp_path])
    by_cell = {case.cell: figures for (case, _), figures in known.items()}
    assert set(by_cell) == set(CELLS)
    assert {campaign_id for _, campaign_id in known} == {"0123456789abcdef"}
    order = [case.cell for case, _ in known]
    assert order[0] == "simple_rnn"
    for side, cell in enumerate(order):
        ratio, groups = by_cell[cell].ratio, by_cell[cell].step_seconds.n
        assert ratio is not None
        logs = [group.log_ratio for group in by_cell[cell].groups]
        assert logs == pytest.approx(result.anchor_log_ratios[side])
        starts = [group.started_at for group in by_cell[cell].groups]
        assert starts == sorted(starts)
        assert all(group.anchor_seconds > 0 for group in by_cell[cell].groups)
        assert set(by_cell[cell].log_ratios) == {case for case, _ in known} - {known_case(known, cell)}
        assert by_cell[cell].anchor_ratio.value == pytest.approx(2 * (1.0, 2.3, 2.5)[side], rel=0.01)
        if side == 0:
            assert (ratio.value, ratio.interval) == (1.0, None)
            continue
        analysis = result.analyses[Contrast(0, side)]
        assert ratio.interval is not None
        assert (ratio.value, ratio.interval.low, ratio.interval.high) == pytest.approx(
            (analysis.ratio, analysis.low, analysis.high)
        )
        assert ratio.n == analysis.groups <= groups
        among_pairs = by_cell[cell].ratio_to(known_case(known, "simple_rnn"), 0.95)
        assert among_pairs is not None
        assert among_pairs.value == pytest.approx(ratio.value)  # one estimate, one number
        assert math.log(ratio.interval.high / ratio.interval.low) <= 2 * math.log1p(PRECISION)


def test_the_latest_measurement_of_a_row_s_campaigns_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made_up(monkeypatch, tmp_path)
    first = load_interleaved([tmp_path])
    (case, campaign_id), *_ = first
    assert latest(first, case, {campaign_id}) is first[case, campaign_id]
    assert latest(first, case, {"another"}) is None
    made_up(monkeypatch, tmp_path, ("cells=simple_rnn,lstm",))
    assert len(list((tmp_path / "interleaved").iterdir())) == 2
    again = load_interleaved([tmp_path])
    assert again.keys() == first.keys()
    assert again[case, campaign_id] != first[case, campaign_id] or len(again) == 3


def test_a_file_that_is_no_measurement_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made_up(monkeypatch, tmp_path)
    (path,) = (tmp_path / "interleaved").iterdir()
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"bench_interleaved"])
    (tmp_path / "interleaved" / "broken.parquet").write_bytes(b"PAR1")
    newer = table.replace_schema_metadata({b"bench_interleaved": json.dumps({**about, "version": 99})})
    pq.write_table(newer, tmp_path / "interleaved" / "newer.parquet")
    pq.write_table(table.replace_schema_metadata({}), tmp_path / "interleaved" / "other.parquet")
    texts: list[str] = []
    assert len(load_interleaved([tmp_path], warn=texts.append)) == 3
    assert len(texts) == 3
    assert sum("written by a newer bench" in text for text in texts) == 1
    assert sum("holds no readable interleaved measurement" in text for text in texts) == 2
    assert load_interleaved([tmp_path / "none"]) == {}


def test_too_many_cells_of_a_setting_are_said_and_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(interleaved_cells, "MOST_SIDES", 2)
    with pytest.raises(IndexError):  # nothing was measured
        made_up(monkeypatch, tmp_path)
    assert not (tmp_path / "interleaved").exists()


def test_the_anchor_is_kept_with_its_version_and_what_trained_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made_up(monkeypatch, tmp_path)
    (path,) = (tmp_path / "interleaved").iterdir()
    assert set(pq.read_table(path)["side"].to_pylist()) == {"a", "b", "c", "anchor"}
    keras, tensorflow = (importlib.metadata.version(name) for name in ("keras", "tensorflow"))
    for figures in load_interleaved([tmp_path]).values():
        assert figures.anchor == f"version 3, Keras {keras}, tensorflow {tensorflow}"
        assert all(group.anchor_is_trained for group in figures.groups)


def test_the_anchor_of_an_older_store_is_numpys() -> None:
    store = Path(__file__).parents[2] / "results" / "reference" / "mnist_rows"
    for figures in load_interleaved([store]).values():
        assert figures.anchor.startswith("version 1, NumPy ")
        assert figures.groups
        assert not any(group.anchor_is_trained for group in figures.groups)
