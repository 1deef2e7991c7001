"""bench.run.gpu_kit and its script, with stand-ins for pip and for bench's commands.

The whole way, with real wheels, real Keras and the network blocked, is `scripts/gpu_kit_dry_run.py`: minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import psutil
import pytest

import bench
from bench.core.errors import UsageError
from bench.host import checkout
from bench.run import gpu_kit, on_gpu
from bench.run.gpu_kit import build_kit, requirements

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"

STAND_IN = """
import os, pathlib, sys, time

def main():
    out = pathlib.Path.cwd()
    with (out / "commands.txt").open("a") as commands:
        print(*sys.argv[1:], file=commands)
    print("said by", *sys.argv[1:2])
    if sys.argv[1] == "run":
        (out / "store" / "runs").mkdir(parents=True, exist_ok=True)
        (out / "store" / "runs" / "part.parquet").touch()
    if os.environ.get("HANG_IN") == sys.argv[1]:
        (out / "begun").write_text(str(os.getpid()))
        (out / "begun").rename(out / "hanging")
        while True:
            time.sleep(1)
    if "--forking" in sys.argv:
        kept = pathlib.Path(os.environ["BENCH_CACHE_DIR"], "forking")
        kept.mkdir(parents=True)
        (kept / "result.json").touch()
"""


def wheel(folder: Path, name: str, version: str) -> None:
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(f"{name}-{version}.dist-info/METADATA", f"Name: {name}\nVersion: {version}\n")


def download(wanted: Sequence[str], python: str, folder: Path) -> None:
    assert (python, [text for text in wanted if text.startswith("keras==")]) == (HERE, [f"keras=={_version('keras')}"])
    wheel(folder, "not_installed_anywhere", "1.0")
    wheel(folder, "numpy", "0.1")  # older than what is there


def _version(name: str) -> str:
    return metadata.version(name)


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """A kit for this Python, whose bench writes down its commands and does nothing."""
    folder = tmp_path / "kit"
    build_kit(folder, HERE, download)
    (folder / "program" / "bench" / "cli" / "__init__.py").write_text(STAND_IN)
    facts = json.loads((folder / "kit.json").read_text())
    (folder / "kit.json").write_text(json.dumps({**facts, "there": ["json", "torch"]}))
    return folder


def test_a_kit_holds_the_program_with_its_commit_and_the_script(tmp_path: Path) -> None:
    folder = tmp_path / "kit"
    size = build_kit(folder, HERE, download)
    package = Path(bench.__file__).parent
    packed = {path.relative_to(folder / "program" / "bench") for path in (folder / "program" / "bench").rglob("*.*")}
    there = {path.relative_to(package) for path in package.rglob("*.*") if "__pycache__" not in path.parts}
    assert packed == there
    assert (folder / "run.py").read_text() == Path(on_gpu.__file__).read_text()
    commit = (folder / "program" / "bench" / checkout.COMMIT_FILE).read_text().strip()
    assert commit == (checkout.program_commit() or "")
    assert json.loads((folder / "kit.json").read_text())["python"] == HERE
    assert 1 << 20 < size < gpu_kit.MOST_BYTES


def test_a_kit_brings_all_that_bench_needs_but_what_is_large() -> None:
    names = {text.partition("=")[0].partition(">")[0] for text in requirements()}
    assert {"keras", "optree", "pydantic", "pydantic-core", "typer", "jinja2"} <= names
    assert not names & {*gpu_kit.THERE, "tensorflow", "jaxlib", "pillow", "uv", "pytest", "duckdb"}


def test_a_kit_brings_what_is_declared_now_and_not_when_the_checkout_was_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An editable installation keeps the metadata of its day."""
    requires = metadata.requires
    stale = {gpu_kit.DISTRIBUTION: ["pytest>=8"]}
    monkeypatch.setattr(metadata, "requires", lambda name: stale.get(name) or requires(name))
    names = {text.partition("=")[0].partition(">")[0] for text in requirements()}
    assert "pytest" not in names
    assert {"keras", "psutil", "nvidia-ml-py"} <= names


def test_a_kit_that_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(UsageError, match="is not empty: name a new folder"):
        build_kit(tmp_path / "used", HERE, download)
    monkeypatch.setattr(gpu_kit, "MOST_BYTES", 1 << 20)
    with pytest.raises(UsageError, match="MiB, and 1 are the most"):
        build_kit(tmp_path / "kit", HERE, download)


def test_a_copy_of_the_program_states_its_commit(kit: Path) -> None:
    (kit / "program" / "bench" / checkout.COMMIT_FILE).write_text("0123abcd\n")
    code = "from bench.host.checkout import program_commit; print(program_commit())"
    done = subprocess.run([sys.executable, "-c", code], cwd=kit / "program", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0123abcd"


def script(kit: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(kit / "run.py"), "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def commands(out: Path) -> list[str]:
    lines = (out / "commands.txt").read_text().splitlines()
    return [line.partition(" --results")[0].partition(f" {out}")[0] for line in lines]


DUEL = "run gpu_duel --set devices=gpu:0"
REST = ["run gpu_8min --set devices=gpu:0", f"{DUEL} --precision train_seconds=2%", "compact", "table", "report"]


def test_the_script_measures_a_block_first_then_tests_forking_and_folds_at_the_end(kit: Path, tmp_path: Path) -> None:
    done = script(kit, tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    first = ["env", "run gpu_8min --set devices=gpu:0", "env --forking gpu:0"]
    assert commands(tmp_path / "out") == [*first, *REST]
    whole = (tmp_path / "out" / "commands.txt").read_text().splitlines()
    assert whole[1].endswith("--minutes 0.0010")  # the first block is begun in any case
    assert 6 < float(whole[3].rpartition(" ")[2]) < 8  # what is left of eight, less the report
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "unpacking not_installed_anywhere 1.0" in log
    assert "unpacking numpy" not in log
    assert "said by report" in log
    # what it has unpacked is installed: else Keras itself would be recorded as the user's code
    code = (
        "import sys, not_installed_anywhere; from bench.worker.evidence.code import imported_modules;"
        "print(not_installed_anywhere.__file__, imported_modules(set(sys.modules)))"
    )
    site = tmp_path / "out" / ".kit" / "site-packages"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (site, kit / "program")))}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == f"{site / 'not_installed_anywhere' / '__init__.py'} ()\n"


def test_called_again_the_script_goes_on_behind_what_is_there(kit: Path, tmp_path: Path) -> None:
    script(kit, tmp_path / "out")
    (tmp_path / "out" / "commands.txt").unlink()
    assert script(kit, tmp_path / "out", "--set", "epochs=1", "--precision", "train_seconds=5%").returncode == 0
    first = f"{REST[0]} --set epochs=1"
    assert commands(tmp_path / "out")[:3] == ["env", first, f"{DUEL} --set epochs=1 --precision train_seconds=5%"]
    (tmp_path / "out" / "commands.txt").unlink()
    script(kit, tmp_path / "out", "--set", "seeds=0")
    assert commands(tmp_path / "out")[2] == f"{DUEL} --set seeds=0"  # they exclude each other


def test_what_the_script_has_begun_ends_with_it(kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would go on measuring, and the next call would be refused the campaign."""
    monkeypatch.setenv("HANG_IN", "run")
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, str(kit / "run.py"), "--out", str(out)], stdout=subprocess.DEVNULL)
    until((out / "hanging").exists)
    begun = psutil.Process(int((out / "hanging").read_text()))
    process.kill()
    process.wait()
    until(lambda: not begun.is_running() or begun.status() == psutil.STATUS_ZOMBIE)


def test_a_command_that_goes_on_behind_its_time_is_interrupted(
    kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANG_IN", "env")
    monkeypatch.setattr(on_gpu, "_PATIENCE_SECONDS", 0.5)
    lines: list[str] = []
    (tmp_path / "out").mkdir()
    steps = on_gpu.Steps(tmp_path / "out", [kit / "program"], lines.append, deadline=0.0)
    assert steps._bench(["env"]) != 0
    assert "KeyboardInterrupt" in lines


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_without_time_nothing_is_measured_and_what_is_there_is_reported(kit: Path, tmp_path: Path) -> None:
    assert script(kit, tmp_path / "out", "--minutes", "0.1").returncode == 0
    assert [line.split()[0] for line in commands(tmp_path / "out")] == ["env", "compact", "table", "report"]


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"python": "2.7"}, "the wheels are for Python 2.7, and this is "),
        ({"there": ["json", "no_such_module", "torch"]}, "this Python lacks no_such_module, which are too large"),
    ],
)
def test_a_machine_that_cannot_use_the_kit_is_told_why(
    kit: Path, tmp_path: Path, facts: dict[str, object], sentence: str
) -> None:
    content = json.loads((kit / "kit.json").read_text())
    (kit / "kit.json").write_text(json.dumps({**content, **facts}))
    done = script(kit, tmp_path / "out")
    assert done.returncode == 2
    assert f"cannot run: {sentence}" in done.stdout
    assert not (tmp_path / "out" / "commands.txt").exists()
