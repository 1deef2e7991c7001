"""bench.analysis.history and its rendering: change points on data whose truth is known, and the false ones."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bench.analysis.history import SEGMENT, By, Series, change_points, series
from bench.cli import app
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.core.metrics import METRICS, find_metric
from bench.report.figures.history_plot import plot_history
from tests.support.frames import MACHINE, frame, run
from tests.support.rendering import history_in

RANDOM = np.random.default_rng


def by_every_split(values: Sequence[float], spread: float, penalty: float) -> tuple[int, ...]:
    """The cheapest set of change points, by trying all of them: squared error, and a price for each."""
    signal = np.asarray(values) / spread
    n = len(signal)
    best: tuple[float, tuple[int, ...]] = (math.inf, ())
    for count in range(n // SEGMENT):
        for cuts in itertools.combinations(range(SEGMENT, n - SEGMENT + 1), count):
            edges = [0, *cuts, n]
            parts = [signal[a:b] for a, b in itertools.pairwise(edges)]
            if min(map(len, parts)) >= SEGMENT:
                cost = sum(float(((part - part.mean()) ** 2).sum()) for part in parts) + penalty * count
                best = min(best, (cost, cuts))
    return best[1]


@pytest.mark.parametrize("seed", range(6))
def test_change_points_are_the_cheapest_of_all_sets(seed: int) -> None:
    """Against the obvious version: with noise that is known, and no spike."""
    values = RANDOM(seed).uniform(-1, 1, 16) + np.repeat([0, seed, 0.5 * seed], [5, 6, 5])
    steps = np.diff(values)
    spread = float(np.median(np.abs(steps - np.median(steps))) / 0.6745 / math.sqrt(2))
    large = max(spread, 2.0)  # so large that Hampel's filter leaves all values alone
    assert change_points(list(values), least=2.0) == by_every_split(values, large, 6 * math.log(16))


@pytest.mark.parametrize("at", [5, 12, 25])
def test_a_step_is_found_where_it_is(at: int) -> None:
    values = RANDOM(1).normal(0, 1, 30)
    values[at:] += 6
    assert change_points(list(values)) == (at,)


@pytest.mark.parametrize("at", [0, 4, 14, 29])
@pytest.mark.parametrize("width", [1, 2])
def test_a_spike_is_no_change_however_high(at: int, width: int) -> None:
    values = RANDOM(2).normal(0, 1, 30)
    values[at : at + width] += 1_000
    assert change_points(list(values)) == ()


def test_four_points_are_no_level_and_five_are() -> None:
    values = RANDOM(3).normal(0, 0.5, 30)
    for width, least in ((4, 0), (5, 1), (6, 1)):
        moved = values.copy()
        moved[30 - width :] += 8
        assert len(change_points(list(moved))) >= least
        if not least:
            assert all(30 - start >= SEGMENT for start in change_points(list(moved)))


def test_two_steps_are_two_changes() -> None:
    values = RANDOM(4).normal(0, 1, 40) + np.repeat([0, 8, 16, 8], 10)
    assert change_points(list(values)) == (10, 20, 30)


def test_what_is_too_short_too_equal_or_not_a_number_has_no_change() -> None:
    assert change_points([]) == ()
    assert change_points([0.0] * 4 + [9.0] * 5) == ()
    assert change_points([5.0] * 30) == ()
    assert change_points([1.0] * 15 + [math.nan] + [9.0] * 15) == ()


def test_a_step_between_values_that_are_otherwise_equal_is_found_if_it_is_large_enough() -> None:
    steps = [0.0] * 10 + [1.0] * 10
    assert change_points(steps) == (10,)
    assert change_points(steps, least=0.1) == (10,)
    assert change_points(steps, least=10.0) == ()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.one_of(st.just(1.0), st.floats(0.5, 2), st.just(math.nan)), max_size=25))
def test_levels_of_anything_are_long_enough(values: list[float]) -> None:
    edges = [0, *change_points(values), len(values)]
    assert edges == sorted(edges)
    if len(edges) > 2:
        assert min(b - a for a, b in itertools.pairwise(edges)) >= SEGMENT


@pytest.mark.parametrize(("n", "most"), [(10, 24), (30, 9)])
def test_a_series_without_a_change_rarely_has_one(n: int, most: int) -> None:
    """Of 200 series of normal noise. Measured: 4 % at 10 points and 1 % at 30; bounds far from it."""
    generator = RANDOM(5)
    false = sum(bool(change_points(list(generator.normal(size=n)))) for _ in range(200))
    assert false <= most


def test_a_step_of_four_times_the_noise_is_rarely_missed() -> None:
    generator = RANDOM(6)
    starts_of_series = [change_points(list(generator.normal(size=30) + np.repeat([0, 4], 15))) for _ in range(60)]
    near = sum(any(abs(start - 15) <= 1 for start in starts) for starts in starts_of_series)
    assert near >= 57


# --- from observations ---


def nightly(seconds: Sequence[float], *, cell: str = "lstm", accuracy: float = 0.9) -> pd.DataFrame:
    """A campaign a night, each at a commit of its own, three seeds each."""
    observed = frame(
        *(
            run(
                Case(cell=cell, seed=seed),
                campaign=str(night),
                commit=f"{night:040x}",
                epoch_seconds=(9.0, mean + 0.01 * seed),
                accuracy=accuracy,
                cells=f"v{night}",
            )
            for night, mean in enumerate(seconds)
            for seed in range(3)
        )
    )
    observed["started_at"] += pd.to_timedelta(observed["campaign_id"].astype(int), unit="D")
    return observed.astype(dict.fromkeys(("project_commit", "program_commit"), "str"))


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
    assert "no change" in history_in(series(nightly(STEP[:12]), TRAINING), "text", 80)
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
    from bench.core.errors import NoVerdictError
    from tests.support.stored import a_store

    a_store(tmp_path / "store")
    picture = tmp_path / "h.png"
    done = CliRunner().invoke(app, ["history", str(tmp_path / "store"), "--plot", str(picture)])
    assert (done.exit_code, picture.read_bytes()[:4]) == (0, b"\x89PNG")
    nothing = CliRunner().invoke(app, ["history", str(tmp_path / "store"), "--metric", "throughput"])
    assert isinstance(nothing.exception, NoVerdictError)
