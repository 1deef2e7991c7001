"""Which sides are asked for, and which ratios of which two."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.errors import UsageError
from bench.duel.sequential import Contrast
from bench.duel.specification import asked, prepare_sides


def test_configurations_are_compared_with_the_first_in_the_order_in_which_they_were_given() -> None:
    what = asked((), ["cells=gru,simple_rnn", "units=16,8"])
    assert [(case.cell, case.units) for case in what.cases] == [
        ("gru", 16),
        ("gru", 8),
        ("simple_rnn", 16),
        ("simple_rnn", 8),
    ]
    assert what.contrasts == (Contrast(0, 1), Contrast(0, 2), Contrast(0, 3))
    assert len(asked((), ["cells=gru,simple_rnn", "units=16,8"], all_pairs=True).contrasts) == 6


def test_names_are_compared_within_each_configuration() -> None:
    """A cell of the project's is not imported by the plan, and stands beside those that come with the program."""
    what = asked(("main", "HEAD"), ["cells=lstm,gru,not_here:cell"])
    assert [case.cell for case in what.cases] == ["lstm", "lstm", "gru", "gru", "not_here:cell", "not_here:cell"]
    assert what.contrasts == (Contrast(0, 1), Contrast(2, 3), Contrast(4, 5))
    assert what.configurations == 3


def test_a_network_of_the_projects_is_each_commits_own_too() -> None:
    what = asked(("main", "HEAD"), ["cells=lstm,gru", "networks=not_here:build"])
    assert [(case.cell, case.network) for case in what.cases] == [
        (cell, "not_here:build") for cell in ("lstm", "lstm", "gru", "gru")
    ]


def test_variables_of_the_environment_are_settings(tmp_path: Path) -> None:
    what = asked(("env.TF_ENABLE_ONEDNN_OPTS=0", "env.TF_ENABLE_ONEDNN_OPTS=1"), ["cells=gru"])
    sides = prepare_sides(what, scratch=tmp_path, cache=tmp_path, build=False, worker="none", notify=print)
    assert [side.case.env for side in sides] == ["TF_ENABLE_ONEDNN_OPTS=0", "TF_ENABLE_ONEDNN_OPTS=1"]
    assert [side.environment.variables["TF_ENABLE_ONEDNN_OPTS"] for side in sides] == ["0", "1"]
    assert [side.title for side in sides] == ["env.TF_ENABLE_ONEDNN_OPTS=0", "env.TF_ENABLE_ONEDNN_OPTS=1"]


def test_titles_name_what_a_side_is_compared_in(tmp_path: Path) -> None:
    what = asked(("kernel=generic", "kernel=unrolled"), ["cells=gru,lstm", "units=8,16"])
    sides = prepare_sides(what, scratch=tmp_path, cache=tmp_path, build=False, worker="none", notify=print)
    assert [side.title for side in sides][:3] == [
        "gru units=8, kernel=generic",
        "gru units=8, kernel=unrolled",
        "gru units=16, kernel=generic",
    ]


@pytest.mark.parametrize(
    ("names", "overrides", "message"),
    [
        ((), ["batch_size=32,64"], r"different batch sizes \(32, 64\)"),
        ((), ["tasks=mnist_5k,noise"], r"work on different data \(mnist_5k, noise\)"),
        (("units=8", "units=16"), ["cells=simple_rnn,lstm,gru", "kernels=auto,generic"], "12 sides were asked for"),
        ((), ["kernels=generic,cudnn"], "a configuration cannot run here: .*cuDNN runs on NVIDIA GPUs"),
        ((), ["networks=not_here:build", "cells=lstm,gru"], "no module for the network 'not_here:build'"),
        (("main", "HEAD"), ["networks=not-here:build"], "no module for the network 'not-here:build'"),
        (("main", "HEAD"), ["networks=not_here:build", "layers=3"], "not_here:build has the layers that it makes"),
        (("main", "HEAD"), ["cells=not_here:cell", "dropout=0.2"], "dropout=0.2 is an option of Keras's layers"),
    ],
)
def test_what_cannot_be_compared_is_refused(names: tuple[str, ...], overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        asked(names, overrides)


def test_batch_sizes_may_differ_between_what_is_not_compared() -> None:
    assert len(asked(("main", "HEAD"), ["batch_size=32,64"]).contrasts) == 2
