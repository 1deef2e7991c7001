"""`bench report`: the page, the same in markdown, and the figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import ClaimOption, JoinOption
from bench.cli.options import measured as results_or_local
from bench.cli.output import notify
from bench.core.errors import UsageError
from bench.report.values import count
from bench.store.objects import store_path

if TYPE_CHECKING:
    from bench.analysis.comparison import Comparison
    from bench.plan.gate import Gate

REPORTS = Path("reports")
"""Where the report is written if nothing else is named."""


def report(
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[A [B]]",
            parser=store_path,
            help="The results to report on; with two, B is compared with its base A.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write it.")] = REPORTS,
    suite: Annotated[str | None, typer.Option("--suite", help="Only what this suite measured.")] = None,
    join: JoinOption = "",
    claims: ClaimOption = None,
    open_page: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Write a page on which cell to use here, and how certain that is: index.html, report.md and figures/.

    Examples:

      bench report --open

      bench report results/reference/mnist_rows

      bench report results/main results/local --out /tmp/compared
    """
    from bench.analysis.joining import read_join
    from bench.core.claim import read_claims
    from bench.report.measured import read
    from bench.report.page import report_document, write_report

    stores = results_or_local(results)
    if len(stores) > 2:
        raise UsageError(
            f"{len(stores)} results folders: name one to report on, or two to compare; to report on several as one, "
            "copy their files into one folder."
        )
    declared = read_claims(claims or (), "--claim")
    measured = read(stores[-1:], suite=suite, join=read_join(join), claims=declared, warn=notify)
    compared = _compared(*stores) if len(stores) == 2 else None
    page = write_report(report_document(measured, compared), out)
    typer.echo(f"{page}: {count(len(measured.sections), 'section')}", err=True)
    if open_page:
        typer.launch(page.absolute().as_uri())


def _compared(base: Path, new: Path) -> tuple[Comparison, Gate]:
    from bench.analysis.comparison import compare
    from bench.analysis.records import NEEDED
    from bench.duel.interleaved_cells import load_interleaved
    from bench.plan.gate import find_gate
    from bench.store import load
    from bench.store.campaign import read_manifests

    gate = find_gate(None)
    before, after = (load([path], columns=NEEDED, warn=notify) for path in (base, new))
    manifests = read_manifests(base, warn=notify), read_manifests(new, warn=notify)
    interleaved = load_interleaved((base, new), warn=notify)
    comparison = compare(before, after, gate, names=(str(base), str(new)), manifests=manifests, interleaved=interleaved)
    return comparison, gate
