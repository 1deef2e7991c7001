"""What `bench run --on` shows: a line for each node in a terminal, a line for each run where there is none."""

from __future__ import annotations

import io
import re

import pytest

from bench.cli.cluster_progress import ClusterProgress
from bench.cluster.dispatch import DueRun
from bench.cluster.node_state import ClusterNode, NodeState
from bench.core.case import Status
from tests.cli.test_progress import Terminal, a_plan, a_run

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PLAN = a_plan("units=64,128", "kernels=generic,unrolled", "seeds=0..9")
LONG = "compute-node-17.cluster.example.org"


def nodes() -> list[ClusterNode]:
    return [
        ClusterNode("1", LONG, 100.0, NodeState.MEASURING, run=DueRun(PLAN.scheduled[0], 1), done=12),
        ClusterNode("2", f"{LONG}#2", 40.0, NodeState.IDLE),
        ClusterNode("3", "c", 160.0, NodeState.QUARANTINED, reason=f"its last 3 runs failed, {'and so on ' * 10}"),
    ]


def test_a_terminal_shows_what_each_node_does_since_when_and_what_it_has_done_in_80_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with ClusterProgress(stream, clock=lambda: 160.0) as progress:
        progress.campaign_started(PLAN)
        progress.nodes_changed(nodes(), 12, 120, 3_600.0)
    lines = [line for line in ESCAPES.sub("", stream.getvalue()).replace("\r", "\n").splitlines() if line.strip()]
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "12/120" in text
    assert "1 of 3 nodes measuring" in text
    assert "60 min left" in text or "1 h left" in text
    assert re.search(rf"compute-node-17 +{PLAN.scheduled[0].case.label(PLAN.varying)[:10]}.* since .*12 done", text)
    assert re.search(r"compute-node-17#2 +idle", text)
    assert re.search(r"c +quarantined its last 3 runs failed", text)


def test_a_run_is_a_line_with_its_node_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    scheduled = PLAN.scheduled[0]
    with ClusterProgress(stream) as progress:
        progress.campaign_started(PLAN)
        progress.nodes_changed(nodes(), 0, 120, 3_600.0)
        progress.run_stored(nodes()[0], scheduled, a_run(scheduled), 12.0, None)
        failed = a_run(scheduled, status=Status.FAILED, error="it failed")
        progress.run_stored(nodes()[0], scheduled, failed, 12.0, None)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("[  1/120] compute-node-17    "), "as wide as the longest name"
    assert "97.00 %" in first
    assert "12.0 s" in first
    assert "failed: it failed" in second
