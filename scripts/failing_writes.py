"""Makes each system call that writes fail in turn, in every command that writes, and checks what is left.

    python scripts/failing_writes.py [--only COMMAND] [--error ERROR] [--every N] [--out FOLDER] [--table]

A command is run again and again: its first call that can fail so fails, then its second, until a run has no more of
them. `FAILURES` (tests/support/failing_calls.py) has the errors, each with the calls that it can come from. After each:
the exit code is the command's own, or 2; no traceback; a sentence that names the path and the error; whatever was
reported as kept is there, and nothing half-written is read as whole; and the same command, given again without a
failure, ends as if there had been none.

FOLDER has a file for each command, with what has been done: interrupted, the same command goes on from there, and
several may run side by side, each with commands of its own. `--every N` takes only one call in N. `--table` prints what
FOLDER has. Ends with 1 where anything was found.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.report.markers import BEGIN, END
from bench.store import load
from tests.support.failing_calls import ADDRESS, FAILURES, TINY_TASK, Failure, Trial, Trials, tiny_task
from tests.support.fake_worker import SCRIPT
from tests.support.harness import violations
from tests.support.stored import a_store

_FULL_README = f"# Mine\n\n{BEGIN}\n{END}\n"


@dataclass(frozen=True)
class Scenario:
    """A command, in a folder that is made for it."""

    arguments: tuple[str, ...]
    """Behind `bench`."""
    code: int = 0
    """What it ends with where nothing fails."""
    output: str | None = None
    """The file that its standard output goes to, as `bench … > file` would."""
    errors: str | None = None
    prepare: Callable[[Path], None] = lambda folder: None
    kept: Callable[[Path, Trial], list[str]] = lambda folder, trial: []
    """What is wrong after a trial in which a call failed; nothing, if all is well."""
    ended: Callable[[Path, Trial], list[str]] | None = None
    """What is wrong after the same command, given again without a failure; None where that cannot matter."""
    script: Mapping[str, Any] | None = None
    """What the fake worker does."""


# --- what has to hold ---


def _store(folder: Path) -> None:
    a_store(folder / "store")


def _runs_kept(folder: Path, trial: Trial) -> list[str]:
    """Each run that was reported is in the store, and all that is there can be read."""
    reported = len(re.findall(r"^\[\d+/\d+\] ", trial.printed, re.M))
    warned: list[str] = []
    with contextlib.suppress(Exception):
        frame = load([folder / "store"], warn=warned.append, all_attempts=True)
        kept = frame["run_id"].nunique()
        return warned + ([f"{reported} runs were reported, and {kept} kept"] if reported > kept else [])
    return [f"{reported} runs were reported, and no store is there"] if reported else []


def _runs_ended(folder: Path, _: Trial) -> list[str]:
    """Every case is stored once; in each campaign, where the call failed after the last run and another one began."""
    store = folder / "store"
    wrong = violations(store)
    if wrong[:1] == ["2 campaigns where one was begun"]:
        frame = load([store], warn=wrong.append, all_attempts=True)
        wrong = wrong[1:] + ["a campaign was begun anew"] * (
            frame.groupby("campaign_id")["case_id"].nunique().nunique() > 1
        )
    return [each for each in wrong if not each.startswith("left behind: bounds/")]


def _same_rows(folder: Path, _: Trial) -> list[str]:
    """Folded or not, the store holds what it held."""
    with tempfile.TemporaryDirectory() as fresh:
        a_store(Path(fresh))
        return [] if _rows(folder / "store") == _rows(Path(fresh)) else ["the store's rows are not what they were"]


def _rows(store: Path) -> str:
    warned: list[str] = []
    frame = load([store], all_attempts=True, warn=warned.append)
    frame = frame.sort_values(["position", "attempt", "phase"], ignore_index=True)
    return str(frame.to_json(orient="records", date_format="iso")) + "".join(warned)


def _folded(folder: Path, trial: Trial) -> list[str]:
    parts = [path.name for path in (folder / "store" / "runs").iterdir()]
    wrong = [] if len(parts) == 1 else [f"the parts are {parts}"]
    return wrong + _same_rows(folder, trial)


def _old_report(folder: Path) -> None:
    _store(folder)
    for name in ("index.html", "report.md", "figures/data.json"):
        path = folder / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")


_WHOLE = {".html": b"</html>", ".json": b"}\n", ".svg": b"</svg>\n", ".png": b"IEND\xaeB`\x82"}


def _report_kept(folder: Path, trial: Trial) -> list[str]:
    """Each file is the old one or the new one, whole; and a report that was reported is all new."""
    wrong = []
    for path in sorted(path for path in (folder / "out").rglob("*") if path.is_file()):
        if path.suffix == ".tmp":
            continue  # of a file system that became read-only: nothing can be removed there, and nobody reads it
        content = path.read_bytes()
        whole = content == b"old" or content.endswith(_WHOLE.get(path.suffix, b"\n"))
        wrong += [] if whole else [f"{path.name} is half-written"]
        wrong += [f"{path.name} is old"] if trial.code == 0 and content == b"old" else []
    return wrong


def _readme(folder: Path) -> None:
    _store(folder)
    (folder / "README.md").write_text(_FULL_README)


def _readme_kept(folder: Path, trial: Trial) -> list[str]:
    text = (folder / "README.md").read_text()
    if trial.code == 0 or text != _FULL_README:
        return [] if text.startswith("# Mine") and text.endswith(f"\n{END}\n") and "gru" in text else ["half a README"]
    return []


def _output_whole(folder: Path, trial: Trial) -> list[str]:
    """A command that says that all is well has written all of its output."""
    path = folder / "output"
    if trial.code:
        return []
    text = path.read_text()
    try:
        json.loads(text)
    except ValueError:
        return [f"it ended with 0, and its output is cut off: {text[-40:]!r}"]
    return []


def _plot_whole(folder: Path, trial: Trial) -> list[str]:
    path = folder / "plots" / "history.svg"
    return [] if not path.exists() or path.read_bytes().endswith(b"</svg>\n") else ["half a plot"]


def _duel_kept(folder: Path, trial: Trial) -> list[str]:
    """A verdict that was reached is printed, whatever became of its record; a record is whole."""
    wrong = []
    for path in (folder / "store").rglob("duel.json"):
        wrong += [] if json.loads(path.read_text())["verdict"] else ["half a duel.json"]
        wrong += [] if (path.parent / "slices.parquet").exists() else ["duel.json without its rounds"]
    return wrong


def _data(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "mnist.npz").write_bytes(tiny_task()[1])


def _cache_kept(folder: Path, trial: Trial) -> list[str]:
    kept = [path for path in (folder / "cache").rglob("*.npz") if not path.parent.name.startswith(".getting-")]
    wrong = [f"{path.name} is half-written" for path in kept if path.read_bytes() != tiny_task()[1]]
    return wrong + ([] if kept or trial.code else ["it ended with 0, and nothing is kept"])


_QUICK = ("run", "quick", "--set", "seeds=0", "--results", "store")

SCENARIOS: Mapping[str, Scenario] = {
    "run": Scenario(
        (*_QUICK, "--set", "cells=lstm,gru", "--set", "bounds=true", "--retry-failed"),
        kept=_runs_kept,
        ended=_runs_ended,
    ),
    "run, one fails": Scenario(
        (*_QUICK, "--set", "cells=lstm"),
        code=4,
        kept=_runs_kept,
        script={"*": "raise"},
    ),
    "run 2> log": Scenario(
        (*_QUICK, "--set", "cells=lstm", "--retry-failed"),
        errors="log",
        kept=_runs_kept,
        ended=_runs_ended,
    ),
    "compact": Scenario(("compact", "--results", "store"), prepare=_store, kept=_same_rows, ended=_folded),
    "report": Scenario(("report", "store", "--out", "out"), prepare=_old_report, kept=_report_kept, ended=_report_kept),
    "table --write": Scenario(
        ("table", "store", "--write", "README.md"), prepare=_readme, kept=_readme_kept, ended=_readme_kept
    ),
    "table --format json > output": Scenario(
        ("table", "store", "--format", "json"), output="output", prepare=_store, kept=_output_whole
    ),
    "export > output": Scenario(
        ("export", "store", "--format", "pytest-benchmark"), output="output", prepare=_store, kept=_output_whole
    ),
    "gate > output": Scenario(
        ("gate", "store", "store", "--self", "--format", "json"), output="output", prepare=_store, kept=_output_whole
    ),
    "history --plot": Scenario(
        ("history", "store", "--plot", "plots/history.svg"), prepare=_store, kept=_plot_whole, ended=_plot_whole
    ),
    "duel": Scenario(
        ("duel", "--a", "units=100", "--b", "units=130", "--set", "cells=gru", "--results", "store"),
        code=1,
        kept=_duel_kept,
    ),
    "data fetch": Scenario(("data", "fetch", TINY_TASK), kept=_cache_kept, ended=_cache_kept),
    "data fetch --data-dir": Scenario(
        ("data", "fetch", TINY_TASK, "--data-dir", "mine"), prepare=_data, kept=_cache_kept, ended=_cache_kept
    ),
}


@dataclass(frozen=True)
class Result:
    """What was found in one trial."""

    trial: Trial
    wrong: tuple[str, ...]


def tried(trials: Trials, scenario: Scenario, folder: Path, failure: Failure, number: int) -> Result:
    """One trial in a fresh folder, and the same command again without a failure."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("tmp", "cache"):
        (folder / name).mkdir(parents=True)
    (folder.parent / "script.json").write_text(json.dumps(scenario.script or {}))
    scenario.prepare(folder)
    output, errors = (folder / name if name else None for name in (scenario.output, scenario.errors))
    trial = trials.run(scenario.arguments, folder, failure, number, output=output, errors=errors)
    wrong = _general(trial, scenario, folder, failure)
    wrong += scenario.kept(folder, trial)
    if trial.failed and scenario.ended is not None:
        for path in (output, errors):
            if path is not None:
                path.unlink(missing_ok=True)
        again = trials.run(scenario.arguments, folder, output=output, errors=errors)
        if again.code != scenario.code:
            wrong.append(f"given again, it ended with {again.code}: {again.printed[-500:]}")
        wrong += [f"given again: {each}" for each in scenario.ended(folder, again)]
        wrong += [f"given again: left behind: {path.name}" for path in folder.rglob(".*.tmp")]
    return Result(trial, tuple(wrong))


def _general(trial: Trial, scenario: Scenario, folder: Path, failure: Failure) -> list[str]:
    wrong = []
    if trial.code not in {scenario.code, 2} and not (scenario.arguments[0] in {"run", "duel"} and trial.code == 4):
        wrong.append(f"it ended with {trial.code}")
    if "Traceback" in trial.printed or "a fault of bench" in trial.printed:
        wrong.append("a traceback")
    if trial.code == 2 and scenario.errors is None:
        why = os.strerror(failure.error).lower()
        wrong += [] if why in trial.printed.lower() else [f"it does not say {why!r}"]
        paths = (str(folder), "standard output", *scenario.arguments[1:])
        named = any(path in trial.printed.splitlines()[-1] for path in paths)
        # a pipe has no path
        wrong += [] if named or trial.failed.startswith("descriptor") else ["it names no path"]
    return wrong


@contextlib.contextmanager
def served(content: bytes) -> Iterator[str]:
    """The address of a server that gives some bytes, whatever is asked."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/tiny.npz"
        server.shutdown()


@contextlib.contextmanager
def started(scratch: Path) -> Iterator[tuple[Trials, Path]]:
    """The server of trials, and the folder that is theirs."""
    folder = scratch / "trial"
    with served(tiny_task()[1]) as address:
        environment = {
            ADDRESS: address,
            SCRIPT: str(scratch / "script.json"),
            "TMPDIR": str(folder / "tmp"),
            "BENCH_MACHINE_LOCK": str(folder / "tmp" / "machine.lock"),
            "BENCH_CACHE_DIR": str(folder / "cache"),
        }
        with Trials(scratch / "server", environment) as trials:
            yield trials, folder


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SCENARIOS, action="append")
    parser.add_argument("--error", choices=FAILURES, action="append")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/local/failing_writes"))
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    names, errors = arguments.only or list(SCENARIOS), arguments.error or list(FAILURES)
    if not arguments.table:
        with tempfile.TemporaryDirectory() as scratch, started(Path(scratch)) as (trials, folder):
            for name in names:
                for error in errors:
                    _enumerate(trials, folder, name, error, arguments.every, _file(arguments.out, name))
    states = {
        name: json.loads(_file(arguments.out, name).read_text())
        for name in SCENARIOS
        if _file(arguments.out, name).exists()
    }
    wrong = (
        _table(states)
        if arguments.table
        else [w for state in states.values() for each in state.values() for w in each["wrong"]]
    )
    return 1 if wrong else 0


def _file(folder: Path, name: str) -> Path:
    return folder / f"{re.sub('[^a-z]+', '-', name)}.json"


def _enumerate(trials: Trials, folder: Path, name: str, error: str, every: int, out: Path) -> None:
    """Make the command's calls fail one after another, from where an earlier call of this script stopped."""
    done: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    state = done.setdefault(error, {"next": 1, "every": every, "whole": False, "tried": 0, "wrong": {}, "said": {}})
    while not state["whole"]:
        number = state["next"]
        result = tried(trials, SCENARIOS[name], folder, FAILURES[error], number)
        call = f"{number}: {result.trial.failed.replace(str(folder), '…')}"
        state["whole"] = not result.trial.failed
        if result.trial.failed:
            state["tried"] += 1
            state["next"] += state["every"]
            lines = result.trial.printed.replace(str(folder), "…").splitlines()
            state["said"][call] = [result.trial.code, *lines[-1:]]
        if result.wrong:
            state["wrong"][call] = [*result.wrong, result.trial.printed[-700:]]
        out.write_text(json.dumps(done, indent=1))
    print(f"{name}: {error}: {state['tried']} calls, {len(state['wrong'])} with problems", flush=True)


def _table(states: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Print what was tried: for each command and error the calls that failed; the problems that were found."""
    print(f"| command | {' | '.join(FAILURES)} |")
    print("|---|" + "---|" * len(FAILURES))
    wrong = []
    for name, errors in states.items():
        cells = []
        for error in FAILURES:
            state = errors.get(error)
            sampled = f" (one in {state['every']})" if state and state["every"] > 1 else ""
            cells.append(f"{state['tried']}{sampled}{'' if state['whole'] else ' so far'}" if state else "–")
            wrong += [f"{name}: {error}: {call}: {what}" for call, what in (state or {"wrong": {}})["wrong"].items()]
        print(f"| `{name}` | {' | '.join(cells)} |")
    print(f"\n{len(wrong)} with problems")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
