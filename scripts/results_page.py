"""Makes docs/results.md: what the committed results show, from what `bench table --format json` reads in them.

Figures, and which of them differ, come from the stores in `results/reference`; the sentences that explain them are
here, and hold no figure. A test compares the committed page with what this makes.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence

from bench.core.metric import SEQUENCE_PATHS
from scripts import results_costs, results_releases, results_sequences, results_streaming
from scripts.results_format import TITLES, Json, backend, conditions, figure, interval, reading, sections, table

LARGEST_BATCH = "1024"
SETTING = "{task}, {network} network, {units} units, batch {batch_size}"
"""What all runs of a store share."""


def page() -> str:
    """The whole page, as markdown."""
    stores = {name: sections(name) for name in ("mnist_rows", "kernels", "inference", "peers")}
    parts = (
        INTRODUCTION,
        *protocol(stores["mnist_rows"]),
        *kernels(stores["kernels"]),
        *inference(stores["inference"]),
        *peers(stores["peers"]),
        *results_sequences.parts(),
        *results_costs.parts(),
        *results_streaming.parts(),
        *results_releases.parts(),
        ELSEWHERE,
    )
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """# Results

What the committed results show. `make docs` makes this page from the stores in `results/reference`; all of it was
measured on two shared cores of a server, so the ratios are that machine's: [measure on yours](guides/compare.md).
Intervals are 95 %. A ratio reads *faster* or *slower* only where its interval excludes 1; elsewhere a difference is
*not shown*."""

ELSEWHERE = """## What is elsewhere

What the harness itself costs is in [how we measure](how-we-measure.md); how often duels are right, in
[how sure is it?](how-sure.md#what-duels-were-found-to-do). No GPU has been measured yet."""


def protocol(read: Sequence[Json]) -> Iterator[str]:
    """The notebook's protocol: its claims, and how near training comes to the machine's ceilings."""
    (section,) = read
    yield f"## The notebook's protocol\n\n{conditions('mnist_rows', read, SETTING)} The table is in the README."
    yield table(
        ("claim", "verdict", "figures"),
        ((html.escape(claim["text"]), claim["verdict"], claim["evidence"]) for claim in section["claims"]),
    )
    yield table(
        ("cell", "GFLOP/s", "fraction of the product ceiling", "fraction of the serial-chain ceiling"),
        (
            (
                TITLES[row["cell"]],
                figure(row["limits"]["flops_per_second"] / 1e9),
                _percent(row["limits"]["peak_fraction"]),
                _percent(row["limits"]["serial_fraction"]),
            )
            for row in section["rows"]
        ),
    )


def kernels(read: Sequence[Json]) -> Iterator[str]:
    """The training time of each kernel as a ratio to the generic kernel of the same cell, by backend."""
    attested = [
        row["kernels_attested"] == [row["kernel_asked"]]
        for section in read
        for row in section["rows"]
        if row["kernel_asked"] != "auto"
    ]
    yield (
        f"## Kernels\n\n{conditions('kernels', read, SETTING)} "
        f"In {sum(attested)} of the {len(attested)} configurations that "
        f"asked for a kernel, it is the kernel that ran."
    )
    yield table(
        ("backend", "kernel", "cell", "s/epoch", "ratio to generic", "reading", "compile s"),
        (
            (
                backend(section),
                f"`{row['kernel_asked']}`",
                TITLES[row["cell"]],
                figure(row["train_seconds"]["value"]),
                interval(row["ratio_to_generic"]),
                reading(row["ratio_to_generic"], "faster", "slower"),
                figure(row["compile_seconds"]["value"]),
            )
            for section in read
            for row in section["rows"]
            if row["kernel_asked"] != "generic"
        ),
    )
    yield (
        "JAX's generic loop is compiled by XLA anyway, so it has no kernel `xla` apart. On torch `auto` and `generic` "
        "both run Python loops, but only `auto` multiplies the inputs of all steps at once."
    )


def inference(read: Sequence[Json]) -> Iterator[str]:
    """Latency and throughput by call path, and ONNX Runtime beside Keras's compiled call."""
    (section,) = read
    rows = section["rows"]
    yield f"## Inference\n\n{conditions('inference', read, SETTING)}"
    yield _paths_table(rows)
    keras = [row for row in rows if row["axes"]["runtime"] == "keras"]
    predict, compiled = ([_path(row, name) for row in keras] for name in ("predict", "compiled"))
    batch = [_throughput(fast) / _throughput(slow) for slow, fast in zip(predict, compiled, strict=True)]
    yield (
        f"For a single digit `model.predict` takes {_range(r['predict_over_compiled']['value'] for r in keras)} times "
        f"as long as the compiled call of the same model ({_range(map(_latency, predict))} ms against "
        f"{_range(map(_latency, compiled))} ms): it shows its overhead, and hardly the cell. At batch "
        f"{int(LARGEST_BATCH):,} the compiled call gives {_range(batch)} times as many digits a second."
    )
    onnx = [row for row in rows if row["axes"]["runtime"] == "onnxruntime"]
    yield table(
        ("ONNX Runtime", "ran", "latency, ratio to Keras", "reading", f"samples/s at {LARGEST_BATCH}, ratio to Keras"),
        (
            (
                TITLES[row["cell"]],
                ", ".join(row["inference"][0]["kernels_attested"]),
                interval(row["compiled_latency_over_keras"]),
                reading(row["compiled_latency_over_keras"], "faster", "slower"),
                figure(_throughput(_path(row, "compiled")) / _throughput(path)),
            )
            for row, path in zip(onnx, compiled, strict=True)
        ),
    )
    yield (
        "Ratios are to Keras's compiled call. Where a cell becomes a fused node in the exported graph, it is not like "
        "for like; the others stay loops there."
    )


def peers(read: Sequence[Json]) -> Iterator[str]:
    """Keras on its three backends beside torch's layers: training and latency."""
    yield f"## Leaving Keras\n\n{conditions('peers', read, SETTING)}"
    yield table(
        (
            *("backend", "runtime", "cell", "ran", "s/epoch", "ratio to Keras"),
            *("p50 ms predict", "p50 ms compiled", "ratio to Keras"),
        ),
        (
            (
                backend(section),
                _runtime(row),
                TITLES[row["cell"]],
                ", ".join(row["kernels_attested"]),
                figure(row["train_seconds"]["value"]),
                interval(row["train_seconds_over_keras"]),
                _milliseconds(row, "predict"),
                _milliseconds(row, "compiled"),
                interval(row["compiled_latency_over_keras"]),
            )
            for section in read
            for row in section["rows"]
        ),
    )
    seconds = {
        (backend(section), _runtime(row), row["cell"]): row["train_seconds"]["value"]
        for section in read
        for row in section["rows"]
    }
    fastest = [
        f"{TITLES[cell]} on {' with '.join(min((s, k[:2]) for k, s in seconds.items() if k[2] == cell)[1])}"
        for cell in ("simple_rnn", "lstm", "gru")
    ]
    predict = [
        f"{_range(_latency(_path(row, 'predict')) for row in section['rows'] if _runtime(row) == 'keras')} ms on "
        f"{backend(section)}"
        for section in read
    ]
    yield (
        f"The shortest median epochs: {', '.join(fastest)}. For a single digit `model.predict` takes "
        f"{', '.join(predict)}. Ratios are to Keras on the same backend."
    )


def _paths_table(rows: Sequence[Json]) -> str:
    return table(
        ("runtime", "cell", "call path", "ran", "p50 ms", "p99 ms", f"samples/s at {LARGEST_BATCH}"),
        (
            (
                row["axes"]["runtime"],
                TITLES[row["cell"]],
                f"`{path['entry']}`",
                ", ".join(path["kernels_attested"]),
                interval(path["p50_seconds"], 1e3),
                figure(1e3 * path["p99_seconds"]["value"]),
                figure(_throughput(path)),
            )
            for row in rows
            for path in row["inference"]
            if path["entry"] in SEQUENCE_PATHS
        ),
    )


def _runtime(row: Json) -> str:
    return str(row["axes"].get("runtime", "keras"))


def _path(row: Json, name: str) -> Json:
    (path,) = (path for path in row["inference"] if path["entry"] == name)
    return dict(path)


def _latency(path: Json) -> float:
    """Median milliseconds of a call at batch 1."""
    return 1e3 * float(path["p50_seconds"]["value"])


def _throughput(path: Json) -> float:
    return float(path["samples_per_second"][LARGEST_BATCH]["value"])


def _milliseconds(row: Json, name: str) -> str:
    """Median latency at batch 1; a dash where the runtime hasn't that call path."""
    paths = [path for path in row["inference"] if path["entry"] == name]
    return figure(_latency(paths[0])) if paths else "–"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _range(values: Iterable[float]) -> str:
    low, *_, high = sorted(values)
    return f"{figure(low)} to {figure(high)}"
