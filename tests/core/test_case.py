from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.case import Case

VALUES: dict[object, st.SearchStrategy[Any]] = {
    "str": st.text(max_size=10),
    "bool": st.booleans(),
    "int": st.integers(0, 2**31),
    "float": st.floats(0, 1, allow_nan=False),
}
cases = st.builds(Case, **{field.name: VALUES[field.type] for field in fields(Case)})


def test_ids_are_those_of_stored_cases() -> None:
    assert Case(cell="lstm").id == "ca687b713c8df061"
    assert Case(cell="lstm", seed=3, units=64).canonical == '{"cell": "lstm", "seed": 3, "units": 64}'


def test_the_defaults_are_the_protocols_and_never_change() -> None:
    assert asdict(Case(cell="x")) == {
        "cell": "x",
        "task": "mnist",
        "network": "notebook",
        "backend": "tensorflow",
        "kernel": "auto",
        "device": "cpu",
        "dtype": "float32",
        "threads": 0,
        "deterministic": False,
        "steady": False,
        "tf32": "default",
        "env": "none",
        "runtime": "keras",
        "units": 128,
        "layers": 0,
        "bidirectional": False,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "mask": "none",
        "stateful": False,
        "reset_after": True,
        "bias": True,
        "activation": "default",
        "recurrent_activation": "default",
        "batch_size": 32,
        "epochs": 3,
        "train_samples": 0,
        "steps": 0,
        "features": 0,
        "classes": 0,
        "coarse": 1,
        "learning_rate": 0.001,
        "decay": 1e-6,
        "latency_calls": 0,
        "seed": 0,
        "repeat": 0,
    }


def test_a_case_needs_a_cell() -> None:
    with pytest.raises(TypeError, match="cell"):
        Case()


@given(cases)
def test_a_case_comes_back_from_its_json_and_from_its_canonical_form(case: Case) -> None:
    assert Case.from_json(case.to_json()) == case
    assert Case(**{"cell": "", **json.loads(case.canonical)}).id == case.id


@given(cases, st.integers(0, 9), st.integers(0, 9))
def test_a_configuration_is_the_same_for_all_seeds_and_repeats(case: Case, seed: int, repeat: int) -> None:
    again = replace(case, seed=seed, repeat=repeat)
    assert again.configuration == case.configuration
    assert again.configuration_id == case.configuration_id == case.configuration.id


def test_a_case_comes_back_from_a_row_of_a_frame() -> None:
    case = Case(cell="gru", units=64, learning_rate=0.5, seed=7)
    row = pd.DataFrame([asdict(case)]).astype({"cell": "category"}).iloc[0].to_dict()
    row |= {"units": np.int64(64), "seed": np.float64(7)}
    assert Case.from_record(row) == case
    assert type(Case.from_record(row).units) is int


def test_a_label_shows_what_it_is_asked_for() -> None:
    case = Case(cell="gru", units=64, seed=7)
    assert case.label() == "gru seed=7"
    assert replace(case, repeat=2).label(("device", "units")) == "gru device=cpu units=64 seed=7 repeat=2"
