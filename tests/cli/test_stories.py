"""Two users' ways, start to end, by the commands that the guides have: to a paper, and through an hour in class."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.plan.prepare import PreparedSuite
from bench.run import session
from tests.support.harness import FAKE, ROOT

CLAIMS = """
[[claims]]
claim = "accuracy: gru > lstm > simple_rnn"

[[claims]]
claim = "accuracy: lstm < simple_rnn"
"""


def commands(page: str, heading: str) -> list[str]:
    """The commands under a heading of a guide, on the researcher's own results."""
    text = (ROOT / "docs" / "guides" / f"{page}.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).splitlines()
    return [line.replace("results/reference/mnist_rows", "results/local") for line in lines]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Calls a command line in this process, in the researcher's folder, with a worker that only says what it took."""
    run_session = session.run_session

    def with_fake_worker(
        prepared: PreparedSuite, settings: session.SessionSettings, reporter: session.SessionReporter
    ) -> session.SessionOutcome:
        return run_session(prepared, replace(settings, worker=FAKE), reporter)

    monkeypatch.setattr(session, "run_session", with_fake_worker)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_MACHINE_LOCK", str(tmp_path / "lock"))
    monkeypatch.delenv("BENCH_DATA_DIR", raising=False)

    def call(line: str) -> str:
        command, _, file = line.partition(" > ")
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert not ended.value.code, f"{line}: {err}"
        if file:
            Path(file).write_text(out)
        return out

    return call


def test_from_a_question_to_a_paper(run: Any, tmp_path: Path) -> None:
    for line in commands("compare", "Suites")[:2]:  # begin from a suite that is there
        run(line)
    suite = tmp_path / "my_suite.toml"
    suite.write_text(suite.read_text() + CLAIMS)
    assert "9 runs" in run("bench plan my_suite.toml")
    table = run("bench run my_suite.toml --set seeds=0..5")
    assert "accuracy: gru > lstm > simple_rnn" in table
    assert [line.split()[0] for line in table.splitlines() if re.search("accuracy: [gl]", line)] == [
        "holds",
        "doesn't",
    ], table

    latex, pairs, caption, citation = (run(line) for line in commands("read-results", "A paper"))
    rows = {row["cell"]: row for row in csv.DictReader(io.StringIO(run("bench table --format csv")))}
    data = json.loads(run("bench table --format json"))["sections"][0]["rows"]
    compared = json.loads(run("bench table --pairs --format json"))["pairs"]

    # one estimate, one number: in the table, in the pairs, in LaTeX, in the sentence to paste
    accuracy = 100 * float(rows["gru"]["test_accuracy"])
    assert f"{accuracy:.2f}" in latex
    assert f"gru {accuracy:.2f}" in citation
    (ratio,) = (row["ratio_to_simple_rnn"]["value"] for row in data if row["cell"] == "gru")
    (paired,) = (
        pair["value"]
        for pair in compared
        if (pair["metric"], pair["row"], pair["against"]) == ("train_seconds", "gru", "simple_rnn")
    )
    assert ratio == paired == float(rows["gru"]["ratio_to_simple_rnn"])
    assert (
        float(rows["gru"]["test_accuracy_low"])
        < float(rows["gru"]["test_accuracy"])
        < float(rows["gru"]["test_accuracy_high"])
    )
    assert "6 of 6 seeds" in pairs

    # what a paper needs beside numbers
    assert r"\toprule" in latex
    assert "over 6 seeds (18 runs, a process each)" in citation
    assert re.search(r"store sha256 [0-9a-f]{64}", citation)
    content = (tmp_path / "accuracy.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/FontFile2" in content
    # all epochs took the same to the last digit, which gives no interval: the figure claims nothing of times
    assert "on the Pareto front; it is not yet certain" in caption


def test_an_hour_in_class_without_a_network(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two laptops measure what comes with the program; the teacher puts both folders on a page."""

    def no_network(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setenv("HOME", str(tmp_path))  # nor does Keras's cache have the digits
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/nowhere")
    measure = session.run_session

    for student, processor in (("ann", "Laptop of 2019"), ("ben", "Laptop of 2024")):
        folder = tmp_path / student
        folder.mkdir()
        monkeypatch.chdir(folder)
        assert "bench run quick" in run("bench")

        def on_laptop(
            prepared: PreparedSuite, settings: Any, reporter: Any, processor: str = processor
        ) -> session.SessionOutcome:
            laptop = replace(prepared.machine, cpu_model=processor)
            return measure(replace(prepared, machine=laptop), settings, reporter)

        monkeypatch.setattr(session, "run_session", on_laptop)
        table = run("bench run --set seeds=0..2 --set epochs=2")
        assert "mnist_5k · notebook network" in table  # the digits that come with the program, and it says so
        (manifest,) = (folder / "results" / "local" / "campaigns").glob("*.json")
        assert json.loads(manifest.read_text())["plan"]["title"].endswith("(here on mnist_5k in place of mnist)")

    monkeypatch.chdir(tmp_path)
    both = run("bench table ann/results/local ben/results/local")
    assert both.index("Laptop of 2019") < both.index("Laptop of 2024")
    assert "because of another machine" in " ".join(both.split())
    counted = csv.DictReader(io.StringIO(run("bench table ann/results/local ben/results/local --format csv")))
    assert [(row["cell"], row["runs_ok"]) for row in counted] == 2 * [("simple_rnn", "3"), ("lstm", "3"), ("gru", "3")]
