"""Which runs of a table are sound, so that nothing above the store meets a row that bench can't have written.

A store may come from anywhere: its parts may be damaged, edited, or made by another program. A run is sound if each of
its rows has what its columns declare (`bench.store.schema`): what is required is there, numbers lie in their range,
JSON has its shape, a phase has what it is measured by, ids are those of what they name, and what is true of the whole
run is the same in all its rows. Only columns that were read are looked at. A run is left out as a whole: one without
some of its rows would give another figure.

All runs are looked at together, column by column: 1,000 parts one by one would take as long as reading them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.core.case import Case, Status, digest
from bench.core.observation import Observation
from bench.store.schema import BY_NAME, TEXT, TIME, StoredColumn, ValueRange, codes_of
from bench.store.shapes import JSON_COLUMNS, parsed

Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.intp]]

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "train": ("epoch", "seconds"),
    "validate": ("epoch",),
    "predict": ("entry", "predict_batch", "seconds"),
}
"""By phase: what its rows are of no use without."""
_ONCE: Mapping[str, tuple[str, ...]] = {
    "train": ("epoch",),
    "validate": ("epoch",),
    "evaluate": (),
    "predict": ("entry", "predict_batch", "call"),
    "run": (),
}
"""By phase: what a run has only one row of. A part that was written twice over would count each epoch twice."""
_LONGEST_NAME = 1_000
"""Characters. Names stand in headings; what may be longer is an error, JSON, or packed predictions."""
_LONG = frozenset({"error", "test_predictions", *JSON_COLUMNS})
_TIMES = ValueRange(0, 9_214_646_400_000_000)
"""Microseconds from 1970 to 2262: what a clock may show, and every library can hold."""
_OF_A_ROW = frozenset(field.name for field in fields(Observation))
_CASE = tuple(field.name for field in fields(Case))

Fault: TypeAlias = tuple[Mask, str]
"""The rows that have it, and what it is, in words that follow "left out:"."""


def faults(table: pa.Table, run: Numbers, first: Numbers) -> Iterator[Fault]:
    """What is wrong with rows of a table; nothing where all of them are sound.

    Args:
        table: rows of any of the store's columns, in its types; each column of text in one chunk.
        run: the number of its run for each row, from 0; -1 for a row without a run's id.
        first: the first row of each run.
    """
    for name in table.column_names:
        yield from _of_column(table[name], BY_NAME[name])
    for name in table.column_names:
        if name not in _OF_A_ROW:
            yield from _of_whole_run(table[name], name, run, first)
    if "phase" in table.column_names:
        yield from _of_phases(table)
        yield from _of_repeated_rows(table, run)
    yield from _of_ids(table, run, first)


def is_sound(part: pa.Table) -> bool:
    """Whether nothing is wrong with a part, of which `part` is all rows and columns."""
    part = part.unify_dictionaries().combine_chunks()
    ids, _ = codes_of(part["run_id"])
    _, first, run = np.unique(ids, return_index=True, return_inverse=True)
    return not any(rows.any() for rows, _ in faults(part, run, first))


def _of_column(values: pa.ChunkedArray, column: StoredColumn) -> Iterator[Fault]:
    if not column.nullable and values.null_count:
        yield _mask(pc.is_null(values)), f"its {column.name} is missing"
    if column.type == TEXT:
        yield from _of_texts(values, column.name)
    elif column.type == TIME:
        yield from _outside(values.cast(pa.int64()), _TIMES, f"its {column.name} is no date of our time")
    elif column.allowed is not None:
        yield from _outside(values, column.allowed, f"its {column.name} is out of range")


def _outside(values: pa.ChunkedArray, allowed: ValueRange, words: str) -> Iterator[Fault]:
    if values.null_count == len(values):
        return
    extremes = pc.min_max(values).as_py()  # they pass over NaN
    low, high = extremes["min"], extremes["max"]
    if (
        allowed.at_least <= low
        and allowed.above < low
        and high <= min(allowed.at_most, sys.float_info.max)
        and (allowed.nan or not pa.types.is_floating(values.type) or not pc.any(pc.is_nan(values)).as_py())
    ):
        return
    numbers = values.to_numpy().astype(np.float64)
    there = ~_mask(pc.is_null(values))
    sound = (
        np.isfinite(numbers) & (numbers >= allowed.at_least) & (numbers > allowed.above) & (numbers <= allowed.at_most)
    )
    yield there & ~sound & ~(np.isnan(numbers) & allowed.nan), words


def _of_texts(values: pa.ChunkedArray, name: str) -> Iterator[Fault]:
    codes, texts = codes_of(values)
    if name not in _LONG and any(len(text) > _LONGEST_NAME for text in texts):
        yield _having(codes, [len(text) > _LONGEST_NAME for text in texts]), f"its {name} is too long"
    if name == "status":
        unknown = [text not in set(Status) for text in texts]
        if any(unknown):
            yield _having(codes, unknown), "its status is unknown"
    if name in JSON_COLUMNS:
        problems = [_problem(text, JSON_COLUMNS[name]) for text in texts]
        for problem in sorted({problem for problem in problems if problem}):
            yield _having(codes, [of_text == problem for of_text in problems]), f"its {name} is damaged: {problem}"


def _problem(text: str, check: Callable[[object], None]) -> str:
    try:
        check(parsed(text))
    except ValueError as error:
        return str(error)
    return ""


def _having(codes: Numbers, chosen: list[bool]) -> Mask:
    """The rows whose text is one of those chosen."""
    return np.array([*chosen, False])[codes]  # the last place is for code -1


def _of_whole_run(values: pa.ChunkedArray, name: str, run: Numbers, first: Numbers) -> Iterator[Fault]:
    """A fact of a run that its rows disagree on."""
    if len(first) == len(run):
        return
    if BY_NAME[name].type == TEXT:
        numbers, _ = codes_of(values)
    else:
        plain = values.cast(pa.int64()) if BY_NAME[name].type in (TIME, pa.bool_()) else values
        numbers = plain.fill_null(-1).to_numpy()
    with np.errstate(invalid="ignore"):
        same = (numbers == numbers[first][run]) | (numbers != numbers)
    if not same.all():
        yield ~same & (run >= 0), f"its rows disagree on {name}"


def _of_phases(table: pa.Table) -> Iterator[Fault]:
    codes, phases = codes_of(table["phase"])
    for phase, needed in _NEEDS.items():
        for name in needed:
            if phase in phases and name in table.column_names and table[name].null_count:
                lacking = (codes == phases.index(phase)) & _mask(pc.is_null(table[name]))
                yield lacking, f"a row of its phase {phase} has no {name}"


def _of_repeated_rows(table: pa.Table, run: Numbers) -> Iterator[Fault]:
    codes, phases = codes_of(table["phase"])
    for phase, names in _ONCE.items():
        if phase not in phases or not set(names) <= set(table.column_names):
            continue
        rows = np.flatnonzero(codes == phases.index(phase))
        keys = [run[rows], *(_numbers(table[name])[rows] for name in names)]
        order = np.lexsort(keys)
        repeated = np.logical_and.reduce([key[order][1:] == key[order][:-1] for key in keys])
        if repeated.any():
            mask = np.zeros(len(codes), bool)
            mask[rows[order[1:][repeated]]] = True
            yield mask, f"it has a row of its phase {phase} twice"


def _numbers(values: pa.ChunkedArray) -> Numbers:
    """A column as whole numbers that are equal where its values are; -1 for null."""
    if values.type == TEXT:
        return codes_of(values)[0]
    numbers: Numbers = values.fill_null(-1).to_numpy()
    return numbers


def _of_ids(table: pa.Table, run: Numbers, first: Numbers) -> Iterator[Fault]:
    """A run whose id, or its case's, is not that of what it names: something was changed after it was measured."""
    has_case = set(_CASE) <= set(table.column_names)
    names = ["run_id", "campaign_id", "case_id", "attempt", *(_CASE if has_case else ())]
    known: dict[tuple[Any, ...], str] = {}
    wrong_run, wrong_case = [], []
    columns = table.select(names).take(pa.array(first)).to_pydict()
    for run_id, campaign_id, case_id, attempt, *case in zip(*columns.values(), strict=True):
        wrong_run.append(run_id != digest(f"{campaign_id} {case_id} {attempt}"))
        wrong = False
        if has_case and None not in case:
            key = tuple(case)
            if key not in known:
                known[key] = Case(**dict(zip(_CASE, case, strict=True))).id
            wrong = known[key] != case_id
        wrong_case.append(wrong)
    for of_runs, words in ((wrong_case, "its case is not the one that its id names"), (wrong_run, "its id is wrong")):
        if any(of_runs):
            yield _having(run, of_runs), words


def _mask(values: pa.ChunkedArray) -> Mask:
    mask: Mask = values.to_numpy().astype(bool)
    return mask
