"""Which pyproject.toml holds the settings, from where one stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.errors import UsageError
from bench.plan.project import find_project


def project(folder: Path, text: str = "[tool.bench.gate]\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    path.write_text(text)
    return path


def found_from(folder: Path) -> Path | None:
    folder.mkdir(parents=True, exist_ok=True)
    settings = find_project(folder)
    return settings.path if settings else None


def test_it_is_found_from_a_subfolder_of_the_repository(tmp_path: Path) -> None:
    path = project(tmp_path / "repo")
    (tmp_path / "repo" / ".git").mkdir()
    assert found_from(tmp_path / "repo") == found_from(tmp_path / "repo" / "a" / "b") == path


def test_nothing_above_the_repository_counts(tmp_path: Path) -> None:
    project(tmp_path)
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    assert found_from(tmp_path / "repo" / "a") is None


def test_outside_of_a_repository_it_is_looked_for_up_to_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    project(tmp_path)
    path = project(tmp_path / "home" / "project")
    assert found_from(tmp_path / "home" / "project" / "a") == path
    assert found_from(tmp_path / "home" / "elsewhere") is None
    assert found_from(tmp_path / "shared" / "a") is None


def test_the_nearest_that_has_settings_of_bench_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: elsewhere")  # as in a worktree
    top = project(tmp_path)
    project(tmp_path / "package", "[tool.other]\n")
    assert found_from(tmp_path / "package") == top
    inner = project(tmp_path / "package", "[tool.bench]\nsource = ['src']\n")
    assert found_from(tmp_path / "package" / "src") == inner


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[tool.bench.gates]\n", "unknown key 'gates' ([tool.bench] in {}): did you mean 'gate'?"),
        ("[tool.bench]\nsources = []\n", "unknown key 'sources' ([tool.bench] in {}): did you mean 'source'?"),
        ("[tool.bnech.gate]\n", "[tool.bnech.gate] in {} isn't read: did you mean [tool.bench.gate]?"),
        ("[bench.gate]\n", "[bench.gate] in {} isn't read: did you mean [tool.bench.gate]?"),
        ("[tool]\nbench = 1\n", "bench = 1 ([tool] in {}) must be a table"),
        ("[tool.bench\n", "cannot read the settings from '{}'"),
    ],
)
def test_a_slip_is_refused_and_not_passed_over(tmp_path: Path, text: str, sentence: str) -> None:
    path = project(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        find_project(tmp_path)
    assert sentence.format(path) in str(caught.value)


@pytest.mark.parametrize("text", ["tool = 1\n", "bench = 1\n", "[tool.benchmark]\nruns = 3\n", "[tool.bunch.x]\n"])
def test_what_other_tools_keep_there_is_no_slip(tmp_path: Path, text: str) -> None:
    project(tmp_path, text)
    assert find_project(tmp_path) is None
