"""Remarks under a table on how its runs went: epochs that stalled, times that drift. No run is left out for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bench.analysis.device_state import marks, neighbours
from bench.analysis.stalls import find_lost_cores, find_stalls
from bench.analysis.summary import Section
from bench.analysis.trends import CampaignTrend, EpochTrend, Trends
from bench.core.case import Case
from bench.core.units import significant
from bench.report.values import row_label

_WAITED_FOR = (
    "On TensorFlow most of it is an epoch that waits, by chance, for the end of its input pipeline's tuning "
    "(docs/how-sure.md), which none does with `--set steady=true`"
)


def stall_notes(section: Section) -> Iterator[str]:
    """What is known of cores that idled: epochs of a section that stalled, and runs that did with fewer cores."""
    stalls = [f"{row_label(row)} {stalled}" for row in section.rows if (stalled := find_stalls(row.runs))]
    found_lost = zip(section.rows, find_lost_cores([row.runs for row in section.rows]), strict=True)
    lost = [f"{row_label(row)} {cores}" for row, cores in found_lost if cores]
    waits = any(
        case.backend == "tensorflow" and not case.steady for case in (row.configuration for row in section.rows)
    )
    texts = []
    if stalls:
        texts.append(
            "Stalls: epochs whose wall time is at least half as much again as their CPU time explains by the run's "
            "other epochs, since cores idled: data came late, an iterator ended late, or one thread worked alone. They "
            "are in the figures: "
            f"{'; '.join(stalls)}."
        )
    if lost:
        texts.append(
            "Runs at several speeds: the slower a run, the fewer cores it used, with as much CPU time: "
            f"{'; '.join(lost)}. {_WAITED_FOR if waits else 'Threads waited for each other, by chance'}; interleaved "
            "ratios, which are medians over neighbouring batches, vary little with it."
        )
    if texts:
        yield " ".join(texts)


def device_notes(section: Section) -> Iterator[str]:
    """What the figures of a device mean, where there are any, and which runs' device was slowed down or shared."""
    measured = {name for row in section.rows for name in row.estimates}
    if "device_memory_bytes" in measured:
        yield "device memory: peak on the device by the backend's allocator, median; memory is the host's."
    if measured & {"epoch_energy_joules", "prediction_energy_joules"}:
        yield (
            "J/epoch: joules beyond the device's idle power, by its own counter; of 1,000 predictions at batch 1 too. "
            "idle J/epoch: what its idle power comes to in an epoch's time."
        )
    marked = [
        f"{row_label(row)}: {words}" for row in section.rows if (words := marks([run.device for run in row.runs]))
    ]
    if marked:
        yield (
            "The device was slower than it could be, or not ours alone; the runs are in the figures: "
            f"{'; '.join(marked)}. Advice: `bench env`."
        )
    beside = [
        f"{row_label(row)} {words}" for row in section.rows if (words := neighbours([run.device for run in row.runs]))
    ]
    if beside:
        yield (
            "Measured while other runs were timed on other GPUs of the machine (`--slot gpu`), with which they have "
            f"processors, memory and power in common: {'; '.join(beside)}. Times of a machine that measures alone are "
            "not compared with these."
        )


def trend_notes(trends: Trends, label: Callable[[Case], str]) -> Iterator[str]:
    """A sentence on the epochs that take longer and longer (or less and less), and one on the runs of a campaign.

    Args:
        trends: those of a section.
        label: the name of a configuration.
    """
    if trends.epochs:
        named = [f"{label(trend.configuration)} {_of_epochs(trend)}" for trend in trends.epochs]
        yield (
            f"Trends over a run's epochs, from the second to the last ({_RATE}), which the median hides: "
            f"{'; '.join(named)}."
        )
    if trends.campaigns:
        yield (
            f"Trends of training times over a campaign, from its first run to its last ({_RATE}): "
            f"{'; '.join(map(_of_campaign, trends.campaigns))}."
        )


def trends_object(trends: Trends) -> dict[str, Any]:
    """The same JSON-able: relative changes, 0.1 for 10 % more."""
    return {
        "epochs": [
            {
                "configuration_id": trend.configuration.configuration_id,
                "all_runs": trend.together,
                "single_runs": list(trend.changes),
                "runs": trend.of_runs,
            }
            for trend in trends.epochs
        ],
        "campaigns": [
            {"campaign_id": trend.campaign_id, "change": trend.change, "runs": trend.runs} for trend in trends.campaigns
        ],
    }


_RATE = "Kendall's tau, Sen's slope; at most 5 % that any is chance"


def _of_epochs(trend: EpochTrend) -> str:
    parts = []
    if trend.together is not None:
        parts.append(f"{_percent(trend.together)} in all {trend.of_runs} runs together")
    if trend.changes:
        ends = " to ".join(dict.fromkeys(map(_percent, (trend.changes[0], trend.changes[-1]))))
        parts.append(f"{ends} in {len(trend.changes)} of {trend.of_runs} runs by themselves")
    return ", ".join(parts)


def _of_campaign(trend: CampaignTrend) -> str:
    return f"{trend.campaign_id} {_percent(trend.change)} over {trend.runs} runs"


def _percent(change: float) -> str:
    return f"{'−' if change < 0 else '+'}{significant(100 * abs(change))} %"
