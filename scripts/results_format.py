"""How the page of results reads the reference stores, and how it writes figures and tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from bench.cli import app

ROOT = Path(__file__).parents[1]
REFERENCE = "results/reference"

Json = Mapping[str, Any]

TITLES = {
    "simple_rnn": "SimpleRNN",
    "lstm": "LSTM",
    "gru": "GRU",
    "min_gru": "minGRU",
    "tensorflow": "TensorFlow",
    "jax": "JAX",
}


def sections(name: str, *options: str) -> list[Json]:
    """The sections of a reference store, as `bench table --format json` gives them.

    Args:
        name: the store's.
        options: further ones of `bench table`.

    Raises:
        RuntimeError: the command failed.
    """
    done = CliRunner().invoke(app, ["table", str(ROOT / REFERENCE / name), "--format", "json", *options])
    if done.exit_code:
        raise RuntimeError(f"bench table {REFERENCE}/{name} ended with {done.exit_code}: {done.output}")
    read: list[Json] = json.loads(done.stdout)["sections"]
    return read


def conditions(name: str, read: Sequence[Json], setting: str = "") -> str:
    """A sentence on what a store holds, and on the machine that it was measured on.

    Args:
        name: the suite's.
        read: the store's sections.
        setting: what all of its runs share, as a template for the fields of `shared`.
    """
    rows = [row for section in read for row in section["rows"]]
    seeds, machine = max(row["seeds"] for row in rows), read[0]["machine"]
    shared = f"{setting.format(**read[0]['shared'])}; " if setting else ""
    return (
        f"The suite `{name}`: {len(rows)} configurations, {seeds} seed{'s' * (seeds > 1)}, "
        f"{sum(row['runs_ok'] for row in rows)} runs that ended ok; {shared}{machine['cpu_model']}, "
        f"{machine['usable_cores']} cores."
    )


def backend(section: Json) -> str:
    """The name of the backend that a section was measured on."""
    name = str(section["software"]["backend"])
    return TITLES.get(name, name)


def figure(value: float) -> str:
    """Three significant digits: `0.0302`, `2.40`, `14,000`."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{value:#.3g}"


def interval(estimate: Json | None, scale: float = 1.0) -> str:
    """An estimate with its interval, where it has one: `2.28 (2.03 to 2.55)`."""
    if estimate is None:
        return "–"
    if estimate["low"] is None:
        return figure(scale * estimate["value"])
    value, low, high = (figure(scale * estimate[key]) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def reading(ratio: Json, below: str, above: str) -> str:
    """What a ratio shows: the word for less than 1, that for more, or that its interval has 1 in it."""
    if ratio["low"] is None:
        return "no interval"
    if ratio["high"] < 1:
        return below
    return above if ratio["low"] > 1 else "not shown"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in markdown."""
    lines = (columns, ["---"] * len(columns), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
