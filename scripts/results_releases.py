"""The part of docs/results.md on releases of Keras: what their training steps cost, beside the newest one's.

`python -m scripts.results_releases` draws its figure, docs/releases.svg. Both are made from the records of two duels,
`results/reference/duels/releases_*.json`, that

    bench duel --sides keras==3.3.3,keras==3.7.0,keras==3.12.0 --base keras==3.15.1 --set cells=lstm,gru

and the same with `--set backends=torch` left. As in `scripts.results_page`, the sentences hold no figure.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from scripts.results_format import REFERENCE, ROOT, TITLES, Json, table

FIGURE = ROOT / "docs" / "releases.svg"


def parts() -> Iterator[str]:
    """The paragraphs, the table and the figure, in order."""
    records = read()
    groups = " and ".join(str(record["groups"]) for record in records)
    minutes = " and ".join(f"{record['seconds'] / 60:.0f}" for record in records)
    yield (
        f"## Releases of Keras\n\nA training step of the notebook's cells under releases of Keras, beside the newest "
        f"one's: [duels](guides/duel.md#releases-of-frameworks) of all of them at once, {groups} process groups in "
        f"{minutes} minutes on {records[0]['machine']['cpu_model']}. A ratio above 1 is a release slower than the "
        f"newest; a duel's intervals hold together with {100 * records[0]['confidence']:g} %, and it reads *same* "
        f"where the whole interval lies within {100 * records[0]['tolerance']:g} %. A release that needs another "
        f"release of its backend is compared together with that. The machine had other work at idle priority meanwhile."
    )
    yield table(
        ("backend", "cell", "Keras", "step time ÷ newest", "verdict", "what differs beside Keras"),
        (
            (
                TITLES.get(case["backend"], case["backend"]),
                TITLES[case["cell"]],
                contrast["different_packages"]["keras"][1],
                f"{contrast['ratio']:.3f} ({contrast['low']:.3f} to {contrast['high']:.3f})",
                contrast["verdict"],
                _beside_keras(contrast, case["backend"]),
            )
            for record in records
            for contrast in record["contrasts"]
            for case in [record["sides"][contrast["side"]]["case"]]
        ),
    )
    yield f"![A training step's time under releases of Keras, divided by the newest one's]({FIGURE.name})"


def read() -> list[Json]:
    """The records of the duels."""
    return [json.loads(path.read_text()) for path in sorted((ROOT / REFERENCE / "duels").glob("releases_*.json"))]


def _beside_keras(contrast: Json, backend: str) -> str:
    base, side = contrast["different_packages"].get(backend, (None, None))
    return f"{TITLES.get(backend, backend)} {side}, beside {base}" if side else "–"


def draw(records: Sequence[Json]) -> None:
    """The figure: the ratios by release, one panel a duel, one line a cell."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    with plt.rc_context({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9}):
        figure, panels = plt.subplots(
            1, len(records), figsize=(3.4 * len(records), 3), sharey=True, squeeze=False, layout="constrained"
        )
        for axes, record in zip(panels[0], records, strict=True):
            contrasts: dict[str, list[dict[str, Any]]] = {}
            for contrast in record["contrasts"]:
                case = record["sides"][contrast["side"]]["case"]
                contrasts.setdefault(case["cell"], []).append(contrast)
            for offset, (cell, of_cell) in zip((-0.06, 0.06), contrasts.items(), strict=True):
                below = [contrast["ratio"] - contrast["low"] for contrast in of_cell]
                above = [contrast["high"] - contrast["ratio"] for contrast in of_cell]
                axes.errorbar(
                    [offset + place for place in range(len(of_cell) + 1)],
                    [*(contrast["ratio"] for contrast in of_cell), 1.0],
                    yerr=[[*below, 0], [*above, 0]],
                    fmt="o-",
                    capsize=3,
                    label=TITLES[cell],
                )
            releases = [contrast["different_packages"]["keras"] for contrast in next(iter(contrasts.values()))]
            names = [*(side for _, side in releases), releases[0][0]]
            axes.set_xticks(range(len(names)), names)
            axes.axhline(1, color="0.6", linewidth=0.8, linestyle="--")
            axes.set(title=TITLES.get(case["backend"], case["backend"]), xlabel="release of Keras")
        panels[0][0].set(ylabel="step time ÷ newest's")
        panels[0][0].legend()
        figure.savefig(FIGURE, metadata={"Date": None})


def main() -> int:
    """Draw the figure."""
    draw(read())
    return 0


if __name__ == "__main__":
    sys.exit(main())
