"""The documentation: the site builds without a warning, what is made is current, and no reference leads nowhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bench.cli import app
from bench.store.schema import COLUMNS
from scripts.docs_pages import committed
from tests.test_imports import FOLDERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
HAND_WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

needs_mkdocs = pytest.mark.extra("material")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def text_of(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text())


@needs_mkdocs
def test_every_command_and_every_column_is_in_it(site: Path) -> None:
    commands = (site / "commands" / "index.html").read_text()
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined] # a group has them
        assert f"bench {name}" in commands
    columns = text_of(site / "store" / "index.html")
    for column in COLUMNS:
        assert column.name in columns


@needs_mkdocs
def test_the_navigation_has_every_page(site: Path) -> None:
    written = {page.relative_to(DOCS).with_suffix("") for page in DOCS.rglob("*.md")}
    navigation = (ROOT / "mkdocs.yml").read_text().partition("nav:")[2]
    for page in written:
        assert f": {page}.md\n" in navigation
        assert (site / page / "index.html").is_file()


@needs_mkdocs
def test_the_reference_report_and_its_first_figure_are_there(site: Path) -> None:
    first = (site / "index.html").read_text()
    (figure,) = re.findall(r"<img[^>]+src=\"(reports/[^\"]+)", first)
    assert (site / figure).read_bytes() == (ROOT / figure).read_bytes()
    assert 'href="reports/"' in first
    assert (site / "reports" / "index.html").read_bytes() == (ROOT / "reports" / "index.html").read_bytes()


@needs_mkdocs
def test_a_reader_asks_no_other_host_for_fonts_or_scripts(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(https?://[^\"' >]+)", page.read_text())
        assert loaded == [], page


@pytest.mark.parametrize("path", committed(), ids=lambda path: path.name)
def test_a_committed_page_that_is_made_is_what_would_be_made(path: Path) -> None:
    assert path.read_text() == committed()[path](), "run `make docs`"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", HAND_WRITTEN, ids=lambda page: page.name)
def test_no_link_is_dangling(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http:", "https:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in headings(file), f"{page.name} links to {target}"


def test_the_code_cites_only_documents_that_are_in_the_repository() -> None:
    for path in sorted(file for folder in ("bench", "scripts", "tests") for file in (ROOT / folder).rglob("*.py")):
        for name in re.findall(r"\b[A-Z]{3,}\.md\b|\bdocs/[\w/-]+\.md\b", path.read_text()):
            assert (ROOT / name).is_file(), f"{path} cites {name}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 170


def test_contributing_shows_the_tree_and_nothing_else() -> None:
    tree = re.search(r"```\nbench/\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    assert tree
    assert re.findall(r"^  (\w+)/ ", tree[1], re.M) == list(reversed(FOLDERS))


def test_the_three_paths_lead_to_functions_that_exist() -> None:
    """CONTRIBUTING's paths name a file and what to read in it: `bench/worker/clock.py` `epoch_seconds`."""
    steps = re.findall(r"`(bench/[\w/]+\.py)`: `([\w.]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(steps) == 9
    for file, name in steps:
        text = (ROOT / file).read_text()
        for part in name.split("."):
            assert re.search(rf"^\s*(?:def |class )?{part}\b", text, re.M), f"{file} has no {name}"
