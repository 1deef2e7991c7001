"""Episodes of signals: a command of `bench` is killed, stopped or hung up again and again, and then brought to its end.

`Kill.wrong` holds what was wrong: a case that is not stored exactly once, anything half-written, a process, a lock or a
lease that is left. What an episode does is drawn from its seed alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.report.markers import BEGIN, END
from bench.run.lock import LOCK_VARIABLE
from tests.support.fake_worker import SCRIPT
from tests.support.harness import MACHINE, TARGETS, violations
from tests.support.small_store import canonical, write_some
from tests.support.zygote import ForkedBench, Zygote

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGSTOP)
"""SIGSTOP is followed by SIGCONT, soon after."""
KINDS = {"run": 0.52, "two machines": 0.15, "compact": 0.15, "table --write": 0.08, "duel": 0.07, "report": 0.03}
"""The kinds of episodes, and how often each is drawn."""
SECONDS = 240.0
"""Nothing may take longer, on however busy a machine."""
_GONE_SECONDS = 30.0


@dataclass
class Kill:
    """A signal that was sent, and what was wrong after it."""

    kind: str
    target: str
    signal: str
    moment: str
    """A step of publishing, or after how many seconds."""
    wrong: list[str] = field(default_factory=list)


def episode(kind: str, seed: str, folder: Path, zygote: Zygote) -> list[Kill]:
    """Do an episode in an empty folder, which is removed afterwards; its kills, the last with what the end shows."""
    folder.mkdir(parents=True)
    kills = _EPISODES[kind](_Episode(kind, random.Random(seed), folder, zygote))
    shutil.rmtree(folder)
    return kills


class _Episode:
    """The processes of an episode, and what has been done to them."""

    def __init__(self, kind: str, draw: random.Random, folder: Path, zygote: Zygote) -> None:
        self.kind, self.draw, self.folder, self._zygote = kind, draw, folder, zygote
        self.results = folder / "results"
        self.kills: list[Kill] = []
        self.started: list[ForkedBench] = []
        self.script()

    def script(self, **behaviour: object) -> None:
        (self.folder / "script.json").write_text(json.dumps(behaviour))

    def bench(self, *arguments: str, machine: str = "here") -> ForkedBench:
        environment = {
            SCRIPT: str(self.folder / "script.json"),
            LOCK_VARIABLE: str(self.folder / f"lock-{machine}"),
            MACHINE: machine,
            "TMPDIR": str(self.folder),
        }
        bench = ForkedBench(list(arguments), self.folder / f"output{len(self.started)}", environment)
        bench.zygote = self._zygote
        self.started.append(bench)
        return bench

    def strike(self, bench: ForkedBench, most_seconds: float, counts: dict[str, int], more: Sequence[str] = ()) -> bool:
        """Send a signal to one of the processes of a command, which is started where it has ended.

        Args:
            bench: the command.
            most_seconds: the longest time to wait for a random moment.
            counts: the number of calls of each step that a command makes, about; empty for no step.
            more: arguments to start it with.

        Returns:
            False where the command ended before.
        """
        number = self.draw.choice(SIGNALS)
        alive = bench.harness is not None and bench.harness.poll() is None
        if not alive and counts and self.draw.random() < 0.6:
            name = self.draw.choice(sorted(counts))
            when, nth = self.draw.choice(("before", "after")), self.draw.randint(1, counts[name])
            bench.start(*more, step=(name, when, nth, int(number)))
            kill = Kill(self.kind, "parent", number.name, f"{when} {name} #{nth}")
            if not self._reached(bench, number):
                return False
        else:
            if not alive:
                bench.start(*more)
            target = self.draw.choices(TARGETS, (0.25, 0.25, 0.5))[0] if self.kind in _WITH_WORKERS else "parent"
            seconds = self.draw.uniform(0, most_seconds)
            time.sleep(seconds)
            deadline = time.monotonic() + 10
            while (victim := bench.find(target)) is None:
                if bench.harness is None or bench.harness.poll() is not None or time.monotonic() > deadline:
                    return False
                time.sleep(0.002)
            try:
                victim.send_signal(number)
            except psutil.Error:
                return True  # it has ended just now
            kill = Kill(self.kind, target, number.name, f"after {seconds:.3f} s")
            if number == signal.SIGSTOP:
                time.sleep(self.draw.uniform(0, 0.3))
                with contextlib.suppress(psutil.Error):
                    victim.send_signal(signal.SIGCONT)
        self.kills.append(kill)
        if kill.target == "parent" and number != signal.SIGSTOP:
            kill.wrong += self._after_the_end(bench, number)
        return True

    def _reached(self, bench: ForkedBench, number: int) -> bool:
        """Wait for the signal that a command sends itself; a stopped one is let go on."""
        assert bench.harness is not None
        deadline = time.monotonic() + SECONDS
        while (code := bench.harness.poll()) is None and time.monotonic() < deadline:
            try:
                if number == signal.SIGSTOP and psutil.Process(bench.harness.pid).status() == psutil.STATUS_STOPPED:
                    time.sleep(self.draw.uniform(0, 0.3))
                    bench.harness.send_signal(signal.SIGCONT)
                    return True
            except psutil.Error:
                pass
            time.sleep(0.005)
        return code in (130, -number)

    def _after_the_end(self, bench: ForkedBench, number: int) -> Iterator[str]:
        assert bench.harness is not None
        code = bench.harness.wait(SECONDS)
        # a signal that comes before or after the handlers are installed ends it as it ends any process, and one that
        # comes at its very end not at all
        if code not in (130, -number, 0):
            yield f"ended with {code} after {signal.Signals(number).name}: {bench.tail()[-500:]}"
        if left := bench.orphans(_GONE_SECONDS):
            yield f"left running: {left}"

    def end(self, bench: ForkedBench, *more: str, codes: Sequence[int] = (0,)) -> list[str]:
        """Bring a command to its end; what is wrong then."""
        wrong = []
        for process in self.started:
            if process.harness is not None and process.harness.poll() is None:
                process.harness.wait(SECONDS)
        self.script(noise=0.001)
        code = bench.start(*more).wait(SECONDS)
        if code not in codes:
            wrong.append(f"the last call ended with {code}: {bench.tail()}")
        for process in self.started:
            wrong += [f"left running: {left}" for left in process.orphans(_GONE_SECONDS)]
            if "Traceback" in process.output.read_text(errors="replace"):
                wrong.append(f"a traceback: {process.tail()[-2_000:]}")
        for lock in self.folder.glob("lock-*"):
            with lock.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    wrong.append(f"{lock.name} is still held")
        left = [path for path in self.folder.rglob("*") if path.suffix in (".lease", ".tmp", ".scratch")]
        wrong += [f"left behind: {path.relative_to(self.folder)}" for path in left]
        return wrong

    def closed(self, wrong: list[str]) -> list[Kill]:
        """The kills, the last with what the end has shown."""
        if wrong and not self.kills:
            self.kills.append(Kill(self.kind, "none", "none", "none"))
        if self.kills:
            self.kills[-1].wrong += wrong
        for bench in self.started:
            if bench.harness is not None and bench.harness.poll() is None:
                bench.stop()
        return self.kills


def _runs(episode: _Episode) -> list[Kill]:
    bench = episode.bench("run", "quick", "--results", str(episode.results), "--set", "seeds=0..7", "--join")
    episode.script(seconds=0.03)
    counts = {"Path.open": 20, "os.fsync": 40, "os.link": 15, "os.utime": 4, "Path.unlink": 40}
    for _ in range(episode.draw.randint(6, 16)):
        if not episode.strike(bench, 0.6, counts, ("--retry-failed",)):
            break
    wrong = episode.end(bench, "--retry-failed")
    return episode.closed(wrong + violations(episode.results))


def _two_machines(episode: _Episode) -> list[Kill]:
    command = ("run", "quick", "--results", str(episode.results), "--set", "seeds=0..7", "--join")
    benches = [episode.bench(*command, machine=machine) for machine in ("here", "there")]
    episode.script(seconds=0.03)
    counts = {"Path.open": 12, "os.fsync": 30, "os.link": 10, "os.utime": 3, "Path.unlink": 25}
    for _ in range(episode.draw.randint(3, 7)):
        struck, beside = episode.draw.sample(benches, 2)
        if beside.harness is None or beside.harness.poll() is not None:
            beside.start("--retry-failed")
        if not episode.strike(struck, 1.0, counts, ("--retry-failed",)):
            break
    wrong = episode.end(episode.draw.choice(benches), "--retry-failed")
    return episode.closed(wrong + violations(episode.results))


def _compactions(episode: _Episode) -> list[Kill]:
    write_some(str(episode.results), 0, 12)
    before = canonical(episode.results)
    bench = episode.bench("compact", "--results", str(episode.results))
    wrong: list[str] = []
    for _ in range(episode.draw.randint(2, 5)):
        if not episode.strike(bench, 0.4, {"Path.open": 1, "os.fsync": 3, "os.link": 1, "Path.unlink": 13}):
            break
        if bench.harness is not None and bench.harness.poll() is not None and canonical(episode.results) != before:
            wrong.append("the store holds something else")
    wrong += episode.end(bench)
    wrong += ["the store holds something else"] if canonical(episode.results) != before else []
    names = [path.name for path in (episode.results / "runs").iterdir()]
    return episode.closed(wrong + ([] if len(names) == 1 else [f"folded, there are {names}"]))


def _tables(episode: _Episode) -> list[Kill]:
    write_some(str(episode.results), 0, 6)
    page = episode.folder / "page.md"
    old = "\n".join(["before", BEGIN, *["old"] * 2_000, END, "after", ""])
    page.write_text(old)
    bench = episode.bench("table", str(episode.results), "--write", str(page))
    wrong: list[str] = []
    new = ""
    for _ in range(episode.draw.randint(2, 5)):
        page.write_text(old)
        if not episode.strike(bench, 0.4, {"Path.open": 1, "os.fsync": 2, "Path.replace": 1, "Path.unlink": 1}):
            break
        if bench.harness is not None:
            bench.harness.wait(SECONDS)
        text = page.read_text()
        if text != old:
            wrong += [] if new in ("", text) and text.endswith(f"{END}\nafter\n") else ["half of a table was written"]
            new = text
    page.write_text(old)
    wrong += episode.end(bench)
    wrong += [] if page.read_text() != old and new in ("", page.read_text()) else ["the table differs"]
    return episode.closed(wrong)


def _reports(episode: _Episode) -> list[Kill]:
    write_some(str(episode.results), 0, 6)
    folder = episode.folder / "reports"
    bench = episode.bench("report", str(episode.results), "--out", str(folder))
    wrong: list[str] = []
    counts = {"Path.open": 8, "os.fsync": 16, "Path.replace": 8, "Path.write_bytes": 8}
    for _ in range(2):
        if not episode.strike(bench, 3.0, counts):
            break
        if bench.harness is not None:
            bench.harness.wait(SECONDS)
        ends = {".html": b"</html>", ".svg": b"</svg>", ".png": b"IEND\xaeB`\x82", ".json": b"}"}
        files = [path for path in folder.rglob("*") if path.suffix in ends]
        halves = [path.name for path in files if not path.read_bytes().rstrip().endswith(ends[path.suffix])]
        wrong += [f"half-written: {halves}"] if halves else []
    return episode.closed(wrong + episode.end(bench))


def _duels(episode: _Episode) -> list[Kill]:
    episode.script(seconds=0.005, noise=0.001)
    duel = ("--a", "units=100", "--b", "units=110", "--results", str(episode.results))
    bench = episode.bench("duel", *duel)
    for _ in range(episode.draw.randint(1, 3)):
        if not episode.strike(bench, 1.5, {"Path.open": 2, "os.fsync": 4, "os.link": 2, "Path.unlink": 3}):
            break
        if bench.harness is not None:
            bench.harness.wait(SECONDS)
    wrong = episode.end(bench, codes=(1,))
    whole = 0
    for folder in filter(Path.is_dir, (episode.results / "duels").iterdir()):
        names = sorted(path.name for path in folder.iterdir())
        whole += names == ["duel.json", "slices.parquet"]
        # what a failed side has printed is kept
        if names not in (["duel.json", "slices.parquet"], ["logs"]) or (names == ["logs"] and not _logs(folder)):
            wrong.append(f"half a duel: {names}")
    return episode.closed(wrong + ([] if whole else ["no duel was kept"]))


def _logs(folder: Path) -> list[Path]:
    return list((folder / "logs").iterdir())


_EPISODES: dict[str, Callable[[_Episode], list[Kill]]] = {
    "run": _runs,
    "two machines": _two_machines,
    "compact": _compactions,
    "table --write": _tables,
    "report": _reports,
    "duel": _duels,
}
_WITH_WORKERS = ("run", "two machines", "duel")
assert set(_EPISODES) == set(KINDS)
