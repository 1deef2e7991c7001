"""bench.report.document and its renderers: text that fits, markdown and JSON that nothing breaks."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bench.analysis.stats import Estimate, Interval
from bench.report.document import (
    Callout,
    Column,
    Details,
    Document,
    Either,
    Facts,
    Heading,
    Lines,
    Notes,
    Paragraph,
    Table,
)
from bench.report.html import render_html
from bench.report.jsonout import estimate_object, render_json
from bench.report.markdown import render_markdown
from bench.report.text import render_text

HOSTILE = "a|b`<script>alert(1)</script>\n| --- |\n**x**[y](z)\x1b[31m\\"


def everything(name: str = "lstm") -> Document:
    """A block of each kind, all with this name."""
    figures = Table((Column(name), Column("seconds", left=False)), ((name, "1.25"),), caption=name)
    return Document(
        (
            Heading(name),
            Paragraph(name, tone="warning", indent=1),
            Lines((name, "", name)),
            Callout((name,), (name,)),
            Notes((name, name)),
            Facts(((name, name),), heading=name),
            figures,
            Table((Column(name),), (), caption=name, empty=name),
            Details(name, (figures,)),
            Either(terminal=(Notes((name,)),), page=(figures,)),
        ),
        title=name,
    )


def lines(*blocks: object, width: int = 40) -> list[str]:
    return render_text(Document(tuple(blocks)), width).splitlines()  # type: ignore[arg-type]


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=40), st.integers(24, 120))
@example(HOSTILE, 30)
def test_text_fits_its_width_and_has_no_control_codes(name: str, width: int) -> None:
    for line in render_text(everything(name), width).splitlines():
        assert len(line) <= width
        assert line.isprintable()
        assert line == line.rstrip()


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=40))
@example(HOSTILE)
@example("```\n# x")
def test_no_name_breaks_the_markdown_or_runs_as_html(name: str) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(render_markdown(everything(f"x{name}x")))
    inner = [child for token in tokens for child in token.children or []]
    assert not {t.type for t in [*tokens, *inner]} & {"code_inline", "fence", "link_open", "image", "em_open"}
    folds = {"<details>", "</details>", "<summary>", "</summary>"}
    assert {t.content.split(">")[0] + ">" for t in [*tokens, *inner] if t.type.startswith("html")} <= folds
    assert sum(token.type == "table_open" for token in tokens) == 3


@settings(deadline=None, max_examples=25)
@given(st.text(max_size=40))
@example(HOSTILE)
@example("</script><script>alert(1)</script>")
def test_no_name_makes_an_element_of_a_page(name: str) -> None:
    page = render_html(everything(f"x{name}x"))
    for tag in ("table", "details", "script", "section", "li"):
        assert page.count(f"<{tag}") == render_html(everything("x")).count(f"<{tag}")
    assert not re.search(r"[\x00-\x08\x1b]", page)


def test_headings_with_an_anchor_are_the_contents_of_a_page() -> None:
    sections = tuple(Heading(name, level=2, anchor=name) for name in ("first", "second"))
    assert render_html(Document(sections, title="t")).count('<a href="#') == 2
    assert "<nav" not in render_html(Document((*sections[:1], Heading("last", level=2)), title="t"))


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        ("0.452† (0.342–0.612)", "0.452"),
        ("1,390", "1390.0"),
        ("1.23 GB", "1230.0"),
        ("−5.00 (−5.15 to −4.85)", "-5.0"),
        ("≥ 95 %", "95.0"),
        ("LSTM", "lstm"),
        ("–", ""),
    ],
)
def test_a_cell_is_sorted_by_its_number_or_its_text(cell: str, key: str) -> None:
    page = render_html(Document((Table((Column("x"),), ((cell,),), sortable=True),)))
    assert f'data-key="{key}"' in page


def test_styles_are_there_only_where_asked_for() -> None:
    assert "\x1b" not in render_text(everything(), 80)
    assert "\x1b[1m" in render_text(everything(), 80, styled=True)


def test_a_table_that_is_too_wide_folds_the_column_that_may() -> None:
    table = Table(
        (Column("name"), Column("what it is", wrap=True), Column("n", left=False)),
        (("first", "words words words words words", "1"), ("2nd", "x", "20")),
    )
    assert lines(table, width=30) == [
        "name   what it is            n",
        "──────────────────────────────",
        "first  words words words     1",
        "       words words",
        "2nd    x                    20",
    ]


def test_rows_of_a_group_share_its_name_beside_them_or_above_them() -> None:
    table = Table(
        (Column("configuration", group=True), Column("metric"), Column("value", left=False)),
        (("lstm × units=64", "training", "1.0 s"), ("lstm × units=64", "memory", "2 MB"), ("gru", "training", "3.0 s")),
    )
    assert lines(table, width=60)[2:] == [
        "lstm × units=64  training  1.0 s",
        "                 memory     2 MB",
        "gru              training  3.0 s",
    ]
    assert lines(table, width=20) == [
        "lstm × units=64",
        "metric    value",
        "───────────────",
        "training  1.0 s",
        "memory     2 MB",
        "gru",
        "training  3.0 s",
    ]
    assert render_markdown(Document((table,))).count("lstm × units=64") == 2


def test_a_narrow_arrangement_is_taken_where_the_wide_one_does_not_fit() -> None:
    narrow = Table(
        (
            Column(
                ("cell", "loss"),
            ),
        ),
        ((("lstm", "0.1"),), (("gru", "0.2"),)),
    )
    table = Table((Column("cell"), Column("loss", left=False)), (("lstm", "0.1"), ("gru", "0.2")), narrow=narrow)
    assert lines(table, width=12)[2] == "lstm   0.1"
    assert lines(table, width=9) == ["cell", "loss", "────", "lstm", "0.1", "", "gru", "0.2"]


def test_a_command_to_copy_stays_on_one_line() -> None:
    text = "jax is not installed here at all: `pip install -e '.[jax]'` adds it"
    shown = lines(Paragraph(text, indent=1), width=50)
    assert shown == ["  jax is not installed here at all:", "    `pip install -e '.[jax]'` adds it"]


def test_what_a_terminal_arranges_in_its_own_way() -> None:
    either = Either(terminal=(Notes(("for a terminal",)),), page=(Details("folded", (Paragraph("for a page"),)),))
    assert lines(either) == ["· for a terminal"]
    assert "<details><summary>folded</summary>\n\nfor a page\n\n</details>" in render_markdown(Document((either,)))


def test_a_table_is_found_by_its_caption() -> None:
    assert everything().table("lst").rows == (("lstm", "1.25"),)
    with pytest.raises(LookupError, match=r"no table 'gru': there are \['lstm'"):
        everything().table("gru")


def test_json_has_null_for_what_is_not_finite() -> None:
    estimate = Estimate(2.0, Interval(1.0, math.inf), 3)
    assert json.loads(render_json({"a": (math.nan, 1), "b": estimate_object(estimate)})) == {
        "a": [None, 1],
        "b": {"value": 2.0, "low": 1.0, "high": None, "n": 3},
    }
    assert estimate_object(None) is None
