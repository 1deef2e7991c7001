"""bench.analysis.scaling: laws of growth and crossovers, against times that follow a known one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.analysis.scaling import exponent, find_crossovers, find_series, fit
from bench.analysis.summary import Section, summarise
from bench.core.case import Case
from bench.report.document import Figure, Gallery, Paragraph, Table
from bench.report.growth import growth_blocks
from tests.support.frames import SOFTWARE, frame, run

UNITS = (16, 32, 64, 128, 256)


def sections(
    times: dict[str, Callable[[int], float]],
    *,
    size: str = "units",
    values: tuple[int, ...] = UNITS,
    seeds: int = 3,
    backend: str = "tensorflow",
) -> tuple[Section, ...]:
    """Runs of cells whose seconds an epoch are a function of a size, but for 2 % of chance."""
    random = np.random.default_rng(1)
    runs = []
    for cell, law in times.items():
        for value in values:
            for seed in range(seeds):
                seconds = law(value) * float(np.exp(0.02 * random.standard_normal()))
                sized: dict[str, Any] = {size: value}
                case = Case(cell=cell, task="noise", backend=backend, seed=seed, **sized)
                software = {**SOFTWARE, "backend": backend}
                epochs = (9.0, seconds, seconds)
                runs.append(run(case, epoch_seconds=epochs, data=f"{size}-{value}", software=software))
    return summarise(frame(*runs))


@pytest.mark.parametrize(
    ("law", "name", "power"),
    [
        (lambda n: 3.0, "constant", 0.0),
        (lambda n: 0.1 * n, "linear", 1.0),
        (lambda n: 0.002 * n**2, "quadratic", 2.0),
        (lambda n: 1e-5 * n**3, "cubic", 3.0),
    ],
)
def test_the_law_of_times_that_follow_one(law: Callable[[int], float], name: str, power: float) -> None:
    ((series,),) = find_series(sections({"lstm": law}))
    law_of_series = fit(series)
    assert law_of_series is not None
    assert (law_of_series.law, law_of_series.exponent.n) == (name, 15)
    assert law_of_series.exponent.interval is not None
    assert law_of_series.exponent.interval.low < power < law_of_series.exponent.interval.high
    assert law_of_series.exponent.interval.high - law_of_series.exponent.interval.low < 0.05
    assert law_of_series.error_fraction < 0.05


def test_the_interval_of_an_exponent_holds_it_as_often_as_it_says() -> None:
    random, sizes = np.random.default_rng(7), np.array(UNITS, dtype=np.float64)
    held = 0
    for _ in range(1000):
        interval = exponent(sizes, 0.1 * sizes * np.exp(0.1 * random.standard_normal(len(sizes)))).interval
        assert interval is not None
        held += interval.low <= 1 <= interval.high
    assert 930 <= held <= 970


@pytest.mark.parametrize(("size", "values"), [("batch_size", (16, 32, 64)), ("layers", (1, 2, 4))])
def test_every_size_is_seen_from_three_values_on(size: str, values: tuple[int, ...]) -> None:
    ((series,),) = find_series(sections({"gru": float}, size=size, values=values))
    assert (series.size, tuple(series.rows)) == (size, values)
    assert find_series(sections({"gru": float}, size=size, values=values[:2])) == []


def test_another_length_is_other_data_and_the_same_series() -> None:
    measured = sections({"gru": float}, size="steps", values=(8, 16, 32))
    assert len(measured) == 3
    ((series,),) = find_series(measured)
    assert (series.size, tuple(series.rows)) == ("steps", (8, 16, 32))


def test_where_one_cell_overtakes_another() -> None:
    (crossing,) = find_series(sections({"simple_rnn": lambda n: 0.1 * n, "lstm": lambda n: 6.0}))
    (crossover,) = find_crossovers(crossing)
    assert (crossover.smaller.cell, crossover.larger.cell) == ("simple_rnn", "lstm")
    assert crossover.at.value == pytest.approx(60, rel=0.05)
    assert crossover.at.interval is not None
    assert crossover.at.interval.low < 60 < crossover.at.interval.high
    (apart,) = find_series(sections({"simple_rnn": lambda n: 0.1 * n, "lstm": lambda n: 0.4 * n}))
    assert find_crossovers(apart) == []


def test_the_report_shows_laws_only_where_a_size_varies() -> None:
    tables = growth_blocks(sections({"simple_rnn": lambda n: 0.1 * n, "lstm": lambda n: 6.0}))
    laws, crossovers = (block for block in tables if hasattr(block, "rows"))
    ((figure,),) = (block.figures for block in tables if isinstance(block, Gallery))
    assert isinstance(figure, Figure)
    assert figure.title.startswith("simple_rnn grows with units to the power of 0.99")
    assert len(figure.data) == 10
    assert [(row[0], row[1], row[4]) for row in laws.rows] == [
        ("units", "simple_rnn", "linear"),
        ("units", "lstm", "constant"),
    ]
    assert [row[:3] for row in crossovers.rows] == [("units", "simple_rnn", "lstm")]
    assert growth_blocks(sections({"lstm": float}, values=(16, 32))) == []


def test_tables_of_several_backends_name_theirs() -> None:
    both = [*sections({"lstm": float}), *sections({"lstm": float}, backend="jax")]
    captions = [block.caption for block in growth_blocks(both) if isinstance(block, Table)]
    assert captions == [f"Laws that the seconds an epoch follow ({name})" for name in ("tensorflow", "jax")]
    texts = [block.text for block in growth_blocks(both) if isinstance(block, Paragraph)]
    assert texts == ["None overtakes another (tensorflow).", "None overtakes another (jax)."]
