"""Do a duel's intervals hold the truth on recorded servers replayed whole, each with one sign for all of its pairs?

    python -m scripts.replay_servers results/reference/duels/recording --out results/reference/duels/coverage.json

A sign for each pair, as `scripts/simulate_duels.py` draws it, removes what pairs of one server share. Here a server is
drawn with replacement, and which of its two sides is called A is drawn once, so that the truth is 1 and all that its
pairs share stays. A duel runs to the end of its ten minutes; it is a miss if the interval of any of its interim
analyses doesn't hold the truth. By unit:

- `pair, own servers`: each pair from another server, one of its four drawn. So a duel measures.
- `pair, shared servers`: all four pairs of a server, as if they were independent. So a duel measured before.
- `mean over a server`: one value for the four pairs of a server.

Put in, to find out where it fails: an offset of each server of 0.5 % (standard deviation); a slow mode, in which one
side, or either alike, is 4.3 % slower in 15 % of the units. A mean is then off the trimmed mean, which is what a duel
estimates: both truths are tried.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.analysis.interleaved_figures import TRIMMED
from bench.duel.rounds import group_log_ratio
from bench.duel.sequential import ALPHA
from bench.duel.spending import significance_level
from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown
from scripts.duel_boundaries import significance, stages_of
from scripts.recordings import Recorded, halves, read
from scripts.simulate_duels import fraction

Floats = npt.NDArray[np.float64]

PAIRS_PER_SERVER = 4
"""The recording's: so many pairs were forked from two servers, which were then replaced."""

GROUPS = {"pair, own servers": 33, "pair, shared servers": 42, "mean over a server": 10}
"""What fits into ten minutes: pairs of 18 s with their own servers, and of 14 s with shared ones."""

OFFSET, SLOW, SLOW_FRACTION = 0.005, math.log(1.043), 0.15

PUT_IN = ("nothing", "server offsets", "a slow mode of either side", "a slow mode of B", "a slow mode of B, trimmed")


def servers_of(pairs: Sequence[Recorded]) -> Floats:
    """The log-ratios of a cell's servers, a row each, whose four pairs all count."""
    by_server: dict[int, list[float | None]] = {}
    for pair in pairs:
        by_server.setdefault(pair.rounds[0].group // PAIRS_PER_SERVER, []).append(group_log_ratio(pair.rounds, 0, 1))
    whole = [ratios for ratios in by_server.values() if len(ratios) == PAIRS_PER_SERVER and None not in ratios]
    return np.array(whole, dtype=np.float64)


def draw(
    servers: Floats,
    unit: str,
    put_in: str,
    duels: int,
    generator: np.random.Generator,
    groups: int | None = None,
) -> tuple[Floats, float]:
    """The log-ratios of simulated duels, a row each, and their truth.

    Args:
        servers: by server and pair.
        unit: of `GROUPS`.
        put_in: of `PUT_IN`.
        duels: how many.
        generator: of random numbers.
        groups: of a duel; None: those of `GROUPS`.
    """
    shared, groups = unit == "pair, shared servers", groups or GROUPS[unit]
    number = -(-groups // PAIRS_PER_SERVER) if shared else groups
    drawn = servers[generator.integers(0, len(servers), (duels, number))]
    drawn = drawn * generator.choice((-1.0, 1.0), (duels, number, 1))
    if put_in == "server offsets":
        drawn = drawn + generator.normal(0.0, OFFSET, (duels, number, 1))
    if unit == "pair, own servers":
        values = np.take_along_axis(drawn, generator.integers(0, servers.shape[1], (duels, number, 1)), axis=2)[..., 0]
    else:
        values = drawn.reshape(duels, -1)[:, :groups] if shared else drawn.mean(axis=2)
    if not put_in.startswith("a slow mode"):
        return values, 0.0
    slow = SLOW * (generator.random(values.shape) < SLOW_FRACTION)
    if put_in == "a slow mode of either side":
        return values + slow * generator.choice((-1.0, 1.0), values.shape), 0.0
    values = values + slow
    return values, float(_trimmed_mean(values.ravel())) if put_in.endswith("trimmed") else SLOW_FRACTION * SLOW


def _trimmed_mean(values: Floats) -> Floats:
    cut = int(TRIMMED * len(values))
    kept: Floats = np.sort(values)[cut : len(values) - cut].mean()
    return kept


def missed(values: Floats, truth: float) -> dict[str, float | int]:
    """In how many duels the interval of any interim analysis doesn't hold the truth."""
    stages = stages_of(2, values.shape[1], ALPHA)
    misses = np.zeros(len(values), dtype=bool)
    for number, stage in enumerate(stages):
        misses |= significance(values[:, : stage.values] - truth) < significance_level(stages[: number + 1])
    return fraction(int(misses.sum()), len(misses))


def replay(recording: Mapping[str, Sequence[Recorded]], duels: int) -> list[dict[str, Any]]:
    """A row for each unit, what is put in and cell.

    Args:
        recording: by cell and machine.
        duels: how many to simulate for each.
    """
    return [
        {
            "unit": unit,
            "put_in": put_in,
            "cell": cell,
            "servers": len(servers),
            "missed": missed(*draw(servers, unit, put_in, duels, np.random.default_rng((unit_number, put_number)))),
        }
        for unit_number, unit in enumerate(GROUPS)
        for put_number, put_in in enumerate(PUT_IN)
        for cell, servers in ((cell, servers_of(pairs)) for cell, pairs in recording.items())
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """In markdown: a line for each unit and what is put in, a column for each cell."""
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    by_place = {(row["unit"], row["put_in"], row["cell"]): row["missed"]["share"] for row in rows}
    lines = [
        (unit, put_in, *(f"{100 * by_place[unit, put_in, cell]:.1f} %" for cell in cells))
        for unit, put_in in dict.fromkeys((row["unit"], row["put_in"]) for row in rows)
    ]
    heads = ("unit", "put in", *(cell.split()[0] for cell in cells))
    columns = tuple(Column(head, left=index < 2) for index, head in enumerate(heads))
    return render_markdown(Document((Table(columns, tuple(lines)),)))


def main() -> None:
    """Replay, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--duels", type=int, default=20_000)
    arguments = parser.parse_args()
    _, later = halves(read(arguments.recording))
    rows = replay(later, arguments.duels)
    content = {"what": "duels in which an interval misses the truth; see scripts/replay_servers.py", "rows": rows}
    arguments.out.write_text(json.dumps(content, indent=1) + "\n")
    print(table(rows), end="")


if __name__ == "__main__":
    main()
