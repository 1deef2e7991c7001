"""How long the light commands take to start, as a ratio to `python -c pass`, alternating with it.

python scripts/startup.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from bench.analysis.stats import paired_ratio

COMMANDS = (("--help",), ("plan",), ("plan", "--set", "seeds=0..3333"), ("cells",), ("suites",))
NOTHING = [sys.executable, "-c", "pass"]


def seconds(command: list[str]) -> float:
    """Wall time of one whole process."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Print a line a command: median seconds, and the ratio to an interpreter that does nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for arguments in COMMANDS:
        command = [sys.executable, "-c", "from bench.cli import main; main()", *arguments]
        seconds(command)  # fills the page cache and __pycache__
        pairs = [(seconds(command), seconds(NOTHING)) for _ in range(rounds)]
        ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
        ratio = paired_ratio(ours, theirs)
        interval = f"{ratio.interval.low:.1f} … {ratio.interval.high:.1f}" if ratio.interval else "none"
        print(
            f"bench {' '.join(arguments):28} median {statistics.median(ours):.3f} s, "
            f"{ratio.value:.1f} × python -c pass (95 % interval {interval}, n = {ratio.n})"
        )


if __name__ == "__main__":
    main()
