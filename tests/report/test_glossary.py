"""The glossary: its order, what finds a term, and the line that refers to it under what is printed."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.core.errors import UsageError
from bench.report.glossary import GLOSSARY, glossary_document, terms_line
from bench.report.text import render_text
from tests.support.harness import ROOT

STORE = str(ROOT / "results" / "reference" / "kernels")


def line_under(text: str) -> str:
    line = terms_line(text)
    return line.text if line else ""


def test_no_term_is_explained_twice_and_they_are_in_order() -> None:
    names = [name for term in GLOSSARY for name in (*term.keys, *term.names)]
    assert len(names) == len(set(names))
    headings = [term.heading.strip("`") for term in GLOSSARY]
    assert headings == sorted(headings)


@pytest.mark.parametrize("asked", ["noise floor", "floor", "Noise floors"])
def test_a_term_is_found_by_its_key_and_in_the_plural(asked: str) -> None:
    shown = render_text(glossary_document(asked), 200)
    assert (
        shown
        == "noise floor (key `floor`): the bias that no repetition removes; a smaller difference is never claimed.\n"
    )


def test_an_unknown_term_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"unknown term 'atested' \(on the command line\): did you mean 'attested'\?"):
        glossary_document("atested")


def test_the_terms_of_a_text_are_listed_whatever_its_colours_and_line_breaks() -> None:
    text = "\x1b[1mBlocks\x1b[0m of a run, within the noise\n   floor; a building block is one, too"
    assert line_under(text) == "Terms: block, noise floor. `bench glossary block` explains one."
    assert line_under("10 rounds") == "Terms: round. `bench glossary round` explains it."
    assert line_under("around the blockade, the run of a cell on a task") == ""


@pytest.mark.parametrize("command", ["table", "show last", "plan quick"])
def test_what_is_printed_says_where_its_terms_are_explained_and_data_for_programs_do_not(command: str) -> None:
    words = [*command.split(), *([] if command.startswith("plan") else [STORE])]
    printed, data = (CliRunner().invoke(app, [*words, "--format", fmt]).stdout for fmt in ("text", "json"))
    assert re.search(r"`bench glossary [a-z ]+` explains (one|it)\.", " ".join(printed.split()))
    assert "bench glossary" not in data
