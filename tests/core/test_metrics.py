"""bench.core.metrics: the rows hold together, and a new one is everywhere at once."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from bench.core.errors import UsageError
from bench.core.metric import FromCalls, FromMetadata, FromPhase, Margins
from bench.core.metrics import COMPARED, METRICS, find_metric
from bench.core.observation import Observation, RunMetadata
from tests.support.change import copy_of_package

OBSERVED = {field.name for field in fields(Observation)}
PHASES = {"build", "compile", "warmup", "train", "validate", "evaluate", "predict", "calls", "run"}


def test_every_metric_is_made_from_columns_that_are_measured() -> None:
    for metric in METRICS.values():
        home = {field.name for field in fields(RunMetadata)} if isinstance(metric.source, FromMetadata) else OBSERVED
        assert metric.source.columns <= home, metric.name
        if isinstance(metric.source, FromPhase | FromCalls):
            assert metric.source.phase in PHASES, metric.name


@pytest.mark.parametrize("of_calls", [False, True])
def test_no_two_metrics_share_a_place_a_heading_or_a_key(of_calls: bool) -> None:
    rows = [metric for metric in METRICS.values() if metric.of_calls is of_calls]
    columns = [metric.column for metric in rows if metric.column]
    for names in (
        [metric.json_key for metric in rows],
        [metric.title for metric in rows],
        [column.position for column in columns],
        [column.heading for column in columns],
    ):
        assert len(set(names)) == len(names)


def test_what_is_required_is_compared() -> None:
    assert {name for name, metric in METRICS.items() if metric.required} <= set(COMPARED)
    assert all(METRICS[name].margins == margins for name, margins in COMPARED.items())


def test_a_metric_that_is_not_compared_is_not_found() -> None:
    assert find_metric("loss", "--metric").name == "loss"
    with pytest.raises(UsageError, match=r"unknown metric 'first_epoch_seconds' \(--metric\)"):
        find_metric("first_epoch_seconds", "--metric")


@pytest.mark.parametrize(("tolerance", "floor"), [(0.0, 0.0), (0.01, 0.02), (0.1, -0.1), (float("nan"), 0.0)])
def test_margins_that_make_no_sense_are_refused(tolerance: float, floor: float) -> None:
    with pytest.raises(ValueError, match="margins need"):
        Margins(tolerance, floor)


def test_a_metric_of_a_phase_is_a_column_and_a_row(tmp_path: Path) -> None:
    """Joules of an epoch: in the store, table, comparison, gate, history and export, by a change of two files."""
    copy = copy_of_package(tmp_path)
    copy.insert(
        "core/observation.py",
        before="    samples: int | None = column(",
        text='    heat_joules: float | None = column("energy of the processor\'s package", "joules")\n',
    )
    copy.insert(
        "core/metrics.py",
        before='            Metric(\n                name="accuracy",\n',
        text="""
            Metric(
                name="heat_joules",
                title="heat",
                kind=MetricKind.RESOURCE,
                source=FromPhase("train", "heat_joules", Reduction.STEADY_MEDIAN),
                unit=JOULES,
                margins=_USUAL,
                column=TableColumn("heat J", _PLAIN, position=8, interval="range", always=False),
                exported_unit="heat J",
            ),
""".lstrip("\n"),
    )
    copy.python("""
from dataclasses import replace
from pathlib import Path
from bench.core.case import Case
from tests.support.stored import a_run, write_run
for name, factor in (("old", 1.0), ("new", 2.0)):
    for seed in range(6):
        run = a_run(seed, Case(cell="lstm", task="mnist_5k", seed=seed))
        measured = tuple(
            replace(row, heat_joules=factor * (300 + seed)) if row.phase == "train" else row
            for row in run.observations
        )
        campaign = replace(run.campaign, plan_hash=name)
        write_run(Path(name), replace(run, campaign=campaign, observations=measured))
""")
    schema = copy.python("from bench.store.schema import SCHEMA; print(SCHEMA.field('heat_joules').type)")
    assert schema.strip() == "double"
    assert "heat J" in copy.bench("table", "old")
    (section,) = json.loads(copy.bench("table", "old", "--format", "json"))["sections"]
    assert (section["rows"][0]["heat_joules"]["value"], section["rows"][0]["heat_joules"]["n"]) == (302.5, 6)
    (finding,) = [
        entry
        for entry in json.loads(copy.bench("compare", "old", "new", "--format", "json"))["findings"]
        if entry["metric"] == "heat_joules"
    ]
    assert (finding["verdict"], finding["change"]) == ("worse", 2.0)
    assert "heat" in copy.bench("gate", "old", "new", code=1)
    (copy.root / "pyproject.toml").write_text(
        "[tool.bench.gate]\nheat_joules = { tolerance = '200 %', floor = '150 %' }\n"
    )
    assert "heat" in copy.bench("gate", "old", "old", "--self")
    series = json.loads(copy.bench("history", "old", "--metric", "heat_joules", "--format", "json"))["series"]
    assert series[0]["points"][0]["value"] == 302.5
    exported = json.loads(copy.bench("export", "old", "--format", "github-action-benchmark"))
    assert [entry["unit"] for entry in exported if entry["name"].endswith("heat")] == ["heat J"]
