"""Makes the pages of the documentation site that have their source elsewhere; a hook of mkdocs (`mkdocs.yml`).

The guides and the first page are the README's, whose commands a test runs; the reference of the commands is their own
help; the schema is the store's. So nothing is written twice, and nothing can go stale.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.testing import CliRunner

from bench.cli import app
from bench.report.markdown import escaped
from bench.store.parts import COLUMNS, SCHEMA_VERSION

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
REPORT = "reports"
"""The folder of the report of the reference results, which the site shows too."""

MEASURING = "How it measures"
NO_GUIDES = ("Two commands", MEASURING, "Licence")
_TERMINAL = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by mkdocs when it has found what stands in `docs/`."""
    from mkdocs.structure.files import File

    for name, content in pages().items():
        files.append(File.generated(config, name, content=content))
    for path in sorted((ROOT / REPORT).rglob("*")):
        if path.suffix in {".html", ".svg", ".png"}:
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def pages() -> dict[str, str]:
    """By name: the markdown of each page that is made."""
    first, sections = readme()
    guides = [f"## {name}\n\n{text}" for name, text in sections.items() if name not in NO_GUIDES]
    return {
        "index.md": f"{first}\n\n## Two commands\n\n{sections['Two commands']}",
        "guides.md": "\n\n".join(["# Guides", *guides]),
        "how-we-measure.md": f"# How we measure\n\n{sections[MEASURING]}",
        "commands.md": commands(),
        "store.md": schema(),
        "changes.md": _linkless((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")),
    }


def readme() -> tuple[str, dict[str, str]]:
    """What stands before the first section of the README, and its sections by name."""
    text = _linkless((ROOT / "README.md").read_text(encoding="utf-8"))
    first, *rest = re.split(r"^## ", text, flags=re.MULTILINE)
    sections = dict(part.split("\n", 1) for part in rest)
    return first.strip(), {name.strip(): content.strip() for name, content in sections.items()}


def _linkless(text: str) -> str:
    """Links into the repository lead nowhere on the site: their words remain. What the site has is linked as such."""
    text = re.sub(r"\]\(docs/([\w-]+\.md)", r"](\1", text)
    text = text.replace(f"]({REPORT}/report.md)", f"]({REPORT}/index.html)")
    return re.sub(rf"(?<!!)\[([^\]]+)\]\((?!https?:|#|[\w-]+\.md\b|{REPORT}/)[^)]*\)", r"\1", text)


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
        names += [[name, own] for own in inner] if inner else [[name]]
    return names


def schema() -> str:
    """The columns of the store."""
    lines = [
        "# The store",
        "",
        f"Version {SCHEMA_VERSION} of the schema. A row is one observation: a phase of a run, or a single call of "
        "inference; what is true of the run stands beside each of its rows. Units are in the names: seconds, bytes, "
        "shares from 0 to 1. A part is one run; `bench compact` folds many into one.",
        "",
        "| column | type | may be missing | meaning |",
        "|---|---|---|---|",
    ]
    for column in COLUMNS:
        kind = "text" if "dictionary" in str(column.type) else str(column.type)
        lines.append(f"| `{column.name}` | {kind} | {'yes' if column.nullable else 'no'} | {escaped(column.doc)} |")
    return "\n".join(lines) + "\n"
