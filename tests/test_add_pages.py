"""The pages on how to add something: the change that each shows is made in a copy of the package, and works there."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.change import PackageCopy, copy_of_package

PAGES = Path(__file__).parents[1] / "docs" / "add"


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def changed(folder: Path, text: str) -> PackageCopy:
    copy = copy_of_package(folder)
    copy.apply(text)
    return copy


def write_module(copy: PackageCopy, text: str) -> str:
    """Write the page's `python` block to the file that its first line names, and return it."""
    ((name, source),) = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL)
    (copy.root / name).write_text(source, encoding="utf-8")
    return str(source)


def store(copy: PackageCopy, cases: str, folder: str = "store", **metadata: str) -> None:
    """Write a run of each case to a store, with the copy's own code.

    Args:
        copy: the changed package.
        cases: a Python expression, a list of `Case`.
        folder: the name of the store.
        metadata: by field of `RunMetadata`, a Python expression in which `position` is the number of the run.
    """
    given = ", ".join(f"{name}={value}" for name, value in metadata.items())
    copy.python(f"""
from dataclasses import replace
from pathlib import Path
from bench.core.case import Case
from tests.support.stored import a_run, write_run
for position, case in enumerate({cases}):
    run = a_run(position, case)
    write_run(Path("{folder}"), replace(run, metadata=replace(run.metadata, {given})))
""")


def run_plans(copy: PackageCopy, text: str) -> None:
    """Run the page's `bench plan` commands, which train nothing."""
    commands = re.findall(r"^bench (plan .*)$", text, re.M)
    assert commands
    for command in commands:
        copy.bench(*command.split())


def planned(copy: PackageCopy, *arguments: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(copy.bench("plan", "quick", *arguments, "--format", "json"))["cases"]
    return [entry["case"] for entry in cases]


def rows(copy: PackageCopy) -> list[dict[str, Any]]:
    sections = json.loads(copy.bench("table", "store", "--format", "json"))["sections"]
    return [row for section in sections for row in section["rows"]]


def columns(copy: PackageCopy) -> set[str]:
    """The columns of a part that the copy writes."""
    part = next((copy.root / "store" / "runs").glob("*.parquet"))
    return set(pq.read_schema(part).names)


def test_a_cell_touches_no_file(tmp_path: Path) -> None:
    copy = changed(tmp_path, page("cell"))
    write_module(copy, page("cell"))
    assert copy.touched == set()
    cases = planned(copy, "--set", "cells=gru,my_cells:small_gru")
    assert {case["cell"] for case in cases} == {"gru", "my_cells:small_gru"}
    store(copy, '[Case(cell=cell, task="mnist_5k") for cell in ("gru", "my_cells:small_gru")]')
    assert [row["cell"] for row in rows(copy)] == ["gru", "my_cells:small_gru"]
    assert "my_cells:small_gru" in copy.bench("table", "store")


def test_an_axis_is_declared_in_one_file(tmp_path: Path) -> None:
    declared = changed(tmp_path, section(page("axis"), "Declare it"))
    assert declared.touched == {"core/case.py"}
    run_plans(declared, page("axis"))
    assert {case["clip_norm"] for case in planned(declared, "--set", "clip_norm=0,1")} == {0.0, 1.0}
    assert "clip_norm=1.0" in declared.bench("plan", "quick", "--set", "clip_norm=0,1")
    declared.bench("plan", "quick", "--set", "clip_norm=-1", code=2)
    store(declared, '[Case(cell="lstm", task="mnist_5k", clip_norm=norm) for norm in (0.0, 1.0)]')
    assert "clip_norm" in columns(declared)
    assert [row["axes"] for row in rows(declared)] == [{"clip_norm": 0.0}, {"clip_norm": 1.0}]
    assert "clip_norm" in declared.bench("table", "store")
    verdicts = declared.bench("compare", "store", "store", "--format", "json")
    assert '"clip_norm": 1.0' in verdicts


def test_what_uses_the_axis_is_one_file_more(tmp_path: Path) -> None:
    assert changed(tmp_path, page("axis")).touched == {"core/case.py", "worker/model.py"}


def test_a_metric_touches_two_files(tmp_path: Path) -> None:
    copy = changed(tmp_path, page("metric"))
    assert copy.touched == {"core/observation.py", "core/metrics.py", "worker/measure.py"}
    cases = '[Case(cell=cell, task="mnist_5k", seed=seed) for seed in range(6) for cell in ("lstm", "gru")]'
    store(copy, cases, "without")
    assert "switches" not in copy.bench("table", "without")
    store(copy, cases, involuntary_switches="100 + position")
    assert "involuntary_switches" in columns(copy)
    assert "switches" in copy.bench("table", "store")
    assert [row["involuntary_switches"]["n"] for row in rows(copy)] == [6, 6]
    compared = json.loads(copy.bench("compare", "store", "store", "--format", "json"))
    assert "involuntary_switches" in {finding["metric"] for finding in compared["findings"]}
    (copy.root / "pyproject.toml").write_text(
        '[tool.bench.gate]\nrequire = ["involuntary_switches"]\n'
        "involuntary_switches = { tolerance = 0.2, floor = 0.1 }\n"
    )
    gate = json.loads(copy.bench("gate", "store", "store", "--self", "--format", "json"))
    assert "involuntary_switches" in json.dumps(gate)
    assert "involuntary_switches" in copy.bench(
        "history", "store", "--metric", "involuntary_switches", "--format", "json"
    )
    assert "switches" in copy.bench("export", "store", "--format", "github-action-benchmark")


def test_a_network_touches_one_file(tmp_path: Path) -> None:
    copy = changed(tmp_path, page("network"))
    assert copy.touched == {"catalog/networks.py"}
    run_plans(copy, page("network"))
    assert {case["network"] for case in planned(copy, "--set", "networks=notebook,deep")} == {"notebook", "deep"}
    store(copy, '[Case(cell="lstm", task="mnist_5k", network=name) for name in ("notebook", "deep")]')
    assert {row["axes"]["network"] for row in rows(copy)} == {"notebook", "deep"}
    assert "deep" in copy.bench("table", "store")


def test_a_task_of_a_known_kind_touches_one_file(tmp_path: Path) -> None:
    text = section(page("task"), "Of a known kind")
    copy = changed(tmp_path, text)
    assert copy.touched == {"catalog/tasks/mnist.py"}
    printed = copy.python(write_module(copy, text)).split()
    assert all(f'"{digest}"' in text for digest in printed)
    check_task(copy, text, "mnist_5k_columns")


def test_a_task_of_another_kind_touches_two_files(tmp_path: Path) -> None:
    text = section(page("task"), "Of another kind")
    copy = changed(tmp_path, text)
    assert copy.touched == {"catalog/tasks/waves.py", "catalog/tasks/__init__.py"}
    check_task(copy, text, "waves")


def check_task(copy: PackageCopy, text: str, name: str) -> None:
    (fetch,) = re.findall(r"^bench (data fetch .*)$", text, re.M)
    copy.bench(*fetch.split())
    run_plans(copy, text)
    assert name in copy.bench("tasks")
    assert name in {case["task"] for case in planned(copy, "--set", f"tasks={name}")}
    store(copy, f'[Case(cell="lstm", task="{name}", seed=seed) for seed in (0, 1)]')
    sections = json.loads(copy.bench("table", "store", "--format", "json"))["sections"]
    assert [section["task"] for section in sections] == [name]


def test_a_report_section_touches_two_files(tmp_path: Path) -> None:
    copy = changed(tmp_path, page("report-section"))
    assert copy.touched == {"report/cost.py", "report/page.py"}
    store(copy, '[Case(cell=cell, task="mnist_5k") for cell in ("lstm", "gru")]')
    copy.bench("report", "store", "--out", "out")
    written = (copy.root / "out" / "report.md").read_text()
    assert "### What a run costs" in written
    assert re.search(r"^\| lstm *\| 3\.20 s *\| 12\.3 s *\| 12\.3 s *\|$", written, re.M), written
    assert "What a run costs" in (copy.root / "out" / "index.html").read_text()


def test_a_backend_is_a_row_and_its_adapter(tmp_path: Path) -> None:
    copy = changed(tmp_path, page("backend"))
    assert copy.touched == {"catalog/backends.py", "worker/backends/openvino.py"}
    run_plans(copy, page("backend"))
    plan = json.loads(copy.bench("plan", "quick", "--set", "backends=tensorflow,openvino", "--format", "json"))
    assert {entry["case"]["backend"] for entry in plan["cases"]} == {"tensorflow"}
    assert "openvino" in json.dumps(plan["left_out"])
    assert "openvino" in copy.bench("kernels", "--set", "backends=openvino")
    copy.bench("plan", "quick", "--set", "backends=openvin", code=2)
    adapter, protocol = (methods(copy.root / "bench/worker/backends" / name) for name in ("openvino.py", "__init__.py"))
    assert adapter == protocol


def methods(path: Path) -> dict[str, list[str]]:
    """By name: the parameters of the methods of a module's first class."""
    kind = next(node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef))
    return {f.name: [a.arg for a in f.args.args] for f in kind.body if isinstance(f, ast.FunctionDef)}


@pytest.mark.real
def test_a_real_run_has_all_that_was_added(tmp_path: Path) -> None:
    """A cell, an axis, a metric, a network and a task, in a single copy with the changes of all pages, with Keras."""
    copy = changed(tmp_path, "".join(map(page, ("axis", "metric", "network", "task"))))
    write_module(copy, page("cell"))
    less = [f"--set={pair}" for pair in ("seeds=0", "epochs=1", "units=8", "train_samples=64")]
    added = [f"--set={pair}" for pair in ("tasks=waves", "cells=my_cells:small_gru", "networks=deep", "clip_norm=1")]
    copy.bench("run", "quick", *less, *added, "--results", "store")
    run = json.loads(copy.bench("show", "last", "store", "--format", "json"))
    assert run["run"]["status"] == "ok"
    assert (run["case"]["task"], run["case"]["network"], run["case"]["clip_norm"]) == ("waves", "deep", 1.0)
    assert {"recurrent_a", "recurrent_b", "recurrent_c"} <= set(run["kernel"]["train"])
    assert run["facts"]["involuntary_switches"] >= 0
