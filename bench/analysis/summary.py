"""Observations → the summary: sections of rows, a row for each configuration. Pure: no clock, no files, no printing.

Only runs with status `ok` enter a figure; the others are counted with their reasons. Every figure reads one phase, so
that times of different phases never meet. The process is the statistical unit: a run gives one figure, and intervals
come from runs, from pairs of runs, or, for accuracy and loss, from seeds.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.stats import (
    Estimate,
    Floats,
    RunFigure,
    mean_t,
    median_runs,
    paired_ratio,
    quantile_of_sorted,
    run_figure,
)
from bench.catalog.kernels import KERNELS
from bench.catalog.tasks import TASKS
from bench.core.axes import SETTING_FIELDS, varying
from bench.core.case import ENTRIES, Case, Status
from bench.core.errors import BenchError
from bench.store.ceilings import Bound, Limits, Shape, limits

NEEDED = (
    *("run_id", "campaign_id", "campaign_started_at", "started_at", "suite", "status", "error", "attempt"),
    *("block", "position", "program_version", "program_commit", "project_commit", "cells_digest"),
    *(f.name for f in fields(Case)),
    *("machine_fingerprint", "software_fingerprint", "machine_json", "software_json"),
    *("parameters", "forward_flops_per_sample", "training_flops_per_sample"),
    *("attested_kernel", "attestation_json", "data_digest", "rss_start_bytes", "peak_rss_bytes"),
    *("phase", "epoch", "seconds", "samples", "loss", "accuracy", "entry", "predict_batch"),
)
"""The columns of the store that `summarise` and whoever narrows its frame read: `load` them alone."""
CALLS = ("phase", "entry", "predict_batch", "seconds")
"""The columns that single calls of inference need, by far the most rows of a large store."""

REFERENCE_CELL = "simple_rnn"
"""The cell that training times are divided by."""

_CELLS_IN_ORDER = ("simple_rnn", "lstm", "gru")
_CASE_FIELDS = {f.name: f for f in fields(Case)}

# An accuracy is a count of test samples over their number; this near to a whole count, it is that one in float32.
_COUNT_TOLERANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class EntryRecord:
    """How one run's trained model answers through one entry."""

    p50_seconds: float | None
    """Of a call at batch 1, as are the other two."""
    p95_seconds: float | None
    p99_seconds: float | None
    samples_per_second: Mapping[int, float]
    """By batch, larger than 1: the batch over its median call."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What one run that ended `ok` gives to the summary. What was not measured, or is not finite, is None."""

    run_id: str
    campaign_id: str
    block: int
    seed: int
    repeat: int
    accuracy: float | None
    loss: float | None
    train_seconds: float | None
    """Of an epoch: the median over the steady epochs (from 2 on; epoch 1 where there is no other)."""
    samples_per_second: float | None
    first_epoch_seconds: float | None
    compile_seconds: float | None
    memory_bytes: int | None
    """Peak resident memory above what was resident before the model was built."""
    answers: Mapping[str, EntryRecord]
    """By entry of inference; empty where none was timed."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Runs of a row that enter no figure, and why."""

    status: str
    reason: str
    runs: int


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How a configuration answers through one entry: medians over its runs, each of which gives one figure."""

    entry: str
    """`predict` (`model.predict`), or `compiled` (the call that a service would use)."""
    kernels_attested: tuple[str, ...]
    """What ran in this entry; `a + b` where the first recurrent layer ran a and the second b."""
    p50_seconds: Estimate | None
    """Of a call at batch 1, as are the other two."""
    p95_seconds: Estimate | None
    p99_seconds: Estimate | None
    samples_per_second: Mapping[int, Estimate]
    """By batch, larger than 1."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration: its figures over all its runs. A figure that nothing was measured for is None."""

    configuration: Case
    axes: Mapping[str, Any]
    """The fields of the case that differ within the section, without the cell."""
    parameters: int | None
    accuracy: Estimate | None
    """On the test set: mean over seeds (a seed's repeats and campaigns averaged first); `n` counts seeds."""
    loss: Estimate | None
    train_seconds: Estimate | None
    """Of an epoch: median over runs; `n` counts runs."""
    first_epoch_only: bool
    samples_per_second: Estimate | None
    first_epoch_seconds: Estimate | None
    compile_seconds: Estimate | None
    ratio: Estimate | None
    """`train_seconds` over the reference cell's, all else equal, paired by campaign and block; 1 for the reference."""
    generic_ratio: Estimate | None
    """The same over the same cell's `generic` kernel: what this kernel gives; 1 for `generic` itself."""
    memory_bytes: Estimate | None
    answers: tuple[Answers, ...]
    """Inference, an entry each; empty where none was timed."""
    predict_ratio: Estimate | None
    """The median latency of `model.predict` over the compiled call's, paired by run."""
    keras_train_ratio: Estimate | None
    """`train_seconds` over those of Keras, all but the runtime equal, paired by campaign and block; None for Keras."""
    keras_answer_ratio: Estimate | None
    """The same of the compiled call's median latency."""
    limits: Limits | None
    """How near training comes to what this machine could do; None for a cell whose arithmetic is unknown."""
    kernels_attested: tuple[str, ...]
    """The kernels that ran in training and evaluation, by the evidence of the runs that ended ok; what was asked is
    `configuration.kernel`, and what answered is in `answers`."""
    runs: tuple[RunRecord, ...]
    left_out: tuple[LeftOut, ...]
    failed: tuple[RunRecord, ...]
    """The runs that enter no figure, whatever they still gave."""
    seeds_tried: int
    """With those of the runs left out."""

    @property
    def runs_tried(self) -> int:
        return len(self.runs) + sum(out.runs for out in self.left_out)

    @property
    def cell(self) -> str:
        return self.configuration.cell

    @property
    def seeds(self) -> int:
        return len({run.seed for run in self.runs})

    @property
    def irreproducible_seeds(self) -> int:
        """Seeds whose runs did not all give the same test loss: on one machine and kernel they should."""
        losses: dict[int, set[float]] = defaultdict(set)
        for run in self.runs:
            if run.loss is not None:
                losses[run.seed].add(run.loss)
        return sum(len(own) > 1 for own in losses.values())

    @property
    def setting(self) -> Case:
        """The configuration with the reference's cell: equal for rows that differ in the cell alone."""
        return replace(self.configuration, cell=REFERENCE_CELL)


@dataclass(frozen=True, kw_only=True)
class Section:
    """Rows that may be compared: one task and its data, one machine, one software."""

    task: str
    data_digest: str | None
    machine_fingerprint: str | None
    software_fingerprint: str | None
    cells_digest: str
    """Of the source of users' cells; empty where there are none. Two versions of a cell are two cells."""
    machine: Mapping[str, Any]
    software: Mapping[str, Any]
    commits: tuple[str, ...]
    """The program's commits that measured it."""
    shared: Mapping[str, Any]
    """The fields of the case that are the same in all rows."""
    axes: tuple[str, ...]
    """The fields that differ, without the cell."""
    rows: tuple[Row, ...]


Bounds = Mapping[tuple[Shape, str, str], Bound]
"""By shape, machine and software (`Bound.key`)."""


def summarise(
    frame: pd.DataFrame, calls: pd.DataFrame | None = None, *, bounds: Bounds = MappingProxyType({})
) -> tuple[Section, ...]:
    """The sections of a frame of observations, ordered by task, machine and software; none for an empty frame.

    Args:
        frame: observations, each run with one row at least.
        calls: the calls of inference (`CALLS`), where they are kept apart; else they are among the observations.
        bounds: what was measured of how fast the machines could be; where there are none, shares of them are None.
    """
    if frame.empty:
        return ()
    facts = frame.drop_duplicates("run_id").astype(object)
    facts = facts.where(facts.notna(), None)
    figures = _figures_of_runs(frame, frame if calls is None else calls)
    runs = [_Run(row, figures) for row in facts.to_dict("records")]
    sections = defaultdict(list)
    for run, key in zip(runs, _section_keys(runs), strict=True):
        sections[key].append(run)
    return tuple(
        _section(key, sections[key], bounds) for key in sorted(sections, key=lambda key: [part or "" for part in key])
    )


_SectionKey = tuple[str, str | None, str | None, str | None, str]


class _Run:
    """A run's facts, and its record where it ended ok."""

    def __init__(self, facts: Mapping[Any, Any], figures: _Figures) -> None:
        self.facts = facts
        case = Case(**{name: _like(f.default, facts[name]) for name, f in _CASE_FIELDS.items()})
        self.configuration = case.configuration
        self.status = str(facts["status"])
        run_id = str(facts["run_id"])
        start, peak = facts["rss_start_bytes"], facts["peak_rss_bytes"]
        train = figures.train.get(run_id)
        self.first_epoch_only = train is not None and train.first_epoch_only
        speed = figures.speed.get(run_id)
        evidence = _object(facts.get("attestation_json"))
        self.answer_kernels = _answer_kernels(evidence)
        self.kernel = _training_kernel(evidence, facts["attested_kernel"])
        self.record = RunRecord(
            run_id=run_id,
            campaign_id=str(facts["campaign_id"]),
            block=int(facts["block"]),
            seed=int(facts["seed"]),
            repeat=int(facts["repeat"]),
            accuracy=_finite(figures.accuracy.get(run_id)),
            loss=_finite(figures.loss.get(run_id)),
            train_seconds=_finite(train.value if train else None),
            samples_per_second=_finite(speed.value if speed else None),
            first_epoch_seconds=_finite(figures.first_epoch.get(run_id)),
            compile_seconds=_finite(figures.compile.get(run_id)),
            memory_bytes=None if start is None or peak is None else int(peak) - int(start),
            answers=figures.answers.get(run_id, {}),
        )


@dataclass(frozen=True)
class _Figures:
    """By run id."""

    accuracy: dict[str, float]
    loss: dict[str, float]
    compile: dict[str, float]
    first_epoch: dict[str, float]
    train: dict[str, RunFigure]
    speed: dict[str, RunFigure]
    answers: dict[str, dict[str, EntryRecord]]


def _figures_of_runs(frame: pd.DataFrame, calls: pd.DataFrame) -> _Figures:
    evaluate = _of_phase(frame, "evaluate")
    train = _of_phase(frame, "train").dropna(subset=["epoch"])
    seconds: dict[str, list[tuple[int, float]]] = defaultdict(list)
    speed: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for run_id, epoch, took, samples in train[["run_id", "epoch", "seconds", "samples"]].itertuples(index=False):
        seconds[run_id].append((int(epoch), took))
        speed[run_id].append((int(epoch), samples / took if took > 0 else math.nan))
    compiled: dict[str, float] = defaultdict(float)
    for run_id, took in _of_phase(frame, "compile")[["run_id", "seconds"]].itertuples(index=False):
        compiled[run_id] += took
    return _Figures(
        accuracy=dict(zip(evaluate["run_id"], map(_counted, evaluate["accuracy"], evaluate["samples"]), strict=True)),
        loss=dict(zip(evaluate["run_id"], evaluate["loss"], strict=True)),
        compile=compiled,
        first_epoch={run_id: took for run_id, epochs in seconds.items() for epoch, took in epochs if epoch == 1},
        train={run_id: _run_figure(epochs) for run_id, epochs in seconds.items()},
        speed={run_id: _run_figure(epochs) for run_id, epochs in speed.items()},
        answers=_answers_of_runs(calls),
    )


def _answers_of_runs(frame: pd.DataFrame) -> dict[str, dict[str, EntryRecord]]:
    """By run id and entry."""
    if "entry" not in frame:
        return {}
    calls = frame.loc[
        (frame["phase"] == "predict") & frame["entry"].notna(), ["run_id", "entry", "predict_batch", "seconds"]
    ]
    kept = calls[np.isfinite(calls["seconds"].astype("float64"))]
    # a group each for run, entry and batch, sorted by time within: a large store has a million calls
    keys: list[Any] = [
        kept["run_id"].astype("category"),
        kept["entry"].astype("category"),
        kept["predict_batch"].astype(int),
    ]
    run, entry, batch = keys[0].cat.codes.to_numpy(), keys[1].cat.codes.to_numpy(), keys[2].to_numpy()
    seconds = kept["seconds"].to_numpy("float64")
    order = np.lexsort((seconds, batch, entry, run))
    run, entry, batch, seconds = run[order], entry[order], batch[order], seconds[order]
    changes = (np.diff(run) != 0) | (np.diff(entry) != 0) | (np.diff(batch) != 0)
    bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(seconds)] if len(seconds) else [0]
    runs, entries = keys[0].cat.categories, keys[1].cat.categories
    taken: dict[tuple[str, str], dict[int, Floats]] = defaultdict(dict)
    for start, stop in itertools.pairwise(bounds):
        taken[str(runs[run[start]]), str(entries[entry[start]])][int(batch[start])] = seconds[start:stop]
    found: dict[str, dict[str, EntryRecord]] = defaultdict(dict)
    for (run_id, name), batches in taken.items():
        p50, p95, p99 = (quantile_of_sorted(batches.get(1, seconds[:0]), at) for at in (0.5, 0.95, 0.99))
        medians = {size: quantile_of_sorted(own, 0.5) for size, own in batches.items() if size != 1}
        found[run_id][name] = EntryRecord(
            p50_seconds=_finite(p50),
            p95_seconds=_finite(p95),
            p99_seconds=_finite(p99),
            samples_per_second={size: size / median for size, median in medians.items() if median > 0},
        )
    return found


def _training_kernel(evidence: Mapping[str, Any], attested: object) -> str | None:
    """What ran in training and evaluation, where the inference after it ran something else (ONNX Runtime)."""
    if attested is None:
        return None
    phases = [layers for phase, layers in evidence.items() if phase not in ENTRIES]
    kernels = {str(layer["kernel"]) for layers in phases for layer in layers.values()}
    return kernels.pop() if len(kernels) == 1 else str(attested)


def _answer_kernels(evidence: Mapping[str, Any]) -> dict[str, str]:
    """By entry of inference: what ran in it, the recurrent layers in their order."""
    kernels = {
        entry: [str(evidence[entry][layer]["kernel"]) for layer in sorted(evidence[entry])]
        for entry in ENTRIES
        if entry in evidence
    }
    return {entry: own[0] if len(set(own)) == 1 else " + ".join(own) for entry, own in kernels.items()}


def _of_phase(frame: pd.DataFrame, phase: str) -> pd.DataFrame:
    part = frame.loc[frame["phase"] == phase, ["run_id", "epoch", "seconds", "samples", "loss", "accuracy"]]
    numbers: pd.DataFrame = part.drop(columns="run_id").apply(pd.to_numeric).astype("float64")
    numbers["run_id"] = part["run_id"].astype(str)
    return numbers


def _run_figure(epochs: Iterable[tuple[int, float]]) -> RunFigure:
    numbers, values = zip(*epochs, strict=True)
    return run_figure(numbers, values)


def _section_keys(runs: Sequence[_Run]) -> list[_SectionKey]:
    """Task, data, machine, software, users' cells.

    A run that failed before it read the data belongs with the others of its task.
    """
    facts = [run.facts for run in runs]
    apart = [(str(f["task"]), f["machine_fingerprint"], f["software_fingerprint"]) for f in facts]
    digests: dict[object, str] = {}
    for where, f in zip(apart, facts, strict=True):
        if f["data_digest"] is not None:
            digests.setdefault(where, f["data_digest"])
    return [
        (
            task,
            f["data_digest"] or digests.get((task, machine, software)),
            machine,
            software,
            str(f.get("cells_digest") or ""),
        )
        for (task, machine, software), f in zip(apart, facts, strict=True)
    ]


def _section(key: _SectionKey, runs: Sequence[_Run], bounds: Bounds) -> Section:
    by_configuration: dict[Case, list[_Run]] = defaultdict(list)
    for run in runs:
        by_configuration[run.configuration].append(run)
    axes = varying(by_configuration)
    some = next(iter(by_configuration))
    rows = [_row(case, own, axes) for case, own in by_configuration.items()]
    references = {row.setting: row for row in rows if row.cell == REFERENCE_CELL}
    rows = [replace(row, ratio=_ratio(row, references.get(row.setting))) for row in rows]
    same = {row.configuration: row for row in rows}
    rows = [
        replace(row, generic_ratio=_ratio(row, same.get(replace(row.configuration, kernel="generic")))) for row in rows
    ]
    rows = [replace(row, limits=_limits(row, by_configuration[row.configuration], bounds)) for row in rows]
    keras = {row.configuration: row for row in rows}
    rows = [_against_keras(row, keras) for row in rows]
    task, data_digest, machine, software, cells_digest = key
    return Section(
        task=task,
        data_digest=data_digest,
        machine_fingerprint=machine,
        software_fingerprint=software,
        cells_digest=cells_digest,
        machine=_object(runs[0].facts["machine_json"]),
        software=_object(runs[0].facts["software_json"]),
        commits=tuple(sorted({str(run.facts["program_commit"]) for run in runs if run.facts["program_commit"]})),
        shared={name: getattr(some, name) for name in SETTING_FIELDS if name not in axes},
        axes=axes,
        rows=tuple(sorted(rows, key=_row_order)),
    )


def _limits(row: Row, runs: Sequence[_Run], bounds: Bounds) -> Limits | None:
    task, speed = TASKS.get(row.configuration.task), row.samples_per_second
    facts = next((run.facts for run in runs if run.facts.get("training_flops_per_sample") is not None), None)
    if task is None or speed is None or facts is None:
        return None
    try:
        shape = Shape.of(row.configuration, task)
    except BenchError:  # a user's cell that isn't here
        shape = None
    where = (str(facts["machine_fingerprint"]), str(facts["software_fingerprint"]))
    return limits(
        samples_per_second=speed.value,
        forward_flops=float(facts["forward_flops_per_sample"]),
        training_flops=float(facts["training_flops_per_sample"]),
        batch_size=row.configuration.batch_size,
        steps=task.steps,
        bound=bounds.get((shape, *where)) if shape else None,
    )


def _row(configuration: Case, runs: Sequence[_Run], axes: Sequence[str]) -> Row:
    good = [run for run in runs if run.status == Status.OK]
    records = _in_order(run.record for run in good)
    parameters = [run.facts["parameters"] for run in [*good, *runs] if run.facts["parameters"] is not None]
    reasons = Counter((run.status, _reason(run)) for run in runs if run.status != Status.OK)
    return Row(
        configuration=configuration,
        axes={name: getattr(configuration, name) for name in axes},
        parameters=int(parameters[0]) if parameters else None,
        accuracy=_known(mean_t(by_seed(records, lambda r: r.accuracy).values())),
        loss=_known(mean_t(by_seed(records, lambda r: r.loss).values())),
        train_seconds=_median(r.train_seconds for r in records),
        first_epoch_only=any(run.first_epoch_only for run in good),
        samples_per_second=_median(r.samples_per_second for r in records),
        first_epoch_seconds=_median(r.first_epoch_seconds for r in records),
        compile_seconds=_median(r.compile_seconds for r in records),
        ratio=None,
        generic_ratio=None,
        memory_bytes=_median(r.memory_bytes for r in records),
        answers=_answers(good),
        predict_ratio=_known(paired_ratio(*_latencies_of_both(records))),
        limits=None,
        keras_train_ratio=None,
        keras_answer_ratio=None,
        kernels_attested=tuple(sorted({run.kernel for run in good if run.kernel is not None})),
        runs=records,
        left_out=tuple(
            LeftOut(status=status, reason=reason, runs=count) for (status, reason), count in sorted(reasons.items())
        ),
        failed=_in_order(run.record for run in runs if run.status != Status.OK),
        seeds_tried=len({run.record.seed for run in runs}),
    )


def _answers(runs: Sequence[_Run]) -> tuple[Answers, ...]:
    found = []
    for entry in ENTRIES:
        own = [run.record.answers[entry] for run in runs if entry in run.record.answers]
        if not own:
            continue
        batches = sorted({batch for one in own for batch in one.samples_per_second})
        speeds = {batch: _median(one.samples_per_second.get(batch) for one in own) for batch in batches}
        found.append(
            Answers(
                entry=entry,
                kernels_attested=tuple(
                    sorted({run.answer_kernels[entry] for run in runs if entry in run.answer_kernels})
                ),
                p50_seconds=_median(one.p50_seconds for one in own),
                p95_seconds=_median(one.p95_seconds for one in own),
                p99_seconds=_median(one.p99_seconds for one in own),
                samples_per_second={batch: speed for batch, speed in speeds.items() if speed},
            )
        )
    return tuple(found)


def _latency(run: RunRecord, entry: str = "compiled") -> float | None:
    return run.answers[entry].p50_seconds if entry in run.answers else None


def _latencies_of_both(runs: Iterable[RunRecord]) -> tuple[list[float], list[float]]:
    pairs = [(_latency(run, "predict"), _latency(run)) for run in runs]
    known = [(slow, fast) for slow, fast in pairs if slow is not None and fast is not None]
    return [slow for slow, _ in known], [fast for _, fast in known]


def _in_order(records: Iterable[RunRecord]) -> tuple[RunRecord, ...]:
    return tuple(sorted(records, key=lambda record: (record.campaign_id, record.block, record.run_id)))


def by_seed(runs: Iterable[RunRecord], figure: Callable[[RunRecord], float | None]) -> dict[int, float]:
    """A figure for each seed, averaged over the seed's repeats and campaigns; seeds without one are not in it."""
    values: dict[int, list[float]] = defaultdict(list)
    for run in runs:
        if (value := figure(run)) is not None:
            values[run.seed].append(value)
    return {seed: math.fsum(own) / len(own) for seed, own in sorted(values.items())}


def paired_train_seconds(new: Row, base: Row) -> tuple[list[float], list[float]]:
    """The training seconds of both rows, for the blocks (of the same campaign) in which both have a run."""
    return _paired(new, base, lambda run: run.train_seconds)


def _paired(new: Row, base: Row, figure: Callable[[RunRecord], float | None]) -> tuple[list[float], list[float]]:
    ours, theirs = (
        {(run.campaign_id, run.block): value for run in row.runs if (value := figure(run)) is not None}
        for row in (new, base)
    )
    blocks = sorted(ours.keys() & theirs.keys())
    return [ours[block] for block in blocks], [theirs[block] for block in blocks]


def _ratio(row: Row, reference: Row | None) -> Estimate | None:
    if reference is None or row.train_seconds is None:
        return None
    if row.configuration == reference.configuration:
        return Estimate(1.0, None, row.train_seconds.n)
    return _known(paired_ratio(*paired_train_seconds(row, reference)))


def _against_keras(row: Row, rows: Mapping[Case, Row]) -> Row:
    keras = rows.get(replace(row.configuration, runtime="keras"))
    if keras is None or keras is row:
        return row
    return replace(
        row,
        keras_train_ratio=_known(paired_ratio(*paired_train_seconds(row, keras))),
        keras_answer_ratio=_known(paired_ratio(*_paired(row, keras, _latency))),
    )


def _reason(run: _Run) -> str:
    asked, ran = run.configuration.kernel, run.facts["attested_kernel"]
    if run.status == Status.INVALID and ran not in (None, "mixed", asked) and asked != "auto":
        return f"asked {asked}, ran {ran}"
    lines = [line.strip() for line in str(run.facts["error"] or "").splitlines() if line.strip()]
    if not lines:
        return "no reason recorded"
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def _row_order(row: Row) -> tuple[Any, ...]:
    known = row.cell in _CELLS_IN_ORDER
    kernels = list(KERNELS)
    axes = (kernels.index(value) if name == "kernel" else value for name, value in row.axes.items())
    return (*axes, not known, _CELLS_IN_ORDER.index(row.cell) if known else 0, row.cell)


def _median(values: Iterable[float | None]) -> Estimate | None:
    return _known(median_runs(value for value in values if value is not None))


def _known(estimate: Estimate) -> Estimate | None:
    return estimate if estimate.n else None


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _counted(accuracy: float, samples: float) -> float:
    """The accuracy without float32's rounding, which would pass for a spread between seeds that are equal."""
    correct = accuracy * samples
    near = math.isfinite(correct) and samples > 0 and abs(correct - round(correct)) < _COUNT_TOLERANCE
    return round(correct) / samples if near else accuracy


def _like(default: object, value: Any) -> Any:
    """The value as the case's field holds it: frames turn numbers into numpy's, and strings into categories."""
    return type(default)(value) if isinstance(default, (int, float)) else str(value)


def _object(text: object) -> dict[str, Any]:
    """A JSON object out of the store, or an empty one: a table without a machine's name is better than none."""
    try:
        value = json.loads(str(text))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
