"""Which process it is: what lives, what has ended, and what cannot be seen from here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.host.processes import ProcessIdentity

CODE = """
import json, sys
from dataclasses import asdict
from bench.host.processes import ProcessIdentity
print(json.dumps(asdict(ProcessIdentity.current())), flush=True)
sys.stdin.readline()
"""


def identity_of(process: subprocess.Popen[str]) -> ProcessIdentity:
    import json

    assert process.stdout is not None
    return ProcessIdentity(**json.loads(process.stdout.readline()))


def started() -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    )


def test_a_process_lives_until_it_has_ended_though_nobody_has_asked_for_its_exit_code() -> None:
    with started() as process:
        identity = identity_of(process)
        assert identity == replace(ProcessIdentity.current(), pid=process.pid, started=identity.started)
        assert identity.is_alive()
        os.kill(process.pid, signal.SIGSTOP)
        deadline = time.monotonic() + 10
        while not identity.is_stopped():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert identity.is_alive()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
        assert identity.is_alive() is False
        assert not identity.is_stopped()
    assert identity.is_alive() is False


def test_a_process_id_that_is_used_again_is_another_process() -> None:
    here = ProcessIdentity.current()
    assert here.is_alive()
    assert replace(here, started="1").is_alive() is False


def test_of_another_machine_or_container_nothing_is_known() -> None:
    assert replace(ProcessIdentity.current(), namespace="elsewhere").is_alive() is None


def test_what_proc_hides_is_unknown_and_not_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `hidepid` another user's processes are not shown."""
    (tmp_path / "self").mkdir()
    identity = replace(ProcessIdentity.current(tmp_path), started="1", pid=4242)

    def refuse(pid: int, number: int) -> None:
        assert (pid, number) == (4242, 0)
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert identity.is_alive(tmp_path) is None
