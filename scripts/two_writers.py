"""Two writers add runs to a store of 2,000 while `table` and `report` read it.

    python scripts/two_writers.py [--runs 2000] [--added 300] [--reads 3]

Every reading must end with 0 or 3 without a traceback, name nothing that cannot be read, and count no fewer runs than
the one before. Ends with 1 where that is not so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.store import load
from tests.support.small_store import in_child, write_some

BENCH = [sys.executable, "-c", "from bench.cli import main; main()"]


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--added", type=int, default=300)
    parser.add_argument("--reads", type=int, default=3)
    arguments = parser.parse_args()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        write_some(str(store), 0, arguments.runs)
        first = arguments.runs
        code = "import time\nfor number in range(*map(int, sys.argv[2:])):\n"
        code += "    write_some(sys.argv[1], number, number + 1)\n    time.sleep(1.0)"
        ends = [(first + part * arguments.added, first + (part + 1) * arguments.added) for part in (0, 1)]
        writers = [in_child(code, str(store), str(begin), str(end)) for begin, end in ends]
        seen = 0
        for number in range(arguments.reads):
            report = ["report", str(store), "--out", str(Path(folder) / "report")]
            command = report if number % 3 == 2 else ["table", str(store), "--format", "json"]
            begun = time.monotonic()
            done = subprocess.run([*BENCH, *command], capture_output=True, text=True, check=False)
            busy = sum(writer.poll() is None for writer in writers)
            runs = load([store], columns=(), phases=(), warn=wrong.append)["run_id"].nunique()
            print(f"{command[0]}: {done.returncode}, {time.monotonic() - begun:.1f} s, {runs} runs, {busy} writers")
            if done.returncode not in (0, 3) or "Traceback" in done.stderr or "left out" in done.stderr:
                wrong.append(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")
            if command[0] == "table":
                json.loads(done.stdout)
            wrong += [f"{runs} runs after {seen}"] if runs < seen else []
            seen = runs
        for writer in writers:
            writer.communicate()
        last = load([store])["run_id"].nunique()
        wrong += [] if last == first + 2 * arguments.added else [f"in the end there are {last} runs"]
    print("\n".join(wrong) or f"{last} runs, each once; nothing was left out")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
