"""Two installations agree, or the fact in which they don't is named with both values and the way out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.cluster import installation
from bench.cluster.installation import Installation, Program, disagreements, program_files, read_installation
from bench.host.checkout import COMMIT_FILE
from bench.host.software import Software, SoftwareKey

TENSORFLOW = SoftwareKey("tensorflow", "none")
SOFTWARE = Software(
    python="3.11.7",
    keras="3.15.1",
    backend="tensorflow",
    backend_version="2.21.0",
    numpy="2.4.0",
    settings=(("OMP_NUM_THREADS", "2"),),
)
DRIVER = Installation(
    program=Program(version="0.1.0", commit="a" * 40, content="c" * 64),
    software={TENSORFLOW: SOFTWARE},
    factories={"my.cells:make": "f" * 64},
)


def test_equal_installations_agree() -> None:
    assert disagreements(DRIVER, DRIVER) == ()


def test_a_copy_without_a_checkout_is_the_same_program() -> None:
    assert disagreements(DRIVER, replace(DRIVER, program=replace(DRIVER.program, commit=None))) == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"program": Program(version="0.1.0", commit="b" * 40 + "+dirty", content="d" * 64)},
            f"the program differs: bench 0.1.0 at {'a' * 12} (content {'c' * 12}) → 0.1.0 at {'b' * 12}+dirty (content",
        ),
        ({"software": {TENSORFLOW: replace(SOFTWARE, python="3.11.9")}}, "the software differs: python: 3.11.7 → 3.11"),
        (
            {"software": {TENSORFLOW: replace(SOFTWARE, backend_version=None)}},
            "the software differs: backend_version: 2.21.0 → none",
        ),
        (
            {"software": {TENSORFLOW: replace(SOFTWARE, settings=(("OMP_NUM_THREADS", "1"),))}},
            "the software differs: OMP_NUM_THREADS: 2 → 1",
        ),
        ({"factories": {"my.cells:make": "e" * 64}}, f"the code of my.cells:make differs: {'f' * 12} → {'e' * 12}"),
        ({"factories": {"my.cells:make": ""}}, f"the code of my.cells:make differs: {'f' * 12} → not there"),
    ],
)
def test_what_differs_is_named_with_both_values_and_the_way_out(changes: dict[str, object], expected: str) -> None:
    (sentence,) = disagreements(DRIVER, replace(DRIVER, **changes))  # type: ignore[arg-type] # fields of the record
    assert sentence.startswith(expected)
    assert "--provision" in sentence or "folder where the command is given" in sentence


def test_an_environment_that_was_built_for_the_driver_has_another_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "complete").touch()
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    (sentence,) = disagreements(DRIVER, replace(DRIVER, software={TENSORFLOW: replace(SOFTWARE, keras="3.12.0")}))
    assert sentence.startswith(
        "the software differs: keras: 3.15.1 → 3.12.0; this is the environment that was built in"
    )
    assert f"{tmp_path}, of what" in sentence
    assert "--provision" not in sentence


def test_a_fact_of_all_backends_is_named_once() -> None:
    torch = SoftwareKey("torch", "none")
    driver = replace(DRIVER, software={TENSORFLOW: SOFTWARE, torch: SOFTWARE})
    older = replace(SOFTWARE, numpy="1.26.0")
    node = replace(driver, software={TENSORFLOW: older, torch: older})
    (sentence,) = disagreements(driver, node)
    assert "numpy: 2.4.0 → 1.26.0" in sentence


def test_the_program_is_its_files_whatever_python_and_a_copy_add(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "run" / "clock.py").write_text("a = 1\n")
    before = installation._content(tmp_path)
    (tmp_path / COMMIT_FILE).write_text("abc\n")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_bytes(b"")
    installation._content.cache_clear()
    assert installation._content(tmp_path) == before
    assert len(program_files(tmp_path)) == 2
    (tmp_path / "run" / "clock.py").write_text("a = 2\n")
    installation._content.cache_clear()
    assert installation._content(tmp_path) != before


def test_this_installation_is_read_without_importing_the_users_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_here.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    read = read_installation([TENSORFLOW], ["mine_here:cell", "not_here:cell"])
    assert set(read.software) == {TENSORFLOW}
    assert len(read.factories["mine_here:cell"]) == 64
    assert read.factories["not_here:cell"] == ""
    assert disagreements(read, read_installation([TENSORFLOW], ["mine_here:cell", "not_here:cell"])) == ()
