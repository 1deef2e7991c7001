"""What the table says of inference, and of what leaving Keras gives, in words and figures: no layout."""

from __future__ import annotations

from collections.abc import Iterator

from bench.analysis.rows import InferenceFigures, Row
from bench.analysis.stats import Estimate
from bench.analysis.summary import Section
from bench.report.values import NONE, Grid, clean, ranged

NOTE = (
    "Inference, of the trained model, from inputs in NumPy's memory to outputs there: predict is Keras's "
    "model.predict; compiled is the call that a service would use (tf.function, jax.jit, torch's inference mode, an "
    "ONNX session). p50, p95, p99: of a call at batch 1, each run's, then the median over runs, its interval as of "
    "s/epoch. samples/s: the batch over the run's median call, median over runs."
)


def inference_grid(section: Section, *, stacked: bool) -> Grid | None:
    """A row for each configuration and entry; None where no inference was timed.

    Args:
        section: what was measured.
        stacked: two lines a row, to fit 80 columns.
    """
    timed = [(row, answers) for row in section.rows for answers in row.answers]
    if not timed:
        return None
    batches = sorted({batch for _, answers in timed for batch in answers.samples_per_second})
    names = [name for name in section.axes if name != "kernel"]
    heads = ["\n".join(["cell", *names]), "entry\nran"] if stacked else ["cell", *names, "entry", "ran"]
    aligned = [(head, True) for head in heads]
    aligned += [(f"{name}\nms" if stacked else f"{name} ms", False) for name in ("p50", "p95", "p99")]
    aligned += [(f"samples/s\nat {batch}" if stacked else f"samples/s at {batch}", False) for batch in batches]
    return Grid(tuple(aligned), tuple(tuple(_cells(*one, batches, names, stacked)) for one in timed))


def _cells(row: Row, answers: InferenceFigures, batches: list[int], names: list[str], stacked: bool) -> Iterator[str]:
    who = [clean(row.cell), *(clean(str(row.axes[name])) for name in names)]
    how = [answers.entry, clean(", ".join(answers.kernels_attested)) or NONE]
    yield from ("\n".join(who), "\n".join(how)) if stacked else (*who, *how)
    value, interval = ranged(_milli(answers.p50_seconds))
    yield "\n".join((value, interval)) if stacked else f"{value} ({interval})" if interval else value
    for estimate in (answers.p95_seconds, answers.p99_seconds):
        yield ranged(_milli(estimate))[0]
    for batch in batches:
        speed = answers.samples_per_second.get(batch)
        yield f"{float(f'{speed.value:.3g}'):,.0f}" if speed else NONE


def _milli(seconds: Estimate | None) -> Estimate | None:
    return seconds and seconds.scaled(1000)


def findings(section: Section) -> list[str]:
    """What differs that people don't expect: `model.predict` from the compiled call, another runtime from Keras."""
    found = []
    for row in section.rows:
        if row.predict_ratio:
            found.append(
                f"{label(row)}: model.predict takes {_times(row.predict_ratio, 'runs')} the compiled call's time at "
                f"batch 1."
            )
        runtime = row.configuration.runtime
        if row.keras_answer_ratio:
            kernels = next((", ".join(own.kernels_attested) for own in row.answers if own.entry == "compiled"), "")
            found.append(
                f"{label(row)}: answers in {_times(row.keras_answer_ratio, 'blocks')} the time of Keras's "
                f"compiled call at batch 1; it ran {clean(kernels) or 'an unknown kernel'}."
            )
        if row.keras_train_ratio and runtime != "onnxruntime":  # there it is Keras that trains
            kernels = ", ".join(row.kernels_attested)
            found.append(
                f"{label(row)}: trains an epoch in {_times(row.keras_train_ratio, 'blocks')} Keras's time; "
                f"it ran {clean(kernels) or 'an unknown kernel'}."
            )
    return found


def _times(ratio: Estimate, unit: str) -> str:
    value, interval = ranged(ratio)
    of = f"{ratio.n} {unit if ratio.n > 1 else unit.removesuffix('s')}"
    return f"{value} × (95 % {interval}, {of})" if interval else f"{value} × ({of})"


def label(row: Row) -> str:
    """How notes name a row: its cell, its kernel where one was asked for, and what else differs in its section."""
    kernel = [row.configuration.kernel] if row.configuration.kernel != "auto" else []
    axes = [f"{name}={value}" for name, value in row.axes.items() if name != "kernel"]
    return clean(" × ".join([row.cell, *kernel, *axes]))
