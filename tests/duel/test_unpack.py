"""What is unpacked is what a checkout would give, from real repositories, and nothing of theirs is run for it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from bench.core.case import Case
from bench.core.errors import UsageError
from bench.duel import unpack
from bench.duel.commits import commit_side
from bench.duel.unpack import copy_working_tree, unpack_commit
from bench.host.checkout import commit_of
from tests.support.git import git

CELL = Case(cell="my_cells:small", task="mnist_5k")


@pytest.fixture(autouse=True)
def no_settings_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


def a_repository(folder: Path, files: dict[str, bytes], *options: str) -> str:
    """Make one, or go on with it, and give the commit's name."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        git(folder, "init", "-q", "-b", "main", *options)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "a commit")
    return git(folder, "rev-parse", "HEAD")


def contents(folder: Path) -> dict[str, bytes | Path]:
    """Each file's bytes, each link's target, by path; without `.git`."""
    found: dict[str, bytes | Path] = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        for name in [*files, *(name for name in folders if Path(parent, name).is_symlink())]:
            path = Path(parent, name)
            if name != ".git":
                shown = path.relative_to(folder).as_posix()
                found[shown] = path.readlink() if path.is_symlink() else path.read_bytes()
    return found


ATTRIBUTES = b"""
*.dropped export-ignore
version.py export-subst ident
*.bat text eol=crlf
*.txt text
wide.csv text working-tree-encoding=UTF-16LE
"""
CONVERTED = {
    ".gitattributes": ATTRIBUTES,
    "needed.dropped": b"x = 1\n",
    "version.py": b"commit = '$Format:%H$'\nname = '$Id$'\n",
    "run.bat": b"echo\necho\n",
    "notes.txt": b"one\ntwo\n",
    "wide.csv": "a,ü\n".encode("utf-16-le"),
    "folder/mine.cfg": b"a\nb\n",
    "run": b"#!/bin/sh\n",
}


@pytest.mark.parametrize("autocrlf", ["true", "false"])
def test_attributes_mean_what_they_do_in_a_checkout(tmp_path: Path, autocrlf: str) -> None:
    project = tmp_path / "project"
    commit = a_repository(project, CONVERTED)
    (project / "run").chmod(0o755)
    (project / "link").symlink_to("run")
    commit = a_repository(project, {})
    git(project, "config", "core.autocrlf", autocrlf)
    (project / ".git" / "info").mkdir(exist_ok=True)
    (project / ".git" / "info" / "attributes").write_text("*.cfg text eol=crlf\n")
    git(project, "worktree", "add", "-q", "--detach", str(tmp_path / "checkout"), commit)
    assert unpack_commit(project, commit, tmp_path / "unpacked") == ()
    expected = contents(tmp_path / "checkout")
    assert contents(tmp_path / "unpacked") == expected
    assert expected["run.bat"] == b"echo\r\necho\r\n"
    assert expected["folder/mine.cfg"] == b"a\r\nb\r\n"
    assert expected["notes.txt"] == (b"one\r\ntwo\r\n" if autocrlf == "true" else b"one\ntwo\n")
    assert b"$Format:%H$" in bytes(expected["version.py"])
    assert "needed.dropped" in expected
    assert (tmp_path / "unpacked" / "run").stat().st_mode & stat.S_IXUSR


def test_attributes_of_the_user_hold_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = a_repository(tmp_path / "project", {"a.cfg": b"a\n", "b.ini": b"b\n"})
    (tmp_path / "config" / "git").mkdir(parents=True)
    (tmp_path / "config" / "git" / "attributes").write_text("*.cfg text eol=crlf\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    unpack_commit(tmp_path / "project", commit, tmp_path / "usual")
    assert contents(tmp_path / "usual") == {"a.cfg": b"a\r\n", "b.ini": b"b\n"}
    (tmp_path / "named").write_text("*.ini text eol=crlf\n")
    git(tmp_path / "project", "config", "core.attributesFile", str(tmp_path / "named"))
    unpack_commit(tmp_path / "project", commit, tmp_path / "configured")
    assert contents(tmp_path / "configured") == {"a.cfg": b"a\n", "b.ini": b"b\r\n"}


def test_nothing_that_a_repository_or_a_user_has_configured_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, ran = tmp_path / "project", tmp_path / "ran"
    command = tmp_path / "command"
    command.write_text(f'#!/bin/sh\necho "$0 $@" >> {ran}\ncat\n')
    command.chmod(0o755)
    attributes = b"* filter=evil diff=evil merge=evil\n*.lfs filter=lfs\n"
    first = a_repository(project, {".gitattributes": attributes, "my.py": b"1\n", "a.lfs": b"not a pointer\n"})
    second = a_repository(project, {"my.py": b"2\n"})
    hooks = tmp_path / "hooks"
    for folder in (hooks, project / ".git" / "hooks", tmp_path / "template" / "hooks"):
        folder.mkdir(parents=True, exist_ok=True)
        for hook in ("post-checkout", "post-index-change", "pre-commit", "reference-transaction", "fsmonitor-watchman"):
            shutil.copy(command, folder / hook)
    settings = {
        **{f"filter.{name}.{use}": str(command) for name in ("evil", "lfs") for use in ("smudge", "clean", "process")},
        **{f"filter.{name}.required": "true" for name in ("evil", "lfs")},
        "diff.evil.textconv": str(command),
        "diff.evil.command": str(command),
        "diff.external": str(command),
        "merge.evil.driver": str(command),
        "core.fsmonitor": str(command),
        "core.hooksPath": str(hooks),
        "core.pager": str(command),
        "core.editor": str(command),
        "core.sshCommand": str(command),
        "core.alternateRefsCommand": str(command),
        "init.templateDir": str(tmp_path / "template"),
        "alias.read-tree": f"!{command}",
        "submodule.x.update": f"!{command}",
    }
    # as a hostile repository has them, and as a user has
    of_user = tmp_path / "gitconfig"
    for name, value in settings.items():
        git(project, "config", name, value)
        git(project, "config", "--file", str(of_user), name, value)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(of_user))
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path / "template"))
    for number, name in enumerate(("core.fsmonitor", "filter.evil.smudge", "filter.evil.process")):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", str(command))
        monkeypatch.setenv("GIT_CONFIG_COUNT", str(number + 1))
    monkeypatch.chdir(project)
    for text, content in ((first, b"1\n"), (second, b"2\n"), (".", b"2\n")):
        commit_side(text, tmp_path / f"unpacked-{text}", CELL, False, print)
        assert contents(tmp_path / f"unpacked-{text}")["my.py"] == content
    assert not ran.exists(), ran.read_text()
    subprocess.run(["git", "checkout", "-q", first], cwd=project, capture_output=True)
    assert ran.exists()  # git itself runs them


def lfs_pointer(content: bytes) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()


def test_files_of_lfs_have_their_content_or_are_named_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    files = {name: lfs_pointer(name.encode()) for name in ("data/there.bin", "absent.bin", "changed.bin", "plain.txt")}
    commit = a_repository(project, {".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n", **files})
    for name in ("data/there.bin", "changed.bin"):
        digest = hashlib.sha256(name.encode()).hexdigest()
        stored = project / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
        stored.parent.mkdir(parents=True)
        stored.write_bytes(name.encode() if name != "changed.bin" else b"another content")
    git(project, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"), commit)
    for number, folder in enumerate((project, tmp_path / "linked")):
        monkeypatch.chdir(folder)
        said: list[str] = []
        commit_side("HEAD", tmp_path / f"unpacked-{number}", CELL, False, said.append)
        unpacked = contents(tmp_path / f"unpacked-{number}")
        assert unpacked["data/there.bin"] == b"data/there.bin"
        assert unpacked["plain.txt"] == files["plain.txt"]  # by its attributes it is no file of LFS
        assert {"absent.bin", "changed.bin"}.isdisjoint(unpacked)
        (sentence,) = said
        assert f"HEAD ({commit[:10]}) lacks absent.bin, changed.bin" in sentence
        assert f"git lfs fetch origin {commit[:10]}" in sentence


def test_submodules_have_the_files_of_their_commits_or_are_named_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, project = tmp_path / "inner", tmp_path / "project"
    a_repository(inner, {"cells.py": b"1\n"})
    a_repository(project, {"my.py": b"1\n"})
    git(project, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "lib/inner")
    first = a_repository(project, {})
    a_repository(inner, {"cells.py": b"2\n"})
    git(project / "lib" / "inner", "pull", "-q")
    second = a_repository(project, {})
    for commit, content in ((first, b"1\n"), (second, b"2\n")):
        assert unpack_commit(project, commit, tmp_path / commit) == ()
        assert contents(tmp_path / commit)["lib/inner/cells.py"] == content
    (project / "lib" / "inner" / "cells.py").write_bytes(b"now\n")
    (project / "lib" / "inner" / "new.py").write_bytes(b"now\n")
    copy_working_tree(project, tmp_path / "now")
    now = contents(tmp_path / "now")
    assert (now["lib/inner/cells.py"], now["lib/inner/new.py"]) == (b"now\n", b"now\n")
    assert not (tmp_path / "now" / "lib" / "inner" / ".git").exists()
    # removed from the checkout, the repository still holds it
    git(project, "submodule", "--quiet", "deinit", "-f", "lib/inner")
    assert unpack_commit(project, first, tmp_path / "deinit") == ()
    assert contents(tmp_path / "deinit")["lib/inner/cells.py"] == b"1\n"
    git(tmp_path, "clone", "-q", str(project), "without")
    monkeypatch.chdir(tmp_path / "without")
    said: list[str] = []
    commit_side("HEAD", tmp_path / "missing", CELL, False, said.append)
    assert f"HEAD ({second[:10]}) lacks lib/inner: " in said[0]
    assert "git submodule update --init" in said[0]


@pytest.mark.parametrize("name", ["../../../other", "/etc"])
def test_a_submodule_s_name_leads_to_no_other_repository(tmp_path: Path, name: str) -> None:
    other, project = tmp_path / "other", tmp_path / "project"
    secret = a_repository(other, {"secret": b"x"})
    a_repository(project, {".gitmodules": f'[submodule "{name}"]\n\tpath = lib\n\turl = ./x\n'.encode()})
    git(project, "update-index", "--add", "--cacheinfo", f"160000,{secret},lib")
    git(project, "commit", "-qm", "a submodule")
    (project / ".git" / "modules").mkdir(exist_ok=True)
    assert unpack_commit(project, git(project, "rev-parse", "HEAD"), tmp_path / "unpacked") == ("lib",)
    assert not (tmp_path / "unpacked" / "lib" / "secret").exists()


def a_tree(project: Path, *entries: tuple[str, str, str]) -> str:
    """A tree as no git would make it: of (mode, object, name)."""
    listed = b"".join(f"{mode} {name}".encode() + b"\0" + bytes.fromhex(oid) for mode, oid, name in entries)
    (project / "raw").write_bytes(listed)
    return git(project, "hash-object", "-t", "tree", "-w", "--literally", "raw")


def test_a_hostile_tree_writes_nothing_outside_of_its_folder(tmp_path: Path) -> None:
    project, victim = tmp_path / "project", tmp_path / "victim"
    a_repository(project, {"my.py": b"1\n"})
    victim.mkdir()
    blob = git(project, "rev-parse", "HEAD:my.py")
    (project / "target").write_text(str(victim))
    link = git(project, "hash-object", "-w", "target")
    inner = a_tree(project, ("100644", blob, "file"))
    above = a_tree(project, ("40000", inner, ".."))
    hostile = {
        "through a link": a_tree(project, ("120000", link, "a"), ("40000", inner, "a")),
        "through a link, the folder first": a_tree(project, ("40000", inner, "a"), ("120000", link, "a")),
        "above": a_tree(project, ("40000", inner, "..")),
        "above, inside": a_tree(project, ("40000", above, "a")),
        "a name with a slash": a_tree(project, ("100644", blob, "../victim/file")),
        "an absolute name": a_tree(project, ("100644", blob, f"{victim}/file")),
        "git's own folder": a_tree(project, ("40000", inner, ".git")),
        "git's own folder in another case": a_tree(project, ("40000", inner, ".GIT")),
        "a link for .gitmodules": a_tree(project, ("120000", link, ".gitmodules")),
    }
    before = contents(tmp_path / "project")
    for number, (name, tree) in enumerate(hostile.items()):
        folder = tmp_path / "scratch" / str(number) / "tree"
        # of a link and a folder by the same name git takes the one or the other
        refused = contextlib.nullcontext() if "through" in name else pytest.raises(UsageError, match="invalid path")
        with refused:
            unpack_commit(project, git(project, "commit-tree", "-m", name, tree), folder)
        assert list(victim.iterdir()) == [], name
        assert {path.name for path in folder.parent.iterdir()} == {"tree"}, name
        assert not (folder / ".git").exists(), name
    assert contents(tmp_path / "project") == before


def test_a_sparse_checkout_and_a_linked_worktree_give_whole_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    a_repository(project, {"a/my.py": b"1\n", "b/other.py": b"1\n"})
    git(project, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    git(project, "sparse-checkout", "set", "a")
    assert not (project / "b").exists()
    for folder in (project, tmp_path / "linked"):
        monkeypatch.chdir(folder)
        commit_side("HEAD", tmp_path / f"{folder.name}-commit", CELL, False, print)
        assert set(contents(tmp_path / f"{folder.name}-commit")) == {"a/my.py", "b/other.py"}
        commit_side(".", tmp_path / f"{folder.name}-tree", CELL, False, print)
        assert contents(tmp_path / f"{folder.name}-tree") == contents(folder)


@pytest.mark.parametrize("name", ["-n", "a b\n'\"$(x)`ü☃[*?]%2f\\n\udcff\n"])
def test_a_repository_may_lie_at_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    project = tmp_path / name / "project"
    a_repository(project, {f"{name}.py": b"1\n"})
    monkeypatch.chdir(project)
    for number, text in enumerate(("HEAD", ".")):
        folder = tmp_path / "scratch" / name / str(number)
        commit_side(text, folder, CELL, False, print)
        assert [path.name for path in folder.iterdir()] == [f"{name}.py"]


def test_sockets_pipes_and_folders_that_became_links_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, outside = tmp_path / "project", tmp_path / "scratch" / "outside"
    a_repository(project, {"my.py": b"1\n", "was_a_file": b"x", "folder/file": b"tracked\n", "gone": b"x"})
    outside.mkdir(parents=True)
    (outside / "file").write_bytes(b"outside\n")
    for name in ("was_a_file", "gone", "folder/file"):
        (project / name).unlink()
    (project / "folder").rmdir()
    (project / "folder").symlink_to("../outside")  # as seen from the copy, too
    os.mkfifo(project / "was_a_file")
    os.mkfifo(project / "pipe")
    monkeypatch.chdir(project)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        copy_working_tree(project, tmp_path / "scratch" / "tree")
    assert contents(tmp_path / "scratch" / "tree") == {"my.py": b"1\n", "folder": Path("../outside")}
    assert contents(outside) == {"file": b"outside\n"}


def test_names_that_differ_in_case_only_are_all_there_or_refused(tmp_path: Path) -> None:
    commit = a_repository(tmp_path / "project", {"cells.py": b"1\n", "Cells.py": b"2\n", "README": b"3\n"})
    unpack_commit(tmp_path / "project", commit, tmp_path / "unpacked")
    assert contents(tmp_path / "unpacked") == {"cells.py": b"1\n", "Cells.py": b"2\n", "README": b"3\n"}
    (tmp_path / "unpacked" / "Cells.py").unlink()  # as on a file system that takes both for one
    entries = [unpack._IndexEntry("100644", "0", name) for name in ("README", "Cells.py", "cells.py")]
    with pytest.raises(UsageError, match=r"takes names of this commit for one another \(Cells\.py and cells\.py\)"):
        unpack._check_names(tmp_path / "unpacked", entries)


def test_variables_that_git_gives_its_hooks_lead_to_no_other_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_repository(tmp_path / "other", {"other.py": b"1\n"})
    here = a_repository(tmp_path / "project", {"my.py": b"1\n"})
    monkeypatch.chdir(tmp_path / "project")
    for name, value in {
        "GIT_DIR": str(tmp_path / "other" / ".git"),
        "GIT_WORK_TREE": str(tmp_path / "other"),
        "GIT_INDEX_FILE": str(tmp_path / "other" / ".git" / "index"),
        "GIT_OBJECT_DIRECTORY": str(tmp_path / "other" / ".git" / "objects"),
        "GIT_PREFIX": "folder/",
    }.items():
        monkeypatch.setenv(name, value)
    for text in ("HEAD", "."):
        commit_side(text, tmp_path / f"unpacked-{text}", CELL, False, print)
        assert set(contents(tmp_path / f"unpacked-{text}")) == {"my.py"}
    assert commit_of(tmp_path / "project") == here


def test_a_repository_without_a_working_tree_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_repository(tmp_path / "project", {"my.py": b"1\n"})
    git(tmp_path, "clone", "-q", "--bare", str(tmp_path / "project"), "bare")
    for folder in (tmp_path / "bare", tmp_path / "project" / ".git"):
        monkeypatch.chdir(folder)
        with pytest.raises(UsageError, match=r"bare repository or a \.git folder, .*git worktree add"):
            commit_side("HEAD", tmp_path / "unpacked", CELL, False, print)


def test_a_repository_of_sha_256(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = a_repository(tmp_path / "project", {"my.py": b"1\n"}, "--object-format=sha256")
    assert len(commit) == 64
    monkeypatch.chdir(tmp_path / "project")
    assert commit_side(commit[:12], tmp_path / "unpacked", CELL, False, print).title == commit[:10]
    assert contents(tmp_path / "unpacked") == {"my.py": b"1\n"}


def test_a_commit_that_was_replaced_is_the_one_that_its_name_names(tmp_path: Path) -> None:
    project = tmp_path / "project"
    first = a_repository(project, {"my.py": b"1\n"})
    second = a_repository(project, {"my.py": b"2\n"})
    git(project, "replace", first, second)
    git(
        project, "replace", git(project, "rev-parse", f"{second}:my.py"), git(project, "hash-object", "-w", ".git/HEAD")
    )
    for commit, content in ((first, b"1\n"), (second, b"2\n")):
        unpack_commit(project, commit, tmp_path / commit)
        assert contents(tmp_path / commit) == {"my.py": content}


def test_a_commit_without_the_folder_that_one_stands_in_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    a_repository(project, {"README": b"1\n"})
    a_repository(project, {"python/my.py": b"1\n"})
    monkeypatch.chdir(project / "python")
    commit_side("HEAD", tmp_path / "new", CELL, False, print)
    with pytest.raises(UsageError, match=r"HEAD~1 \(\w+\) has no folder 'python/', in which this command was given"):
        commit_side("HEAD~1", tmp_path / "old", CELL, False, print)
    (project / "empty").mkdir()
    monkeypatch.chdir(project / "empty")
    commit_side(".", tmp_path / "tree", CELL, False, print)


def test_a_partial_clone_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    first = a_repository(project, {"my.py": b"1\n"})
    a_repository(project, {"my.py": b"2\n"})
    git(project, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{project}", "partial")
    monkeypatch.chdir(tmp_path / "partial")
    commit_side("HEAD", tmp_path / "new", CELL, False, print)
    with pytest.raises(UsageError, match=rf"which is partial: `git archive .* {first[:10]}` fetches them"):
        commit_side("HEAD~1", tmp_path / "old", CELL, False, print)
    git(tmp_path / "partial", "archive", f"--output={os.devnull}", first[:10])
    commit_side("HEAD~1", tmp_path / "fetched", CELL, False, print)
    assert contents(tmp_path / "fetched") == {"my.py": b"1\n"}
