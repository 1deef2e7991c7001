"""Runs of a section → its rows: a configuration's figures over its runs, with their intervals. Pure.

Intervals come from runs, from pairs of runs, or, for accuracy and loss, from seeds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from bench.analysis import pairing
from bench.analysis.interleaved_figures import InterleavedFigures
from bench.analysis.pairing import FigureOfRun, by_seed, paired, train_seconds
from bench.analysis.records import MeasuredRun, RunRecord, in_order
from bench.analysis.roofline import Efficiency, efficiency
from bench.analysis.stats import CONFIDENCE, Estimate, mean_t, median_runs, paired_ratio
from bench.catalog import networks, tasks
from bench.catalog.cells import BUILT_IN, REFERENCE_CELL
from bench.catalog.kernels import KERNELS
from bench.catalog.networks import NETWORKS
from bench.catalog.tasks import Task
from bench.core.axes import SETTING_FIELDS
from bench.core.case import Case
from bench.core.errors import BenchError
from bench.core.metric import Metric
from bench.core.metrics import METRICS
from bench.core.observation import CALL_PATHS
from bench.store.ceilings import Ceilings, CeilingsKey, ProductShape

KnownCeilings = Mapping[CeilingsKey, Ceilings]
"""By shape, machine and software (`Ceilings.key`)."""

_CELLS_IN_ORDER = ("simple_rnn", "lstm", "gru")


@dataclass(frozen=True, kw_only=True)
class ExcludedRuns:
    """Runs of a row that enter no figure, and why."""

    status: str
    reason: str
    runs: int


@dataclass(frozen=True, kw_only=True)
class InferenceFigures:
    """The figures of a configuration, called through one call path: medians over its runs, each of which gives one."""

    call_path: str
    """`predict` (`model.predict`), `compiled` (the call that a service would use), or `streaming` (a step a call)."""
    kernels_attested: tuple[str, ...]
    """What ran in this call path; `a + b` where the first recurrent layer ran a and the second b."""
    estimates: Mapping[str, Estimate]
    """By metric: of calls at batch 1."""
    by_batch: Mapping[str, Mapping[int, Estimate]]
    """By metric, and by batch larger than 1."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration: its figures over all its runs. What was not measured is None, or in no mapping."""

    configuration: Case
    task: Task | None
    """Its task, sized for it; None where it is neither known here nor described in the store."""
    axes: Mapping[str, Any]
    """The fields of the case that differ within the section, without the cell."""
    parameters: int | None
    estimates: Mapping[str, Estimate]
    """By metric, of those that a run has once. Of a quality, on the test set, it is the mean over seeds (a seed's
    repeats and campaigns averaged first), and `n` counts seeds; of all others the median over runs, and `n` counts
    runs."""
    inference: tuple[InferenceFigures, ...]
    """A call path each; empty where none was timed."""
    first_epoch_only: bool
    """Some run had one epoch, which is not a steady one."""
    ratio: Estimate | None
    """`train_seconds` over the reference cell's, all else equal, paired by campaign and block; 1 for the reference."""
    generic_ratio: Estimate | None
    """`train_seconds` over those of the same cell's `generic` kernel, paired likewise; 1 for `generic` itself."""
    predict_ratio: Estimate | None
    """The median latency of `model.predict` over the compiled call's, paired by run."""
    window_ratio: Estimate | None
    """The median latency of the compiled call, which reads all steps, over that of a streaming step, paired by run."""
    keras_train_ratio: Estimate | None
    """`train_seconds` over those of Keras, all but the runtime equal, paired by campaign and block; None for Keras."""
    keras_latency_ratio: Estimate | None
    """The compiled call's median latency over that of Keras, paired likewise; None for Keras."""
    efficiency: Efficiency | None
    """How near training comes to what this machine could do; None for a cell whose arithmetic is unknown."""
    kernels_attested: tuple[str, ...]
    """The kernels that ran in training and evaluation, by the evidence of the runs that ended ok; what was asked is
    `configuration.kernel`, and what ran in inference is in `inference`."""
    runs: tuple[RunRecord, ...]
    """Those that ended ok, by campaign and block."""
    excluded: tuple[ExcludedRuns, ...]
    failed: tuple[RunRecord, ...]
    """The runs that enter no figure, whatever they still gave."""
    seeds_tried: int
    """Seeds with those of the runs excluded."""
    joined: tuple[str, ...] = ()
    """What differs from row to row, and they are compared all the same (`bench.analysis.joining`)."""
    interleaved: InterleavedFigures | None = None
    """Its figures from the interleaved measurement that a campaign of its runs ended with."""

    @property
    def runs_tried(self) -> int:
        """All its runs, however they ended."""
        return len(self.runs) + len(self.failed)

    @property
    def cell(self) -> str:
        """The configuration's recurrent cell."""
        return self.configuration.cell

    @property
    def seeds(self) -> int:
        """The number of seeds of the runs that ended ok."""
        return len({run.seed for run in self.runs})

    @property
    def irreproducible_seeds(self) -> int:
        """Seeds whose runs did not all give the same test loss: on one machine and kernel they should."""
        losses: dict[int, set[float]] = defaultdict(set)
        for run in self.runs:
            if (loss := run.figure("loss")) is not None:
                losses[run.seed].add(loss)
        return sum(len(of_seed) > 1 for of_seed in losses.values())

    @property
    def intervals(self) -> int:
        """How many intervals a table shows of it, without those of an interleaved measurement."""
        shown = {name for name, metric in METRICS.items() if metric.column and metric.column.interval != "none"}
        estimates = [
            *(estimate for name, estimate in self.estimates.items() if name in shown),
            *(each for figures in self.inference for name, each in figures.estimates.items() if name in shown),
            *(
                each
                for figures in self.inference
                for name, batches in figures.by_batch.items()
                if name in shown
                for each in batches.values()
            ),
            *(self.ratio, self.generic_ratio),
        ]
        return sum(estimate is not None and estimate.interval is not None for estimate in estimates)

    @property
    def setting(self) -> Case:
        """The configuration with the reference's cell: equal for rows that differ in the cell alone."""
        return replace(self.configuration, cell=REFERENCE_CELL)


def make_rows(
    runs: Sequence[MeasuredRun],
    axes: Sequence[str],
    ceilings: KnownCeilings,
    joined: tuple[str, ...] = (),
    confidence: float = CONFIDENCE,
) -> tuple[Row, ...]:
    """The rows of one section, by axes and cell.

    Args:
        runs: all runs of the section.
        axes: the fields of the case in which they differ, without the cell.
        ceilings: those measured of the machines.
        joined: what may differ from row to row, and they are compared all the same.
        confidence: the coverage of each interval that a table shows.
    """
    by_configuration: dict[Case, list[MeasuredRun]] = defaultdict(list)
    for run in runs:
        by_configuration[run.configuration].append(run)
    records = {case: in_order(run.record for run in tried if run.ok) for case, tried in by_configuration.items()}
    rows = [_row(case, tried, records, axes, ceilings, joined, confidence) for case, tried in by_configuration.items()]
    return tuple(sorted(rows, key=_row_order))


def paired_train_seconds(new: Row, base: Row) -> tuple[list[float], list[float]]:
    """The training seconds of both rows, aligned block by block (`bench.analysis.pairing.paired`)."""
    return paired(new.runs, base.runs, train_seconds)


def ratio_between(new: Row, base: Row, figure: FigureOfRun = train_seconds, confidence: float = CONFIDENCE) -> Estimate:
    """The ratio of a figure of two rows (`bench.analysis.pairing.ratio`).

    Args:
        new: a row.
        base: the row that it is compared with.
        figure: the figure of a run.
        confidence: the interval's coverage.
    """
    return pairing.ratio(new.runs, base.runs, figure, confidence, joined=bool(new.joined))


def difference_between(new: Row, base: Row, metric: str, confidence: float = CONFIDENCE) -> Estimate:
    """The difference of a quality of two rows on the test set, new less base (`bench.analysis.pairing.difference`).

    Args:
        new: a row.
        base: the row that it is compared with.
        metric: the name of the quality, one of `bench.core.metrics.METRICS`.
        confidence: the interval's coverage.
    """
    return pairing.difference(new.runs, base.runs, lambda run: run.figure(metric), confidence, joined=bool(new.joined))


# --- a row ---


def _row(
    case: Case,
    tried: Sequence[MeasuredRun],
    records: Mapping[Case, tuple[RunRecord, ...]],
    axes: Sequence[str],
    ceilings: KnownCeilings,
    joined: tuple[str, ...],
    confidence: float,
) -> Row:
    runs = records[case]
    good = [run for run in tried if run.ok]
    parameters = [run.stored["parameters"] for run in [*good, *tried] if run.stored["parameters"] is not None]
    reasons = Counter((run.status, run.reason) for run in tried if not run.ok)
    estimates = {
        name: estimate
        for name, metric in METRICS.items()
        if (estimate := _estimate(metric, runs, confidence)) is not None
    }

    def over(figure: Callable[[RunRecord], float | None], coverage: float = CONFIDENCE, **base: Any) -> Estimate | None:
        """The ratio to the configuration that differs in the fields of `base` alone, or in what is joined too."""
        reference = _reference(replace(case, **base), records, joined)
        return _known(pairing.ratio(runs, records.get(reference, ()), figure, coverage, joined=bool(joined)))

    def train_seconds_over(**base: Any) -> Estimate | None:
        seconds = estimates.get("train_seconds")
        if seconds is not None and replace(case, **base) == case:
            return Estimate(1.0, None, seconds.n)
        return over(train_seconds, confidence, **base)

    keras = case.runtime == "keras"
    description = next((run.stored["task_json"] for run in tried if run.stored["task_json"]), None)
    task = tasks.known(case, description)
    return Row(
        configuration=case,
        task=task,
        axes={name: getattr(case, name) for name in axes},
        parameters=int(parameters[0]) if parameters else None,
        estimates=estimates,
        inference=_inference(good, confidence),
        first_epoch_only=any(run.first_epoch_only for run in good),
        ratio=train_seconds_over(cell=REFERENCE_CELL),
        generic_ratio=train_seconds_over(kernel="generic"),
        predict_ratio=_within(runs, lambda run: run.latency("predict"), RunRecord.latency),
        window_ratio=_within(runs, RunRecord.latency, RunRecord.step_latency),
        keras_train_ratio=None if keras else over(train_seconds, runtime="keras"),
        keras_latency_ratio=None if keras else over(RunRecord.latency, runtime="keras"),
        efficiency=_efficiency(case, task, estimates.get("samples_per_second"), tried, ceilings),
        kernels_attested=tuple(sorted({run.kernel for run in good if run.kernel is not None})),
        runs=runs,
        excluded=tuple(
            ExcludedRuns(status=status, reason=reason, runs=count)
            for (status, reason), count in sorted(reasons.items())
        ),
        failed=in_order(run.record for run in tried if not run.ok),
        seeds_tried=len({run.record.seed for run in tried}),
        joined=joined,
    )


def _reference(wanted: Case, records: Mapping[Case, Sequence[RunRecord]], joined: Sequence[str]) -> Case:
    """The configuration that is wanted, or the only measured one that differs from it in nothing but what is joined."""
    if wanted in records:
        return wanted
    fields = [name for name in joined if name in SETTING_FIELDS]
    alike = [case for case in records if replace(case, **{name: getattr(wanted, name) for name in fields}) == wanted]
    return alike[0] if len(alike) == 1 else wanted


def _estimate(metric: Metric, runs: Sequence[RunRecord], confidence: float) -> Estimate | None:
    if metric.replicate == "seed":
        return _known(mean_t(by_seed(runs, lambda run: run.figure(metric.name)).values(), confidence))
    return _median((run.figure(metric.name) for run in runs), confidence)


def _inference(runs: Sequence[MeasuredRun], confidence: float) -> tuple[InferenceFigures, ...]:
    call_paths = []
    for path in CALL_PATHS:
        timed = [run.record.inference[path] for run in runs if path in run.record.inference]
        if not timed:
            continue
        kernels = {run.inference_kernels[path] for run in runs if path in run.inference_kernels}
        names = dict.fromkeys(name for figures in timed for name in figures.figures)
        batched = dict.fromkeys(name for figures in timed for name in figures.by_batch)
        call_paths.append(
            InferenceFigures(
                call_path=path,
                kernels_attested=tuple(sorted(kernels)),
                estimates=_medians({name: [each.figures.get(name) for each in timed] for name in names}, confidence),
                by_batch={
                    name: _medians(
                        {
                            batch: [figures.by_batch[name].get(batch) for figures in timed]
                            for batch in sorted({batch for figures in timed for batch in figures.by_batch[name]})
                        },
                        confidence,
                    )
                    for name in batched
                },
            )
        )
    return tuple(call_paths)


_Key = TypeVar("_Key")


def _medians(values: Mapping[_Key, Iterable[float | None]], confidence: float) -> dict[_Key, Estimate]:
    medians = {key: _median(of_runs, confidence) for key, of_runs in values.items()}
    return {key: median for key, median in medians.items() if median is not None}


def _within(
    runs: Iterable[RunRecord], new: Callable[[RunRecord], float | None], base: Callable[[RunRecord], float | None]
) -> Estimate | None:
    """The ratio of two figures of one run, over the runs that have both."""
    pairs = [(new(run), base(run)) for run in runs]
    known = [(above, below) for above, below in pairs if above is not None and below is not None]
    return _known(paired_ratio([above for above, _ in known], [below for _, below in known]))


def _efficiency(
    case: Case, task: Task | None, speed: Estimate | None, runs: Sequence[MeasuredRun], ceilings: KnownCeilings
) -> Efficiency | None:
    known = case.network in NETWORKS
    needed = ("forward_flops_per_sample", "training_flops_per_sample")
    stored = next((run.stored for run in runs if all(run.stored[name] for name in needed)), None)
    if task is None or not known or speed is None or stored is None:
        return None
    try:
        shape = ProductShape.of(case, task)
    except BenchError:  # a user's cell that isn't here
        shape = None
    if case.cell in BUILT_IN and not BUILT_IN[case.cell].state_gates:
        return None  # no products wait for each other
    where = (str(stored["machine_fingerprint"]), str(stored["software_fingerprint"]))
    return efficiency(
        samples_per_second=speed.value,
        forward_flops=float(stored["forward_flops_per_sample"]),
        training_flops=float(stored["training_flops_per_sample"]),
        batch_size=case.batch_size,
        dependent_steps=networks.of(case).dependent_steps(task),
        ceilings=ceilings.get((shape, *where)) if shape else None,
    )


def _row_order(row: Row) -> tuple[Any, ...]:
    known = row.cell in _CELLS_IN_ORDER
    kernels = {name: place for place, name in enumerate(KERNELS)}
    # a kernel that isn't known here (another version of bench measured it) comes last
    axes = (
        (kernels.get(value, len(kernels)), value) if name == "kernel" else value for name, value in row.axes.items()
    )
    return (*axes, not known, _CELLS_IN_ORDER.index(row.cell) if known else 0, row.cell)


def _median(values: Iterable[float | None], confidence: float) -> Estimate | None:
    return _known(median_runs((value for value in values if value is not None), confidence))


def _known(estimate: Estimate) -> Estimate | None:
    return estimate if estimate.n else None
