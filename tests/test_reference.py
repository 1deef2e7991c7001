"""The committed results: whole, as the protocol asks, and what the README shows of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from bench.analysis.claims import ClaimVerdict, judge_claims
from bench.analysis.summary import summarise
from bench.core.case import Status
from bench.core.claim import read_claim
from bench.report.markers import write_between_markers
from bench.report.measured import read, read_sections
from bench.report.page import report_document, report_files
from bench.store import load
from bench.store.campaign import read_manifests
from tests.support.rendering import table_in

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "results" / "reference" / "mnist_rows"
SUITES = (
    "mnist_rows_family_25",
    "kernels",
    "inference",
    "peers",
    "adding",
    "pixels",
    "options",
    "scaling",
    "streaming",
    "steady",
)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return load([REFERENCE], warn=pytest.fail)


def test_it_is_the_whole_protocol_on_the_whole_data(frame: pd.DataFrame) -> None:
    runs = frame[frame["phase"] == "run"]
    assert set(runs["status"]) == {"ok"}
    assert set(runs["task"]) == {"mnist"}
    assert {(r.network, r.units, r.batch_size, r.epochs, r.train_samples) for r in runs.itertuples()} == {
        ("notebook", 128, 32, 3, 0)
    }
    assert sorted(zip(runs["cell"], runs["seed"], strict=True)) == [
        (cell, seed) for cell in ("gru", "lstm", "simple_rnn") for seed in range(10)
    ]
    assert set(frame.loc[frame["phase"] == "train", "samples"]) == {60_000}
    assert not runs["program_commit"].astype(str).str.contains("dirty").any()


def test_accuracies_are_in_the_notebooks_neighbourhood(frame: pd.DataFrame) -> None:
    evaluated = frame[frame["phase"] == "evaluate"].groupby("cell", observed=True)["accuracy"].mean()
    assert evaluated["gru"] > 0.97
    assert evaluated["lstm"] > 0.97
    assert evaluated["simple_rnn"] > 0.92


def test_every_run_has_the_evidence_of_its_kernel(frame: pd.DataFrame) -> None:
    for evidence in frame.loc[frame["phase"] == "run", "attestation_json"]:
        phases = json.loads(str(evidence))
        assert set(phases) == {"train", "evaluate"}
        assert {layer["kernel"] for layers in phases.values() for layer in layers.values()} == {"generic"}


def test_the_readmes_table_is_made_from_it(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    copy.write_bytes((ROOT / "README.md").read_bytes())
    assert not write_between_markers(copy, table_in(read_sections([REFERENCE], warn=pytest.fail), "md")), (
        "run `make table`"
    )


def test_the_readmes_figure_is_the_reports_and_says_in_words_what_it_shows() -> None:
    text, path = re.findall(r"^!\[(.*)\]\((.*)\)$", (ROOT / "README.md").read_text(), re.M)[0]
    titles = json.loads((ROOT / "reports" / "figures" / "data.json").read_text())
    assert (ROOT / path).is_file()
    assert text == f"Test accuracy against training time: {titles[Path(path).stem]['title']}"


def test_ten_seeds_tell_what_three_may_not() -> None:
    """The notebook's claims hold, all of them, on either machine; on one, three seeds could not tell GRU from LSTM."""
    for name, of_three in (("mnist_rows", ClaimVerdict.HOLDS), ("mnist_rows_family_25", ClaimVerdict.CANNOT_TELL)):
        frame = load([REFERENCE.parent / name], warn=pytest.fail)
        (section,) = summarise(frame)
        assert {claim.verdict for claim in judge_claims(section)} == {ClaimVerdict.HOLDS}
        (few,) = summarise(frame[frame["seed"] < 3])
        assert judge_claims(few)[0].verdict is of_three


def test_the_readmes_ratios_of_times_are_of_interleaved_steps() -> None:
    (section,) = read_sections([REFERENCE], warn=pytest.fail)
    for row in section.rows[1:]:
        assert row.interleaved is not None
        ratio = row.interleaved.ratio
        assert ratio is not None
        assert ratio.interval is not None
        assert (ratio.interval.high - ratio.interval.low) / ratio.value < 0.04
        assert (
            f"{ratio.value:.2f} ({ratio.interval.low:.2f}–{ratio.interval.high:.2f})"
            in (ROOT / "README.md").read_text()
        )


def test_the_committed_report_is_made_from_it() -> None:
    """Its text, and the figures' data, rounded; drawings differ between versions of the plotting library."""
    made = report_files(report_document(read([REFERENCE], suite=None, warn=pytest.fail)))
    reports = ROOT / "reports"
    assert (reports / "report.md").read_text() == made["report.md"].decode(), "run `make report`"
    committed, new = json.loads((reports / "figures" / "data.json").read_text()), json.loads(made["figures/data.json"])
    assert committed == new, "run `make report`"
    names = {path.relative_to(reports).as_posix() for path in reports.rglob("*") if path.is_file()}
    assert names == set(made)


@pytest.mark.parametrize("suite", SUITES)
def test_the_other_references_are_whole_campaigns_that_ran_what_was_asked(suite: str) -> None:
    folder = ROOT / "results" / "reference" / suite
    (manifest,) = read_manifests(folder)
    frame = load([folder], warn=pytest.fail)
    runs = frame[frame["phase"] == "run"]
    assert set(runs["case_id"]) == set(manifest.case_ids)
    assert set(runs["status"]) == {Status.OK}
    asked = runs[runs["kernel"] != "auto"]
    assert (asked["kernel"].astype(str) == asked["attested_kernel"].astype(str)).all()
    assert not runs["program_commit"].astype(str).str.contains("dirty").any()
    if suite in ("inference", "peers"):
        calls = frame[(frame["phase"] == "predict") & (frame["predict_batch"] == 1)]
        assert (calls.groupby(["run_id", "entry"], observed=True).size() == runs["latency_calls"].iloc[0]).all()
    differences = runs.loc[runs["runtime"] == "onnxruntime", "output_difference"]
    assert (differences < 1e-5).all()
    assert len(differences) == (9 if suite in ("inference", "streaming") else 0)


def test_adding_shows_that_gated_cells_learn_where_simple_rnn_does_not() -> None:
    (section,) = read_sections([REFERENCE.parent / "adding"], warn=pytest.fail)
    judged = {(claim.text, claim.verdict) for claim in judge_claims(section)}
    assert len(judge_claims(section)) == 6
    assert judged == {("loss: lstm < simple_rnn", ClaimVerdict.HOLDS), ("loss: gru < simple_rnn", ClaimVerdict.HOLDS)}
    learnt = {(row.cell, row.axes["steps"]): row.estimates["loss"].value for row in section.rows}
    variance = 1 / 6
    assert all(loss > 0.95 * variance for (cell, _), loss in learnt.items() if cell == "simple_rnn")
    assert all(loss < 0.25 * variance for (cell, _), loss in learnt.items() if cell != "simple_rnn")


def test_pixels_shows_the_order_of_bai_2018_where_they_are_permuted() -> None:
    folder = REFERENCE.parent / "pixels"
    claims = [read_claim(f"accuracy: {cell} > simple_rnn", "this test") for cell in ("gru", "lstm")]
    permuted, in_order = read_sections([folder], join=("units",), claims=claims, warn=pytest.fail)
    assert (permuted.task, in_order.task) == ("permuted_mnist_5k", "pixel_mnist_5k")
    assert [judged.verdict for judged in judge_claims(permuted)] == [ClaimVerdict.HOLDS, ClaimVerdict.HOLDS]
    assert [judged.verdict for judged in judge_claims(in_order)] == [ClaimVerdict.HOLDS, ClaimVerdict.CANNOT_TELL]


@pytest.mark.parametrize("suite", ["mnist_rows", *SUITES])
def test_no_reference_names_a_folder_or_a_host_of_the_machine_it_was_made_on(suite: str) -> None:
    folder = ROOT / "results" / "reference" / suite
    frame = load([folder], warn=pytest.fail)
    texts = {str(value) for name in frame.select_dtypes(["category", "object"]) for value in frame[name].unique()}
    texts |= {path.read_text() for path in folder.glob("campaigns/*.json")}
    named = re.compile(r"/(?:tmp|home|root|work|Users|srv|mnt)/|https?://")
    assert not [match[0] for text in texts if (match := re.search(rf".{{0,20}}(?:{named.pattern}).{{0,20}}", text))]
