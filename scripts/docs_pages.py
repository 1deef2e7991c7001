"""Makes the pages of the documentation that have their source elsewhere; a hook of mkdocs (`mkdocs.yml`).

    python -m scripts.docs_pages

The first page is the README, the reference of the commands is their help, the schema is the store's: mkdocs asks for
these while it builds the site. What a reader of the repository needs too is committed, and the command above writes it:
the results (`docs/results.md`), the glossary, and the table of axes in `docs/guides/compare.md`. A test compares them
with what would be written.
"""

from __future__ import annotations

import importlib
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.testing import CliRunner

from bench.cli import app
from bench.core.axes import AXES, Axis
from bench.core.case import written
from bench.report.glossary import GLOSSARY
from bench.report.markdown import escaped
from bench.store.schema import COLUMNS, SCHEMA_VERSION
from scripts import results_page

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
COMPARE_GUIDE = DOCS / "guides" / "compare.md"
REPORT = "reports"
"""The folder of the report of the reference results, which the site shows too."""

BEGIN, END = "<!-- bench:axes -->", "<!-- /bench:axes -->"
_TERMINAL = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made, and the reference report; mkdocs calls it when it has listed `docs/`."""
    from mkdocs.structure.files import File

    for name, content in pages().items():
        files.append(File.generated(config, name, content=content))
    for path in sorted((ROOT / REPORT).rglob("*")):
        if path.suffix in {".html", ".svg", ".png"}:
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Removes the links of a page that lead out of the site; mkdocs calls it for each page."""
    return linked_within(markdown, posixpath.join("docs", page.file.src_uri))


def pages() -> dict[str, str]:
    """By name: the markdown of each page that only the site has."""
    return {
        "index.md": moved((ROOT / "README.md").read_text(encoding="utf-8")),
        "commands.md": commands(),
        "store.md": schema(),
        "changes.md": moved((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")),
    }


def committed() -> dict[Path, Callable[[], str]]:
    """By file: what makes the content of each committed page that is made, wholly or between its markers."""
    return {
        DOCS / "results.md": results_page.page,
        DOCS / "glossary.md": glossary,
        COMPARE_GUIDE: guide_with_axes,
    }


def guide_with_axes() -> str:
    """The guide to comparisons, with the table of axes between its markers."""
    before, _, rest = COMPARE_GUIDE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n{axes()}\n{END}{rest.partition(END)[2]}"


def glossary() -> str:
    """The terms with their meaning, as `bench glossary` prints them."""
    rows = [f"| {term.heading} | {term.meaning} |" for term in GLOSSARY]
    return "\n".join(["# Glossary", "", "| term | meaning |", "|---|---|", *rows]) + "\n"


def axes() -> str:
    """The axes, as a table: the name in suites and in `--set`, what it means, its values and its default."""
    lines = ["| axis | meaning | values | default |", "|---|---|---|---|"]
    for axis in AXES.values():
        default = ", ".join(f"`{written(value)}`" for value in axis.default)
        name = f"`{axis.plural}`{' (setting)' if axis.setting else ''}"
        lines.append(f"| {name} | {escaped(axis.doc)} | {_values(axis)} | {default} |")
    return "\n".join(lines)


def _values(axis: Axis) -> str:
    """The names that its catalogue has, or the range of its numbers."""
    if axis.catalogue:
        entries = vars(importlib.import_module(f"bench.catalog.{axis.catalogue}")).get(axis.catalogue.upper())
        if entries is None:  # open: a cell of the user's, any number of GPUs
            return ", ".join([*(f"`{name}`" for name in axis.default), "…"])
        return ", ".join(f"`{name}`" for name, entry in entries.items() if not getattr(entry, "problem", None))
    if axis.type is bool:
        return "`true`, `false`"
    kind = "whole number" if axis.type is int else "number"
    lowest = f"from {axis.at_least:g}" if axis.at_least is not None else f"above {axis.above:g}"
    return f"{kind} {lowest}"


def moved(text: str) -> str:
    """A page of the repository's root as a page of the site, which is rooted in `docs/`."""
    text = text.replace("](docs/", "](").replace(f"]({REPORT}/report.md)", f"]({REPORT}/index.html)")
    return linked_within(text, DOCS.name + "/")


def linked_within(text: str, page: str) -> str:
    """The text without the links that lead out of the site, whose words remain.

    Args:
        text: markdown.
        page: the path of its page in the repository, which relative links start from.
    """

    def kept(link: re.Match[str]) -> str:
        words, target = link.groups()
        if re.match(r"https?:|#", target):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target.partition("#")[0]))
        made = path.startswith(f"docs/{REPORT}/")
        return link[0] if made or (path.startswith("docs/") and (ROOT / path).is_file()) else words

    return _LINK.sub(kept, text)


def commands() -> str:
    """The help of every command, as it prints it."""
    lines = ["# Commands", "", "Each command says the same with `--help`.", ""]
    for words in _names():
        done = CliRunner().invoke(app, [*words, "--help"], env=_TERMINAL, prog_name="bench")
        if done.exit_code:
            raise RuntimeError(f"bench {' '.join(words)} --help ended with {done.exit_code}: {done.output}")
        shown = "\n".join(line.rstrip() for line in done.output.strip("\n").splitlines())
        lines += [f"## bench {' '.join(words)}", "", "```text", shown, "```", ""]
    return "\n".join(lines)


def _names() -> list[list[str]]:
    group: Any = typer.main.get_command(app)
    names = []
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        names += [[name, verb] for verb in inner] if inner else [[name]]
    return names


def schema() -> str:
    """The columns of the store."""
    lines = [
        "# The store",
        "",
        f"Version {SCHEMA_VERSION} of the schema. A row is one observation: a phase of a run, or a single call of "
        "inference; what is true of the run stands beside each of its rows. Units are in the names: seconds, bytes, "
        "fractions from 0 to 1. A part is one run; `bench compact` folds many into one.",
        "",
        "| column | type | may be missing | meaning |",
        "|---|---|---|---|",
    ]
    for column in COLUMNS:
        kind = "text" if "dictionary" in str(column.type) else str(column.type)
        lines.append(f"| `{column.name}` | {kind} | {'yes' if column.nullable else 'no'} | {escaped(column.doc)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for file, content in committed().items():
        file.write_text(content(), encoding="utf-8")
