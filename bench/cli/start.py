"""`bench` without a command: three commands that fit the folder in which one stands."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import typer

from bench.cli.options import LOCAL_RESULTS

_FACTORY = {"units", "return_sequences", "name"}
"""The parameters by which a function is known as a factory of cells."""
_MOST_FILES = 200
"""Python files that are looked into for a cell; a large project has more, and should not wait."""


def show_first_steps(folder: Path) -> None:
    """Print what there is in a folder, and three commands that fit it."""
    what, commands = first_steps(folder)
    typer.echo(f"bench compares recurrent cells in Keras: what each costs, and how accurate it is. {what}\n")
    width = max(len(command) for command, _ in commands)
    for command, purpose in commands:
        typer.echo(f"  {command:<{width}}  {purpose}")
    typer.echo("\n`bench --help` lists all commands, `bench COMMAND --help` explains one.")


def first_steps(folder: Path) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What there is in a folder, and three commands with what each is for."""
    cell = next(_factories(folder), None)
    if (folder / LOCAL_RESULTS / "runs").is_dir():
        return f"There are results in {LOCAL_RESULTS}:", (
            ("bench table", "the comparison, with claims judged by it"),
            ("bench report --open", "the page: what to use here, and how certain that is"),
            ("bench cite results/local", "sentences and BibTeX for a paper"),
        )
    if cell is not None:
        return f"There is a cell here, {cell}:", (
            (f"bench run quick --set cells=gru,{cell}", "measure it beside Keras's GRU, in about two minutes"),
            (f"bench kernels --set cells={cell}", "which kernels it can have here, and why not the others"),
            (f"bench duel main HEAD --set cells={cell}", "is this commit slower than main?"),
        )
    return "Nothing was measured here yet:", (
        ("bench run quick", "measure three cells on 5,000 digits, in about two minutes"),
        ("bench plan quick", "what that would run, and for how long"),
        ("bench env", "this machine, and how quiet it is"),
    )


def _factories(folder: Path) -> Iterator[str]:
    """The functions with the parameters of a factory of cells, as `module:function`, in a folder or in its `src`."""
    patterns = ("*.py", "*/*.py")
    roots = [root for root in (folder, folder / "src") if root.is_dir()]
    files = ((root, path) for root in roots for pattern in patterns for path in sorted(root.glob(pattern)))
    for root, path in itertools.islice(files, _MOST_FILES):
        parts = path.relative_to(root).with_suffix("").parts
        if not all(part.isidentifier() for part in parts) or parts[0] in ("tests", "test", "bench", "src"):
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and {each.arg for each in node.args.args} >= _FACTORY:
                yield f"{'.'.join(part for part in parts if part != '__init__')}:{node.name}"
