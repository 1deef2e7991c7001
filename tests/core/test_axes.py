from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.axes import AXES, SETTING_FIELDS, varying
from bench.core.case import Case
from tests.support.change import PackageCopy, copy_of_package


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
    assert {axis.catalogue for axis in AXES.values() if not axis.is_number} == {
        *("cells", "tasks", "networks", "backends", "kernels", "devices", "dtypes", "runtimes")
    }


def test_values_are_written_as_their_axis_declares() -> None:
    assert [AXES["units"].in_words(64), AXES["epochs"].in_words(1), AXES["epochs"].in_words(3)] == [
        *("64 units", "1 epoch", "3 epochs")
    ]
    assert [AXES["batch_size"].in_words(1), AXES["networks"].in_words("notebook")] == ["batch 1", "notebook network"]
    assert AXES["dtypes"].in_words("float16") == "dtype=float16"


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


# An axis that exists is one field: the whole change of the page "how to add an axis"

FIELD = """\
    momentum: float = axis(
        plural="momentums", default=0.9, doc="decay of the running mean of gradients", at_least=0, at_most=1
    )
"""


WRITE_A_STORE = """
from dataclasses import replace
from pathlib import Path
from bench.core.case import Case
from bench.store.parts import write_run
from tests.support.stored import a_run
for position, momentum in enumerate((0.9, 0.5)):
    write_run(Path("store"), a_run(position, Case(cell="lstm", task="mnist_5k", momentum=momentum)))
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> PackageCopy:
    """The package with an axis more."""
    copy = copy_of_package(tmp_path_factory.mktemp("axis"))
    copy.insert("core/case.py", text=FIELD, before="    seed: int = axis(")
    return copy


def test_adding_an_axis_touches_one_file(changed: PackageCopy) -> None:
    assert changed.touched == {"core/case.py"}


def test_an_added_axis_is_crossed_by_set_and_checked(changed: PackageCopy) -> None:
    planned = json.loads(changed.bench("plan", "quick", "--set", "momentums=0.9,0.5", "--format", "json"))
    cases: list[Mapping[str, Any]] = [entry["case"] for entry in planned["cases"]]
    assert len(cases) == 2 * 9
    assert {case["momentum"] for case in cases} == {0.9, 0.5}
    assert "lstm momentum=0.5 seed=0" in changed.bench("plan", "quick", "--set", "momentums=0.9,0.5")
    changed.bench("plan", "quick", "--set", "momentums=1.5", code=2)
    changed.bench("plan", "quick", "--set", "momentum=1", code=2)


def test_an_added_axis_does_not_change_the_ids_of_cases(changed: PackageCopy) -> None:
    planned = json.loads(changed.bench("plan", "mnist_rows", "--set", "cells=lstm", "--format", "json"))
    assert planned["cases"][0]["id"] == "ca687b713c8df061"


def test_an_added_axis_is_a_column_of_the_store(changed: PackageCopy) -> None:
    printed = changed.python(
        "from bench.store.schema import COLUMNS\n"
        "print(*[(c.name, str(c.type), c.doc, c.nullable) for c in COLUMNS if c.name == 'momentum'])"
    )
    assert printed.strip() == str(("momentum", "double", "decay of the running mean of gradients", False))


def test_an_added_axis_is_in_the_table_and_its_json(changed: PackageCopy) -> None:
    changed.python(WRITE_A_STORE)
    (section,) = json.loads(changed.bench("table", "store", "--format", "json"))["sections"]
    assert section["axes"] == ["momentum"]
    assert {row["axes"]["momentum"] for row in section["rows"]} == {0.9, 0.5}
    assert "momentum" in changed.bench("table", "store")


def test_a_store_of_before_has_the_default_of_an_added_axis(changed: PackageCopy) -> None:
    recorded = Path(__file__).parents[1] / "recordings" / "schema_1"
    printed = changed.python(
        "from pathlib import Path\n"
        "from bench.store import load\n"
        f"print(set(load([Path({str(recorded)!r})])['momentum']))"
    )
    assert printed.strip() == "{0.9}"
