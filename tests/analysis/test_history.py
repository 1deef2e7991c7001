"""bench.analysis.history and its rendering: series from observations, their order, and what they show."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from bench.analysis.history import By, Conclusion, Series, measured_commits, series
from bench.cli import app
from bench.core.case import Case
from bench.core.errors import NoVerdictError, UsageError
from bench.core.metrics import METRICS, find_metric
from bench.core.observation import Observation
from bench.report.figures.history_plot import plot_history
from bench.store.parts import write_run
from tests.support.frames import MACHINE, frame, run
from tests.support.git import git
from tests.support.rendering import history_in
from tests.support.stored import CAMPAIGN, a_run, a_store

# --- from observations ---


COMMITTED = pd.Timestamp("2025-11-01T00:00:00Z")
DAY = pd.Timedelta(days=1)


def nightly(
    seconds: Sequence[float], *, cell: str = "lstm", accuracy: float = 0.9, dated: bool = False
) -> pd.DataFrame:
    """A campaign a night, each at a commit of its own, three seeds each; `dated` stores the commits' dates too."""
    observed = frame(
        *(
            run(
                Case(cell=cell, seed=seed),
                campaign=str(night),
                commit=f"{night:040x}",
                committed_at=COMMITTED + night * DAY if dated else None,
                parent=f"{night - 1:040x}" if dated and night else None,
                epoch_seconds=(9.0, mean + 0.01 * seed),
                accuracy=accuracy,
                cells=f"v{night}",
            )
            for night, mean in enumerate(seconds)
            for seed in range(3)
        )
    )
    observed["started_at"] += pd.to_timedelta(observed["campaign_id"].astype(int), unit="D")
    return observed.astype(dict.fromkeys(("project_commit", "program_commit", "parent_commit"), "str"))


def newest_first(observed: pd.DataFrame) -> pd.DataFrame:
    """The same, measured in the opposite order."""
    reversed_order = observed.copy()
    nights = observed["campaign_id"].astype(int)
    reversed_order["started_at"] += pd.to_timedelta(nights.max() - 2 * nights, unit="D")
    return reversed_order


STEP = [5.0 + 0.02 * (night * 7 % 5) for night in range(12)] + [6.0 + 0.02 * (night * 7 % 5) for night in range(8)]
TRAINING = METRICS["train_seconds"]


def test_a_slower_commit_is_found_with_the_range_it_lies_in() -> None:
    (line,) = series(nightly(STEP, cell="my:cell"), TRAINING)
    assert [point.n for point in line.points] == [3] * 20
    assert line.points[0].value == pytest.approx(5.01)
    (change,) = line.changes
    assert (change.before.commit, change.after.commit) == (f"{11:040x}", f"{12:040x}")
    assert change.ratio == pytest.approx(1.2, abs=0.01)
    assert line.worse(change)


def test_users_code_outside_of_git_is_at_no_commit_and_never_at_the_programs_own() -> None:
    nights = nightly(STEP[:3], cell="my:cell")
    nights["project_commit"] = None
    (series_of_cell,) = series(nights, TRAINING)
    assert [point.commit for point in series_of_cell.points] == [None] * 3
    built_in = nightly(STEP[:3])
    built_in["project_commit"], built_in["cells_digest"] = None, ""
    (series_of_bench,) = series(built_in, TRAINING)
    assert [point.commit for point in series_of_bench.points] == [f"{night:040x}" for night in range(3)]


def test_a_commit_that_was_measured_twice_is_one_point_and_by_date_two() -> None:
    twice = nightly(STEP[:3])
    twice["project_commit"] = "one"
    assert [point.n for point in series(twice, TRAINING)[0].points] == [9]
    assert [point.n for point in series(twice, TRAINING, By.DATE)[0].points] == [3, 3, 3]
    twice["project_commit"] = None
    twice["program_commit"] = None
    (unknown,) = series(twice, TRAINING)
    assert [(point.n, point.commit) for point in unknown.points] == [(3, None)] * 3


def test_configurations_machines_and_details_are_series_of_their_own() -> None:
    calls = {("compiled", 1): [0.01], ("predict", 1): [0.02]}
    far = {**MACHINE, "usable_cores": 64}
    observed = frame(
        run(Case(cell="lstm"), calls=calls),
        run(Case(cell="gru"), calls=calls, campaign="c2"),
        run(Case(cell="gru"), calls=calls, campaign="c3", machine=far),
    )
    lines = series(observed, METRICS["latency_seconds"])
    assert (
        len({(line.configuration.cell, line.machine["usable_cores"], line.detail) for line in lines}) == len(lines) == 6
    )


def test_a_lower_accuracy_is_worse() -> None:
    frames = nightly([5.0] * 20)
    lower = frames["campaign_id"].isin([str(night) for night in range(12, 20)])
    frames.loc[lower & frames["accuracy"].notna(), "accuracy"] = 0.8
    (line,) = series(frames, METRICS["accuracy"])
    (change,) = line.changes
    assert line.worse(change)
    assert "worse: 90.00 % → 80.00 % (-10.00 points)" in history_in([line], "text", 100)


def test_a_metric_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'train_seconds'"):
        find_metric("train_second", "--metric")


# --- what a reader gets ---


@pytest.fixture(scope="module")
def lines() -> tuple[Series, ...]:
    return series(nightly(STEP), TRAINING)


def test_the_table_tells_the_change_and_its_commits(lines: tuple[Series, ...]) -> None:
    text = history_in(lines, "text", 80)
    assert "worse: 5.05 s → 6.05 s (× 1.198), between 000000000000" in " ".join(text.split())
    assert all(len(line) <= 80 for line in text.splitlines())
    assert text.count("2026-01-") == 22
    assert "3 points: too few" in history_in(series(nightly(STEP[:3]), TRAINING), "md")


def test_json_has_the_points_and_the_changes(lines: tuple[Series, ...]) -> None:
    (line,) = json.loads(history_in(lines, "json"), parse_constant=pytest.fail)["series"]
    assert len(line["points"]) == 20
    assert [(change["index"], change["worse"]) for change in line["changes"]] == [(12, True)]


def test_the_plot_is_an_image_and_other_files_are_refused(lines: tuple[Series, ...], tmp_path: Path) -> None:
    plot_history(lines, tmp_path / "figures" / "history.svg")
    assert "<svg" in (tmp_path / "figures" / "history.svg").read_text()
    with pytest.raises(UsageError, match=r"must end in \.png"):
        plot_history(lines, tmp_path / "history.doc")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        plot_history(lines, tmp_path / "file" / "history.svg")


def test_the_command_ends_with_0_or_says_what_is_wrong(tmp_path: Path) -> None:
    a_store(tmp_path / "store")
    picture = tmp_path / "h.png"
    done = CliRunner().invoke(app, ["history", str(tmp_path / "store"), "--plot", str(picture)])
    assert (done.exit_code, picture.read_bytes()[:4]) == (0, b"\x89PNG")
    nothing = CliRunner().invoke(app, ["history", str(tmp_path / "store"), "--metric", "throughput"])
    assert isinstance(nothing.exception, NoVerdictError)
    assert "has the metric throughput; measured: train_seconds, " in str(nothing.exception)
    titled = CliRunner().invoke(app, ["history", str(tmp_path / "store"), "--metric", "training"])
    assert titled.output == CliRunner().invoke(app, ["history", str(tmp_path / "store")]).output


# --- the order ---

ANCESTRY = {f"{night:040x}": (COMMITTED + night * DAY).to_pydatetime() for night in range(20)}


@pytest.mark.parametrize("dated", [True, False])
def test_commits_that_were_measured_newest_first_are_in_the_repositorys_order(dated: bool) -> None:
    observed = newest_first(nightly(STEP, dated=dated))
    assert measured_commits(observed) == ANCESTRY.keys()
    (line,) = series(observed, TRAINING, ancestry=ANCESTRY)
    assert [point.commit for point in line.points] == list(ANCESTRY)
    (change,) = line.changes
    assert (change.index, line.worse(change)) == (12, True)
    assert "order: ancestry (first parents, as the repository has them)\n" in history_in([line], "text", 100)
    assert "2025-11-13" in history_in([line], "text", 100)


def test_without_a_repository_they_are_in_the_order_of_their_dates() -> None:
    (line,) = series(newest_first(nightly(STEP, dated=True)), TRAINING)
    assert [(change.index, line.worse(change)) for change in line.changes] == [(12, True)]
    assert "order: the commits' dates\n" in history_in([line], "text", 100)


def test_only_without_any_date_they_are_in_the_order_of_measurement_and_that_is_stated() -> None:
    (line,) = series(newest_first(nightly(STEP)), TRAINING)
    assert [(change.index, line.worse(change)) for change in line.changes] == [(8, False)]
    assert "order: when they were measured, their commits' dates being unknown" in history_in([line], "md")
    (line,) = json.loads(history_in([line], "json"))["series"]
    assert line["order"] == ["measurement"]


def test_a_commit_that_is_measured_again_stays_where_it_is() -> None:
    again = nightly(STEP, dated=True)
    third = again["campaign_id"] == "3"
    repeated = again[third].copy()
    repeated["run_id"] = repeated["run_id"].astype(str) + "again"
    repeated["campaign_id"] = "99"
    repeated["started_at"] += pd.Timedelta(days=50)
    once = series(again, TRAINING)[0]
    # in the place of what was measured then, so that only the later measurement is left
    (late,) = series(pd.concat([again[~third], repeated]), TRAINING)
    (twice,) = series(pd.concat([again, repeated]), TRAINING)
    orders = [[point.commit for point in line.points] for line in (once, late, twice)]
    assert orders[0] == orders[1] == orders[2]
    assert [point.n for point in twice.points][:5] == [3, 3, 3, 6, 3]


def test_campaigns_are_in_the_order_in_which_they_began() -> None:
    (line,) = series(newest_first(nightly(STEP, dated=True)), TRAINING, By.DATE, ANCESTRY)
    assert [point.commit for point in line.points] == list(reversed(ANCESTRY))
    assert "order: when the campaigns began" in history_in([line], "text", 100)


# --- what could have been seen ---

NOISY = [1.0 + 0.5 * (night * 7 % 5) for night in range(15)]


def test_noise_that_hides_a_change_is_no_evidence_of_none() -> None:
    (line,) = series(nightly(NOISY), TRAINING)
    assert line.conclusion is Conclusion.UNDECIDED
    assert line.detectable > 1
    text = history_in([line], "text", 100)
    assert "can't tell: only changes above " in text
    assert "no change" not in text
    (data,) = json.loads(history_in([line], "json"))["series"]
    assert (data["conclusion"], data["detectable_change"]) == ("can't tell", pytest.approx(line.detectable))


def test_no_change_is_stated_with_what_would_have_been_seen() -> None:
    (line,) = series(nightly([5.0 + 0.002 * (night * 7 % 5) for night in range(20)]), TRAINING)
    assert line.conclusion is Conclusion.UNCHANGED
    assert line.detectable < 0.03
    assert re.search(r"no change: one above [\d.]+ % would have been seen", history_in([line], "text", 100))


def test_an_accuracys_smallest_change_is_in_points() -> None:
    (line,) = series(nightly([5.0] * 12), METRICS["accuracy"])
    assert line.conclusion is Conclusion.UNCHANGED
    assert re.search(r"no change: one above 0\.\d+ points would have been seen", history_in([line], "text", 100))


def test_beside_a_change_a_further_one_is_spoken_of(lines: tuple[Series, ...]) -> None:
    assert re.search(
        r"a further change above [\d.]+ % would have been seen in the longest level", history_in(lines, "md")
    )


def test_the_command_reads_the_order_from_the_repository_it_is_given_in_or_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve commits, four times the work from the seventh on, measured newest first."""
    project, store = tmp_path / "project", tmp_path / "store"
    project.mkdir()
    git(project, "init", "-q")
    commits = []
    for number in range(12):
        git(project, "commit", "--allow-empty", "-qm", str(number))
        commits.append(git(project, "rev-parse", "HEAD"))
    for number, commit in enumerate(commits):
        seconds = (4.0 if number >= 6 else 1.0) + 0.01 * (number * 7 % 5)
        run = a_run(
            0,
            Case(cell="lstm"),
            campaign=replace(CAMPAIGN, project_commit=commit),
            observations=(Observation(phase="train", epoch=2, seconds=seconds, samples=4000),),
        )
        write_run(store, replace(run, started_at=run.started_at - timedelta(days=number)))
    invoked = CliRunner().invoke(app, ["history", str(store), "--repository", str(project)])
    assert "worse: 1.02 s → 4.02 s" in " ".join(invoked.output.split())
    monkeypatch.chdir(project)
    assert CliRunner().invoke(app, ["history", str(store)]).output == invoked.output
    monkeypatch.chdir(tmp_path)
    assert "order: when they were measured" in CliRunner().invoke(app, ["history", str(store)]).output
