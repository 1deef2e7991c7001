"""A store from a stranger is harmless to read: no text in it becomes markup, an escape code or a formula."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser

import pandas as pd
import pytest

from bench.analysis.comparison import compare
from bench.analysis.history import By, series
from bench.analysis.summary import summarise
from bench.cli.output import notify
from bench.core.metrics import METRICS
from bench.plan.gate import Gate
from bench.report.document import Document
from bench.report.export import github_action_benchmark, pytest_benchmark
from bench.report.html import render_html
from bench.report.jsonout import render_json
from bench.report.markdown import render_markdown
from bench.report.measured import Measured
from bench.report.one_run import run_data, run_document
from bench.report.over_time import history_data, history_document
from bench.report.page import report_document
from bench.report.table import table_document
from bench.report.table_data import table_data
from bench.report.text import render_text
from bench.report.verdicts import verdicts_data, verdicts_document
from bench.store.schema import COLUMNS, TEXT
from tests.support.frames import CELLS, frame, notebook_like, runs

# labels of a thousand characters leave no room for axes
pytestmark = pytest.mark.filterwarnings("ignore:constrained_layout not applied")

HOSTILE = (
    "=cmd|'/c x'!A1 <script>alert(1)</script>\"'><img src=x onerror=y> &lt;b&gt; </svg></td></details> --> "
    "| a | b |\n# head\n```\n[x](javascript:y) ![x](http://x/y) <http://x/> **b** $\\frac{$ {{ 7*7 }} "
    "<!-- /bench:table --> \x1b[31m \x1b]8;;http://x\x07 \x9b31m \r \x08 \x7f \u202e \u2066 \u200b end"
)
_KEPT = {
    "status",
    "phase",
    "run_id",
    "campaign_id",
    "case_id",
    "configuration_id",
    "entry",
    "isolation",
    "backend",
    "runtime",
}
"""Columns whose texts decide what is shown, and are checked when a store is read, or are digests."""


def hostile(observations: pd.DataFrame, text: str) -> pd.DataFrame:
    """The same, with the text in each text column and in each string of its JSON, keys too."""
    changed = observations.copy()
    for column in COLUMNS:
        if column.type != TEXT or column.name not in changed or column.name in _KEPT:
            continue
        if column.name.endswith("_json"):
            old = changed[column.name].astype(object)
            changed[column.name] = pd.Categorical([_json(each, column.name, text) for each in old])
        elif column.name != "test_predictions":
            changed[column.name] = pd.Categorical(
                [f"{old} {text}" if column.name == "cell" else text for old in changed[column.name]]
            )
    return changed


def _json(old: object, name: str, text: str) -> str:
    text += "\ud83d"  # half of a character, which JSON can hold
    if name == "attestation_json":
        return json.dumps({text: {text: {"kernel": text, "operations": {text: 1}, "artefact": text}}})
    if name == "code_json":
        return json.dumps([{"name": text, "file": text, "sha256": text, "distribution": text}])
    facts = json.loads(old) if isinstance(old, str) else {}
    return json.dumps(
        {
            **{key: text if isinstance(value, str) else value for key, value in facts.items()},
            text: [text],
            "gpus": [text],
        }
    )


@pytest.fixture(scope="module")
def store() -> pd.DataFrame:
    return frame(*runs(CELLS, range(2), notebook_like))


@pytest.fixture(scope="module")
def documents(store: pd.DataFrame) -> dict[str, Document]:
    return dict(_documents(hostile(store, HOSTILE)))


def _documents(observations: pd.DataFrame) -> Iterator[tuple[str, Document]]:
    compared = compare(observations, observations, Gate(), names=(HOSTILE, HOSTILE)), Gate()
    yield "table", table_document(summarise(observations))
    yield "report", report_document(Measured.of(observations))
    yield "compare", verdicts_document(*compared)
    yield "history", history_document(series(observations, METRICS["train_seconds"], By.COMMIT))
    first = observations[observations["run_id"] == observations["run_id"].iloc[0]]
    yield "show", run_document(run_data(stored(first)))


def stored(rows: pd.DataFrame) -> pd.DataFrame:
    """With all the columns of the store, as `show` reads them."""
    return rows.assign(
        **{column.name: HOSTILE for column in COLUMNS if column.type == TEXT and column.name not in rows}
        | {column.name: 1 for column in COLUMNS if column.type != TEXT and column.name not in rows}
    )


class Elements(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.texts = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts += data


def test_no_text_becomes_markup_in_the_page(store: pd.DataFrame, documents: dict[str, Document]) -> None:
    plain = Elements(render_html(report_document(Measured.of(hostile(store, "plain")))))
    attacked = Elements(render_html(documents["report"]))
    assert {tag: count for tag, count in attacked.seen.items() if tag not in plain.seen} == {}
    for tag in ("script", "style", "a", "link", "meta", "svg", "details"):
        assert attacked.seen[tag] == plain.seen[tag]
    assert {name for name, _ in attacked.attributes} <= {name for name, _ in plain.attributes}
    assert all(value.startswith(("#", "data:,")) for name, value in attacked.attributes if name.endswith("href"))
    assert not any(name.startswith("on") for name, _ in attacked.attributes)
    assert attacked.texts.count("alert(1)") > 10  # it was there


def test_no_text_becomes_markup_in_markdown(documents: dict[str, Document]) -> None:
    for name, document in documents.items():
        text = render_markdown(document)
        assert set(re.findall(r"<[^ >]*", text)) <= {"<details", "</details", "<summary", "</summary"}, name
        assert not re.search(r"(?<!\\)\]\((?!figures/)", text), name
        assert not re.search(r"(?<!\\)`", re.sub(r"`(bench|--)[\w .,:=/-]*`", "", text)), name
        assert "alert(1)" in text, name  # it was there
        widths: list[int] = []
        for line in [*text.splitlines(), ""]:
            if line.startswith("|"):
                widths.append(line.count("|"))
            else:
                assert len(set(widths)) <= 1, (name, line)
                widths = []


def unprintable(text: str) -> set[str]:
    return {char for char in text if not char.isprintable() and char != "\n"}


def test_no_text_drives_the_terminal(
    store: pd.DataFrame, documents: dict[str, Document], capsys: pytest.CaptureFixture[str]
) -> None:
    observations = hostile(store, HOSTILE)
    for name, document in documents.items():
        assert unprintable(render_text(document)) == set(), name
        styled = re.sub(r"\x1b\[[\d;]*m", "", render_text(document, styled=True))
        assert unprintable(styled) == set(), name
        assert "[31m" not in re.findall(r"\x1b\[[\d;]*m", render_text(document, styled=True))
    gate = Gate()
    for data in (
        table_data(summarise(observations)),
        verdicts_data(compare(observations, observations, gate, names=(HOSTILE, HOSTILE)), gate),
        history_data(series(observations, METRICS["train_seconds"], By.COMMIT)),
        run_data(stored(observations[:3])),
        github_action_benchmark(summarise(observations)),
    ):
        text = render_json(data)
        assert unprintable(text) == set()
        json.loads(text)
    notify(f"left out: {HOSTILE}")
    assert unprintable(capsys.readouterr().err) == set()
    assert json.loads(render_json({"a": HOSTILE})) == {"a": HOSTILE}


def test_no_text_becomes_a_formula_in_what_other_tools_make_tables_of(store: pd.DataFrame) -> None:
    observations = store.assign(cell=pd.Categorical(["=1+1"] * len(store)), network=pd.Categorical(["@x"] * len(store)))
    sections = summarise(observations)
    exported = pytest_benchmark(sections, "2026-01-02")["benchmarks"]
    texts = [each["name"] for each in (*exported, *github_action_benchmark(sections))]
    texts += [value for each in exported for value in each["params"].values() if isinstance(value, str)]
    assert texts
    assert not [text for text in texts if text.startswith(tuple("=+-@\t\r"))]
    assert all(isinstance(each["stats"]["mean"], float) for each in exported)
