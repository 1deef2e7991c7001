"""Inference of the trained models, by call path, and what of it people don't expect."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from bench.analysis.rows import InferenceFigures, Row
from bench.analysis.stats import Estimate
from bench.analysis.summary import Section
from bench.catalog.cells import BUILT_IN
from bench.catalog.runtimes import EXPORTED
from bench.catalog.streaming import NO_SINGLE_STEP, streaming_refusal
from bench.core.case import written
from bench.core.metric import SEQUENCE_PATHS, STREAMING, FromCallMemory, FromCalls, Metric, TableColumn
from bench.core.metrics import METRICS
from bench.report.document import Column, Table
from bench.report.values import NONE, broken, figure_in, ranged, row_label, together

INFERENCE_NOTE = (
    "Inference, of the trained model, from inputs in NumPy's memory to outputs there: predict is Keras's "
    "model.predict; compiled is the call that a service would use (tf.function, jax.jit, torch's inference mode, an "
    "ONNX session). p50, p95, p99: of a call at batch 1, each run's, then the median over runs, its interval as of "
    "s/epoch. samples/s: the batch over the run's median call, median over runs."
)

STREAMING_NOTE = (
    "Streaming: a call is a step of each sequence, the network's state carried from call to call, its outputs at every "
    "step checked against whole sequences. Keras's layers have their cells called by hand (in tf.function, jax.jit, or "
    "torch's inference mode), torch.nn's get sequences of one step, and an exported network has the states as inputs "
    "and outputs. steps/s: the batch over the run's median call. Beside it stands running the window anew at each "
    "step, which is the compiled call."
)

_LEAST_GROWTH_BYTES = 100_000
"""The least growth over 1,000 calls that is remarked: 100 bytes a call, which an allocator's own books may take."""


def inference_table(section: Section) -> Table:
    """A row for each configuration and call path of whole sequences; without rows where no inference was timed."""
    timed = [(row, figures) for row in section.rows for figures in row.inference if figures.call_path != STREAMING]
    return _table(section, timed, "No inference was timed: the suite has latency_calls = 0.")


def streaming_table(section: Section) -> Table:
    """A row for each configuration that was streamed; without rows where none was."""
    timed = [(row, figures) for row in section.rows for figures in row.inference if figures.call_path == STREAMING]
    return _table(
        section, timed, "Nothing was streamed: the suite has latency_calls = 0, or its networks can't stream."
    )


def _table(section: Section, timed: Sequence[tuple[Row, InferenceFigures]], empty: str) -> Table:
    axes = [name for name in section.axes if name != "kernel"]
    columns = list(_columns([figures for _, figures in timed]))
    heads = [f"{column.heading} at {batch}" if batch else column.heading for _, column, batch in columns]
    rows, narrow_rows = [], []
    for row, figures in timed:
        who = (row.cell, *(written(row.axes[name]) for name in axes))
        how = (figures.call_path, ", ".join(figures.kernels_attested) or NONE)
        shown = [figure_in(_estimate(figures, metric, batch), column) for metric, column, batch in columns]
        rows.append((*who, *how, *(together(*figure) for figure in shown)))
        narrow_rows.append((who, how, *(figure if figure[1] else figure[0] for figure in shown)))
    return Table(
        columns=(
            *(Column(head) for head in ("cell", *axes, "call path", "ran")),
            *(Column(head, left=False) for head in heads),
        ),
        rows=tuple(rows),
        empty=empty,
        narrow=Table(
            columns=(
                Column(("cell", *axes)),
                Column(("call path", "ran")),
                *(Column(broken(head), left=False) for head in heads),
            ),
            rows=tuple(narrow_rows),
        ),
    )


def _columns(timed: Sequence[InferenceFigures]) -> Iterator[tuple[Metric, TableColumn, int]]:
    """The metrics of these call paths in the order of their columns, one a batch where they have batches; else it is
    0."""
    paths = {figures.call_path for figures in timed} or set(SEQUENCE_PATHS)
    shown = [
        (metric, metric.column)
        for metric in METRICS.values()
        if metric.of_calls and metric.column and any(metric.is_of(path) for path in paths)
    ]
    for metric, column in sorted(shown, key=lambda pair: pair[1].position):
        if isinstance(metric.source, FromCalls) and metric.source.by_batch:
            batches = {batch for figures in timed for batch in figures.by_batch.get(metric.name, ())}
            yield from ((metric, column, batch) for batch in sorted(batches))
        elif column.always or any(metric.name in figures.estimates for figures in timed):
            yield metric, column, 0


def _estimate(figures: InferenceFigures, metric: Metric, batch: int) -> Estimate | None:
    return figures.by_batch.get(metric.name, {}).get(batch) if batch else figures.estimates.get(metric.name)


def streaming_notes(section: Section) -> list[str]:
    """How streaming was timed, what it gives beside running the window anew, and which networks were left out of it."""
    timed = [row for row in section.rows if row.inference]
    streamed = [row for row in timed if any(figures.call_path == STREAMING for figures in row.inference)]
    without = defaultdict(list)
    for row in timed:
        if row not in streamed and (reason := streaming_refusal(row.configuration) or _no_step(row, streamed)):
            without[reason].append(row_label(row))
    return [
        *([STREAMING_NOTE] if streamed else []),
        *(_window_finding(row, row.window_ratio) for row in streamed if row.window_ratio),
        *(f"{', '.join(labels)}: not streamed, because {reason}." for reason, labels in without.items()),
    ]


def _no_step(row: Row, streamed: Sequence[Row]) -> str | None:
    """The reason that is known once a user's cell was made; nothing of runs from before there was streaming."""
    return NO_SINGLE_STEP if streamed and row.cell not in BUILT_IN else None


def _window_finding(row: Row, ratio: Estimate) -> str:
    name, times = row_label(row), _times(ratio, "runs")
    window = f"the window of {row.task.steps} steps" if row.task else "the whole window"
    if ratio.value < 1:
        return f"{name}: streaming saves nothing: running {window} anew takes {times} a step's time at batch 1."
    return f"{name}: streaming is {times} cheaper a step, at batch 1, than running {window} anew."


def inference_findings(section: Section) -> list[str]:
    """What differs that people don't expect: `model.predict` from the compiled call, another runtime from Keras."""
    findings = []
    for row in section.rows:
        name = row_label(row)
        if row.predict_ratio:
            findings.append(
                f"{name}: model.predict takes {_times(row.predict_ratio, 'runs')} the compiled call's time at batch 1."
            )
        if row.keras_latency_ratio:
            compiled = (figures for figures in row.inference if figures.call_path == "compiled")
            kernels = ", ".join(kernel for figures in compiled for kernel in figures.kernels_attested)
            times = _times(row.keras_latency_ratio, "blocks")
            findings.append(
                f"{name}: inference takes {times} the time of Keras's compiled call at batch 1; it ran "
                f"{kernels or 'an unknown kernel'}."
            )
        if row.keras_train_ratio and row.configuration.runtime not in EXPORTED:  # there it is Keras that trains
            findings.append(
                f"{name}: trains an epoch in {_times(row.keras_train_ratio, 'blocks')} Keras's time; "
                f"it ran {', '.join(row.kernels_attested) or 'an unknown kernel'}."
            )
        for figures in row.inference:
            findings += [f"{name}: {growth}" for growth in _memory_growth(figures)]
    return [*findings, *streaming_notes(section)]


def _memory_growth(figures: InferenceFigures) -> Iterator[str]:
    """Where memory clearly grows with the calls."""
    for metric in METRICS.values():
        grown = figures.estimates.get(metric.name)
        if not isinstance(metric.source, FromCallMemory) or not metric.column or not grown or not grown.interval:
            continue
        if grown.interval.low > _LEAST_GROWTH_BYTES:
            value, interval = figure_in(grown, metric.column)
            yield (
                f"{metric.title} of {figures.call_path}: {value} MB (95 % {interval}, {grown.n} runs; the median over "
                "a run's series of calls at batch 1). It leaks, or fills a cache."
            )


def _times(ratio: Estimate, unit: str) -> str:
    value, interval = ranged(ratio)
    of = f"{ratio.n} {unit if ratio.n > 1 else unit.removesuffix('s')}"
    return f"{value} × (95 % {interval}, {of})" if interval else f"{value} × ({of})"
