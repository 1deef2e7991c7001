"""Gives hostile inputs to all that reads, guided by the coverage of bench's own code.

    pip install atheris==3.0.0
    python scripts/fuzz.py [--each 1000] [--seed 0] [--target NAME] [--out FOLDER]

For each target of `scripts/fuzz_targets.py`, libFuzzer (through atheris) makes inputs from those that it begins with.
Each must be read or refused with a sentence: a traceback, an exit code but 0, 2 or 3, a minute, or 2 GiB is a problem.

A fresh process takes each 250 inputs, with a seed of its own, and FOLDER keeps what is done: interrupted, the same
command goes on from there. FOLDER/NAME/crashes has the inputs that are a problem, FOLDER/NAME/corpus those that reached
something new, which each process tries again and counts no more. Ends with 1 where there is a problem.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

CHUNK = 250
"""Inputs that one process gets."""
SECONDS = 60
MEBIBYTES = 2048
LONGEST = 40_000
"""Bytes of an input."""


def fuzz(name: str, seed: int, folder: Path) -> None:
    """Give a target its inputs in this process, which ends by itself; `FOLDER/chunk.json` counts what became of them.

    Args:
        name: of the target.
        seed: of the fuzzer's random numbers.
        folder: the target's, with its corpus and dictionary.
    """
    import atheris

    with atheris.instrument_imports(include=["bench"]):
        from scripts.fuzz_targets import TARGETS, check

    target = TARGETS[name]
    outcomes: Counter[str] = Counter()
    problems: dict[str, str] = {}
    known = {path.read_bytes() for path in (folder / "corpus").iterdir()} | {b""}
    scratch = Path(tempfile.mkdtemp(dir=os.environ["BENCH_FUZZ_SCRATCH"]))
    tempfile.tempdir = str(scratch)  # the logs of faults

    def one_input(data: bytes) -> None:
        (folder / "input").write_bytes(data)  # what a process was at when it died
        try:
            word = check(target, data, scratch)
        except Exception as error:
            word = "problem"
            place = traceback.extract_tb(error.__traceback__)[-1]
            kept = folder / "crashes" / hashlib.sha256(data).hexdigest()[:16]
            kept.write_bytes(data)
            what = re.sub(r"/\S+", "…", str(error))  # the log of each fault has a name of its own
            problems.setdefault(f"{type(error).__name__} at {place.name}:{place.lineno}: {what[-300:]}", kept.name)
        if data not in known:
            outcomes[word] += 1
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            json.dump({"outcomes": outcomes, "problems": problems}, file)
        Path(file.name).replace(folder / "chunk.json")

    options = (
        f"-seed={seed}",
        f"-runs={len(known) + CHUNK}",
        f"-max_len={LONGEST}",
        f"-timeout={SECONDS}",
        "-verbosity=0",
    )
    limits = (f"-rss_limit_mb={MEBIBYTES}", f"-malloc_limit_mb={MEBIBYTES}", f"-artifact_prefix={folder}/crashes/")
    words = [f"-dict={folder / 'words'}"] if target.words else []
    atheris.Setup([sys.argv[0], *options, *limits, *words, str(folder / "corpus")], one_input)
    atheris.Fuzz()


def _prepare(name: str, folder: Path) -> None:
    from scripts.fuzz_targets import TARGETS

    for part in ("corpus", "crashes"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(TARGETS[name].seeds()):
        (folder / "corpus" / f"seed-{number:02}").write_bytes(content)
    quoted = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in TARGETS[name].words)
    (folder / "words").write_text("".join(f'"{word}"\n' for word in quoted))


def _chunk(name: str, seed: int, folder: Path) -> dict[str, Any]:
    """The next inputs in a process of their own: counts by outcome, and problems."""
    (folder / "chunk.json").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            __file__,
            "--here",
            "--target",
            name,
            "--seed",
            str(seed),
            "--out",
            str(folder.parent),
        ]
        done = subprocess.run(
            command, env={**os.environ, "BENCH_FUZZ_SCRATCH": scratch}, capture_output=True, text=True, check=False
        )
    result: dict[str, Any] = {"outcomes": {}, "problems": {}}
    if (folder / "chunk.json").exists():
        result = json.loads((folder / "chunk.json").read_text())
    if done.returncode:
        kept = folder / "crashes" / f"died-{seed}"
        (folder / "input").replace(kept)
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line or "Error" in line] or [
            done.stderr[-300:]
        ]
        result["problems"][f"the process ended with {done.returncode}: {lines[-1][:300]}"] = kept.name
        result["outcomes"]["died"] = 1
    return {"target": name, "seed": seed, **result}


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=1000, help="inputs of each target")
    parser.add_argument("--seed", type=int, default=0, help="of the first process; the others follow")
    parser.add_argument("--target", action="append", help="these only; repeatable")
    parser.add_argument("--out", type=Path, default=Path("results/local/fuzz"))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        fuzz(given.target[0], given.seed, given.out / given.target[0])
        return 0
    from scripts.fuzz_targets import TARGETS

    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    ledger = out / "chunks.jsonl"
    chosen = given.target or list(TARGETS)
    seeds = range(given.seed, given.seed + -(-given.each // CHUNK))
    done = {(chunk["target"], chunk["seed"]): chunk for chunk in _read(ledger)}
    for seed in seeds:
        for name in chosen:
            if (name, seed) in done:
                continue
            _prepare(name, out / name)
            done[name, seed] = _chunk(name, seed, out / name)
            with ledger.open("a") as file:
                print(json.dumps(done[name, seed]), file=file, flush=True)
            print(name, seed, done[name, seed]["outcomes"], *done[name, seed]["problems"], flush=True)
    return _summary([done[name, seed] for name in chosen for seed in seeds])


def _summary(chunks: list[dict[str, Any]]) -> int:
    total, problems = 0, 0
    for name in dict.fromkeys(chunk["target"] for chunk in chunks):
        outcomes: Counter[str] = Counter()
        of_target: dict[str, str] = {}
        for chunk in chunks:
            if chunk["target"] == name:
                outcomes.update(chunk["outcomes"])
                of_target |= chunk["problems"]
        total, problems = total + outcomes.total(), problems + len(of_target)
        print(f"{outcomes.total():6,} {name}: {', '.join(f'{n} {word}' for word, n in outcomes.most_common(4))}")
        print(*(f"       {what} ({kept})" for what, kept in of_target.items()), sep="\n")
    print(f"{total:,} inputs, {problems} kinds of problems")
    return 1 if problems else 0


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
