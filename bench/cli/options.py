"""Options that several commands share, and what they have in common in reading them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import completion
from bench.cluster.slot import Slot
from bench.core.errors import NoVerdictError, UsageError
from bench.store.objects import store_path

LOCAL_RESULTS = Path("results/local")
"""Where `bench run` writes, and what is read where no results are named. Git ignores it."""


class Format(StrEnum):
    """How a table is written."""

    TEXT = "text"
    MD = "md"
    JSON = "json"


class TableFormat(StrEnum):
    """How the comparison table is written: as others, and as a paper, a page and a spreadsheet want it."""

    TEXT = "text"
    MD = "md"
    LATEX = "latex"
    HTML = "html"
    CSV = "csv"
    JSON = "json"


class DataFormat(StrEnum):
    """How facts are written."""

    TEXT = "text"
    JSON = "json"


SuiteArgument = Annotated[
    str,
    typer.Argument(
        metavar="SUITE", help="A suite's name (`bench suites`), or a TOML file.", autocompletion=completion.suites
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="AXIS=VALUE,…",
        help="Override an axis or a setting: --set cells=lstm,gru --set seeds=0..9 --set epochs=1. Repeatable.",
        autocompletion=completion.axis_values,
    ),
]
ResultsOption = Annotated[
    Path,
    typer.Option(
        "--results", metavar="DIR", parser=store_path, help="The results folder, or s3://bucket/prefix (extra s3)."
    ),
]
ResultsArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="RESULTS",
        parser=store_path,
        help=f"Results folders or parquet files, s3://bucket/prefix too; {LOCAL_RESULTS} if none is named.",
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to write it.")]
DataFormatOption = Annotated[DataFormat, typer.Option("--format", help="How to write it.")]
OrderOption = Annotated[
    int,
    typer.Option(
        "--seed-order",
        metavar="N",
        min=0,
        max=2**32 - 1,
        help="The number that the order inside each block is drawn from.",
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        envvar="BENCH_DATA_DIR",
        help="A folder with the data: MNIST's IDX files, gzipped or not, or an .npz.",
    ),
]
CpusOption = Annotated[
    str | None, typer.Option("--cpus", metavar="LIST", help="Run the workers on these processors only, as 0,1 or 0-3.")
]


OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="CLUSTER",
        help="Measure on the nodes of a Ray cluster: ray, or ray-local:N, which starts N nodes here to try it.",
    ),
]
AddressOption = Annotated[
    str | None, typer.Option("--address", metavar="HOST:PORT", help="The cluster's address; RAY_ADDRESS if not given.")
]

SlotOption = Annotated[
    Slot,
    typer.Option("--slot", help="What a run on a cluster has to itself: a machine, or a GPU beside runs on others."),
]

JoinOption = Annotated[
    str,
    typer.Option(
        "--join",
        metavar="FIELD,…",
        help="Put rows side by side that differ in these: units, learning_rate, backend, code, ...",
        autocompletion=completion.fields,
    ),
]
ClaimOption = Annotated[
    list[str] | None,
    typer.Option("--claim", metavar="CLAIM", help='Judge a claim: --claim "accuracy: gru > lstm". Repeatable.'),
]


def measured(results: Sequence[Path] | None) -> list[Path]:
    """The results to read: those that were named, or what `bench run` has measured here.

    Raises:
        NoVerdictError: none was named, and nothing has been measured.
    """
    if results:
        return list(results)
    if not LOCAL_RESULTS.exists():
        raise NoVerdictError(
            f"nothing has been measured here yet ({LOCAL_RESULTS} is not there): "
            f"`bench run quick` does so in about two minutes, or name a results folder."
        )
    return [LOCAL_RESULTS]


def check_cluster_options(
    on: str | None, address: str | None, local: Mapping[str, object], slot: Slot = Slot.MACHINE
) -> None:
    """Refuse options that don't go together.

    Args:
        on: the value of `--on`.
        address: the value of `--address`.
        local: options that are about this machine, with their values.
        slot: the value of `--slot`.

    Raises:
        UsageError: `--address` or `--slot gpu` without `--on`, or `--on` with an option that is about this machine.
    """
    if on is None and slot is Slot.GPU:
        raise UsageError("--slot gpu is about the nodes of a cluster, and none is named: add --on ray, or ray-local:1.")
    if on is None and address is not None:
        raise UsageError(f"--address {address} names a cluster that nothing is measured on: add --on ray.")
    for option, value in local.items():
        if on is not None and value:
            raise UsageError(f"{option} and --on exclude each other: {option} is about this machine alone.")
