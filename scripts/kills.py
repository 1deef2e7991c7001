"""Kills, stops and hangs up `bench` a thousand times, lets it go on, and checks what it has kept.

    python scripts/kills.py [--kills 1000] [--seed 0] [--kinds run,duel] [--out FILE]
    python scripts/kills.py --real [--kills 40]

SIGKILL, SIGTERM, SIGHUP, or SIGSTOP with SIGCONT, to the harness, its server or a process of a run, at a random moment
or at a named step of publishing a file (`tests/support/kills.py`), over `run`, `run --join` on two machines, `compact`,
`table --write`, `report` and `duel` with the fake worker; with --real, over `run` of tiny real networks. After each the
command is brought to its end, and then every case must be stored exactly once, and no half-written file, process, lock
or lease be left. Ends with 1 where anything else was found.

Each episode adds its kills to FILE, a JSON object a line: interrupted, the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil

from bench.run.lock import LOCK_VARIABLE
from tests.support.harness import TARGETS, BenchProcess, violations
from tests.support.kills import KINDS, SIGNALS, Kill, episode
from tests.support.zygote import Zygote

BENCH = "from bench.cli import main; main()"
TINY = ("units=8", "epochs=1", "train_samples=256", "tasks=mnist_5k", "seeds=0..3")
REAL_SECONDS = 6.0
"""A start of the harness and its import of TensorFlow take about so long, and a run 2.5 s, on two quiet cores."""


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS), help="what to kill: " + ", ".join(KINDS))
    parser.add_argument("--real", action="store_true", help="kill runs of real networks")
    parser.add_argument("--out", type=Path, default=Path("results/local/kills.jsonl"))
    arguments = parser.parse_args()
    kinds = {kind: weight for kind, weight in KINDS.items() if kind in arguments.kinds.split(",")}
    if arguments.real:
        kinds = {"real": 1.0}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    begun = time.monotonic()
    with Zygote() as zygote, tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        while sum(len(each["kills"]) for each in done) < arguments.kills:
            seed = f"{arguments.seed}/{len(done)}"
            kind = random.Random(seed).choices(list(kinds), list(kinds.values()))[0]
            folder = Path(scratch) / str(len(done))
            kills = _real(seed, folder) if kind == "real" else episode(kind, seed, folder, zygote)
            done.append({"seed": seed, "kind": kind, "kills": [asdict(kill) for kill in kills]})
            with arguments.out.open("a") as out:
                out.write(json.dumps(done[-1]) + "\n")
            _print(done[-1])
    kills = [Kill(**kill) for each in done for kill in each["kills"]]
    for name in ("kind", "signal", "target"):
        print(dict(Counter(getattr(kill, name) for kill in kills)))
    print(f"{sum(kill.moment[0] != 'a' or '#' in kill.moment for kill in kills)} of them at a step of publishing")
    wrong = [kill for kill in kills if kill.wrong]
    print(f"{len(kills)} kills in {len(done)} episodes; {time.monotonic() - begun:.0f} s now; wrong after {len(wrong)}")
    return 1 if wrong else 0


def _print(each: dict[str, object]) -> None:
    kills = each["kills"]
    assert isinstance(kills, list)
    print(f"{each['seed']} {each['kind']}: {len(kills)} kills", flush=True)
    for kill in kills:
        for text in kill["wrong"]:
            print(f"  {kill['signal']} to {kill['target']} {kill['moment']}: {text}", flush=True)


def _real(seed: str, folder: Path) -> list[Kill]:
    """Kills of a campaign of twelve tiny real runs."""
    draw, kills = random.Random(seed), list[Kill]()
    folder.mkdir()
    sets = [part for setting in TINY for part in ("--set", setting)]
    command = [sys.executable, "-c", BENCH, "run", "quick", *sets, "--results", str(folder / "results"), "--join"]
    bench = BenchProcess(command, folder / "output", {LOCK_VARIABLE: str(folder / "lock")})
    try:
        for _ in range(draw.randint(6, 10)):
            if bench.harness is None or bench.harness.poll() is not None:
                if bench.harness is not None and bench.harness.returncode == 0:
                    break
                bench.start("--retry-failed")
            target, number = draw.choices(TARGETS, (0.2, 0.2, 0.6))[0], draw.choice(SIGNALS)
            if target != "parent":
                bench.wait_for("child", 300)
            seconds = draw.uniform(0, REAL_SECONDS)
            time.sleep(seconds)
            victim = bench.find(target)
            if victim is None:
                continue
            kill = Kill("real", target, number.name, f"after {seconds:.3f} s")
            kills.append(kill)
            try:
                victim.send_signal(number)
                if number.name == "SIGSTOP":
                    time.sleep(draw.uniform(0, 1))
                    victim.send_signal(signal.SIGCONT)
            except psutil.Error:
                continue
            if target == "parent" and number.name != "SIGSTOP":
                code = bench.harness.wait(300) if bench.harness is not None else None
                kill.wrong += [] if code in (130, -number) else [f"ended with {code}: {bench.tail()[-500:]}"]
                kill.wrong += [f"left running: {left}" for left in bench.orphans(60)]
        if bench.harness is not None:
            bench.harness.wait(600)
        code = bench.finish("--retry-failed", timeout=600)
        wrong = [f"the last call ended with {code}: {bench.tail()}"] if code else []
        wrong += [f"left running: {left}" for left in bench.orphans(60)] + violations(folder / "results")
        wrong += ["a traceback"] if "Traceback" in bench.output.read_text() else []
    finally:
        bench.stop()
    kills[-1].wrong += wrong
    shutil.rmtree(folder)
    return kills


if __name__ == "__main__":
    sys.exit(main())
