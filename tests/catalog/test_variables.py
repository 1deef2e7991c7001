"""Environment variables as values of an axis."""

from __future__ import annotations

import pytest

from bench.catalog.variables import crossed, find
from bench.core.errors import UsageError
from bench.host.software import read_software
from bench.plan.set_values import variables_as_axis
from bench.plan.suite import load


def test_values_are_variables_by_name() -> None:
    assert find("none") == {}
    assert find("OMP_WAIT_POLICY=passive") == {"OMP_WAIT_POLICY": "passive"}
    assert find("A=1 B=x=y") == {"A": "1", "B": "x=y"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no list of variables"),
        ("passive", "is no list of variables"),
        ("1A=2", "is no list of variables"),
        ("A=", "is no list of variables"),
        ("B=1 A=2", "sorted by name"),
        ("A=1 A=2", "is no list of variables"),
        ("A=1  B=2", "is no list of variables"),
        ("KERAS_BACKEND=jax", "sets KERAS_BACKEND, which bench sets itself: use backends"),
        ("CUDA_DEVICE_ORDER=FASTEST_FIRST", "which bench sets itself: use CUDA_VISIBLE_DEVICES with the identifier"),
    ],
)
def test_other_texts_are_refused_with_where_they_came_from(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        find(text, "--set env.A")
    assert "(--set env.A)" in str(refused.value)


def test_variables_are_crossed_and_none_is_not_set() -> None:
    assert crossed({"B": ["1", "none"], "A": ["x"]}) == ["A=x B=1", "A=x"]
    assert crossed({"A": ["none", "1"]}) == ["none", "A=1"]


def test_set_crosses_a_variable_with_the_other_axes() -> None:
    suite = load("quick", ["env.OMP_WAIT_POLICY=none,passive", "cells=gru", "env.TF_ENABLE_ONEDNN_OPTS=0,1"])
    assert suite.axes.env == (
        "TF_ENABLE_ONEDNN_OPTS=0",
        "TF_ENABLE_ONEDNN_OPTS=1",
        "OMP_WAIT_POLICY=passive TF_ENABLE_ONEDNN_OPTS=0",
        "OMP_WAIT_POLICY=passive TF_ENABLE_ONEDNN_OPTS=1",
    )
    assert variables_as_axis(["units=8"]) == ["units=8"]
    for given, message in (
        (["env.A=1", "env.A=2"], "--set env.A is given twice"),
        (["env.A="], "--set env.A= has no value: .*--set env.A=none"),
        (["env.A=1", "env=none"], "--set env is given twice"),
    ):
        with pytest.raises(UsageError, match=message):
            load("quick", given)


def test_a_run_s_variables_are_in_its_softwares_fingerprint_whatever_they_are() -> None:
    plain = read_software("tensorflow", {"HOME": "/home/me"})
    of_run = read_software("tensorflow", {"HOME": "/home/me"}, {"MY_VERBOSE_SWITCH": "1"})
    assert plain.settings == ()
    assert of_run.settings == (("MY_VERBOSE_SWITCH", "1"),)
    assert plain.fingerprint != of_run.fingerprint
