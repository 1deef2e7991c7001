"""The documentation site builds without a warning, and has every command and every column in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bench.cli import app
from bench.store.parts import COLUMNS

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.extra("material")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def text_of(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text())


def test_every_command_and_every_column_is_in_it(site: Path) -> None:
    commands = (site / "commands" / "index.html").read_text()
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined] # a group has them
        assert f"bench {name}" in commands
    columns = text_of(site / "store" / "index.html")
    for column in COLUMNS:
        assert column.name in columns


def test_guides_and_how_sure_are_there(site: Path) -> None:
    assert "Add a cell" in text_of(site / "guides" / "index.html")
    assert "How we measure" in text_of(site / "how-we-measure" / "index.html")
    assert (site / "how-sure" / "index.html").is_file()


def test_the_reference_report_and_its_first_figure_are_there(site: Path) -> None:
    first = (site / "index.html").read_text()
    (figure,) = re.findall(r"<img[^>]+src=\"(reports/[^\"]+)", first)
    assert (site / figure).read_bytes() == (ROOT / figure).read_bytes()
    assert 'href="reports/"' in first
    assert (site / "reports" / "index.html").read_bytes() == (ROOT / "reports" / "index.html").read_bytes()


def test_a_reader_asks_no_other_host_for_fonts_or_scripts(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(https?://[^\"' >]+)", page.read_text())
        assert loaded == [], page
