"""Whether each side of a duel ran its own code, judged by the modules that its process imported.

A side that imports the working tree through an editable install, instead of its commit, would be timed against itself,
and the verdict `same` would be about code that never ran.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.core.code import ImportedModule
from bench.core.errors import UsageError
from bench.duel.rounds import side_name
from bench.duel.sequential import Contrast
from bench.duel.sides import PreparedSide, UnpackedCommit

_SHOWN = 3


def foreign_modules(modules: Sequence[ImportedModule], commit: UnpackedCommit) -> tuple[ImportedModule, ...]:
    """The project's modules that a side imported from somewhere else than its own tree.

    A module is the project's if its top-level package is one of the project's, or if its file lies in the checkout that
    the user stands in and in no package installed there. Modules of other packages are the same on both sides, and no
    part of what is compared.

    Args:
        modules: what the side's process imported.
        commit: what the side should have imported from.
    """
    return tuple(
        module
        for module in modules
        if not any(Path(module.file).is_relative_to(folder) for folder in commit.folders)
        and (
            module.name.partition(".")[0] in commit.packages
            or (not module.distribution and Path(module.file).is_relative_to(commit.checkout))
        )
    )


def foreign_code_sentence(side: str, modules: Sequence[ImportedModule]) -> str:
    """Which file came from where, and the ways out; for `foreign_modules` that are not empty."""
    shown = "; ".join(f"{module.name} from {module.file}" for module in modules[:_SHOWN])
    more = f", and {len(modules) - _SHOWN} more" if len(modules) > _SHOWN else ""
    compiled = any(not module.file.endswith(".py") for module in modules)
    way_out = (
        "compiled extensions are not in a commit:"
        if compiled
        else 'name the folder of the packages, as in [tool.bench] source = ["python"] in pyproject.toml, or'
    )
    return (
        f"{side} did not run its own code: it imported {shown}{more}: {way_out} give --build, which builds each side's "
        f"package into an environment of its own."
    )


def identical_code(a: Sequence[ImportedModule], b: Sequence[ImportedModule]) -> bool:
    """Whether both sides imported the same modules with the same content, wherever they lie."""
    return {(module.name, module.sha256) for module in a} == {(module.name, module.sha256) for module in b}


def check_own_code(
    sides: Sequence[PreparedSide],
    contrasts: Sequence[Contrast],
    code: Mapping[int, Sequence[ImportedModule]],
) -> None:
    """Refuse a duel between commits of which a side did not import its own code; settings and environments pass.

    Args:
        sides: all of them.
        contrasts: which are compared.
        code: what the processes of those that take part imported, by the number of the side.

    Raises:
        UsageError: a module of the project came from outside of its side's tree, or an edit did not reach what was
            imported.
    """
    # an installed copy of a package that only another commit has would be found by the side that lacks it
    packages = frozenset[str]().union(*(side.commit.packages for side in sides if side.commit))
    for number, modules in sorted(code.items()):
        side = sides[number]
        if side.commit and (foreign := foreign_modules(modules, replace(side.commit, packages=packages))):
            raise UsageError(foreign_code_sentence(f"{side_name(number)} ({side.title})", foreign))
    for contrast in contrasts:
        a, b = sides[contrast.base], sides[contrast.side]
        if not (a.commit and b.commit and contrast.base in code and contrast.side in code):
            continue
        if identical_code(code[contrast.base], code[contrast.side]):
            _check_edits_reach(a.title, b.title, a.commit, b.commit, code[contrast.base])


def _check_edits_reach(
    a_title: str, b_title: str, a: UnpackedCommit, b: UnpackedCommit, modules: Sequence[ImportedModule]
) -> None:
    """Refuse where the trees' files differ of what both sides imported as identical code."""
    for path in imported_files(modules, a):
        ours, theirs = a.root / path, b.root / path
        if not theirs.is_file() or ours.read_bytes() != theirs.read_bytes():
            raise UsageError(
                f"{path} differs between {a_title} and {b_title}, and yet both sides imported identical code: the "
                f"edit does not reach what is imported; give --build, which installs each side's package."
            )


def imported_files(modules: Sequence[ImportedModule], commit: UnpackedCommit) -> tuple[Path, ...]:
    """The files of a commit's tree that were imported, relative to the project's folder in it."""
    files = (Path(module.file) for module in modules)
    return tuple(sorted(file.relative_to(commit.root) for file in files if file.is_relative_to(commit.root)))
