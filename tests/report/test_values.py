"""bench.report.values: durations, facts, figures and headings as a reader sees them."""

from __future__ import annotations

import pytest

from bench.analysis.stats import Estimate, Interval
from bench.core.metrics import METRICS
from bench.report.values import (
    broken,
    clean,
    commit_words,
    count,
    duration,
    figure_in,
    known_facts,
    ranged,
    together,
    whole,
    worded,
)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (89 * 60, "89 min"),
        (2 * 3600, "2 h 0 min"),
        (47 * 3600, "47 h 0 min"),
        (49 * 3600, "2 days"),
        (1e6, "12 days"),
    ],
)
def test_times_that_a_person_waits(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("uptime_seconds", 2179.67, ("uptime", "36 min")),
        ("seconds", 0.0123, ("time", "12.3 ms")),
        ("cpu_seconds", 123.456, ("cpu", "123 s")),
        ("peak_rss_bytes", 1024**2 * 412.3, ("peak rss", "412 MiB")),
        ("memory_class_gib", 24.0, ("memory class", "24 GiB")),
        ("steal_fraction_start", 0.0123, ("steal at the start", "1.2 %")),
        ("accuracy", 0.98421, ("accuracy", "98.42 %")),
        ("turbo", True, ("turbo", "yes")),
        ("gpus", ["NVIDIA L4", "NVIDIA L4"], ("gpus", "NVIDIA L4, NVIDIA L4")),
        ("settings", (("OMP_NUM_THREADS", "4"), ("XLA_FLAGS", "")), ("settings", "OMP_NUM_THREADS 4, XLA_FLAGS –")),
        ("learning_rate", 1e-3, ("learning rate", "0.001")),
        ("loss", None, ("loss", "–")),
    ],
)
def test_facts_in_words(name: str, value: object, shown: tuple[str, str]) -> None:
    assert worded(name, value) == shown


def test_only_known_facts_are_shown() -> None:
    assert known_facts({"gpus": [], "cpu_quota": None, "usable_cores": 2}) == (("usable cores", "2"),)


@pytest.mark.parametrize(
    ("metric", "estimate", "shown"),
    [
        ("accuracy", Estimate(0.97504, Interval(0.97254, 0.97754), 3), "97.50 ± 0.25"),
        ("loss", Estimate(0.09204, None, 1), "0.0920"),
        ("train_seconds", Estimate(45.93, Interval(45.0, 47.06), 6), "45.9 (45.0–47.1)"),
        ("latency_seconds", Estimate(0.00163, Interval(0.00153, 0.00175), 3), "1.63 (1.53–1.75)"),
        ("memory_bytes", Estimate(1_234_000_000.0, Interval(1e9, 2e9), 3), "1.23 GB"),
        ("memory_bytes", Estimate(303_000_000.0, None, 3), "303 MB"),
        ("samples_per_second", Estimate(325_203.0, None, 3), "325,000"),
        ("loss", None, "–"),
    ],
)
def test_a_figure_stands_as_its_metrics_column_says(metric: str, estimate: Estimate | None, shown: str) -> None:
    column = METRICS[metric].column
    assert column is not None
    assert together(*figure_in(estimate, column)) == shown


def test_an_interval_has_no_more_decimals_than_its_figure() -> None:
    assert ranged(Estimate(2.30, Interval(2.149, 2.4612), 9)) == ("2.30", "2.15–2.46")
    assert ranged(Estimate(120.0, Interval(99.44, 140.6), 9)) == ("120", "99–141")


def test_headings_are_broken_before_their_last_word() -> None:
    assert broken("accuracy %") == ("accuracy", "%")
    assert broken("samples/s at 1024") == ("samples/s", "at 1024")
    assert broken("loss") == ("loss",)


def test_counts_commits_and_names() -> None:
    assert (count(1, "run"), count(10_000, "run")) == ("1 run", "10,000 runs")
    assert (whole(57_450), whole(None)) == ("57,450", "–")
    assert commit_words("208757f86bfd99ab+dirty") == "208757f86bfd+dirty"
    assert commit_words(None) == "–"
    assert clean("a\nb\x1b[31m  c\u200b") == "a b[31m c"
