"""`bench gpu-kit DIR`: a folder that measures on a machine with a GPU and without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.output import notify


def gpu_kit(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make, which is new or empty.")],
    python: Annotated[
        str, typer.Option("--python", metavar="VERSION", help="The version of Python on the machine with the GPU.")
    ] = "3.12",
) -> None:
    """Make a folder that measures on a machine with a GPU and without a network.

    The machine needs that Python with torch or JAX for CUDA, numpy, scipy, pandas, pyarrow and matplotlib; the folder
    has the rest, below 60 MiB. There, `python3.12 DIR/run.py --minutes 8 --out OUT` checks, measures and reports, and
    goes on where it was when it is called again.
    """
    from bench.run.gpu_kit import build_kit

    notify(f"getting the wheels for Python {python}")
    size = build_kit(folder, python)
    typer.echo(
        f"{folder}: {size / (1 << 20):.0f} MiB; there: python{python} {folder.name}/run.py --minutes 8 --out OUT"
    )
