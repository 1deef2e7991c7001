"""The form that every module keeps: the field's words, its length, names that are taken once, docstrings."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import bench
from bench.core import errors

PACKAGE = Path(bench.__file__).parent
ROOT = PACKAGE.parent

MODULES = sorted(PACKAGE.rglob("*.py"))
TEXTS = [
    *MODULES,
    *sorted(PACKAGE.rglob("*.j2")),
    *sorted(PACKAGE.rglob("*.toml")),
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

MAX_LINES = 400

WORDS = {
    r"strokes?": "timed batch",
    r"slices?(?!\()": "round",
    r"turns?": "round",
    r"pairs? of processes": "process pair",
    r"spoilt|spoiled|spun": "discarded, contaminated",
    r"arenas?|fight(?:s|ing|er|ers)?|fought|bouts?|rings?": "interleaved runner, measure, side process, specification",
    r"looks?": "interim analysis",
    r"(?-i:Places?)(?= ?[|\[(:),])": "worker environment",
    r"(?-i:Made)(?= ?[|\[(:),])|steadied": "prepared side, pinned allocator",
    r"sure(?= ?[:=)]| interval)": "simultaneous",
    r"(?-i:Grounds?)|ground(?= ?[:=.])|rests?_on": "comparison environment, basis",
    r"answer(?:s|ed|ing)?": "inference",
    r"(?-i:ENTRIES)|(?:by|each|per|its) entr(?:y|ies)": "call path",
    r"bounds|(?-i:Bounds?|Limits?)|limits(?=[\[(.:,=)])|of[ _]peak|of[ _]serial(?! chain)": "ceiling, efficiency",
    r"(?-i:RunFacts|Ended|Planned)(?! )": "RunMetadata, RunOutcome, ScheduledCase",
    r"(?<=a )share|(?<=the )share|shares?(?= of)": "fraction",
    r"processor (?:time|seconds)": "CPU time",
    r"tells?|told|says?|said": "report, given",
}
"""What the field doesn't call so, and what it does: a word by itself or as a part of a name, in any case."""

ALLOWED = {
    r"peak_fraction|serial_fraction|\"limits\"|\"rests_on\"": "keys of the JSON, which programs read",
    r"\bbounds(?=[ ]=|/|:|[\"'`])|\bbounds_version\b": "the suite's setting, a store's folder, its files' version",
    r"[\"']answer[\"']": "the key of a probe's file, which is read as before",
    r"--peak\b": "the option of bench env",
    r"slices\.parquet|[\"'`](?:\w+_slices?|slices_a_side|spoilt_pairs|looks|turn|strokes)[\"'`]": "the files of a "
    "duel's store, their keys and columns, which are read as before",
    r"MALLOC_ARENA_MAX|arena_max": "settings of glibc",
    r"can't tell(?= yet|:|\")|CANNOT_TELL": "the verdict on a claim and on a series, in JSON that programs read",
    r"stroke(?=-|=|:|width|_width)": "the attribute of SVG and CSS",
    r"\bHow sure is it\b|how-sure": "the title of the page on statistics",
    r"(?:aten::|(?<=[|\"'`]))slice(?=[|=\"'`{])": "an operation's name in HLO and in torch",
}
"""What WORDS would find, and why it stays."""

VAGUE = {"one", "own", "found", "other", "others"}
"""No names of variables: they hide what the thing is."""

SAME_NAME = {
    "backends": "what there is (catalog), and the folder of what drives each (worker)",
    "session": "one bench run (run), and the set-up of a worker's process (worker)",
    "runtimes": "what there is (catalog), and the folder of what computes with each (worker)",
    "plan": "what is run (plan), and how that is shown (report)",
    "roofline": "the arithmetic (analysis), and how it is shown (report)",
    "streaming": "which networks can (catalog), and how it is done (worker)",
    "code": "what is recorded of the user's code (core), and how it is read in the process that imported it (worker)",
    "onnx": "named by their library: the evidence that its graph gives, and what computes with it",
}
"""Modules that share a name, and why; a command's module is named by its verb, whatever else is."""

DOCUMENTED = ("core", "catalog", "plan", "store", "analysis", "report")
"""The folders that a notebook may import."""


class Offence(NamedTuple):
    """A place that breaks the form: `bench/x.py:12`, and what is wrong there."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


def listed(offences: Iterator[Offence]) -> str:
    lines = [str(offence) for offence in offences]
    return "\n".join([*lines, f"({len(lines)})"]) if lines else ""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def words(path: Path) -> Iterator[Offence]:
    """The words of the list in a text, without what is allowed; a name is read part by part, `_` and capitals apart."""
    allowed = re.compile("|".join(ALLOWED))
    pattern = re.compile(
        r"(?i)(?<![a-z])(?:" + "|".join(f"(?P<w{i}>{word})" for i, word in enumerate(WORDS)) + r")(?![a-z])"
    )
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        for match in pattern.finditer(allowed.sub("", line)):
            better = list(WORDS.values())[int((match.lastgroup or "w0")[1:])]
            yield Offence(f"{name_of(path)}:{number}", f"{match[0]!r} → {better}")


def bound_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The variables and parameters that a module binds, each with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno


def docstrings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The docstrings of modules, classes, functions, and of attributes (a text after an assignment)."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for before, statement in zip([None, *body], body, strict=False):
            text = statement.value if isinstance(statement, ast.Expr) else None
            if not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
                continue
            if before is None or isinstance(before, ast.Assign | ast.AnnAssign):
                yield text.value, statement.lineno


Function = ast.FunctionDef | ast.AsyncFunctionDef


def public(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef | Function]]:
    """The public classes and functions of a module, and the public methods of those classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield node.name, node
            for method in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(method, Function) and not method.name.startswith("_"):
                    yield f"{node.name}.{method.name}", method


RAISED = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}


def raised(function: Function) -> set[str]:
    """The program's errors that a function raises itself; `raise unknown(…)` is a UsageError."""
    raises = [node.exc for node in ast.walk(function) if isinstance(node, ast.Raise)]
    names = {ast.unparse(exc.func if isinstance(exc, ast.Call) else exc).rpartition(".")[2] for exc in raises if exc}
    return {"UsageError" if name == "unknown" else name for name in names} & RAISED


def undocumented(path: Path) -> Iterator[Offence]:
    for name, node in public(ast.parse(path.read_text(encoding="utf-8"))):
        place, text = f"{name_of(path)}:{node.lineno}", ast.get_docstring(node)
        if text is None:
            yield Offence(place, f"{name} has no docstring")
            continue
        if isinstance(node, ast.ClassDef):
            continue
        section = text.partition("Raises:")[2]
        for error in sorted(raised(node)):
            if error not in section:
                yield Offence(place, f"{name} doesn't name {error} under Raises")
        arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        arguments = [argument for argument in arguments if argument not in ("self", "cls")]
        if len(arguments) >= 3:
            missing = [argument for argument in arguments if not re.search(rf"\b{argument}\b", text)]
            if missing:
                yield Offence(place, f"{name} doesn't explain {', '.join(missing)}")


def test_what_is_allowed_is_little_and_there() -> None:
    assert len(ALLOWED) <= 10
    whole = "".join(path.read_text(encoding="utf-8") for path in TEXTS)
    assert [pattern for pattern in ALLOWED if not re.search(pattern, whole)] == []


def test_the_words_are_the_fields() -> None:
    offences = listed(offence for path in TEXTS for offence in words(path))
    assert not offences, offences


def test_variables_are_named_by_what_they_are() -> None:
    offences = listed(
        Offence(f"{name_of(path)}:{line}", f"a variable {name!r}")
        for path in MODULES
        for name, line in bound_names(ast.parse(path.read_text(encoding="utf-8")))
        if name in VAGUE
    )
    assert not offences, offences


def test_docstrings_begin_with_a_noun_or_a_verb() -> None:
    offences = listed(
        Offence(f"{name_of(path)}:{line}", text.strip().splitlines()[0])
        for path in MODULES
        for text, line in docstrings(ast.parse(path.read_text(encoding="utf-8")))
        if text.lstrip().startswith("Of ")
    )
    assert not offences, offences


def test_no_module_is_longer_than_a_reader_keeps_in_mind() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    offences = listed(Offence(name_of(path), f"{n} lines") for path, n in lengths.items() if n > MAX_LINES)
    assert not offences, offences


def test_no_two_public_classes_share_a_name() -> None:
    homes = defaultdict(list)
    for path in MODULES:
        for name, node in public(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes[name].append(name_of(path))
    offences = listed(Offence(", ".join(places), name) for name, places in homes.items() if len(places) > 1)
    assert not offences, offences


def test_no_two_modules_share_a_name_and_mean_different_things() -> None:
    homes = defaultdict(list)
    for path in MODULES:
        named = path.parent if path.name == "__init__.py" else path
        if "cli" not in path.parts and named != PACKAGE and named.parent != PACKAGE:
            homes[named.stem].append(name_of(path))
    offences = listed(
        Offence(", ".join(places), name) for name, places in homes.items() if len(places) > 1 and name not in SAME_NAME
    )
    assert not offences, offences


@pytest.mark.parametrize("folder", DOCUMENTED)
def test_what_a_notebook_may_import_is_documented(folder: str) -> None:
    offences = listed(offence for path in sorted((PACKAGE / folder).rglob("*.py")) for offence in undocumented(path))
    assert not offences, offences
