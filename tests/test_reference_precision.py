"""The committed figures of stopping when precise, and the campaigns that they came from, against the rule itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis.precision import FEWEST_BLOCKS, PrecisionTarget, while_measuring
from bench.analysis.stats import mean_t, median_runs
from bench.core.metrics import METRICS
from scripts import simulate_precision
from scripts.simulate_precision import MOST_BLOCKS, TARGETS, Campaigns, simulate

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def committed() -> Any:
    return json.loads((ROOT / "results" / "reference" / "duels" / "precision.json").read_text())


def test_campaigns_stop_by_the_rule_itself(committed: Any) -> None:
    """A few of the simulated campaigns again, block by block with `PrecisionTarget`."""
    simulated = Campaigns(committed["values"], "resampled", 12)
    for name in ("lstm accuracy", "gru train_seconds"):
        metric = METRICS[name.split()[1]]
        target = PrecisionTarget(metric, TARGETS[metric.name][0])
        at = simulated.stopped({name: target.half_width})
        for campaign, sample in enumerate(simulated.sample[name]):
            stats = median_runs if metric.name == "train_seconds" else mean_t
            blocks = next(n for n in range(1, MOST_BLOCKS) if target.reached(stats(sample[:n])))
            assert at[campaign] == blocks - 1
            interval = while_measuring(stats(sample[:blocks]), metric).interval
            assert interval is not None
            half = simulated.half_widths(name)[campaign, blocks - 1]
            scale = stats(sample[:blocks]).value if metric.as_ratio else 1
            assert half == pytest.approx((interval.high - interval.low) / 2 / scale)


def test_ten_thousand_campaigns_were_simulated(committed: Any) -> None:
    assert (committed["fewest_blocks"], committed["most_blocks"]) == (FEWEST_BLOCKS, MOST_BLOCKS)
    assert {row["of"] for row in committed["rows"]} == set(committed["values"])
    assert all(row["while_measuring"]["of"] == 10_000 for row in committed["rows"])


def test_what_was_simulated_comes_out_again(committed: Any) -> None:
    of_gru = {name: values for name, values in committed["values"].items() if name == "gru accuracy"}
    again = simulate(of_gru, 1_000)
    for row in again[:3]:
        (kept,) = (
            each
            for each in committed["rows"]
            if all(each[key] == row[key] for key in ("drawn", "of", "half_width")) and not each["all_together"]
        )
        assert row["blocks"] == pytest.approx(kept["blocks"], rel=0.05)
        assert row["while_measuring"]["share"] == pytest.approx(kept["while_measuring"]["share"], abs=0.02)


def test_coverage_is_within_a_point_of_95_percent(committed: Any) -> None:
    """Of normal values; and a median's interval, of which there are few to choose from, may hold it more often."""
    for row in committed["rows"]:
        if row["drawn"] == "normal":
            share = row["while_measuring"]["share"]
            assert share > 0.94, row
            assert share < 0.96 or row["of"].endswith("seconds"), row


def test_stopping_takes_little_where_few_values_suit_no_interval(committed: Any) -> None:
    """Resampled blocks are skewed and have ties: even at a fixed number of blocks the table's intervals suit few."""
    for row in committed["rows"]:
        if row["drawn"] == "resampled":
            loss = row["fixed_blocks"]["share"] - row["while_measuring"]["share"]
            assert loss < 0.06, row
            assert not row["all_together"] or row["while_measuring"]["share"] > 0.94, row


def test_the_docs_show_it(committed: Any) -> None:
    docs = (ROOT / "docs" / "how-sure.md").read_text()
    assert simulate_precision.table(committed["rows"]) in docs


def test_the_truths_are_the_stores(committed: Any) -> None:
    for drawn in ("normal", "resampled"):
        truths = Campaigns(committed["values"], drawn, 1).truths
        for name, values in committed["values"].items():
            assert truths[name] == pytest.approx(np.mean(values), rel=0.05)
