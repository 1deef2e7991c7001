"""Real processes, with the fake worker in them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import pytest

from bench.core.case import Case, Status
from bench.core.protocol import Event, Finished, Request, Started
from bench.run import pool
from bench.run import server as server_module
from bench.run.pool import RunOutcome, Workers
from bench.run.server import Isolation, ServedRun, Server, WorkerEnvironment, default_isolation
from tests.support.fake_worker import SCRIPT
from tests.support.harness import FAKE

FORK, SPAWN = Isolation.FORK, Isolation.SPAWN


class Bed:
    """Runs the fake worker by a script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script_file = folder / "script.json"
        self.log = folder / "run.log"
        self.events: list[Event] = []
        self.script()

    def script(self, seconds: float | None = None, **behaviour: str) -> None:
        """What runs do from now on, by cell, and what importing does; `seconds` is how long runs take."""
        self.script_file.write_text(json.dumps({"seconds": seconds or 0.0, **behaviour}))

    def workers(self, isolation: Isolation | None = None, **options: Any) -> Workers:
        return Workers(
            **{"worker": FAKE, "isolation": isolation, "silence_seconds": 60.0, "on_event": self.events.append}
            | options
        )

    def request(self, cell: str = "lstm", seed: int = 0) -> Request:
        return Request(case=Case(cell=cell, seed=seed, epochs=1), data=self.folder / "data.npz", log=self.log)

    def run(self, workers: Workers, cell: str = "lstm", seed: int = 0) -> RunOutcome:
        self.log.unlink(missing_ok=True)
        self.events.clear()
        return workers.run(self.request(cell, seed))

    @property
    def pid(self) -> int:
        return next(event.pid for event in self.events if isinstance(event, Started))


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    monkeypatch.setenv(SCRIPT, str(tmp_path / "script.json"))
    before = own_processes()
    yield Bed(tmp_path)
    if not gone(lambda: own_processes() - before):
        left = own_processes() - before
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        pytest.fail(f"left running: {left}")


def own_processes() -> set[int]:
    """Our descendants, and whatever else was started by a worker and lost its parent."""
    pids = {child.pid for child in psutil.Process().children(recursive=True)}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(SCRIPT) == os.environ.get(SCRIPT, "none") and process.pid != os.getpid():
                pids.add(process.pid)
    return {pid for pid in pids if alive(pid)}


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(left: Callable[[], object], seconds: float = 3.0) -> bool:
    deadline = time.monotonic() + seconds
    while left():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def server_of(workers: Workers) -> int:
    (server,) = workers._servers.values()
    return server._process.pid


both = pytest.mark.parametrize("how", [FORK, SPAWN])


@pytest.mark.parametrize(
    ("device", "platform", "expected"),
    [("cpu", "linux", FORK), ("gpu:0", "linux", SPAWN), ("gpu:1", "linux", SPAWN), ("cpu", "darwin", SPAWN)],
)
def test_forking_is_for_processors_under_linux(device: str, platform: str, expected: Isolation) -> None:
    assert default_isolation(device, platform) is expected


@both
def test_a_run_reports_what_it_measured(bed: Bed, how: Isolation) -> None:
    with bed.workers(how) as workers:
        outcome = bed.run(workers)
    assert (outcome.status, outcome.error, outcome.isolation) == (Status.OK, None, how)
    assert [o.phase for o in outcome.observations] == ["start", "build", "compile", "train", "validate", "evaluate"]
    assert outcome.metadata.parameters == 1_004
    assert outcome.metadata.data_digest == "data.npz"
    assert outcome.cpu_seconds is not None
    assert outcome.cpu_seconds < 5


@both
def test_each_run_has_a_process_of_its_own_and_one_server_does_for_all(bed: Bed, how: Isolation) -> None:
    pids, servers = set(), set()
    with bed.workers(how) as workers:
        for seed in range(3):
            bed.run(workers, seed=seed)
            pids.add(bed.pid)
            servers.add(server_of(workers))
    assert len(pids) == 3
    assert len(servers) == 1
    assert not pids & servers


ENDS = [
    ("raise", Status.FAILED, "ValueError: the shapes (3, 4) and (5,) don't fit", "and more on a second line"),
    ("fail", Status.FAILED, "the cell cannot be built", "FailedRun"),
    ("invalid", Status.INVALID, "asked for the kernel cudnn, but generic ran", "InvalidRun"),
    ("nan", Status.FAILED, "the loss isn't finite: nan in train of epoch 1", "FailedRun"),
    ("leave", Status.FAILED, "SystemExit: 0", "SystemExit"),
    ("exit", Status.FAILED, "the run's process ended with exit code 7 before it had finished", ""),
    ("segv", Status.FAILED, "killed by signal 11 (Segmentation fault)", "Segmentation fault"),
    ("kill", Status.FAILED, "killed by signal 9 (Killed); the system may have run out of memory", ""),
    ("print and raise", Status.FAILED, "OSError: [Errno 28] No space left on device", "about to go wrong"),
]


@both
@pytest.mark.parametrize(("what", "status", "error", "in_log"), ENDS, ids=[end[0] for end in ENDS])
def test_what_goes_wrong_is_that_run_s_alone(
    bed: Bed, how: Isolation, what: str, status: Status, error: str, in_log: str
) -> None:
    bed.script(lstm=what)
    with bed.workers(how) as workers:
        outcome = bed.run(workers)
        log = bed.log.read_text()
        other = bed.run(workers, "gru")
    assert outcome.status is status
    assert outcome.error is not None
    assert error in outcome.error
    assert "\n" not in outcome.error
    assert in_log in log
    assert other.status is Status.OK


def test_what_was_measured_before_a_failure_is_kept(bed: Bed) -> None:
    bed.script(lstm="nan")
    with bed.workers() as workers:
        outcome = bed.run(workers)
    assert [o.phase for o in outcome.observations] == ["start", "build", "compile", "train"]
    assert repr(outcome.observations[-1].loss) == "nan"
    assert outcome.metadata.load_start == 0.5


@both
def test_what_a_run_prints_is_in_its_log_and_disturbs_nothing(bed: Bed, how: Isolation) -> None:
    bed.script(lstm="print much")
    with bed.workers(how) as workers:
        assert bed.run(workers).status is Status.OK
    lines = bed.log.read_text().splitlines()
    assert [line.split(" of ")[0] for line in lines if line.startswith("line")] == [f"line {n}" for n in range(5_000)]
    assert lines[-1] == "from a program of its own"


@pytest.mark.parametrize("what", ["close stdout", "many threads"])
def test_a_run_ends_whatever_it_leaves_in_its_process(bed: Bed, what: str) -> None:
    bed.script(lstm=what)
    with bed.workers() as workers:
        assert bed.run(workers).status is Status.OK


@both
@pytest.mark.parametrize(
    ("what", "status"), [("leave a program", Status.OK), ("leave a program and die", Status.FAILED)]
)
def test_what_a_run_starts_itself_dies_with_it(bed: Bed, how: Isolation, what: str, status: Status) -> None:
    bed.script(lstm=what)
    with bed.workers(how) as workers:
        begun = time.monotonic()
        assert bed.run(workers).status is status
        assert bed.run(workers, "gru").status is Status.OK
        assert time.monotonic() - begun < 5  # it holds the event pipe open, and nobody waits for it
        assert gone(lambda: own_processes() - {server_of(workers)})


# --- silence ---


def test_a_forked_run_that_falls_silent_is_tried_again_spawned(bed: Bed) -> None:
    bed.script(lstm="hang forked")
    with bed.workers(silence_seconds=0.1) as workers:
        outcome = bed.run(workers)
        log = bed.log.read_text()
        assert bed.run(workers, "gru").isolation is FORK
    assert (outcome.status, outcome.isolation) == (Status.OK, SPAWN)
    assert len([o for o in outcome.observations if o.phase == "build"]) == 1  # nothing of the first try
    assert "most recent call first" in log  # and what that was doing
    assert "fake_worker.py" in log


@pytest.mark.parametrize("what", ["hang", "hold the GIL", "leave a program and hang"])
def test_a_run_that_is_silent_too_long_is_killed(bed: Bed, what: str) -> None:
    bed.script(lstm=what)
    with bed.workers(silence_seconds=0.1) as workers:
        outcome = bed.run(workers)
        assert gone(lambda: own_processes() - {server._process.pid for server in workers._servers.values()})
    assert (outcome.status, outcome.isolation) == (Status.TIMEOUT, SPAWN)
    assert outcome.error == (
        "silent for 0.1 s, killed (--set silence_seconds=… gives a slow configuration longer) (and before, forked: "
        "silent for 0.1 s, killed (--set silence_seconds=… gives a slow configuration longer))"
    )
    assert [o.phase for o in outcome.observations] == ["start", "build"]
    assert "Current thread" in bed.log.read_text()


def test_a_stopped_run_is_silent(bed: Bed) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Started):
            os.kill(event.pid, signal.SIGSTOP)

    bed.script(seconds=0.2)
    with bed.workers(SPAWN, silence_seconds=0.1, on_event=stop) as workers:
        assert bed.run(workers).status is Status.TIMEOUT


def test_silence_is_measured_on_the_clock_that_is_given(bed: Bed) -> None:
    now, events = [0.0], list[Event]()

    def tick() -> None:
        now[0] += 400.0 if events else 0.0  # however long a busy machine takes until the run begins

    bed.script(lstm="hang")
    with bed.workers(
        SPAWN, silence_seconds=900.0, on_event=events.append, on_tick=tick, clock=lambda: now[0]
    ) as workers:
        assert bed.run(workers).status is Status.TIMEOUT
    assert now[0] == 1_200.0


# --- servers ---


def test_a_run_is_asked_for_at_once_and_not_when_it_is_listened_to(bed: Bed) -> None:
    """Two sides of a duel build at the same time only if the second needn't wait until the first is listened to."""
    server = Server("tensorflow", FAKE, FORK, ())
    try:
        server.wait_ready(time.monotonic, lambda: None)
        with contextlib.closing(server.request(bed.request()).events) as events:
            assert gone(lambda: not bed.log.exists())
            assert isinstance(next(event for event in events if event), Started)
    finally:
        server.close()


def test_a_server_does_several_runs_at_once_and_tells_their_ends_apart(bed: Bed) -> None:
    server = Server("tensorflow", FAKE, FORK, ())
    try:
        server.wait_ready(time.monotonic, lambda: None)
        bed.script(seconds=0.05)
        first, second = (server.request(bed.request()) for _ in range(2))
        pids = [next(event for event in run.events if isinstance(event, Started)).pid for run in (first, second)]
        os.kill(pids[0], signal.SIGKILL)
        assert isinstance([event for event in second.events if event][-1], Finished)
        assert second.exit_code() == 0
        assert not any(isinstance(event, Finished) for event in first.events)
        assert first.exit_code() == -signal.SIGKILL
        assert server.settle()
    finally:
        server.close()


def test_a_server_that_was_killed_while_idle_costs_no_run(bed: Bed) -> None:
    with bed.workers() as workers:
        bed.run(workers)
        first = server_of(workers)
        os.kill(first, signal.SIGKILL)
        assert bed.run(workers).status is Status.OK
        assert server_of(workers) != first


def test_a_server_that_dies_of_the_request_is_tried_twice_and_no_more(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    ask = server_module.Server.request

    def kill_first(server: server_module.Server, request: Request) -> ServedRun:
        asked.append(server)
        server._process.kill()
        server._process.wait()
        return ask(server, request)

    monkeypatch.setattr(server_module.Server, "request", kill_first)
    with bed.workers() as workers:
        outcome = bed.run(workers)
    assert (outcome.status, outcome.error) == (Status.FAILED, "the run's process died, and its server with it")
    assert len(asked) == 2


def test_a_run_outlives_its_server(bed: Bed) -> None:
    bed.script(lstm="kill server")
    with bed.workers() as workers:
        assert bed.run(workers).status is Status.OK
        assert bed.run(workers, "gru").status is Status.OK


def test_a_server_that_is_stopped_while_idle_is_replaced(bed: Bed) -> None:
    with bed.workers(silence_seconds=0.1) as workers:
        bed.run(workers)
        workers.prepare(bed.request().case)  # the end of the first run has been told
        os.kill(server_of(workers), signal.SIGSTOP)
        outcome = bed.run(workers)
        assert (outcome.status, outcome.isolation) == (Status.OK, SPAWN)
        assert bed.run(workers, "gru").isolation is FORK


def test_a_server_that_is_stopped_during_a_run_is_replaced(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_EXIT_SECONDS", 0.2)

    def stop(event: Event) -> None:
        if isinstance(event, Started) and not stopped:
            stopped.append(server_of(workers))
            os.kill(stopped[0], signal.SIGSTOP)

    stopped: list[int] = []
    bed.script(seconds=0.5)  # so that it is stopped before the run ends: stopped idle, it is only known by its silence
    with bed.workers(on_event=stop) as workers:
        assert bed.run(workers).status is Status.OK
        assert bed.run(workers).status is Status.OK
        assert not alive(stopped[0])


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("raise", "the worker's server did not start: and more on a second line"),
        ("exit", "the worker's server did not start: importing tensorflow"),
        (
            "kill",
            "the worker's server did not start: killed by signal 9 (Killed); the system may have run out of memory",
        ),
    ],
)
def test_a_backend_that_cannot_be_imported_fails_each_run(bed: Bed, what: str, error: str) -> None:
    bed.script(None, **{"import": what})
    with bed.workers(FORK) as workers:
        workers.prepare(bed.request().case)
        outcome = bed.run(workers)
        assert (outcome.status, outcome.error) == (Status.FAILED, error)
        assert "importing tensorflow" in bed.log.read_text()
        bed.script()
        assert bed.run(workers).status is Status.OK


def test_a_server_that_was_killed_while_it_imported_costs_no_run(bed: Bed) -> None:
    def kill() -> None:
        if not killed:
            killed.append(server_of(workers))
            os.kill(killed[0], signal.SIGKILL)
            bed.script()

    killed: list[int] = []
    bed.script(None, **{"import": "hang"})
    with bed.workers(FORK, on_tick=kill) as workers:
        workers.prepare(bed.request().case)
        assert bed.run(workers).status is Status.OK
        assert server_of(workers) != killed[0]


def test_an_import_that_never_ends_is_given_up(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "IMPORT_SECONDS", 0.1)
    ticks: list[int] = []
    bed.script(None, **{"import": "hang"})
    with bed.workers(FORK, on_tick=lambda: ticks.append(1)) as workers:
        outcome = bed.run(workers)
    assert (outcome.status, outcome.error) == (
        Status.FAILED,
        "the worker's server did not import its backend within 0.1 s",
    )
    assert ticks


def test_a_spawned_run_may_be_silent_while_it_imports(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    bed.script(None, **{"import": "hang"})
    monkeypatch.setattr(pool, "IMPORT_SECONDS", 0.5)
    with bed.workers(SPAWN, silence_seconds=0.1) as workers:
        outcome = bed.run(workers)
    assert outcome.status is Status.TIMEOUT
    assert outcome.error is not None
    assert outcome.error.startswith("silent for 0.6 s")


def test_a_spawned_run_that_cannot_import_says_so(bed: Bed) -> None:
    bed.script(None, **{"import": "raise"})
    with bed.workers(SPAWN) as workers:
        outcome = bed.run(workers)
    assert outcome.error == "ValueError: the shapes (3, 4) and (5,) don't fit and more on a second line"


@both
def test_runs_are_pinned_and_know_their_backend(bed: Bed, how: Isolation) -> None:
    cpu = max(os.sched_getaffinity(0))
    with bed.workers(how, cpus=(cpu,)) as workers:
        outcome = bed.run(workers)
    known = json.loads(outcome.metadata.extra_json or "")
    assert (known["cpus"], known["keras"]) == ([cpu], "tensorflow")


@both
def test_a_folder_named_bench_where_the_user_stands_is_not_ours(
    bed: Bed, how: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bed.folder / "bench").mkdir()
    for name in ("bench/__init__.py", "json.py"):
        (bed.folder / name).write_text("raise AssertionError('the wrong one')")
    monkeypatch.chdir(bed.folder)
    with bed.workers(how) as workers:
        assert bed.run(workers).status is Status.OK


def test_five_hundred_runs_leave_no_descriptor_and_no_zombie(bed: Bed) -> None:
    def descriptors() -> tuple[int, int]:
        workers.prepare(bed.request().case)
        return psutil.Process().num_fds(), psutil.Process(server_of(workers)).num_fds()

    with bed.workers() as workers:
        bed.run(workers)
        before = descriptors()
        for _ in range(500):
            workers.run(bed.request())
        assert descriptors() == before
        assert [child.pid for child in psutil.Process().children()] == [server_of(workers)]
        assert psutil.Process(server_of(workers)).children() == []


# --- interruptions ---


class Interrupted(BaseException):
    """What a signal's handler raises, wherever the program is."""


@pytest.mark.parametrize("event", ["Started", "Began", "Observation", "RunMetadata", "Finished"])
def test_an_interruption_ends_the_run(bed: Bed, event: str) -> None:
    def interrupt(heard: Event) -> None:
        bed.events.append(heard)
        if type(heard).__name__ == event:
            raise Interrupted

    bed.script(seconds=0.01)
    begun = time.monotonic()
    with pytest.raises(Interrupted), bed.workers(on_event=interrupt) as workers:
        bed.run(workers)
    assert gone(lambda: alive(bed.pid), 0.5)
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("what", ["import", "lstm"])
@pytest.mark.parametrize("behaviour", ["hang", "hold the GIL"])
def test_an_interruption_ends_what_hangs(bed: Bed, what: str, behaviour: str) -> None:
    bed.script(None, **{what: behaviour})

    def interrupt() -> None:
        raise Interrupted

    begun = time.monotonic()
    with pytest.raises(Interrupted), bed.workers(on_tick=interrupt) as workers:
        bed.run(workers)
    assert time.monotonic() - begun < 4


def test_an_interruption_at_any_moment_leaves_nothing(bed: Bed) -> None:
    """Nothing that runs: one that comes between a fork and Python's noting of the child leaves it ended, unreaped."""
    number = random.randrange(2**32)
    generator = random.Random(number)
    interrupted = 0

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    bed.script(seconds=0.005)
    try:
        for _ in range(40):
            try:
                signal.setitimer(signal.ITIMER_REAL, generator.uniform(0.001, 0.4))
                with bed.workers(generator.choice([FORK, SPAWN])) as workers:
                    for seed in range(6):
                        bed.run(workers, seed=seed)
            except Interrupted:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert gone(own_processes), f"seed {number}: {own_processes()}"
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 10


def test_runs_of_other_variables_have_another_server(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, str]] = []

    class Watched(Server):
        def __init__(
            self, backend: str, worker: str, isolation: Isolation, cpus: tuple[int, ...], environment: WorkerEnvironment
        ) -> None:
            given.append(dict(environment.variables))
            super().__init__(backend, worker, isolation, cpus, environment)

    monkeypatch.setattr(pool, "Server", Watched)
    with bed.workers() as workers:
        for env in ("none", "MALLOC_ARENA_MAX=1", "none", "MALLOC_ARENA_MAX=1"):
            request = Request(case=Case(cell="lstm", task="mnist_5k", env=env), data=None, log=bed.log)
            assert workers.run(request).status is Status.OK
    assert given == [{}, {"MALLOC_ARENA_MAX": "1"}]
