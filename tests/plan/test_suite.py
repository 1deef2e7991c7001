from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.catalog import networks, tasks
from bench.catalog.cells import BUILT_IN
from bench.catalog.networks import parameters
from bench.core.axes import AXES
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.plan.plan import make_plan
from bench.plan.set_values import MAX_RUNS
from bench.plan.suite import Axes, Settings, Suite, built_in, find, load
from tests.support.hosts import a_host


def write(folder: Path, text: str | bytes, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def refusal(suite: str, *overrides: str) -> str:
    """The one sentence that refuses a suite."""
    with pytest.raises(UsageError) as caught:
        load(suite, overrides)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 600
    assert "pydantic" not in text
    return text


# The suites that come with the program


def test_the_suites_that_come_with_the_program_load() -> None:
    assert {"gpu", "kernels", "mnist_rows", "quick"} <= set(built_in())
    for name in built_in():
        suite = load(name)
        assert suite.name == name
        assert suite.title


def test_mnist_rows_is_the_protocol() -> None:
    suite = load("mnist_rows")
    assert suite.axes.cells == ("simple_rnn", "lstm", "gru")
    assert suite.axes.seeds == (0, 1, 2)
    assert suite.settings.fallback_task == "mnist_5k"
    everything_else = suite.model_copy(
        update={"axes": suite.axes.model_copy(update={"seeds": (0,)}), "settings": Settings()}
    )
    assert everything_else.axes == Axes()


def test_a_suite_that_says_nothing_is_one_run_of_each_cell_by_the_protocol(tmp_path: Path) -> None:
    suite = load(write(tmp_path, ""))
    assert (suite.name, suite.runs) == ("mine", 3)


def test_defaults_of_axes_and_settings_are_those_of_a_case() -> None:
    case = Case(cell="lstm")
    axes = {axis: values for axis, values in Axes().model_dump().items() if axis != "cells"}
    assert {axis: (getattr(case, AXES[axis].field),) for axis in axes} == axes
    assert len(axes) == 34


# Parts


PARTS = """
[axes]
units = [8]
seeds = [9]
[[parts]]
cells = ["lstm"]
seeds = "0..1"
[[parts]]
cells = ["gru", "lstm"]
batch_size = [64, 32]
"""


def test_each_part_is_crossed_by_itself_with_its_axes_in_place_of_the_suite_s(tmp_path: Path) -> None:
    suite = load(write(tmp_path, PARTS))
    assert [(axes.cells, axes.seeds, axes.units, axes.batch_size) for axes in suite.crossings] == [
        (("lstm",), (0, 1), (8,), (32,)),
        (("gru", "lstm"), (9,), (8,), (64, 32)),
    ]
    assert suite.runs == 2 + 4
    assert (suite.values("seeds"), suite.values("cells")) == ((0, 1, 9), ("lstm", "gru"))


def test_what_is_set_replaces_the_axis_of_every_part(tmp_path: Path) -> None:
    suite = load(write(tmp_path, PARTS), ["cells=simple_rnn", "seeds=3", "units=4"])
    assert {(axes.cells, axes.seeds, axes.units) for axes in suite.crossings} == {(("simple_rnn",), (3,), (4,))}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parts = 3", "'parts' in {} must be tables: write [[parts]] on a line of its own above each."),
        ("[parts]", "'parts' in {} must be tables: write [[parts]] on a line of its own above each."),
        ("[[parts]]\ncels = ['gru']", "unknown key 'cels' ([[parts]] in {}): did you mean 'cells'?"),
        ("[[parts]]\nunits = [0]", "units = 0 ({}) cannot be used: it must be at least 1."),
    ],
)
def test_a_slip_in_a_part_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    assert refusal(path) == message.format(repr(path) if message.startswith("'") else path)


# Files


def test_a_suite_of_ones_own(tmp_path: Path) -> None:
    suite = load(
        write(
            tmp_path,
            """
            title = "mine"
            [axes]
            cells = ["lstm", "gru"]
            units = [64, 256]
            seeds = "0..3,7"
            [settings]
            repeats = 2
            silence_seconds = 60
            learning_rate = 1
            """,
        )
    )
    assert suite.axes.seeds == (0, 1, 2, 3, 7)
    assert suite.runs == 4 * 10
    assert (suite.settings.silence_seconds, suite.axes.learning_rate) == (60.0, (1.0,))


def test_names_may_be_written_as_set_takes_them(tmp_path: Path) -> None:
    assert load(write(tmp_path, '[axes]\ncells = "lstm, gru"')).axes.cells == ("lstm", "gru")


def test_a_name_in_the_file_wins_over_the_files_own(tmp_path: Path) -> None:
    assert load(write(tmp_path, 'name = "other"')).name == "other"


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("x = [", "is not valid TOML: "),
        ("x = " + "[" * 100_000, "is not valid TOML: maximum recursion depth"),
        ("x = " + "9" * 5000, "is not valid TOML: "),
        (b"\xff\xfe", "it is not UTF-8 text"),
        ("axes = 3", "'axes' in "),
        ("[[axes]]\ncells = ['lstm']", "write [axes] on a line of its own"),
        ("settings = []", "write [settings] on a line of its own"),
        ("epochs = [1]", "the key 'epochs' ("),
        ("repeats = 2", "belongs under [settings]"),
        ("titel = 'x'", "unknown key 'titel' ("),
        ("titel = 'x'", "did you mean 'title'?"),
        ("title = 3", "title = 3 ("),
        ("title = 3", "it must be text"),
        ("name = ''", "it must not be empty"),
        ("[axes]\ncels = ['lstm']", "unknown key 'cels' ([axes] in "),
        ("[axes]\ncels = ['lstm']", "did you mean 'cells'?"),
        ("[axes]\nrepeats = 3", "unknown key 'repeats'"),
        ("[settings]\nrepeat = 3", "did you mean 'repeats'?"),
        ("[axes]\nepochs = 3", "it must be a list, as in epochs = [3]"),
        ("[axes]\nepochs = [true]", "epochs = true ("),
        ("[axes]\nepochs = [true]", "it must be a whole number"),
        ("[axes]\nepochs = [1.0]", "it must be a whole number"),
        ("[axes]\nepochs = [1979-05-27]", "it must be a whole number"),
        ("[axes]\nepochs = ['1..3']", "it must be a whole number"),
        ("[axes]\nepochs = [0]", "it must be at least 1"),
        ("[axes]\nepochs = [-1]", "epochs = -1 ("),
        ("[axes]\nepochs = []", "there must be at least one value"),
        ("[axes]\nseeds = []", "seeds = [] ("),
        ("[axes]\nseeds = ''", "there must be at least one value"),
        ("[axes]\nseeds = [-1]", "it must be at least 0"),
        ("[axes]\nseeds = [4294967296]", "it must be at most 4294967295"),
        ("[axes]\nseeds = '9..0'", "is empty: write the smaller number first"),
        ("[axes]\nseeds = 'a'", "'a' ("),
        ("[axes]\ncells = ['lstm', 'gru', 'lstm']", "'lstm' stands there 2 times"),
        ("[axes]\ncells = ['']", "it must not be empty"),
        ("[axes]\ncells = [3]", "it must be text"),
        ("[axes]\ncells = [['lstm']]", "it must be text"),
        ("[axes.cells]\na = {b = [1]}", "it must be a list"),
        ("[settings]\nrepeats = true", "repeats = true ("),
        ("[settings]\nrepeats = 0", "it must be at least 1"),
        ("[settings]\nlearning_rate = 0", "it must be greater than 0"),
        ("[settings]\nlearning_rate = nan", "it must be a finite number"),
        ("[settings]\nlearning_rate = inf", "it must be a finite number"),
        ("[settings]\nlearning_rate = 'fast'", "it must be a number"),
        ("[settings]\nlearning_rate = true", "it must be a number"),
        ("[settings]\nsilence_seconds = -1", "it must be greater than 0"),
        ("[settings]\nfallback_task = 3", "it must be text"),
        ("[settings]\nlearning_rat = 1", "did you mean 'learning_rate'?"),
        ("[settings]\nlearning_rate = [0.1, 0.2]", "learning_rate = [0.1, 0.2] ("),
        ("[settings]\nlearning_rate = [0.1, 0.2]", "several values belong under [axes]"),
        ("[settings]\nunits = 3", "unknown key 'units' ([settings] in "),
        ("[axes]\ndecay = [0.1]\n[settings]\ndecay = 0.1", "stands both under [axes] and under [settings]"),
        ("[axes]\nlearning_rate = ['0.1']", "it must be a number"),
        ("[axes]\nlearning_rate = 'slow'", "learning_rate = 'slow' ("),
        ("learning_rate = 1", "belongs under [settings]"),
    ],
)
def test_a_suite_that_cannot_be_used(tmp_path: Path, toml: str | bytes, expected: str) -> None:
    path = write(tmp_path, toml)
    text = refusal(path)
    assert expected in text
    assert path in text


def test_an_unknown_key_is_told_before_what_else_is_wrong(tmp_path: Path) -> None:
    assert "unknown key 'sedes'" in refusal(write(tmp_path, "title = 3\n[axes]\nsedes = [1]"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "mnist_row",
            "unknown suite 'mnist_row' (a suite of one's own is named by its file, ending in .toml): did you",
        ),
        ("x", "known: adding, gpu, "),
        ("", "unknown suite ''"),
        (
            "nowhere.toml",
            "cannot read the suite 'nowhere.toml': No such file or directory; name a TOML file, or one of",
        ),
        ("no/where", "No such file or directory"),
    ],
)
def test_a_suite_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in refusal(name)


def test_a_folder_is_no_suite(tmp_path: Path) -> None:
    (tmp_path / "it.toml").mkdir()
    assert "Is a directory" in refusal(str(tmp_path / "it.toml"))


def test_a_file_of_ones_own_does_not_shadow_a_suite_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "title = 'mine'", "quick.toml")
    monkeypatch.chdir(tmp_path)
    assert find("quick") == built_in()["quick"]
    assert load("quick.toml").title == "mine"


# --set


def test_overrides_replace_what_the_suite_has() -> None:
    suite = load("quick", ["cells=lstm, gru", "seeds=0..9", "epochs=1,3", " units =64", "repeats=2", "decay=0"])
    assert (suite.axes.cells, suite.axes.seeds) == (("lstm", "gru"), tuple(range(10)))
    assert (suite.axes.epochs, suite.axes.units) == ((1, 3), (64,))
    assert (suite.settings.repeats, suite.axes.decay) == (2, (0.0,))
    assert suite.axes.tasks == ("mnist_5k",)


def test_a_single_value_may_stand_under_settings_and_an_override_crosses_several(tmp_path: Path) -> None:
    path = write(tmp_path, "[settings]\ntrain_samples = 64\nlearning_rate = 1\n[axes]\ndecay = [0, 0.5]")
    suite = load(path)
    assert (suite.axes.train_samples, suite.axes.learning_rate, suite.axes.decay) == ((64,), (1.0,), (0.0, 0.5))
    assert suite.runs == 3 * 2
    crossed = load(path, ["learning_rate=0.001,1e-2", "train_samples=0..1"])
    assert (crossed.axes.learning_rate, crossed.axes.train_samples) == ((0.001, 0.01), (0, 1))
    assert crossed.origin("learning_rate") == "--set learning_rate=0.001,1e-2"
    assert load(write(tmp_path, "[axes]\nlearning_rate = '0.1, 1'")).axes.learning_rate == (0.1, 1.0)


def test_a_fallback_can_be_taken_away() -> None:
    assert load("mnist_rows", ["fallback_task="]).settings.fallback_task == ""


def test_an_override_mends_what_is_wrong_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[axes]\nepochs = [-1]")
    assert load(path, ["epochs=2"]).axes.epochs == (2,)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("epochs", "--set epochs has no value: write --set epochs=value,value."),
        ("=3", "unknown key '' (--set =3)"),
        ("cels=lstm", "unknown key 'cels' (--set cels=lstm): did you mean 'cells'?"),
        ("cell=lstm", "did you mean 'cells'?"),
        ("name=x", "unknown key 'name'"),
        ("cells=", "cells = [] (--set cells=) cannot be used: there must be at least one value."),
        ("cells=,,", "there must be at least one value"),
        ("seeds=", "there must be at least one value"),
        ("epochs=-1", "epochs = -1 (--set epochs=-1) cannot be used: it must be at least 1."),
        ("epochs=1.5", "'1.5' (--set epochs=1.5) is not a whole number or a range such as 0..9."),
        ("epochs=one", "'one' (--set epochs=one) is not a whole number"),
        ("seeds=0..", "'0..' (--set seeds=0..) is not a whole number"),
        ("seeds=0..1..2", "is not a whole number"),
        ("seeds=5..2", "the range '5..2' (--set seeds=5..2) is empty"),
        ("seeds=0..3,2", "2 stands there 2 times"),
        ("seeds=0..99999999999", "has more than 100,000 values"),
        ("units=" + "9" * 5000, "is not a whole number"),
        ("cells=lstm,lstm", "(--set cells=lstm,lstm) cannot be used: 'lstm' stands there 2 times."),
        ("repeats=2.5", "repeats = '2.5' (--set repeats=2.5) is not a whole number."),
        ("repeats=10001", "it must be at most 10000"),
        ("learning_rate=fast", "learning_rate = 'fast' (--set learning_rate=fast) is not a number."),
        ("learning_rate=nan", "it must be a finite number"),
        ("learning_rate=-0.1", "it must be greater than 0"),
        ("train_samples=-1", "it must be at least 0"),
    ],
)
def test_an_override_that_cannot_be_used(override: str, expected: str) -> None:
    text = refusal("quick", override)
    assert expected in text
    assert "quick" not in text.replace(override, "")  # the suite has no part in it


def test_an_override_given_twice() -> None:
    assert refusal("quick", "epochs=1", "epochs=2").startswith("--set epochs is given twice")


@pytest.mark.parametrize("overrides", ["seeds=0..33333", "units=1..500 batch_size=1..100", "repeats=10000 seeds=0..3"])
def test_more_runs_than_anybody_waits_for_are_a_slip(overrides: str) -> None:
    assert f"runs, and {MAX_RUNS:,} are the most" in refusal("quick", *overrides.split())


def test_as_many_runs_as_are_allowed() -> None:
    suite = load("quick", ["cells=lstm", f"seeds=0..{MAX_RUNS - 1}"])
    assert suite.runs == MAX_RUNS


def test_where_a_value_came_from(tmp_path: Path) -> None:
    path = write(tmp_path, "[axes]\nunits = [3]")
    suite = load(path, ["cells=lstm"])
    assert (suite.origin("cells"), suite.origin("units")) == ("--set cells=lstm", path)
    assert Suite(name="x").origin("cells") == "the suite x"


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=20, unique=True))
def test_lists_of_numbers_survive(numbers: list[int]) -> None:
    assert load("quick", ["seeds=" + ",".join(map(str, numbers))]).axes.seeds == tuple(numbers)


@given(st.integers(0, 1000), st.integers(0, 50))
def test_ranges_include_both_ends(first: int, more: int) -> None:
    assert load("quick", [f"seeds={first}..{first + more}"]).axes.seeds == tuple(range(first, first + more + 1))


def outcome(suite: str, *overrides: str) -> str | None:
    """None where the suite loads, else the sentence that refuses it."""
    try:
        load(suite, overrides)
    except UsageError as error:
        return str(error)
    return None


_KEYS = st.sampled_from([*Axes.model_fields, *Settings.model_fields, "axes", "settings", "title", "name", "", "x"])


@settings(max_examples=300)
@given(_KEYS, st.text(max_size=30) | st.from_regex(r"[-0-9.,]{1,8}", fullmatch=True))
def test_no_override_ends_in_anything_but_a_suite_or_a_sentence(key: str, value: str) -> None:
    message = outcome("quick", f"{key}={value}")
    assert message is None or f"--set {key}={value}"[:40] in message or "runs, and" in message


_SCALARS = (
    st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=8)
    | st.dates(datetime.date(1, 1, 1))
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=6,
)


def toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(_KEYS, _VALUES, max_size=3),
    st.dictionaries(_KEYS, _VALUES, max_size=3),
    st.dictionaries(_KEYS, _VALUES, max_size=2),
)
def test_no_file_ends_in_anything_but_a_suite_or_a_sentence(
    tmp_path: Path, axes: dict[str, Any], fixed: dict[str, Any], root: dict[str, Any]
) -> None:
    tables = {**root, "axes": axes, "settings": fixed}
    path = write(tmp_path, "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in tables.items()))
    message = outcome(path)
    assert message is None or (path in message and "\n" not in message) or "runs, and" in message


# Values that a cell has for itself

MATCHED = """
[axes]
cells = ["lstm", "gru"]
units = [32]

[cells.gru]
units = 37
learning_rate = [0.01, 0.1]
"""


def configurations(suite: Suite) -> set[tuple[str, int, float]]:
    plan = make_plan(suite, order_seed=0, host=a_host())
    return {(p.case.cell, p.case.units, p.case.learning_rate) for p in plan.scheduled}


def test_a_cell_may_have_values_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path, MATCHED)
    assert configurations(load(path)) == {("lstm", 32, 0.001), ("gru", 37, 0.01), ("gru", 37, 0.1)}
    assert load(path).runs == 3


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["units=8"], {("lstm", 8, 0.001), ("gru", 8, 0.01), ("gru", 8, 0.1)}),
        (["units=8,gru:9"], {("lstm", 8, 0.001), ("gru", 9, 0.01), ("gru", 9, 0.1)}),
        (["units=gru:9..10", "learning_rate=0.5"], {("lstm", 32, 0.5), ("gru", 9, 0.5), ("gru", 10, 0.5)}),
        (["cells=lstm"], {("lstm", 32, 0.001)}),
    ],
)
def test_an_override_replaces_the_values_of_single_cells_too(
    tmp_path: Path, overrides: list[str], expected: set[tuple[str, int, float]]
) -> None:
    assert configurations(load(write(tmp_path, MATCHED), overrides)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[cells.gur]\nunits = 3", "unknown cell 'gur' ([cells.gur] in "),
        ("[cells.gru]\nunit = 3", "unknown key 'unit' ([cells.gru] in "),
        ('[cells.gru]\nkernels = "xla"', "kernels ([cells.gru] in "),
        ("[cells.gru]\nseeds = 3", "cannot differ from cell to cell"),
        ("[cells]\ngru = 3", "write [cells.gru] on a line of its own"),
        ('cells = ["gru"]', "the key 'cells' ("),
        ("[cells.gru]\nunits = 0", "it must be at least 1"),
    ],
)
def test_values_of_a_cell_that_cannot_be_used(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(write(tmp_path, text))


def test_an_override_for_a_cell_that_is_not_there() -> None:
    assert refusal("quick", "units=gur:9") == "unknown cell 'gur' (--set units=gur:9): did you mean 'gru'?"
    assert "known: gru" in refusal("quick", "cells=gru", "units=lstm:9")


CLAIMS = """
[axes]
cells = ["gru", "lstm", "my_cells:small"]

[[claims]]
claim = "accuracy: gru > lstm"

[[claims]]
claim = "training: my_cells:small < gru"
"""


def test_what_a_suite_claims_is_in_its_plan_and_not_in_its_hash(tmp_path: Path) -> None:
    claiming = make_plan(load(write(tmp_path, CLAIMS), ["cells=gru"]), order_seed=0, host=a_host())
    silent = make_plan(load(write(tmp_path, CLAIMS.partition("[[")[0]), ["cells=gru"]), order_seed=0, host=a_host())
    assert claiming.to_data()["claims"] == ["accuracy: gru > lstm", "training: my_cells:small < gru"]
    assert silent.to_data()["claims"] == []
    assert claiming.hash == silent.hash


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('claims = ["accuracy: gru > lstm"]', "must be tables: write [[claims]]"),
        ("[[claims]]\n", "has no claim"),
        ('[[claims]]\ntext = "accuracy: gru > lstm"', "unknown key 'text' ([[claims]] in "),
        ('[[claims]]\nclaim = "accuracy: gru"', "cannot be read: write METRIC: CELL > CELL"),
        ('[[claims]]\nclaim = "accuracy: gur > lstm"', "unknown cell 'gur' (the claim 'accuracy: gur > lstm' in "),
        ('[[claims]]\nclaim = "speed: gru > lstm"', "unknown metric 'speed' (the claim 'speed: gru > lstm' in "),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused_before_anything_is_measured(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert expected in refusal(write(tmp_path, text))


def test_pixels_compares_cells_of_as_many_parameters() -> None:
    plan = make_plan(load("pixels"), order_seed=0, host=a_host())
    cases = {scheduled.case.configuration for scheduled in plan.scheduled}
    assert {
        (
            case.cell,
            sum(
                parameters(placed, BUILT_IN[case.cell]) or 0
                for placed in networks.of(case).placed(case.units, tasks.of(case))
            ),
        )
        for case in cases
    } == {
        ("simple_rnn", 17_930),
        ("lstm", 17_546),
        ("gru", 17_844),
    }
