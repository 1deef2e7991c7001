"""Which runs of a comparison are of equal code on one machine: what they differ in is the machine's drift. Pure."""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import dataclass, replace

from bench.analysis.interleaved_figures import InterleavedFigures
from bench.analysis.matching import Groups
from bench.analysis.occasions import AnchoredDrift, DeclaredDrift, apart, measured_drift
from bench.analysis.records import RunRecord
from bench.analysis.samples import Reading, Sample, readings
from bench.core.metric import Metric


@dataclass(frozen=True)
class EqualCode:
    """The runs of one configuration on one machine, in groups of equal code."""

    base: Groups
    new: Groups
    history: Groups
    """Runs on other occasions, of neither side."""
    machine_fingerprint: str

    def with_drift(self, sample: Sample, metric: Metric, detail: str, declared: float | None) -> Sample:
        """A sample with the drift that its interval needs: the declared one, or else what equal code shows, or else,
        for times over the anchor's, what the anchor leaves of it.

        Args:
            sample: of a metric.
            metric: what was measured.
            detail: for inference the call path and the batch.
            declared: the drift that the user declares, as a fraction; None where it is to be estimated.
        """
        if not sample.drifting:
            return sample
        if declared is not None and not metric.is_interleaved:
            return replace(sample, drift=DeclaredDrift(declared))
        groups = [of_group[metric, detail] for of_group in self._readings if (metric, detail) in of_group]
        measured = measured_drift(groups, apart(sample.base, sample.new))
        if measured is None and metric.is_interleaved and sample.n:
            return replace(sample, drift=AnchoredDrift.between(sample.base, sample.new))
        return replace(sample, drift=measured)

    @functools.cached_property
    def _readings(self) -> list[dict[tuple[Metric, str], list[Reading]]]:
        """Those of each group. The new side's runs are in groups apart: whether they are equal is what is asked."""
        seen: set[str] = set()
        groups: dict[tuple[object, ...], list[RunRecord]] = defaultdict(list)
        interleaved: dict[tuple[object, ...], dict[str, InterleavedFigures]] = defaultdict(dict)
        for of_new, of_side in ((False, self.base), (True, self.new), (False, self.history)):
            for key, group in of_side.items():
                for section, row in zip(group.sections, group.rows, strict=True):
                    for run in row.runs if key.machine_fingerprint == self.machine_fingerprint else ():
                        if run.run_id in seen:
                            continue
                        equal = of_new, key, section.code_digest, row.configuration, run.program
                        groups[equal].append(run)
                        seen.add(run.run_id)
                        if run.campaign_id in group.interleaved:
                            interleaved[equal][run.campaign_id] = group.interleaved[run.campaign_id]
        return [readings(runs, interleaved[equal]) for equal, runs in groups.items()]
