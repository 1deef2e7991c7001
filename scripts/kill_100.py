"""Kills a `bench run` of tiny real runs a hundred times, lets it run to its end, and checks the store.

    python scripts/kill_100.py [--kills 100] [--out FILE]

Each kill is `kill -9`, at a random moment, of the harness, of its server or of the process of a run; the dearer, the
rarer: a killed harness costs its start and an import of TensorFlow. Afterwards one more call runs to the end, and then
every case has to be stored exactly once, nothing measured twice, no temporary file and no process left, and the parts
readable as one table by pandas and DuckDB. Ends with 1 where that is not so.

What has been done is kept in FILE after each kill: interrupted, the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.run.lock import LOCK_VARIABLE
from tests.support.harness import BenchProcess, choose, violations

BENCH = "from bench.cli import main; main()"
WEIGHTS = {"parent": 0.15, "server": 0.2, "child": 0.65}
RUN_SECONDS = 2.5
"""A run takes about so long on 2 cores, and a killed one half of it."""
START_SECONDS = 7.0
"""A start of the harness and its import of TensorFlow take about so long."""


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("results/local/kills/summary.json"))
    arguments = parser.parse_args()
    folder: Path = arguments.out.parent.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    state = _begun(arguments.out, arguments.kills)
    bench = _bench_process(folder, state)
    begun = time.monotonic() - state["seconds"]

    def save() -> None:
        state["seconds"] = round(time.monotonic() - begun, 1)
        arguments.out.write_text(json.dumps(state, indent=1))

    try:
        generator = random.Random(f"{state['seed']}/{len(state['killed'])}")
        while len(state["killed"]) < arguments.kills:
            if bench.harness is None or bench.harness.poll() is not None:
                if bench.harness is not None and bench.harness.returncode == 0:
                    state["wrong"].append("the suite was done before the kills were")
                    break
                bench.start()
            target = choose(generator, WEIGHTS)
            _wait(bench, target, generator)
            if bench.find(target) is None:
                continue
            left = bench.kill(target)
            state["wrong"] += [f"after killing the {target}: {left}"] if left else []
            state["killed"].append(target)
            save()
            print(f"{len(state['killed'])}/{arguments.kills} {target}", flush=True)
        if bench.harness is not None and bench.harness.poll() is None:
            bench.kill("parent")
        code = bench.finish(timeout=3_600)
        state["wrong"] += [f"the last run ended with {code}: {bench.tail()}"] if code else []
        state["wrong"] += [f"left running: {left}" for left in bench.orphans()]
        state["wrong"] += violations(folder / "results")
        state["wrong"] += ["a traceback was printed"] if "Traceback" in bench.output.read_text() else []
        state["finished"] = True
    finally:
        bench.stop()
        save()
    parts = len(list((folder / "results" / "runs").glob("*.parquet")))
    print(f"{dict(Counter(state['killed']))} killed in {state['seconds']} s; {parts} parts for {state['runs']} cases")
    print("\n".join(state["wrong"]) or "every case is stored once; nothing was left behind")
    return 1 if state["wrong"] else 0


def _begun(out: Path, kills: int) -> dict[str, Any]:
    """What an interrupted call has left, or a new beginning."""
    if out.exists():
        state: dict[str, Any] = json.loads(out.read_text())
        if state["kills"] == kills and not state["finished"]:
            print(f"going on after {len(state['killed'])} kills")
            return state
        raise SystemExit(f"{out} is of a finished call, or of one with another number of kills: move its folder away.")
    # a run that was killed is tried again by the next call, and less than one is finished between two kills
    runs = 3 * (kills * 2 // 5 + 2)
    return {
        "kills": kills,
        "seed": random.randrange(2**32),
        "runs": runs,
        "killed": [],
        "wrong": [],
        "seconds": 0.0,
        "finished": False,
    }


def _bench_process(folder: Path, state: dict[str, Any]) -> BenchProcess:
    tiny = ["units=8", "epochs=1", "train_samples=256", "tasks=mnist_5k", f"seeds=0..{state['runs'] // 3 - 1}"]
    sets = [part for setting in tiny for part in ("--set", setting)]
    results = ["--results", str(folder / "results")]
    command = [sys.executable, "-c", BENCH, "run", "quick", *sets, *results, "--retry-failed"]
    # a lock of its own: it measures nothing that anybody would compare
    return BenchProcess(command, folder / "output.txt", {LOCK_VARIABLE: str(folder / "lock")})


def _wait(bench: BenchProcess, target: str, generator: random.Random) -> None:
    """Until a random moment, in a run or between two; the harness and its server are killed while they start, too."""
    if target == "child" or generator.random() < 0.6:
        bench.wait_for("child", 120)
        time.sleep(generator.uniform(0.0, RUN_SECONDS))
    else:
        time.sleep(generator.uniform(0.0, START_SECONDS))


if __name__ == "__main__":
    sys.exit(main())
