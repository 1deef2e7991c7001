from __future__ import annotations

import io
import os
import pty
import re
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.cli.progress import CampaignProgress
from bench.core.case import Status
from bench.core.observation import Observation, RunMetadata
from bench.core.protocol import Began
from bench.plan.plan import Plan, ScheduledCase, make_plan
from bench.plan.suite import load as load_suite
from bench.run.lock import LOCK_VARIABLE
from bench.store.parts import Run
from tests.run.test_runner import CAMPAIGN
from tests.support.fake_worker import SCRIPT
from tests.support.harness import ROOT, fake_bench
from tests.support.hosts import a_host

ESCAPE = "\x1b"


def a_plan(*overrides: str) -> Plan:
    return make_plan(
        load_suite("quick", overrides),
        order_seed=0,
        host=a_host(),
    )


def a_run(scheduled: ScheduledCase, **changes: Any) -> Run:
    run = Run(
        campaign=CAMPAIGN,
        case=scheduled.case,
        block=0,
        position=0,
        attempt=1,
        status=Status.OK,
        error=None,
        log=None,
        started_at=datetime(2026, 11, 23, tzinfo=UTC),
        isolation="fork",
        machine_json="{}",
        software_json="{}",
        machine_fingerprint="",
        software_fingerprint="",
        host_json="{}",
        metadata=RunMetadata(attested_kernel="generic"),
        observations=(
            Observation(phase="train", epoch=1, seconds=7.5, accuracy=0.9),
            Observation(phase="train", epoch=2, seconds=6.25, accuracy=0.95),
            Observation(phase="evaluate", seconds=1.0, accuracy=0.97),
        ),
    )
    return replace(run, **changes)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def lines_of(report: Callable[[CampaignProgress, ScheduledCase], None], *overrides: str) -> list[str]:
    """What is printed where there is no terminal."""
    stream, plan = io.StringIO(), a_plan(*overrides)
    with CampaignProgress(stream) as progress:
        progress.campaign_started(plan)
        report(progress, plan.scheduled[0])
    return stream.getvalue().splitlines()


def test_a_plain_line_says_what_came_out_and_how_long_it_will_be() -> None:
    def report(progress: CampaignProgress, scheduled: ScheduledCase) -> None:
        progress.run_started(scheduled, 3, 12, 400.0)
        progress.tick()
        progress.run_ended(scheduled, a_run(scheduled), 21.25, 380.0, None)

    assert lines_of(report) == ["[ 3/12] simple_rnn seed=0   97.00 %   6.25 s/epoch  generic    21.2 s  6 min left"]


def test_the_last_line_promises_nothing() -> None:
    def report(progress: CampaignProgress, scheduled: ScheduledCase) -> None:
        progress.run_started(scheduled, 9, 9, 400.0)
        progress.run_ended(scheduled, a_run(scheduled), 21.25, 0.0, None)

    (line,) = lines_of(report)
    assert line.endswith("  21.2 s")


def test_what_went_wrong_is_said_with_its_log_and_without_control_characters() -> None:
    def report(progress: CampaignProgress, scheduled: ScheduledCase) -> None:
        progress.run_started(scheduled, 1, 9, 400.0)
        error = "ValueError: \x1b[2Jgone\r[bold]not markup[/bold] :smile:"
        run = a_run(scheduled, status=Status.FAILED, error=error, log="logs/0.log")
        progress.run_ended(scheduled, run, 21.0, 300.0, Path("/store/logs/0.log"))
        progress.note("another bench\x1b[0m is timing")

    assert lines_of(report) == [
        "[1/9] simple_rnn seed=0  failed: ValueError:  [2Jgone [bold]not markup[/bold] :smile:",
        "      log: /store/logs/0.log",
        "bench: another bench [0m is timing",
    ]


def test_a_run_without_a_result_is_still_a_line() -> None:
    def report(progress: CampaignProgress, scheduled: ScheduledCase) -> None:
        progress.run_started(scheduled, 1, 9, 400.0)
        progress.run_ended(scheduled, a_run(scheduled, observations=()), 21.0, 300.0, None)

    (line,) = lines_of(report)
    assert "ok" in line


def test_a_file_gets_no_cursor_codes_even_where_colours_are_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    def report(progress: CampaignProgress, scheduled: ScheduledCase) -> None:
        progress.run_started(scheduled, 1, 9, 400.0)
        progress.tick()

    assert lines_of(report) == []


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream, plan = Terminal(), a_plan()
    with CampaignProgress(stream) as progress:
        progress.campaign_started(plan)
        progress.run_started(plan.scheduled[0], 1, 9, 400.0)
        progress.run_ended(plan.scheduled[0], a_run(plan.scheduled[0]), 21.0, 300.0, None)
    assert ESCAPE not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def screen(text: str) -> list[str]:
    """The live lines that were drawn, one after another, without their colours."""
    drawn = re.split(r"\r\x1b\[2K|\r\n|\r|\n", text)
    return [re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", line) for line in drawn]


@pytest.mark.parametrize("columns", [60, 80, 160])
@pytest.mark.parametrize("overrides", [(), ("units=64,65536", "batch_size=128,1024", "networks=notebook,cudnn_ready")])
def test_the_live_line_fits_its_terminal(
    columns: int, overrides: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    now = [0.0]
    stream, plan = Terminal(), a_plan(*overrides)
    with CampaignProgress(stream, lambda: now[0]) as progress:
        progress.campaign_started(plan)
        progress.run_started(plan.scheduled[0], 104, 128, 40_000.0)
        for phase in ("train", "validate"):
            now[0] += 1.0
            progress.event(Began(phase, 12))
        lines = [line for line in screen(stream.getvalue()) if "104/128" in line]
    assert len(lines) == 3
    assert all(len(line) <= columns for line in lines)
    assert lines[0].rstrip().endswith("11 h 7 min left")
    if columns >= 80 and not overrides:
        assert "simple_rnn seed=0 starting" in lines[0]
        assert "simple_rnn seed=0 training epoch 12" in lines[1]
        assert "simple_rnn seed=0 validating epoch 12" in lines[2]


def test_the_live_line_is_drawn_once_a_second_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    now = [0.0]
    stream, plan = Terminal(), a_plan()
    with CampaignProgress(stream, lambda: now[0]) as progress:
        progress.campaign_started(plan)
        progress.run_started(plan.scheduled[0], 1, 9, 400.0)
        begun = stream.getvalue().count("1/9")
        for _ in range(10_000):
            now[0] += 0.001
            progress.event(Observation(phase="train", seconds=0.001))
        assert 9 <= stream.getvalue().count("1/9") - begun <= 11


def test_the_bar_and_what_is_left_move_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    now = [0.0]
    stream, plan = Terminal(), a_plan()
    with CampaignProgress(stream, lambda: now[0]) as progress:
        progress.campaign_started(plan)
        for index in (1, 9):
            progress.run_started(plan.scheduled[0], index, 9, 100.0)
            for _ in range(3):
                now[0] += 30.0
                progress.tick()
        lines = [line for line in screen(stream.getvalue()) if "/9" in line]
    assert [line.split()[-3] for line in lines] == ["2", "70", "40", "10"] * 2
    assert "━━━━━━━━━━━━━━━━" not in lines[-1]  # the last run has not ended


def test_a_terminal_without_unicode_gets_an_ascii_bar() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stream.isatty = lambda: True  # type: ignore[method-assign]
    plan = a_plan()
    with CampaignProgress(stream) as progress:
        progress.campaign_started(plan)
        progress.run_started(plan.scheduled[0], 5, 9, 100.0)
        progress.run_ended(plan.scheduled[0], a_run(plan.scheduled[0]), 21.0, 300.0, None)
    stream.flush()
    assert b"----" in stream.buffer.getvalue()


def test_a_real_terminal_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "script.json").write_text('{"seconds": 0.2, "gru seed=0": "raise"}')
    ours, theirs = pty.openpty()
    import fcntl
    import termios

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    environment |= {
        SCRIPT: str(tmp_path / "script.json"),
        "TERM": "xterm-256color",
        LOCK_VARIABLE: str(tmp_path / "lock"),
    }
    command = fake_bench("run", "quick", "--results", str(tmp_path / "r"), "--set", "seeds=0")
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs, env=environment, cwd=ROOT
    ) as process:
        os.close(theirs)
        printed = b""
        try:
            while chunk := os.read(ours, 1 << 16):
                printed += chunk
        except OSError:  # how Linux says that the other end is closed
            pass
    assert process.returncode == 4
    text = printed.decode()
    assert text.count(f"{ESCAPE}[?25l") == text.count(f"{ESCAPE}[?25h") == 1  # the cursor is shown again
    lines = screen(text)
    assert sum("[" in line and "/3]" in line for line in lines) == 3
    assert any(re.search(r"━.* 2/3 \w+ seed=0 ", line) for line in lines)
    ours_alone = [line for line in lines if re.search(r"━.* \d/3 |^\[\d/3\] .* %", line)]
    assert len(ours_alone) > 4
    assert all(len(line) <= 80 for line in ours_alone)
