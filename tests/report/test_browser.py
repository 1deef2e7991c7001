"""The page in a real headless Chromium: no error, no request, sorting, alternative texts, accessibility, a phone."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.report.page import write_report
from tests.report.test_page import HOSTILE, a_full_store, report_of

pytestmark = [pytest.mark.browser, pytest.mark.extra("playwright")]

ROOT = Path(__file__).parents[2]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
)


def needed(what: str, there: bool) -> None:
    if not there:
        if os.environ.get("BENCH_TEST_EXTRAS"):
            pytest.fail(f"{what} is not there, and BENCH_TEST_EXTRAS says that it must be")
        pytest.skip(f"needs {what}")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a store with a cell whose name would do harm."""
    store = a_full_store(tmp_path_factory.mktemp("store"), cells=("simple_rnn", "lstm", HOSTILE), seeds=2)
    return write_report(report_of(store), tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    needed("chromium (apt-get install chromium)", chromium is not None)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        yield running
        running.close()


class Opened:
    """The page, and what it said and asked for."""

    def __init__(self, browser: Any, index: Path, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(f"dialog {dialog.message}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(index.as_uri())


@pytest.fixture(scope="module")
def opened(browser: Any, index: Path) -> Iterator[Opened]:
    one = Opened(browser, index)
    yield one
    one.context.close()


def test_no_error_and_no_request(opened: Opened, index: Path) -> None:
    assert opened.said == []
    assert opened.asked == [index.as_uri()]


def test_the_table_sorts_by_click_and_by_keyboard(opened: Opened) -> None:
    page = opened.page
    table = page.locator("table.sortable").first

    def column(number: int) -> list[str]:
        texts: list[str] = table.locator(f"tbody tr > :nth-child({number})").all_inner_texts()
        return texts

    heads: list[str] = table.locator("thead th").all_inner_texts()
    place = next(number for number, head in enumerate(heads, 1) if head.startswith("s/epoch"))
    header = table.locator(f"thead th:nth-child({place})")
    values = [float(text.split()[0]) for text in column(place)]
    assert values != sorted(values)
    header.locator("button").click()
    assert [float(text.split()[0]) for text in column(place)] == sorted(values)
    assert header.get_attribute("aria-sort") == "ascending"
    first = table.locator("thead th:nth-child(1)")
    first.locator("button").focus()
    page.keyboard.press("Enter")
    assert column(1) == sorted(column(1), key=str.lower)
    assert header.get_attribute("aria-sort") == "none"
    page.keyboard.press("Space")
    assert column(1) == sorted(column(1), key=str.lower, reverse=True)
    assert first.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert table.locator("thead th:nth-child(2)").get_attribute("aria-sort") == "ascending"


def test_every_figure_has_an_alternative_text(opened: Opened) -> None:
    drawings = opened.page.locator("svg")
    labels = [drawings.nth(number).get_attribute("aria-label") for number in range(drawings.count())]
    assert len(labels) > 8
    assert all(label and len(label) > 20 for label in labels)
    assert opened.page.locator("figure").count() == opened.page.locator("figure svg[aria-label]").count() > 5


def test_a_point_gives_its_value_to_the_pointer_and_to_the_keyboard(opened: Opened) -> None:
    page = opened.page
    point, shown = page.locator("#accuracy_against_time .value").first, page.locator("#value-shown")
    label = point.get_attribute("aria-label")
    assert " % in " in label
    assert label.endswith(" s")
    assert not shown.is_visible()
    point.focus()
    assert shown.inner_text() == label
    page.keyboard.press("Tab")
    assert shown.inner_text() != label
    page.evaluate("document.activeElement.blur()")
    assert not shown.is_visible()
    tick = page.locator("#training_seconds .value").first
    tick.scroll_into_view_if_needed()
    tick.hover()
    assert "seconds (95 %" in shown.inner_text()
    page.mouse.move(0, 0)


def test_rows_can_be_hidden_and_what_is_left_copied(browser: Any, index: Path) -> None:
    opened = Opened(browser, index)
    table = opened.page.locator("table.sortable").first
    rows = table.locator("tbody tr")
    before = rows.count()
    tools = opened.page.locator(".tools").first
    table.get_by_label("Hide lstm").first.click()
    hidden = sum(not rows.nth(number).is_visible() for number in range(before))
    assert hidden == 1
    tools.get_by_text("Copy as CSV").click()
    button = tools.locator("button").first
    opened.page.wait_for_function("document.querySelector('.tools button').dataset.copied")
    copied = list(csv.reader(io.StringIO(button.get_attribute("data-copied"))))
    assert len(copied) == before  # the head, and all rows but one
    assert copied[0][0] == "cell"
    names = table.locator("tbody tr > :nth-child(1)").all_text_contents()
    assert [row[0] for row in copied].count("lstm") == [name.strip() for name in names].count("lstm") - 1
    assert {len(row) for row in copied} == {len(copied[0])}
    tools.get_by_text("Show 1 hidden").click()
    assert all(rows.nth(number).is_visible() for number in range(before))
    assert opened.said == []
    opened.context.close()


def test_no_column_is_cut_on_paper(browser: Any, index: Path) -> None:
    """A4 with Chromium's margins is 720 pixels wide."""
    printed = Opened(browser, index, width=720)
    printed.page.emulate_media(media="print")
    ends = printed.page.evaluate(
        "[...document.querySelectorAll('table.sortable')].map(t => t.getBoundingClientRect().right)"
    )
    printed.context.close()
    assert ends
    assert max(ends) <= 720


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_accessibility_check_passes(browser: Any, index: Path, scheme: str) -> None:
    needed("axe-core (npm install --no-save axe-core)", AXE.is_file())
    one = Opened(browser, index, scheme=scheme)
    # the page's own policy keeps out what it didn't bring, so the check comes in by evaluation
    one.page.evaluate(AXE.read_text())
    found = one.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    one.context.close()
    problems = [(each["id"], each["help"], each["nodes"][0]["html"][:200]) for each in found["violations"]]
    assert problems == []
    assert len(found["passes"]) > 10


def test_nothing_overflows_on_a_phone(browser: Any, index: Path) -> None:
    one = Opened(browser, index, width=375)
    wide = one.page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter(e => !e.closest(".scroll") && !e.closest("svg") && e.getBoundingClientRect().right > 375.5)
            .map(e => e.outerHTML.slice(0, 120))"""
    )
    size = one.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    one.context.close()
    assert wide == []
    assert size == [375, 375]
