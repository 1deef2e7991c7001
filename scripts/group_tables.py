"""Tables, in markdown, of what recorded process groups give (`scripts/judge_groups.py`), and pages with them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.catalog.cells import REFERENCE_CELL
from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown

SAME_SESSION = "the same session"
"""Where both of two stores are drawn from."""


def _percent(part: Mapping[str, float]) -> str:
    return f"{100 * part['share']:.1f} % ({100 * part['low']:.1f} to {100 * part['high']:.1f})"


def _sd(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def spreads_table(content: Mapping[str, Any]) -> str:
    """In markdown: what the groups vary by."""
    heads = (
        "session",
        "cell",
        "groups",
        "÷ its equal",
        "÷ SimpleRNN",
        "÷ anchor",
        "lag one",
        "timed",
        "beside it",
        "server",
    )
    rows = [
        (
            str(number),
            row["cell"],
            str(row["groups"]),
            *(_sd(row[key]) for key in ("sd_equal", "sd_to_base", "sd_over_anchor")),
            f"{row['lag_one']:+.2f}".replace("-", "−"),
            f"{row['timed_seconds']:.1f} s",
            f"{row['overhead_seconds']:.1f} s",
            f"{row['server_seconds']:.1f} s" if row["server_seconds"] else "own",
        )
        for number, session in enumerate(content["sessions"], start=1)
        for row in session["spreads"]
    ]
    return _table(heads, rows, left=2)


def measurements_table(content: Mapping[str, Any], before: Mapping[str, Mapping[str, Any]]) -> str:
    """In markdown: what measurements came to; in brackets what the recording of pairs gave.

    Args:
        content: of this recording.
        before: the rows of sides.json, by design.
    """
    heads = ("measurement", "budget", "rightly settled", "any wrong", "any interval misses", "median")
    rows = []
    for row in content["measurements"]:
        old = before.get(row["design"])
        old = old if old and old["budget_minutes"] == row["budget_minutes"] else None
        shares = [
            f"{100 * row[key]['share']:.1f} %" + (f" ({100 * old[key]['share']:.1f})" if old else "")
            for key in ("right", "wrong", "missed")
        ]
        median = f"{row['median_minutes']:.1f}" + (f" ({old['median_minutes']:.1f})" if old else "")
        rows.append((row["design"], f"{row['budget_minutes']:g} min", *shares, f"{median} min"))
    return _table(heads, rows)


def coverage_table(content: Mapping[str, Any]) -> str:
    """In markdown: in how many duels an interval misses the truth, a column for each cell."""
    cells = list(dict.fromkeys(row["cell"] for row in content["coverage"]))
    by_place = {(row["put_in"], row["cell"]): row["missed"]["share"] for row in content["coverage"]}
    put_in = dict.fromkeys(row["put_in"] for row in content["coverage"])
    return _table(
        ("put in", *cells), [(what, *(f"{100 * by_place[what, cell]:.1f} %" for cell in cells)) for what in put_in]
    )


def stores_table(content: Mapping[str, Any]) -> str:
    """In markdown: how comparisons of two stores ended."""
    heads = ("two stores", "interleaved", "groups", "all three right", "by cell", "any wrong")
    rows = []
    for row in content["stores"]:
        by_cell = sorted(part["share"] for part in row["right_by_cell"].values())
        name = "of one session" if row["apart"] == SAME_SESSION else f"{row['apart']} apart"
        rows.append(
            (
                f"{name}, {100 * row['slower']:g} % slower" if row["slower"] else f"{name}, equal",
                f"{row['minutes']:g} min",
                f"{row['groups']:g}",
                _percent(row["all_right"]),
                f"{100 * by_cell[0]:.1f} to {100 * by_cell[-1]:.1f} %",
                _percent(row["wrong"]),
            )
        )
    return _table(heads, rows)


def between_table(content: Mapping[str, Any]) -> str:
    """In markdown: how far the sessions are from the first; in brackets the standard deviation between two groups."""
    later = content["between"]
    heads = [f"session {number}, {each['hours']:.1f} hours later" for number, each in enumerate(later, start=2)]
    rows = [("the anchor's step", *(_signed(each["anchor_moved"]) for each in later))]
    for kind, over in (("cells", "anchor"), ("over_numpy", "NumPy's"), ("to_reference", REFERENCE_CELL)):
        for cell in later[0].get(kind, ()):
            moved = [each[kind][cell] for each in later]
            rows.append(
                (
                    f"{cell} ÷ {over}",
                    *(
                        f"{_signed(part['moved'])} ± {100 * part['half']:.2f} ({100 * part['of_groups']:.2f})"
                        for part in moved
                    ),
                )
            )
    return _table(("against the first session", *heads), rows)


def targets_table(content: Mapping[str, Any]) -> str:
    """In markdown: what was set out for, and what came out."""
    by_name = {row["design"]: row for row in content["measurements"]}
    hour = [row for row in content["stores"] if row["apart"] != SAME_SESSION]
    equal, slower = ([row for row in hour if bool(row["slower"]) is is_slower] for is_slower in (False, True))
    covered = 1 - max(row["missed"]["share"] for row in content["coverage"] if "of B" not in row["put_in"])
    three, alone = by_name["three sides to ± 1 %"], by_name["two sides to ± 1 %"]
    times = [
        by_name[name]["median_minutes"] / alone["median_minutes"]
        for name in ("three sides to ± 1 %, all pairs", "four sides to ± 1 %, 20 minutes")
    ]
    rows = [
        (
            "three equal sides, both verdicts same in 10 minutes",
            "≥ 90 %",
            _share(by_name["three equal sides"]["right"]),
        ),
        ("two ratios of three cells to ± 1 % in 10 minutes", "≥ 90 %", _share(three["right"])),
        (
            "their intervals hold the whole recording's ratios: of all rounds, of as many rounds",
            "≥ 95 %",
            " and ".join(f"{100 - 100 * three[key]['share']:.1f} %" for key in ("missed", "missed_of_as_many")),
        ),
        (
            "time for three ratios against that for one: all pairs of three sides, and of four sides to a base",
            "≤ 1.6",
            " and ".join(f"{time:.1f}" for time in times),
        ),
        ("coverage of a duel's intervals over all analyses, of the worst cell", "≥ 94 %", f"{100 * covered:.1f} %"),
        (
            "1 % slower found in 20 minutes, with a tolerance of 0.5 % and a floor of 0.25 %",
            "≥ 95 %",
            _share(by_name["tolerance 0.5 %, floor 0.25 %, 1 % slower"]["right"]),
        ),
        *(
            (f"two stores, {words}", wanted, ", ".join(f"{_share(row[key])} ({row['minutes']:g} min)" for row in rows))
            for words, wanted, key, rows in (
                ("all three verdicts same", "≥ 90 %", "all_right", equal),
                ("any of them wrong", "≤ 1 %", "wrong", equal),
                ("5 % slower found in all three", "≥ 95 %", "all_right", slower),
            )
        ),
    ]
    return render_markdown(
        Document((Table((Column("set out for"), Column("wanted", left=False), Column("came out")), tuple(rows)),))
    )


def _share(part: Mapping[str, float]) -> str:
    return f"{100 * part['share']:.1f} %"


def _signed(log: float) -> str:
    return f"{100 * math.expm1(log):+.2f} %".replace("-", "−")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    columns = tuple(Column(head, left=place < left) for place, head in enumerate(heads))
    return render_markdown(Document((Table(columns, tuple(map(tuple, rows))),)))


def tables(content: Mapping[str, Any], before: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """By page and marker: the tables of the documentation.

    Args:
        content: what the recording gives.
        before: the rows of sides.json, by design.
    """
    return {
        "how-sure.md": {
            "spreads": spreads_table(content),
            "measurements": measurements_table(content, before),
            "coverage": coverage_table(content),
            "targets": targets_table(content),
        },
        "between-days.md": {"between": between_table(content), "stores": stores_table(content)},
    }


def with_tables(text: str, recording: str, of_page: Mapping[str, str]) -> str:
    """A page with its tables between their markers.

    Args:
        text: of the page.
        recording: its name, which the markers have.
        of_page: by marker.

    Raises:
        SystemExit: a marker isn't there.
    """
    for name, markdown in of_page.items():
        begin, end = f"<!-- {recording}:{name} -->\n", f"<!-- /{recording}:{name} -->\n"
        inside = re.compile(f"(?s)(?<={re.escape(begin)}).*?(?={re.escape(end)})")
        if len(inside.findall(text)) != 1:
            raise SystemExit(f"the page needs the line {begin.strip()} once, and {end.strip()} after it.")
        text = inside.sub(f"\n{markdown.strip()}\n\n".replace("\\", r"\\"), text)
    return text
