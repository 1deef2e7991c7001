"""Figures as files for a paper: their width, their fonts, their bytes, and what is refused before anything is drawn."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.core.errors import ExitCode, NoVerdictError
from bench.report.figures import FIGURES, draw_for_paper, style
from bench.report.measured import Measured
from tests.support.frames import CELLS, frame, notebook_like, runs
from tests.support.stored import a_store


@pytest.fixture(scope="module")
def measured() -> Measured:
    return Measured.of(frame(*runs(CELLS, range(3), notebook_like)).assign(test_predictions=None))


def test_a_pdf_has_its_width_and_its_fonts(measured: Measured) -> None:
    drawn = draw_for_paper("training_seconds", measured, measured.sections[0], "pdf", 3.35)
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", drawn.content)
    assert box
    assert float(box[1]) == pytest.approx(72 * 3.35, abs=0.1)
    assert b"/FontFile2" in drawn.content  # TrueType, embedded
    assert b"CreationDate" not in drawn.content
    again = draw_for_paper("training_seconds", measured, measured.sections[0], "pdf", 3.35)
    assert again.content == drawn.content
    assert drawn.caption.startswith("simple_rnn trains fastest, with 20.1 s an epoch. A dot is a run")


def test_labels_that_have_no_room_keep_their_values_and_state_of_what_fields() -> None:
    names = [f"lstm × bidirectional={way} × recurrent_dropout=0.0 × mask={mask} → generic"
             for way in ("false", "true") for mask in ("gaps", "none")]  # fmt: skip
    texts, explained = style.labels(names)
    assert texts[1] == "lstm × false × 0.0 × none → generic"
    assert len(set(texts)) == 4
    assert " ".join(explained.split()) == "cell × bidirectional × recurrent_dropout × mask"
    assert style.labels(["gru × units=64", "lstm"]) == (["gru × units=64", "lstm"], "")
    assert style.labels(["a_module_with_a_long_name:a_factory"])[0] == ["a_module_with_a_long_name:a_f…"]


def test_the_title_of_the_drift_claims_nothing_of_single_runs() -> None:
    titles = []
    for seeds in (range(1), range(3)):
        measured = Measured.of(frame(*runs(CELLS, seeds, notebook_like)).assign(test_predictions=None))
        titles.append(draw_for_paper("drift", measured, measured.sections[0], "svg", 7.0).caption)
    assert titles[0].startswith("With a single run a row, nothing shows whether the machine drifted. ")
    assert titles[1].startswith("Every run took within 10 % of its row's median: the machine behaved. ")


def test_an_svg_asks_for_no_font(measured: Measured) -> None:
    svg = draw_for_paper("training_seconds", measured, measured.sections[0], "svg", 7.0).content.decode()
    assert "<text" not in svg
    assert 'width="504pt"' in svg


def test_nothing_to_show_is_no_figure(measured: Measured) -> None:
    with pytest.raises(NoVerdictError, match="nothing to show in 'latency'"):
        draw_for_paper("latency", measured, measured.sections[0], "pdf", 3.35)


def test_the_command_writes_a_file_and_prints_its_caption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_store(tmp_path / "store")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", "figure", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    code, out, err = call("training_seconds", "store", "--width", "page")
    assert (code, err) == (0, "bench: training_seconds.pdf: 7 inches wide\n")
    assert "A dot is a run" in out
    assert (tmp_path / "training_seconds.pdf").read_bytes().startswith(b"%PDF")
    for arguments, words in (
        (("memory", "not there", "--out", "x.jpg"), "written as pdf, svg, png"),
        (("memory", "not there", "--width", "wide"), "--width wide: write column"),
        (("memry", "not there"), "unknown figure 'memry' (NAME): did you mean 'memory'?"),
        (("memory", "store", "--section", "9"), "--section 9: these results have 1"),
    ):
        code, _, err = call(*arguments)
        assert code in (ExitCode.USAGE, ExitCode.NO_VERDICT)
        assert words in err
    assert "memory" in FIGURES
