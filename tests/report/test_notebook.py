"""What a notebook calls: light to import, shown as HTML, numbers as numbers; and the notebook of the documentation."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.analysis.summary import summarise
from bench.cli.options import TableFormat
from bench.cli.table import print_table
from bench.core.errors import NoVerdictError, UsageError
from bench.report.measured import read_sections
from tests.support.frames import CELLS, frame, notebook_like, runs
from tests.support.stored import a_store

ROOT = Path(__file__).parents[2]


def shown(source: str, names: dict[str, Any]) -> Any:
    """A cell of a notebook, executed; its last expression."""
    body = ast.parse(source)
    *_, last = body.body
    if not isinstance(last, ast.Expr):
        exec(compile(body, "cell", "exec"), names)
        return None
    exec(compile(ast.Module(body.body[:-1], []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_the_notebook_of_the_documentation_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())
    monkeypatch.chdir(ROOT / "docs")
    names: dict[str, Any] = {}
    values = [shown("".join(cell["source"]), names) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    rich = [value._repr_html_() for value in values if isinstance(value, bench.report.notebook._View)]
    assert len(rich) == 3
    assert all("<table" in html and "<script" not in html for html in rich)
    assert any(hasattr(value, "_repr_svg_") for value in values)
    assert "\\toprule" in capsys.readouterr().out
    assert {"cell", "metric", "verdict"} <= set(names["verdicts"].numbers.columns)


def test_importing_the_package_stays_light() -> None:
    code = "import bench, sys; print([m for m in ('numpy', 'pandas', 'pyarrow', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError, match="has no attribute 'tabel'"):
        _ = bench.tabel


def test_the_table_holds_the_estimates_as_numbers() -> None:
    observed = frame(*runs(CELLS, range(3), notebook_like))
    table = bench.table(observed)
    (section,) = summarise(observed)
    assert list(table.numbers["test_accuracy"]) == [row.estimates["accuracy"].value for row in section.rows]
    assert "98.40" in repr(table)
    assert "\\%" in table.to_latex()
    assert table.to_csv().splitlines()[0].startswith("section,cell,task")
    assert len(bench.table(observed, pairs=True).numbers) == 6
    with pytest.raises(UsageError, match="unknown field"):
        bench.table(observed, join="unit")


def test_a_notebook_has_the_numbers_of_the_command_line_those_beside_the_observations_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = ROOT / "results" / "reference" / "mnist_rows"
    print_table(read_sections([path], warn=pytest.fail), TableFormat.CSV)
    shown = capsys.readouterr().out
    observed = bench.load(path)
    assert bench.table(observed).to_csv() == bench.table(path).to_csv() == shown
    assert bench.table(observed[observed["cell"] != "gru"]).to_csv() == "".join(shown.splitlines(keepends=True)[:3])
    for wrong in (3, [path], None):
        with pytest.raises(UsageError, match=r"is no frame of bench\.load, and no path of results"):
            bench.table(wrong)  # type: ignore[arg-type]


def test_stores_are_compared_by_path_and_figures_written(tmp_path: Path) -> None:
    a_store(tmp_path / "a")
    a_store(tmp_path / "b")
    verdicts = bench.compare(tmp_path / "a", str(tmp_path / "b"))
    assert verdicts.exit_code in (0, 3)
    assert str(tmp_path / "b") in repr(verdicts)
    figure = bench.figure(bench.load(tmp_path / "a"), "training_seconds", file=tmp_path / "x.svg")
    assert figure._repr_svg_().rstrip().endswith("</svg>")
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")
    with pytest.raises(UsageError, match="written as pdf, svg, png"):
        bench.figure(bench.load(tmp_path / "a"), "training_seconds", file=tmp_path / "x.jpg")
    with pytest.raises(NoVerdictError):
        bench.load(tmp_path)
