"""Claims and what the measurements show of each: as a table, and beside their verdicts for a terminal."""

from __future__ import annotations

import itertools

from bench.analysis.claims import judge_claims
from bench.analysis.summary import Section
from bench.report.document import Cell, Column, Table


def claims_table(section: Section) -> Table:
    """A row for each claim, whether it holds, and the figures behind that; no rows where nothing is claimed."""
    claims = judge_claims(section)
    return Table(
        (Column("claim" if section.claims else "the notebook's claim"), Column("verdict"), Column("figures")),
        tuple((claim.text, str(claim.verdict), claim.evidence) for claim in claims),
        empty="nothing is claimed: the notebook's protocol was not measured here, and the suite declares no claims "
        "(`[[claims]]`, or `bench table --claim`).",
    )


def claims_by_verdict(section: Section) -> tuple[tuple[str, Cell], ...]:
    """Claims beside their verdict; those with the same evidence (a cell that was not measured) together."""
    together = itertools.groupby(judge_claims(section), key=lambda claim: (claim.verdict, claim.evidence))
    return tuple((verdict, (*(claim.text for claim in claims), evidence)) for (verdict, evidence), claims in together)
