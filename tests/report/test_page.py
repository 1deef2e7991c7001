"""`bench report`: the page of stores of every kind, escaped, and the same bytes each time."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape
from typer.testing import CliRunner

import bench.report
from bench.analysis.summary import summarise
from bench.catalog.tasks import TASKS
from bench.cli import app
from bench.core.case import Case, Status
from bench.core.errors import NoVerdictError, UsageError
from bench.core.observation import Observation, RunMetadata
from bench.core.predictions import pack
from bench.report.document import Callout, Diagrams, Document, Figure, FigureNotDrawn, Gallery, Heading, Table
from bench.report.figures import FIGURES, draw_all
from bench.report.figures.accuracy_against_time import _label_points
from bench.report.html import render_html
from bench.report.markdown import render_markdown
from bench.report.measured import Measured, read, read_sections
from bench.report.page import PARTS, report_document, report_files
from bench.store import ceilings, load
from bench.store.ceilings import Ceilings, ProductShape
from bench.store.parts import write_run
from tests.support.frames import CELLS, frame, notebook_like, run, runs
from tests.support.roots import LAPTOP
from tests.support.stored import SOFTWARE, a_run

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference" / "mnist_rows"
HOSTILE = 'my_cells:<img src=x onerror=alert(1)>|`"$x_1$'


def a_full_run(position: int, case: Case, draw: np.random.Generator, **changes: Any) -> Any:
    """A run with three epochs, inference and predictions."""
    slow = {"simple_rnn": 1.0, "lstm": 2.0, "gru": 2.4}.get(case.cell, 1.5) * (0.8 if case.kernel == "unrolled" else 1)
    skill = {"simple_rnn": 6.0, "lstm": 8.0, "gru": 9.0}.get(case.cell, 7.0)
    labels = np.arange(300) % 10
    logits = draw.normal(0, 2, (300, 10))
    logits[np.arange(300), labels] += skill
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    accuracy = float((shares.argmax(axis=1) == labels).mean())
    wobble = float(np.exp(draw.normal(0, 0.02)))
    rows = [Observation(phase="compile", seconds=3.0)]
    for epoch in (1, 2, 3):
        part = accuracy * (0.9 + 0.03 * epoch)
        rows.append(
            Observation(
                phase="train", epoch=epoch, seconds=slow * wobble, samples=4000, loss=0.3, accuracy=part,
                energy_joules=90 * slow * wobble, idle_energy_joules=70 * slow,
            )
        )  # fmt: skip
        rows.append(Observation(phase="validate", epoch=epoch, seconds=0.2, samples=300, loss=0.3, accuracy=part))
    rows.append(Observation(phase="evaluate", seconds=0.2, samples=300, loss=0.3, accuracy=accuracy))
    for entry, base in (("predict", 0.05), ("compiled", 0.002)):
        for batch in (1, 8, 64):
            rows += [
                Observation(
                    phase="predict", entry=entry, predict_batch=batch, call=call, samples=batch,
                    seconds=base * slow * (1 + batch / 50) * float(np.exp(draw.gamma(1, 0.1))),
                )
                for call in range(1, 21)
            ]  # fmt: skip
    rows.append(Observation(phase="run", seconds=20.0))
    metadata = replace(
        a_run(0, case).metadata, attested_kernel=case.kernel, test_predictions=pack(labels, shares), load_start=0.4,
        training_flops_per_sample=8.7e6,
    )  # fmt: skip
    return a_run(position, case, metadata=metadata, observations=tuple(rows), **changes)


def a_full_store(folder: Path, *, cells: tuple[str, ...] = CELLS, seeds: int = 3) -> Path:
    """Runs of each cell with the kernels generic and unrolled."""
    draw = np.random.default_rng(1)
    position = 0
    for seed in range(seeds):
        for cell in cells:
            for kernel in ("generic", "unrolled"):
                case = Case(cell=cell, task="mnist_5k", kernel=kernel, epochs=3, latency_calls=20, seed=seed)
                write_run(folder, a_full_run(position, case, draw, block=seed))
                position += 1
    for gates in (1, 3, 4):
        ceilings.save(folder, some_ceilings(gates))
    return folder


def some_ceilings(gates: int) -> Ceilings:
    shape = ProductShape.of(Case(cell={1: "simple_rnn", 3: "gru", 4: "lstm"}[gates]), TASKS["mnist_5k"])
    assert shape is not None
    return Ceilings(
        shape=shape,
        machine_fingerprint=LAPTOP.fingerprint,
        software_fingerprint=SOFTWARE.fingerprint,
        measured_at=ceilings.now(),
        peak_flops_per_second=1e11,
        serial_seconds=0.001 * gates,
    )


def said(_: str) -> None:
    """Where warnings go that a test doesn't look at."""


def report_of(*folders: Path) -> Document:
    return report_document(read(folders, suite=None, warn=said))


class _Page(HTMLParser):
    """What a browser would make elements of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_full_store(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def full_report(full: Path) -> Document:
    return report_of(full)


def figures_of(report: Document) -> list[Figure | FigureNotDrawn]:
    return [figure for block in report.walk() if isinstance(block, Gallery) for figure in block.figures]


def recommendation_of(report: Document) -> tuple[str, ...]:
    return next(block.texts for block in report.walk() if isinstance(block, Callout))


def test_a_full_store_has_every_figure_and_every_part(full_report: Document) -> None:
    drawn = [figure for figure in figures_of(full_report) if isinstance(figure, Figure)]
    assert [one.name for one in drawn] == list(FIGURES)
    for one in drawn:
        assert one.alt.endswith(".")
        assert "n = " in one.caption
        assert one.data
    assert {row[0] for row in full_report.table("Scores").rows} == {
        f"{c} × {k}" for c in CELLS for k in ("generic", "unrolled")
    }
    captions = [block.caption for block in full_report.walk() if isinstance(block, Table)]
    assert sum(caption.startswith("Confusion of") for caption in captions) == 6
    assert full_report.table("Inference").rows
    assert [len(block.drawings) for block in full_report.walk() if isinstance(block, Diagrams)] == [3]
    html, markdown = render_html(full_report), render_markdown(full_report)
    for title in PARTS:
        assert f"<h3>{escape(title)}</h3>" in html
        assert f"### {title}" in markdown


def test_nothing_on_the_page_asks_for_anything(full_report: Document) -> None:
    html = render_html(full_report)
    page = _Page(html)
    for tag, attributes in page.tags:
        assert tag not in {"iframe", "object", "embed", "base", "img"}
        for name in ("src", "href", "xlink:href", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")), (tag, value)
    assert not re.search(r"@import|url\((?!#)", html)
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_rendered_twice_it_is_the_same_to_the_byte(full: Path, full_report: Document) -> None:
    again = report_of(full)
    first, second = report_files(full_report), report_files(again)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert sum(name.endswith(".svg") for name in first) == len(FIGURES)


def test_every_image_that_the_markdown_names_is_written(full_report: Document) -> None:
    names = re.findall(r"\]\((figures/[^)]+)\)", render_markdown(full_report))
    assert len(names) == len(FIGURES)
    assert set(names) <= set(report_files(full_report))


def test_names_and_errors_run_nowhere_and_break_nothing(tmp_path: Path) -> None:
    a_full_store(tmp_path, cells=(HOSTILE, "lstm"), seeds=2)
    trouble: dict[str, Any] = {
        "status": Status.FAILED, "error": "</table><script>alert(2)</script> | `x`", "metadata": RunMetadata(),
        "observations": (),
    }  # fmt: skip
    write_run(tmp_path, a_run(90, Case(cell="gru", task="mnist_5k"), **trouble))
    report = report_of(tmp_path)
    html, markdown = render_html(report), render_markdown(report)
    page = _Page(html)
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in page.tags)
    assert html.count("</table>") == sum(tag == "table" for tag, _ in page.tags)
    assert "<img" not in markdown
    assert "<script" not in markdown
    tables = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
    assert len(tables) > 8
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


# --- odd stores ---


def test_one_run(tmp_path: Path) -> None:
    write_run(tmp_path, a_full_run(0, Case(cell="lstm", task="mnist_5k", epochs=3), np.random.default_rng(0)))
    report = report_of(tmp_path)
    assert "only lstm was measured" in recommendation_of(report)[0]
    assert report.table("Scores").rows
    render_html(report)


def test_one_seed_never_tells(tmp_path: Path) -> None:
    report = report_of(a_full_store(tmp_path, seeds=1))
    assert all("can't" in sentence for sentence in recommendation_of(report))
    assert "from one seed" in recommendation_of(report)[0]


def test_all_failed(tmp_path: Path) -> None:
    trouble: dict[str, Any] = {
        "status": Status.FAILED,
        "error": "no\nluck",
        "metadata": RunMetadata(),
        "observations": (),
    }
    for number, cell in enumerate(CELLS):
        write_run(tmp_path, a_run(number, Case(cell=cell, task="mnist_5k"), **trouble))
    report = report_of(tmp_path)
    assert recommendation_of(report) == ("No recommendation: none of 3 runs ended ok.",)
    assert all(isinstance(figure, FigureNotDrawn) and figure.reason for figure in figures_of(report))
    assert [row[-1] for row in report.table("Runs that failed").rows] == ["no\nluck"] * 3
    assert render_markdown(report).count("| no luck |") == 3
    assert "none of 3 runs ended ok" in render_html(report)
    assert "none of 3 runs ended ok" in render_markdown(report)


def test_two_tasks_and_two_machines_are_sections_of_their_own(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    write_run(tmp_path, a_full_run(0, Case(cell="lstm", task="mnist_5k", epochs=3), draw))
    write_run(tmp_path, a_full_run(1, Case(cell="lstm", task="mnist", epochs=3), draw))
    write_run(
        tmp_path,
        a_full_run(2, Case(cell="lstm", task="mnist", epochs=3, seed=1), draw, machine_fingerprint="another"),
    )
    report = report_of(tmp_path)
    anchors = [block.anchor for block in report.walk() if isinstance(block, Heading) and block.anchor]
    assert anchors == ["s1-top", "s2-top", "s3-top", "machines"]
    names = [name for name in report_files(report) if name.endswith("training_seconds.svg")]
    assert len(names) == 3
    page = _Page(render_html(report))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_an_older_schema_says_why_it_has_no_quality() -> None:
    report = report_of(Path(__file__).parents[1] / "recordings" / "schema_1")
    assert not report.table("Scores").rows
    assert "keep no predictions" in render_html(report)
    assert not report.table("How near training comes").rows
    assert "no ceiling was measured" in render_html(report)
    assert report.table("The command").rows[0][1] == "bench run mnist_rows"
    assert len([figure for figure in figures_of(report) if isinstance(figure, Figure)]) >= 6


def test_a_file_of_the_report_can_be_seen_on_a_dark_page(full_report: Document) -> None:
    """Repositories show the figures on their own ground; the page shows its own on its own."""
    files, page = report_files(full_report), render_html(full_report)
    ground = "fill: #ffffff"
    drawn = [content.decode() for name, content in files.items() if name.endswith(".svg")]
    assert len(drawn) >= 6
    assert all(ground in svg for svg in drawn)
    assert ground not in page


def test_a_corrupt_part_is_named_once_and_left_out(tmp_path: Path) -> None:
    a_full_store(tmp_path, cells=("lstm",), seeds=2)
    (tmp_path / "runs" / "zz.parquet").write_bytes(b"PAR1 half")
    warned: list[str] = []
    report = report_document(read([tmp_path], suite=None, warn=warned.append))
    assert len(warned) == render_markdown(report).count("Warning:") == 1
    assert "zz.parquet" in render_html(report)
    assert "zz.parquet" in render_markdown(report)
    assert report.table("A row a configuration").rows


def test_damaged_predictions_leave_the_rest(tmp_path: Path) -> None:
    good = a_full_run(0, Case(cell="lstm", task="mnist_5k", epochs=3), np.random.default_rng(0))
    write_run(tmp_path, good)
    bad = a_full_run(1, Case(cell="lstm", task="mnist_5k", epochs=3, seed=1), np.random.default_rng(1))
    write_run(tmp_path, replace(bad, metadata=replace(bad.metadata, test_predictions="p1 300 10 0 1 oops")))
    report = report_of(tmp_path)
    assert "1 runs' predictions could not be read" in render_markdown(report)
    assert len(report.table("Scores").rows) == 1


# --- in a notebook, and on the command line ---


def test_the_table_and_the_figures_can_be_had_from_a_frame(full: Path) -> None:
    whole = load([full])
    table = bench.report.comparison_table(whole)
    assert list(table["cell"].unique()) == list(CELLS)
    drawn = bench.report.figure(whole, "latency")
    assert drawn._repr_svg_().lstrip().startswith("<?xml")
    assert drawn.png.startswith(b"\x89PNG")
    assert set(bench.report.figure_names()) == set(FIGURES)
    with pytest.raises(UsageError, match="did you mean 'latency'"):
        bench.report.figure(whole, "latencies")
    with pytest.raises(NoVerdictError, match="no section 1"):
        bench.report.comparison_table(whole, section=1)
    with pytest.raises(NoVerdictError, match="no inference was timed"):
        bench.report.figure(load([REFERENCE]), "latency")


def test_a_frame_of_the_summarys_columns_is_enough() -> None:
    observed = frame(*runs(CELLS, range(5), notebook_like, task="mnist_5k")).assign(
        load_start=0.1, steal_fraction=0.0, test_predictions=None
    )
    found = draw_all(Measured.of(observed), summarise(observed)[0])
    assert "surely" not in str([one.title for one in found])
    assert found[0].title == "simple_rnn trains fastest, with 20.0 s an epoch"


def test_the_command_writes_the_report(full: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(full), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"index.html", "report.md", "figures"}
    data = json.loads((tmp_path / "out" / "figures" / "data.json").read_text())
    assert set(data) == set(FIGURES)
    assert {one["cell"] for one in data["training_seconds"]["data"]} == set(CELLS)


def test_two_stores_are_compared_on_one_page(full: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(REFERENCE), str(full), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    html = (tmp_path / "index.html").read_text()
    assert "Base against new" in html
    assert "missing" in html
    assert "## Base against new" in (tmp_path / "report.md").read_text()
    same = CliRunner().invoke(app, ["report", str(full), str(full), "--out", str(tmp_path / "same")])
    assert same.exit_code == 0
    assert "slower" not in (tmp_path / "same" / "report.md").read_text().partition("## mnist")[0].partition("- ")[0]


def test_three_stores_are_one_too_many(full: Path) -> None:
    done = CliRunner().invoke(app, ["report", *[str(full)] * 3])
    assert isinstance(done.exception, UsageError)


def test_a_run_that_never_reaches_an_accuracy_is_counted(tmp_path: Path) -> None:
    slow = run(Case(cell="lstm"), epoch_seconds=(1.0, 1.0))
    for row in slow:
        row["accuracy"] = 0.85 if row["phase"] == "validate" else row["accuracy"]
    good = run(Case(cell="gru"), epoch_seconds=(1.0, 1.0))
    for row in good:
        row["accuracy"] = {1: 0.85, 2: 0.96}[row["epoch"]] if row["phase"] == "validate" else row["accuracy"]
    observed = frame(slow, good).assign(load_start=0.1, steal_fraction=0.0, test_predictions=None)
    found = {one.name: one for one in draw_all(Measured.of(observed), summarise(observed)[0])}
    shown = found["time_to_accuracy"]
    assert isinstance(shown, Figure)
    by = {(one["cell"], one["target_percent"]): one for one in shown.data}
    assert by["gru", 95.0]["runs"] == [2.0]
    assert by["lstm", 95.0]["never"] == 1
    assert "1 of 2 runs reached 95 %" in shown.title
    assert isinstance(pd.DataFrame(shown.data), pd.DataFrame)


def test_what_a_table_reads_is_what_the_whole_store_says(tmp_path: Path) -> None:
    """The calls are read apart, with few columns; of a suite or a campaign, with that one's calls alone."""
    told: list[str] = []
    for position, (cell, suite) in enumerate([("lstm", "quick"), ("gru", "quick"), ("lstm", "own"), ("gru", "own")]):
        calls = [
            Observation(phase="predict", entry=entry, predict_batch=1, call=call, seconds=0.001 * call + position)
            for entry in ("predict", "compiled")
            for call in range(1, 6)
        ]
        base = a_run(position, Case(cell=cell, latency_calls=5))
        campaign = replace(base.campaign, suite=suite)
        write_run(tmp_path, replace(base, campaign=campaign, observations=(*base.observations, *calls)))
    (tmp_path / "runs" / "broken.parquet").write_bytes(b"PAR1")
    whole = load([tmp_path], warn=lambda _: None)
    assert read_sections([tmp_path], warn=told.append) == summarise(whole)
    assert len(told) == 1
    assert "broken.parquet" in told[0]
    for name, value in (("suite", "own"), ("campaign_id", str(whole["campaign_id"].iloc[-1]))):
        only: dict[str, Any] = {name.removesuffix("_id"): value}
        (section,) = read_sections([tmp_path], **only, warn=told.append)
        assert (section,) == summarise(whole[whole[name] == value])
        assert all(row.inference for row in section.rows)
    with pytest.raises(NoVerdictError, match=r"suite 'peers' is in these results; measured: own, quick\."):
        read_sections([tmp_path], suite="peers", warn=told.append)


def test_the_labels_of_close_points_hide_neither_a_point_nor_each_other() -> None:
    from matplotlib import pyplot

    points = [(100.0, 98.2, "gru"), (105.0, 98.0, "lstm"), (50.0, 95.0, "simple_rnn"), (103.0, 98.5, "own")]
    figure, ax = pyplot.subplots(figsize=(4.6, 3.4), layout="constrained")
    for x, y, _ in points:
        ax.plot([x], [y], marker="o", markersize=7)
    _label_points(ax, points)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    places = ax.transData.transform([(x, y) for x, y, _ in points])
    pyplot.close(figure)
    assert [text.get_text() for text in ax.texts] == [name for *_, name in points]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
        assert not any(box.contains(x, y) for x, y in places)
