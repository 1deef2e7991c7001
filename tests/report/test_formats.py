"""The table for papers, pages and spreadsheets: LaTeX, HTML and CSV; all pairs; and what a paper cites."""

from __future__ import annotations

import csv
import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import bench
from bench.analysis.interleaved_figures import InterleavedFigures
from bench.analysis.pairs import all_pairs
from bench.analysis.rows import difference_between, ratio_between
from bench.analysis.stats import Estimate, mean_t
from bench.analysis.summary import Section, summarise
from bench.core.case import Case
from bench.report.cite import bibtex, sentences, store_digest
from bench.report.csv_table import render_csv, table_records
from bench.report.html import render_fragment
from bench.report.latex import escaped, render_latex
from bench.report.pair_table import pair_records, pairs_document
from bench.report.table import table_document
from bench.store import load
from bench.store.compact import compact
from tests.report.test_table import HOSTILE, hard_case
from tests.support.frames import CELLS, frame, notebook_like, run, runs
from tests.support.stored import a_store

ROOT = Path(__file__).parents[2]


def notebook() -> Section:
    (section,) = summarise(frame(*runs(CELLS, range(3), notebook_like)))
    return section


# --- LaTeX ---


def rows_of(latex: str) -> list[list[str]]:
    """The cells of each row of each tabular."""
    body = re.findall(r"\\toprule\n(.*?)\\bottomrule", latex, re.S)
    lines = [line for part in body for line in part.splitlines() if line != "\\midrule"]
    assert all(line.endswith(" \\\\") for line in lines)
    return [re.split(r"(?<!\\) & ", line.removesuffix(" \\\\")) for line in lines]


def test_latex_has_booktabs_rules_escaped_signs_and_a_caption() -> None:
    latex = render_latex(table_document([notebook()]))
    assert "\\caption{mnist $\\cdot$ notebook network $\\cdot$ tensorflow $\\cdot$ cpu}" in latex
    assert "98.40 $\\pm$ 0.25 & 0.0548 $\\pm$ 0.0018 & 50.1 (49.0--51.3)" in latex
    assert "accuracy \\% &" in latex
    head, *rows = rows_of(latex)[:4]
    assert [row[0] for row in rows] == ["simple\\_rnn", "lstm", "gru"]
    assert {len(row) for row in rows} == {len(head)}
    labels = re.findall(r"\\label\{(.*?)\}", latex)
    assert len(labels) == len(set(labels)) == 2  # the claims are a float of their own


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
@example(HOSTILE)
@example("\\input{/etc/passwd} $x$ a_b 50% #1 ~ ^ & {")
def test_no_text_is_a_command_to_latex(text: str) -> None:
    bare = escaped(text)
    for known in (r"\\text[a-z]+\{\}", r"\\ldots\{\}", r"\\`\{\}", r"\{[\[\]]\}", r"\\[{}&%$#_]", r"\$[^$]*\$"):
        bare = re.sub(known, "", bare)
    assert not re.search(r"[\\{}&%$#_~^]", bare)


def test_a_hostile_name_keeps_its_row_in_latex() -> None:
    assert {len(row) for row in rows_of(render_latex(table_document(hard_case()[:1])))[:6]} == {13}


# --- CSV ---


def test_csv_has_numbers_as_numbers_and_intervals_in_columns() -> None:
    section = notebook()
    rows = list(csv.DictReader(io.StringIO(render_csv(table_records([section])))))
    for row, read in zip(section.rows, rows, strict=True):
        accuracy = row.estimates["accuracy"]
        assert accuracy.interval
        assert float(read["test_accuracy"]) == accuracy.value
        assert (float(read["test_accuracy_low"]), float(read["test_accuracy_high"])) == (
            accuracy.interval.low,
            accuracy.interval.high,
        )
        assert int(read["units"]) == 128
        assert int(read["test_accuracy_n"]) == 3
    assert rows[0]["test_mae"] == ""


def test_csv_holds_no_formula_and_every_section() -> None:
    observed = frame(run(Case(cell="=cmd()"), status="failed", error="x"), run(Case(cell="gru", task="adding")))
    rows = list(csv.DictReader(io.StringIO(render_csv(table_records(summarise(observed))))))
    assert {row["cell"] for row in rows} == {"'=cmd()", "gru"}
    assert {row["section"] for row in rows} == {"0", "1"}


# --- HTML ---


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)


def test_html_is_a_fragment_without_style_and_script() -> None:
    tags = _Tags()
    tags.feed(render_fragment(table_document(hard_case())))
    assert {"table", "th", "td"} <= tags.tags
    assert not tags.tags & {"script", "style", "html", "link", "img"}


# --- all pairs ---


def test_every_pair_has_the_estimate_of_the_two_rows_and_an_interval_for_all_at_once() -> None:
    section = notebook()
    every = all_pairs(section)
    assert [(pair.metric.name, pair.row.cell, pair.against.cell) for pair in every.pairs] == [
        (metric, row, against)
        for metric in ("accuracy", "train_seconds")
        for row, against in (("lstm", "simple_rnn"), ("gru", "simple_rnn"), ("gru", "lstm"))
    ]
    assert every.confidence == pytest.approx(1 - 0.05 / 6)
    for pair in every.pairs:
        if pair.metric.name == "accuracy":
            expected = difference_between(pair.row, pair.against, "accuracy", every.confidence)
        else:
            expected = ratio_between(pair.row, pair.against, confidence=every.confidence)
        assert pair.change == expected
    accuracy, training, close = every.pairs[0], every.pairs[3], every.pairs[5]
    simple_rnn, lstm, _ = section.rows
    assert (accuracy.leads, accuracy.better, accuracy.shared) == (lstm, 3, 3)
    assert (training.leads, training.better, training.shared) == (simple_rnn, 0, 3)
    assert (close.leads, close.better) == (None, 0)


def test_pairs_are_shown_and_given_to_programs() -> None:
    section = notebook()
    latex = render_latex(pairs_document([section]))
    assert "gru & lstm & +0.90 points" in latex
    assert "3 of 3 seeds" in latex
    records = pair_records([section])
    assert {record["change"] for record in records} == {"ratio", "difference"}
    assert records[0]["value"] == pytest.approx(0.0347, abs=1e-4)


def test_training_times_that_were_interleaved_are_compared_by_their_groups() -> None:
    """As the table does: LSTM and GRU were interleaved with SimpleRNN, but `my:cell` was not."""
    logs = {"simple_rnn": 0.0, "lstm": math.log(1.84), "gru": math.log(1.93)}
    configurations = {cell: Case(cell=cell).configuration for cell in logs}
    known = {
        (configurations[cell], "c1"): InterleavedFigures(
            step_seconds=Estimate(0.01, None, 6),
            ratio=None,
            anchor_ratio=Estimate(1.0, None, 6),
            log_ratios={
                configurations[base]: tuple(log - logs[base] + 0.01 * noise for noise in (-1, 0, 1, -1, 0, 1))
                for base in logs
                if base != cell
            },
        )
        for cell, log in logs.items()
    }
    (section,) = summarise(
        frame(*runs(CELLS, range(3), notebook_like), run(Case(cell="my:cell"), epoch_seconds=(1.0, 1.0))),
        interleaved=known,
    )
    every = all_pairs(section)
    training = {(p.row.cell, p.against.cell): p for p in every.pairs if p.metric.name == "train_seconds"}
    assert {cells: pair.replicate for cells, pair in training.items() if "my:cell" in cells} == {
        (row, against): "block" for row, against in training if "my:cell" in (row, against)
    }
    of_groups = {cells: pair for cells, pair in training.items() if pair.replicate == "group"}
    assert {cells: pair.change.value for cells, pair in of_groups.items()} == {
        ("lstm", "simple_rnn"): pytest.approx(1.84),
        ("gru", "simple_rnn"): pytest.approx(1.93),
        ("gru", "lstm"): pytest.approx(1.93 / 1.84),
    }
    pair = of_groups["gru", "lstm"]
    assert (pair.better, pair.shared) == (0, 6)
    assert pair.leads is not None
    assert pair.leads.cell == "lstm"
    assert pair.change.interval is not None
    plain = mean_t([0.01 * noise for noise in (-1, 0, 1, -1, 0, 1)], every.confidence).interval
    assert plain is not None
    assert math.log(pair.change.interval.high / pair.change.interval.low) > plain.high - plain.low
    text = render_fragment(pairs_document([section]))
    assert "0 of 6 groups" in text
    assert "alternated in an interleaved measurement" in text
    assert "interleaved" not in render_fragment(pairs_document([notebook()]))
    assert {r["change"] for r in pair_records([section]) if r["replicate"] == "group"} == {"ratio"}


def test_one_row_has_no_pairs() -> None:
    sections = summarise(frame(run(Case(cell="gru"))))
    assert all_pairs(sections[0]).pairs == ()
    assert "No two rows" in render_fragment(pairs_document(sections))


# --- citing ---


def test_sentences_state_what_was_measured_on_what_and_how_certainly() -> None:
    scores, times, how = sentences(notebook())
    assert "as the mean over 3 seeds with its 95 % interval" in scores
    assert "gru 98.40 ± 0.25 %" in scores
    assert "gru 50.1 s (95 % 49.0–51.3)" in times
    for words in ("3 seeds (9 runs", "Fictional 9000 · 2 cores", "keras 3.15.0", "(generic)", bench.__version__):
        assert words in how
    failed = summarise(frame(run(Case(cell="gru"), status="failed", error="x")))
    assert "no run ended ok" in sentences(failed[0])[0]


def test_the_digest_is_of_the_observations_whatever_files_they_are_in(tmp_path: Path) -> None:
    a_store(tmp_path / "a")
    before = store_digest(load([tmp_path / "a"]))
    compact(tmp_path / "a")
    frame_after = load([tmp_path / "a"])
    assert store_digest(frame_after) == before
    assert store_digest(frame_after.assign(later=None)) == before
    seconds = frame_after["seconds"].where(frame_after.index > 0, 1e-3)
    assert store_digest(frame_after.assign(seconds=seconds)) != before


def test_bibtex_names_the_digest_the_fingerprints_and_the_commit(tmp_path: Path) -> None:
    a_store(tmp_path)
    observed = load([tmp_path])
    entries = bibtex(observed, summarise(observed))
    assert entries.count("{") == entries.count("}")
    assert entries.count("@misc{") == 2
    assert store_digest(observed) in entries
    assert str(observed["machine_fingerprint"].iloc[0]) in entries
    assert f"Version {bench.__version__}" in bibtex(None, ())


def test_the_citation_file_is_complete_and_of_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text()
    assert f"version: {bench.__version__}\n" in text
    for field in ("title", "abstract", "authors", "license", "date-released", "keywords", "type"):
        assert re.search(rf"^{field}: ?\S?", text, re.M), field
