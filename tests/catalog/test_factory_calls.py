"""A slip in a factory is refused before anything is measured, by its module's source: nothing is imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.catalog import cells, check
from bench.catalog.factory_calls import CALLS, check_call
from bench.core.errors import UsageError

CELLS = """raise SystemExit("imported")
from elsewhere import fast as quick

def small_gru(units, activation, return_sequences, name): ...
def with_kernel(units, activation, return_sequences, name, kernel): ...
def by_name(*, name, units, **rest): ...
def own_width(n, activation, return_sequences, name): ...
def narrow(units, activation, name): ...
def more(units, activation, return_sequences, name, window): ...

@elsewhere.cell
def decorated(): ...

class Layer(elsewhere.Layer):
    def __init__(self, units, name=None):
        for inner in range(units):
            self.inner = inner

class WholeLayer:
    def __init__(self, units, activation, return_sequences, name): ...

class Inherits(elsewhere.Layer): ...

def network(cell, task, units, depth=2): ...
def two(cell, task): ...

if True:
    other_gru = small_gru
    def small_lstm(): ...
else:
    small_lstm = small_gru
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path_importer_cache", {})
    (tmp_path / "cells_of_ours.py").write_text(CELLS)
    return tmp_path


def refusal(name: str, kind: str = "cell") -> str:
    with pytest.raises(UsageError) as caught:
        check_call(kind, name, "--set cells")
    return str(caught.value)


@pytest.mark.parametrize(
    "attribute",
    [
        *("small_gru", "with_kernel", "by_name", "other_gru", "quick", "small_lstm"),
        *("decorated", "WholeLayer", "Inherits"),
    ],
)
def test_what_can_be_called_as_a_cell_is_accepted_unimported(attribute: str) -> None:
    check_call("cell", f"cells_of_ours:{attribute}", "--set cells")


def test_a_slip_in_the_name_is_refused_with_the_nearest() -> None:
    text = refusal("cells_of_ours:smal_gru")
    assert "did you mean 'small_gru'?" in text
    assert "cells_of_ours binds no such name" in text
    assert "binds no such name" in refusal("cells_of_ours:inner")  # bound in a function alone
    with pytest.raises(UsageError, match="did you mean 'small_gru'"):
        check("cells", "cells_of_ours:smal_gru", "--set cells")


@pytest.mark.parametrize(
    ("attribute", "problem"),
    [
        ("own_width", "it wants 'n' too"),
        ("narrow", "it doesn't take 'return_sequences'"),
        ("more", "it wants 'window' too"),
        ("Layer", "it is a class, and no factory: its __init__ doesn't take 'activation'"),
    ],
)
def test_a_factory_that_cannot_be_called_as_a_cell_is_refused(attribute: str, problem: str) -> None:
    text = refusal(f"cells_of_ours:{attribute}")
    assert f"(--set cells) can't be used: {problem}. A factory is a function that is called as {attribute}(un" in text
    assert text.endswith("return_sequences=…, name=…) and returns a Keras layer.")


def test_each_kind_is_called_in_its_own_way() -> None:
    check_call("network", "cells_of_ours:network", "--set networks")
    text = refusal("cells_of_ours:two", "network")
    assert "it doesn't take 3 arguments. A factory is a function that is called as two(cell, task, units) and" in text
    for kind in ("task", "model", "data factory"):
        assert "it wants" in refusal("cells_of_ours:small_gru", kind)
        assert str(CALLS[kind]) == ""


@pytest.mark.parametrize(
    "line",
    [
        "from elsewhere import *",
        "def __getattr__(name): ...",
        'globals()["x"] = 1',
        "def f():\n    global anything\n    anything = 1",
    ],
)
def test_a_module_whose_names_only_running_it_shows_is_left_to_the_worker(folder: Path, line: str) -> None:
    (folder / "cells_of_ours.py").write_text(f"{line}\n")
    check_call("cell", "cells_of_ours:anything", "--set cells")


def test_a_module_that_is_no_python_is_refused_with_its_line(folder: Path) -> None:
    (folder / "cells_of_ours.py").write_text("x = 1\ndef (\n")
    assert "cells_of_ours is no Python in line 2: " in refusal("cells_of_ours:x")


def test_a_project_that_is_not_installed_is_told_how(folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "ours_in_src.py").write_text(CELLS)
    assert "it is in src, so install the project: `pip install -e .`" in refusal("ours_in_src:small_gru")
    assert "src" not in refusal("nowhere_at_all:small_gru")
    (folder / "pyproject.toml").write_text('[project.entry-points."bench.cells"]\nsru = "ours_in_src:small_gru"\n')
    with pytest.raises(UsageError, match=r"'sru' .* isn't installed: `pip install -e \.` makes its name known"):
        cells.find("sru", "--set cells")
    with pytest.raises(UsageError, match="unknown cell 'srv'"):
        cells.find("srv", "--set cells")
