"""The part of docs/results.md on streaming inference and on exports: a step at a time, and LiteRT.

As in `scripts.results_page`, the sentences hold no figure, and no finding that the data might contradict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scripts.results_format import TITLES, Json, backend, conditions, figure, interval, reading, sections, table

SETTING = "{task}, {network} network, {units} units"
"""What all runs share."""
STREAMS = "256"
"""How many sequences are read side by side where many are."""


def parts() -> Iterator[str]:
    """The paragraphs and tables, in order."""
    read = sections("streaming")
    yield from steps(read)
    yield from exports(read)


def steps(read: Sequence[Json]) -> Iterator[str]:
    """What a step costs with the state carried, beside the whole window run anew."""
    yield (
        f"## A step at a time\n\n{conditions('streaming', read, SETTING)} "
        f"A call takes one step of a sequence and carries the state on; the "
        f"outputs after each step are those of the whole sequence, or the run is invalid. *Cheaper* is how many times "
        f"as long the whole window takes, run anew by the compiled call."
    )
    yield table(
        ("backend", "runtime", "weights", "cell", "ran", "µs a step", "p99, µs", f"steps/s at {STREAMS}", "cheaper"),
        (
            (
                *_who(section, row),
                ", ".join(path["kernels_attested"]),
                interval(path["step_p50_seconds"], 1e6),
                figure(1e6 * path["step_p99_seconds"]["value"]),
                figure(path["steps_per_second"][STREAMS]["value"]),
                interval(row["window_over_step"]),
            )
            for section in read
            for row in section["rows"]
            for path in row["inference"]
            if path["entry"] == "streaming"
        ),
    )


def exports(read: Sequence[Json]) -> Iterator[str]:
    """The latency of whole sequences in LiteRT, and what weights in 8 bits cost in accuracy."""
    yield (
        "LiteRT runs the whole sequence without loops, in 32 bits and with weights of 8; *lost* is accuracy on the "
        "test set, in points."
    )
    yield table(
        ("weights", "cell", "latency, ratio to Keras", "reading", "lost"),
        (
            (
                *_who(section, row)[2:],
                interval(row["compiled_latency_over_keras"]),
                _reading(row["compiled_latency_over_keras"]),
                interval(row["accuracy_lost"], 100),
            )
            for section in read
            for row in section["rows"]
            if row["axes"].get("runtime") == "litert"
        ),
    )


def _who(section: Json, row: Json) -> tuple[str, str, str, str]:
    axes = row["axes"]
    return (backend(section), axes.get("runtime", "keras"), axes.get("dtype", "float32"), TITLES[row["cell"]])


def _reading(ratio: Json | None) -> str:
    return "–" if ratio is None else reading(ratio, "faster", "slower")
