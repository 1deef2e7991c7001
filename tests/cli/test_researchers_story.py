"""A researcher's way from a question to a paper, start to end, by the commands that the guides have."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
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
