from __future__ import annotations

import itertools
import json
from dataclasses import MISSING, fields
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bench.core.axes import AXES, SETTING_FIELDS, varying
from bench.core.case import Case
from tests.support.change import copy_of_package


def test_every_field_of_a_case_but_the_repeat_is_an_axis_in_the_order_of_the_fields() -> None:
    assert [axis.field for axis in AXES.values()] == [f.name for f in fields(Case) if f.name != "repeat"]


def test_every_field_of_a_case_is_documented_and_its_default_is_of_its_type() -> None:
    assert all(f.metadata["doc"] for f in fields(Case))
    defaults = {f.name: f.default for f in fields(Case) if f.default is not MISSING}
    assert set(defaults) == {f.name for f in fields(Case)} - {"cell"}
    for axis in AXES.values():
        assert all(type(value) is axis.type for value in axis.default), axis
        assert axis.field == "cell" or axis.default == (defaults[axis.field],)


def test_an_axis_keeps_its_declaration() -> None:
    threads = AXES["threads"]
    assert (threads.field, threads.type, threads.at_least, threads.at_most) == ("threads", int, 0, 4096)
    assert AXES["cells"].default == ("simple_rnn", "lstm", "gru")
    assert {axis.catalogue for axis in AXES.values() if axis.type is str} == {
        *(
            "cells",
            "tasks",
            "networks",
            "backends",
            "kernels",
            "devices",
            "dtypes",
            "runtimes",
            "masks",
            "activations",
            "variables",
            "tf32",
        )
    }
    assert (AXES["bias"].type, AXES["bias"].default, AXES["bias"].is_number) == (bool, (True,), False)


def test_values_are_written_as_their_axis_declares() -> None:
    assert [AXES["units"].in_words(64), AXES["epochs"].in_words(1), AXES["epochs"].in_words(3)] == [
        *("64 units", "1 epoch", "3 epochs")
    ]
    assert [AXES["batch_size"].in_words(1), AXES["networks"].in_words("notebook")] == ["batch 1", "notebook network"]
    assert AXES["dtypes"].in_words("float16") == "dtype=float16"
    assert AXES["bidirectional"].in_words(True) == "bidirectional=true"


configurations = st.builds(
    Case,
    cell=st.sampled_from(["lstm", "gru"]),
    units=st.integers(1, 3),
    device=st.sampled_from(["cpu", "gpu:0"]),
    learning_rate=st.sampled_from([0.1, 0.2]),
    seed=st.integers(0, 3),
    repeat=st.integers(0, 3),
)


@given(st.lists(configurations, max_size=5))
def test_the_varying_fields_are_those_in_which_two_cases_differ(cases: list[Case]) -> None:
    differing = {
        name
        for some, more in itertools.combinations(cases, 2)
        for name in vars(some)
        if getattr(some, name) != getattr(more, name)
    }
    assert varying(cases) == tuple(name for name in SETTING_FIELDS if name in differing)
    assert varying(iter(cases)) == varying(cases)
    assert not {"cell", "seed", "repeat"} & set(varying(cases))


# What tests/test_add_pages.py, which adds an axis as its page shows, leaves open

FIELD = """\
    momentum: float = axis(
        plural="momentums", default=0.9, doc="decay of the running mean of gradients", at_least=0, at_most=1
    )
"""

READ = """
import json
from pathlib import Path
from bench.core.case import Case
from bench.store import load
from bench.store.schema import BY_NAME
column = BY_NAME["momentum"]
print(json.dumps({
    "id": Case(cell="lstm").id,
    "column": [str(column.type), column.doc, column.nullable],
    "stored before": sorted(set(load([Path(RECORDED)])["momentum"])),
}))
"""


def test_an_added_axis_is_a_documented_column_and_changes_no_id_and_no_older_store(tmp_path: Path) -> None:
    copy = copy_of_package(tmp_path)
    copy.insert("core/case.py", text=FIELD, before="    seed: int = axis(")
    recorded = Path(__file__).parents[1] / "recordings" / "schema_1"
    assert json.loads(copy.python(f"RECORDED = {str(recorded)!r}\n{READ}")) == {
        "id": "ca687b713c8df061",
        "column": ["double", "decay of the running mean of gradients", False],
        "stored before": [0.9],
    }
