"""bench.duel.code: whether each side imported its own code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.case import Case
from bench.core.code import ImportedModule, from_json, to_json
from bench.core.errors import UsageError
from bench.duel.code import check_own_code, foreign_code_sentence, foreign_modules, identical_code
from bench.duel.sequential import Contrast
from bench.duel.sides import PreparedSide, UnpackedCommit

TREE, CHECKOUT, SITE = Path("/tmp/a"), Path("/home/me/project"), Path("/venv/lib/site-packages")
COMMIT = UnpackedCommit(root=TREE, folders=(TREE,), checkout=CHECKOUT, packages=frozenset({"my"}))
A_B = (Contrast(0, 1),)


def a_module(name: str, file: Path, sha256: str = "0" * 64) -> ImportedModule:
    return ImportedModule(name=name, file=str(file), sha256=sha256)


def test_the_record_survives_its_own_json() -> None:
    modules = (a_module("my.cells", TREE / "my/cells.py"), a_module("my", TREE / "my/__init__.py"))
    assert from_json(to_json(modules)) == tuple(sorted(modules))
    assert from_json(None) == ()


def test_modules_of_the_side_s_own_tree_and_of_other_packages_are_no_fault() -> None:
    modules = [a_module("my.cells", TREE / "python/my/cells.py"), a_module("ncps.keras", SITE / "ncps/keras.py")]
    assert foreign_modules(modules, COMMIT) == ()


def test_a_module_of_the_working_tree_is_foreign_whatever_it_is_called() -> None:
    leaked = a_module("only_here", CHECKOUT / "python/only_here.py")
    assert foreign_modules([leaked], COMMIT) == (leaked,)


def test_a_module_of_the_project_s_package_is_foreign_wherever_else_it_lies() -> None:
    """The project is installed, not editable: the commit's copy was passed over."""
    installed = a_module("my.cells", SITE / "my/cells.py")
    assert foreign_modules([installed], COMMIT) == (installed,)
    assert foreign_modules([installed], replace(COMMIT, folders=(Path("/venv"),))) == ()  # built for this side


def test_the_sentence_names_the_file_and_the_way_out() -> None:
    sentence = foreign_code_sentence("A (HEAD~1)", [a_module("my.cells", CHECKOUT / "python/my/cells.py")])
    assert "my.cells from /home/me/project/python/my/cells.py" in sentence
    assert '[tool.bench] source = ["python"]' in sentence
    compiled = foreign_code_sentence("A", [a_module("my._fast", SITE / "my/_fast.cpython-311-x86_64-linux-gnu.so")])
    assert "--build" in compiled
    assert "source = " not in compiled


def a_side(title: str, tree: Path) -> PreparedSide:
    commit = UnpackedCommit(root=tree, folders=(tree,), checkout=CHECKOUT, packages=frozenset({"my"}))
    return PreparedSide(title=title, case=Case(cell="my.cells:x"), commit=commit)


def test_a_duel_whose_side_imported_other_code_is_refused_by_name() -> None:
    a, b = a_side("HEAD~1", TREE), a_side("HEAD", Path("/tmp/b"))
    mine = [a_module("my.cells", TREE / "my/cells.py")]
    with pytest.raises(UsageError, match=r"B \(HEAD\) did not run its own code: it imported my\.cells from /tmp/a/my"):
        check_own_code((a, b), A_B, {0: mine, 1: mine})
    settings = PreparedSide(title="units=64", case=Case(cell="lstm"))
    check_own_code((settings, settings), A_B, {0: mine, 1: mine})


def test_an_unrelated_function_or_file_is_no_reason_to_refuse(tmp_path: Path) -> None:
    sides, codes = [], []
    for name in "ab":
        tree = tmp_path / name
        (tree / "my").mkdir(parents=True)
        (tree / "my" / "cells.py").write_text(f"# {name}")
        (tree / "README").write_text(name)
        sides.append(a_side(name, tree))
        codes.append([a_module("my.cells", tree / "my" / "cells.py", name * 64)])
    check_own_code(sides, A_B, dict(enumerate(codes)))
    for name in "ab":
        (tmp_path / name / "my" / "cells.py").write_text("# the same")
    check_own_code(sides, A_B, {0: codes[0], 1: [replace(codes[1][0], sha256="a" * 64)]})  # the README alone differs


def test_a_package_that_only_the_other_commit_has_is_not_taken_from_where_it_is_installed() -> None:
    a, b = a_side("HEAD~1", TREE), a_side("HEAD", Path("/tmp/b"))
    assert a.commit is not None
    a = replace(a, commit=replace(a.commit, packages=frozenset({"older"})))
    installed, from_b = a_module("my.cells", SITE / "my/cells.py"), a_module("my.cells", Path("/tmp/b/my/cells.py"))
    with pytest.raises(UsageError, match=r"A \(HEAD~1\) did not run its own code: it imported my\.cells from /venv"):
        check_own_code((a, b), A_B, {0: [installed], 1: [from_b]})


def test_an_edit_that_did_not_reach_what_was_imported_is_refused(tmp_path: Path) -> None:
    """The files differ, and yet a hook gave both sides the same content."""
    sides: list[PreparedSide] = []
    codes: list[list[ImportedModule]] = []
    for name in "ab":
        tree = tmp_path / name
        (tree / "my").mkdir(parents=True)
        (tree / "my" / "cells.py").write_text(f"x = {name!r}\n")
        sides.append(a_side(name, tree))
        codes.append([a_module("my.cells", tree / "my" / "cells.py")])
    assert identical_code(codes[0], codes[1])
    with pytest.raises(UsageError, match=r"my/cells\.py differs between a and b, and yet both sides"):
        check_own_code(sides, A_B, dict(enumerate(codes)))
    (tmp_path / "b" / "my" / "cells.py").write_text("x = 'a'\n")
    check_own_code(sides, A_B, dict(enumerate(codes)))
    codes[1] = [a_module("my.cells", tmp_path / "b" / "my" / "cells.py", "1" * 64)]
    assert not identical_code(codes[0], codes[1])
