"""A claim that a user declares in a suite, `accuracy: gru > lstm`: an order of cells in a metric."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from bench.core.errors import UsageError, unknown
from bench.core.metric import Metric
from bench.core.metrics import find_metric

_FORM = "write METRIC: CELL > CELL, as in accuracy: gru > lstm, or training: simple_rnn < lstm < gru"


@dataclass(frozen=True)
class DeclaredClaim:
    """An order of cells in a metric."""

    text: str
    """As a reader sees it: `accuracy: gru > lstm`."""
    metric: Metric
    cells: tuple[str, ...]
    """From the one that is claimed to be the largest in the metric to the smallest."""

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The adjacent pairs, (larger, smaller)."""
        return tuple(itertools.pairwise(self.cells))


def read_claim(text: object, origin: str) -> DeclaredClaim:
    """A claim from its text.

    Args:
        text: `METRIC: CELL > CELL > CELL`, or with `<`; a metric is named as tables and gates name it.
        origin: where it came from, for messages.

    Raises:
        UsageError: it is no such text, or the metric is unknown.
    """
    metric, colon, order = str(text).partition(":")
    signs = set(re.findall("[<>]", order))
    cells = [cell.strip() for cell in re.split("[<>]", order)]
    if not isinstance(text, str) or not colon or len(signs) != 1 or not all(cells):
        raise UsageError(f"the claim {text!r} ({origin}) cannot be read: {_FORM}.")
    if len(set(cells)) < len(cells):
        raise UsageError(f"the claim {text!r} ({origin}) names a cell twice.")
    sign = signs.pop()
    found_metric = find_metric(metric.strip(), f"the claim {text!r} in {origin}")
    shown = f"{found_metric.title}: {f' {sign} '.join(cells)}"
    return DeclaredClaim(shown, found_metric, tuple(cells if sign == ">" else reversed(cells)))


def read_claim_tables(tables: object, cells: Collection[str], origin: str) -> tuple[str, ...]:
    """The texts of the tables `[[claims]]` of a suite, each read once.

    Args:
        tables: as TOML gives them: a list of tables with the key `claim`.
        cells: those that the suite measures.
        origin: where they stand, for messages.

    Raises:
        UsageError: they are no such tables, or a claim cannot be read, or names a cell that the suite leaves out.
    """
    example = '[[claims]] on a line of its own, and below it claim = "accuracy: gru > lstm"'
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"claims ({origin}) must be tables: write {example}.")
    texts = []
    for table in tables:
        for key in table.keys() - {"claim"}:
            raise unknown("key", str(key), ("claim",), f"[[claims]] in {origin}")
        if "claim" not in table:
            raise UsageError(f"a table [[claims]] ({origin}) has no claim: write {example}.")
        claim = read_claim(table["claim"], f"[[claims]] in {origin}")
        for cell in claim.cells:
            if cell not in cells:
                raise unknown("cell", cell, cells, f"the claim {claim.text!r} in {origin}")
        texts.append(claim.text)
    return tuple(texts)


def read_claims(texts: Iterable[object], origin: str) -> tuple[DeclaredClaim, ...]:
    """The claims of several texts, each once."""
    return tuple(dict.fromkeys(read_claim(text, origin) for text in texts))
