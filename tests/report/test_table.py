"""bench.report.table: golden outputs, widths, hostile names, and the file between whose markers it is written.

The golden files come from a fixed frame that holds failed, timed-out and invalid runs. After a wanted change of the
output, look at what `BENCH_WRITE_GOLDEN=1 pytest tests/test_table.py` makes of them.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.cells import cell_len

from bench.analysis.summary import Section, summarise
from bench.core.case import Case
from bench.core.claim import DeclaredClaim
from bench.core.errors import UsageError
from bench.core.metrics import METRICS
from bench.report.markers import BEGIN, END, write_between_markers
from bench.report.section_notes import notes
from tests.support.frames import CELLS, MACHINE, Rows, frame, notebook_like, run, runs
from tests.support.rendering import Format, table_in

GOLDEN = Path(__file__).parents[1] / "golden"
HOSTILE = "a|b`<script>alert(1)</script>\n| --- |\n<!-- /bench:table -->**x**[y](z)\x1b[31m\\"


def hard_case() -> tuple[Section, ...]:
    """Two tasks; invalid, failed and timed-out runs; a loss that is NaN; a cell with a hostile name; one epoch."""
    nan_loss = {**notebook_like("gru", 3), "loss": math.nan}
    return summarise(
        frame(
            *runs(CELLS, range(3), notebook_like),
            run(Case(cell="gru", seed=3), **nan_loss),
            run(Case(cell="lstm", seed=3), status="timeout", error="silent for 600 s, killed"),
            *(run(Case(cell="lstm", kernel="cudnn", seed=s), status="invalid", error="x") for s in range(3)),
            run(Case(cell=HOSTILE), status="failed", error=f"ValueError: {HOSTILE}"),
            run(Case(cell="gru", task="mnist_5k", epochs=1), epoch_seconds=(0.0123,), memory_bytes=1_234_000_000),
        )
    )


def plain(*observed: Rows) -> tuple[Section, ...]:
    return summarise(frame(*observed))


def cells_of(markdown: str) -> list[list[list[str]]]:
    """The tables of a markdown text, as a CommonMark parser with GitHub's tables reads them."""
    tables: list[list[list[str]]] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    for token, following in pairwise(tokens):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in ("th_open", "td_open"):
            tables[-1][-1].append("".join(c.content for c in following.children or []))
    return tables


@pytest.mark.parametrize(("name", "fmt", "width"), [("80.txt", "text", 80), ("160.txt", "text", 160), ("md", "md", 80)])
def test_golden(name: str, fmt: Format, width: int) -> None:
    path = GOLDEN / f"table.{name}"
    found = table_in(hard_case(), fmt, width)
    if os.environ.get("BENCH_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_text_fits_its_width_and_has_no_control_codes(width: int) -> None:
    lines = table_in(hard_case(), "text", width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert all(line.isprintable() for line in lines)


def test_three_cells_fit_eighty_columns_without_folding_a_figure() -> None:
    text = table_in(plain(*runs(CELLS, range(3), notebook_like)), "text", 80)
    for figure in ("98.40", "±0.25", "±0.0145", "49.0–51.3", "2.42–2.60", "303 MB", "→ generic", "216,426"):
        assert figure in text
    table = text.split("\n\n")[1:4]
    assert all(len(block.splitlines()) <= 5 for block in table)


def test_a_wide_terminal_gets_one_line_a_row() -> None:
    text = table_in(plain(*runs(CELLS, range(3), notebook_like)), "text", 160)
    (line,) = [line for line in text.splitlines() if line.startswith("gru")]
    assert line.split()[:8] == ["gru", "164,202", "98.40", "±", "0.25", "0.0548", "±", "0.0018"]


def test_the_title_names_task_network_backend_device_machine_and_versions() -> None:
    head = table_in(plain(run(Case(cell="gru", task="mnist_5k", dtype="float16"))), "text").split("\n\n")[0]
    for word in (
        "mnist_5k",
        "notebook network",
        "tensorflow 2.21.0",
        "cpu",
        "Fictional 9000",
        "2 cores",
        "keras 3.15.0",
    ):
        assert word in head
    assert "dtype=float16" in head


def test_what_varies_stands_in_the_table_and_not_in_the_title() -> None:
    sections = plain(
        *(run(Case(cell="gru", units=u, network=n)) for u in (64, 256) for n in ("notebook", "cudnn_ready"))
    )
    head, *rest = table_in(sections, "text").split("\n\n")
    assert "units" not in head
    assert "network" not in head
    for setting in ("network = notebook · units = 64", "network = cudnn_ready · units = 256"):
        assert any(part.startswith(setting) for part in rest)
    (table, *_) = cells_of(table_in(sections, "md"))
    assert table[0][1:3] == ["network", "units"]
    assert [row[1:3] for row in table[1:]] == [
        ["cudnn_ready", "64"],
        ["cudnn_ready", "256"],
        ["notebook", "64"],
        ["notebook", "256"],
    ]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.00012345, "0.000123"), (0.9996, "1.00"), (9.999, "10.0"), (12.34, "12.3"), (99.96, "100"), (1234.5, "1230")],
)
def test_seconds_have_three_significant_digits(seconds: float, shown: str) -> None:
    table, *_ = cells_of(table_in(plain(run(Case(cell="gru"), epoch_seconds=(1.0, seconds))), "md"))
    assert table[1][table[0].index("s/epoch")] == shown


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 MB"), (412_400_000, "412 MB"), (999_600_000, "1.00 GB"), (12_345_000_000, "12.3 GB")]
)
def test_memory_is_in_decimal_units(size: int, shown: str) -> None:
    table, *_ = cells_of(table_in(plain(run(Case(cell="gru"), memory_bytes=size)), "md"))
    assert table[1][table[0].index("memory")] == shown


def test_a_row_without_results_has_dashes_and_its_reason_beneath() -> None:
    markdown = table_in(
        plain(run(Case(cell="lstm", kernel="cudnn"), status="invalid", error="x"), run(Case(cell="gru"))), "md"
    )
    table, *_ = cells_of(markdown)
    (row,) = [row for row in table if row[0] == "lstm"]
    assert row[2:-3] == ["–"] * 8
    assert row[-3:] == ["cudnn", "0/1", "0"]
    assert "lstm × cudnn: asked cudnn, ran generic (1 invalid; in no figure)." in markdown


def test_a_seed_that_does_not_repeat_itself_is_told() -> None:
    case = Case(cell="gru")
    same = plain(run(case), run(case, campaign="c2"), run(replace(case, seed=1), loss=0.4))
    other = plain(run(case), run(case, campaign="c2", loss=0.3000001), run(replace(case, seed=1), loss=0.4))
    assert "seeds gave another" not in table_in(same, "text", 200)
    assert "gru: 1 of 2 seeds gave another test loss when run again." in table_in(other, "text", 200)


def test_two_versions_of_a_users_cell_do_not_mix() -> None:
    case = Case(cell="my:cell")
    sections = plain(run(case, cells="aaaa"), run(case, cells="bbbb", campaign="c2"))
    assert [section.code_digest for section in sections] == ["aaaa", "bbbb"]
    assert [len(section.rows[0].runs) for section in sections] == [1, 1]
    assert "users' code bbbb" in table_in(sections, "text", 200)


def test_notes_tell_what_makes_a_figure_less_sure() -> None:
    sections = plain(
        run(Case(cell="gru", epochs=1), epoch_seconds=(3.0,)),
        run(Case(cell="gru", epochs=1, seed=1), epoch_seconds=(3.0,), loss=math.nan, commit="b"),
    )
    text = table_in(sections, "text", 200)
    assert "3.00†" in text
    for note in (
        "† first epoch only",
        "No interval where",
        "gru: no finite loss for 1 of 2 seeds",
        "2 commits of this program",
    ):
        assert note in text
    calm = table_in(plain(*runs(CELLS, range(3), notebook_like)), "text", 200)
    for note in ("†", "No interval where", "no finite", "commits of"):
        assert note not in calm


@pytest.mark.parametrize("fmt", ["text", "md"])
def test_nothing_measured_is_said(fmt: Format) -> None:
    assert table_in((), fmt) == "Nothing was measured yet.\n"


def test_all_failed_renders_everywhere() -> None:
    sections = plain(*runs(CELLS, range(2), lambda c, s: {"status": "failed", "error": "boom"}))
    for out in (table_in(sections, "text"), table_in(sections, "md")):
        assert "boom (2 failed; in no figure)" in out
        assert "Intervals are" not in out
    (section,) = json.loads(table_in(sections, "json"))["sections"]
    assert [row["runs_left_out"] for row in section["rows"]] == [{"failed": 2}] * 3


# --- markdown and hostile text ---


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=30))
@example(HOSTILE)
@example("```\n# x")
@example("a\\|b")
@example("&lt;b&gt; &#124;")
@example("__init__ *x* ~~y~~ _z_")
@example("\r\x08\r")
def test_no_name_breaks_the_table_runs_as_html_or_loses_a_character(name: str) -> None:
    shown = " ".join("".join(c for c in " ".join(f"x{name}x".split()) if c.isprintable()).split())
    cpu = {**MACHINE, "cpu_model": name}
    failed = run(Case(cell=f"x{name}x"), status="failed", error=f"x{name}x", machine=cpu)
    claim = DeclaredClaim(f"x{name}x", METRICS["accuracy"], ("gru", f"x{name}x"))
    observed = frame(failed, run(Case(cell="gru"), machine=cpu))
    markdown = table_in(summarise(observed, claims={"c1": (claim,)}), "md")
    assert f"\n{END}" not in markdown
    html = MarkdownIt("commonmark").enable("table")
    tokens = html.parse(markdown)
    inner = [child for token in tokens for child in token.children or []]
    assert {t.type for t in tokens} >= {"table_open"}
    assert not {t.type for t in [*tokens, *inner]} & {
        "html_block", "html_inline", "code_inline", "fence", "link_open", "image", "em_open", "strong_open",
    }  # fmt: skip
    table, claims = cells_of(markdown)
    assert {len(row) for row in table} == {13}
    assert {len(row) for row in claims} == {3}
    assert len(table) == 3
    assert shown in [row[0] for row in table]


def test_markdown_has_the_columns_asked_for() -> None:
    table, claims = cells_of(table_in(plain(*runs(CELLS, range(3), notebook_like)), "md"))
    assert table[0] == [
        "cell", "parameters", "accuracy %", "loss", "s/epoch", "ratio to SimpleRNN", "samples/s", "first s",
        "compile s", "memory", "kernel", "runs", "seeds",
    ]  # fmt: skip
    assert table[3] == [
        "gru", "164,202", "98.40 ± 0.25", "0.0548 ± 0.0018", "50.1 (49.0–51.3)", "2.51 (2.42–2.60)", "80", "60.1",
        "2.00", "301 MB", "auto → generic", "3", "3",
    ]  # fmt: skip
    assert [row[1] for row in claims[1:]] == ["holds"] * 4
    assert claims[1][0] == "accuracy: GRU > LSTM > SimpleRNN"


# --- JSON ---


def _refuse(constant: str) -> Any:
    raise AssertionError(constant)


def test_json_has_full_precision_and_no_nan() -> None:
    document = json.loads(table_in(hard_case(), "json"), parse_constant=_refuse)
    mnist, subset = document["sections"]
    assert (mnist["task"], subset["task"]) == ("mnist", "mnist_5k")
    by_cell = {(row["cell"], row["kernel_asked"]): row for row in mnist["rows"]}
    section = hard_case()[0]
    gru = next(row for row in section.rows if row.cell == "gru")
    accuracy = gru.estimates["accuracy"]
    assert accuracy.interval is not None
    assert by_cell["gru", "auto"]["test_accuracy"] == {
        "value": accuracy.value, "low": accuracy.interval.low, "high": accuracy.interval.high, "n": 4,
    }  # fmt: skip
    assert by_cell["gru", "auto"]["test_loss"]["n"] == 3
    assert by_cell["lstm", "cudnn"]["test_loss"] is None
    assert by_cell["lstm", "cudnn"]["left_out"] == [
        {"status": "invalid", "reason": "asked cudnn, ran generic", "runs": 3}
    ]
    assert by_cell[HOSTILE, "auto"]["runs_left_out"] == {"failed": 1}
    assert [claim["verdict"] for claim in mnist["claims"]] == ["holds"] * 3 + ["can't tell yet"]
    assert subset["claims"] == []


def test_json_keys_are_the_same_for_every_row() -> None:
    rows = [row for section in json.loads(table_in(hard_case(), "json"))["sections"] for row in section["rows"]]
    assert len({tuple(row) for row in rows}) == 1
    assert json.loads(table_in((), "json")) == {"sections": []}


def test_json_of_a_machine_record_with_nan_is_json_still() -> None:
    sections = plain(run(Case(cell="gru"), machine={**MACHINE, "memory_class_gib": math.nan}))
    document = json.loads(table_in(sections, "json"), parse_constant=_refuse)
    assert document["sections"][0]["machine"]["memory_class_gib"] is None


# --- between the markers ---


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_only_what_is_between_the_markers_changes(tmp_path: Path) -> None:
    readme = write(tmp_path / "README.md", f"# A\n`{BEGIN}` is the marker\n{BEGIN}\nold\n{END}\ntail, no newline")
    assert write_between_markers(readme, "| new |\n")
    assert readme.read_text() == f"# A\n`{BEGIN}` is the marker\n{BEGIN}\n\n| new |\n\n{END}\ntail, no newline"


def test_the_same_table_again_leaves_the_file_alone(tmp_path: Path) -> None:
    readme = write(tmp_path / "README.md", f"{BEGIN}\n{END}")
    assert write_between_markers(readme, table_in(hard_case(), "md"))
    before = readme.stat()
    assert not write_between_markers(readme, table_in(hard_case(), "md"))
    assert (readme.stat().st_ino, readme.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert write_between_markers(readme, "other")


def test_line_ends_mode_and_link_are_kept_and_nothing_is_left_behind(tmp_path: Path) -> None:
    readme = write(tmp_path / "README.md", f"A\r\n{BEGIN}\r\nold\r\n{END}\r\nB\r\n")
    readme.chmod(0o640)
    link = tmp_path / "link.md"
    link.symlink_to(readme)
    assert write_between_markers(link, "x\ny\n")
    assert readme.read_bytes() == f"A\r\n{BEGIN}\r\n\r\nx\r\ny\r\n\r\n{END}\r\nB\r\n".encode()
    assert readme.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "link.md"]


@pytest.mark.parametrize(
    "text",
    ["", f"{BEGIN}\n", f"{END}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n", f"text {BEGIN}\n{END}\n"],
)
def test_a_file_without_its_markers_is_refused_and_unchanged(tmp_path: Path, text: str) -> None:
    readme = write(tmp_path / "README.md", text)
    with pytest.raises(UsageError, match=r"README\.md needs the line <!-- bench:table -->"):
        write_between_markers(readme, "x")
    assert readme.read_text() == text


def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xfe" + BEGIN.encode())
    for name, why in (("none.md", "No such file"), ("folder", "Is a directory"), ("binary", "not UTF-8")):
        with pytest.raises(UsageError, match=rf"can't read .*{name} \({why}"):
            write_between_markers(tmp_path / name, "x")


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = write(tmp_path / "README.md", f"{BEGIN}\nold\n{END}\n")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match=r"cannot write to .*README\.md \(no space left on device\)"):
        write_between_markers(readme, "new")
    assert readme.read_text() == f"{BEGIN}\nold\n{END}\n"
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]


def test_the_intervals_of_a_table_hold_together_where_that_is_asked_for() -> None:
    """Each by itself misses now and then: of 20 intervals about one does."""
    measured = frame(*runs(CELLS, range(3), notebook_like))
    (alone,), (together,) = (summarise(measured, simultaneous=simultaneous) for simultaneous in (False, True))
    assert alone.together == 0
    assert together.together == sum(row.intervals for row in alone.rows) > 9
    assert "Intervals are 95 % each" in notes(alone)[0]
    assert (
        f"All {together.together} intervals of this table hold together with 95 %: each is of 99." in notes(together)[0]
    )
    for before, after in zip(alone.rows, together.rows, strict=True):
        for name in ("accuracy", "loss", "train_seconds"):
            narrow, wide = before.estimates[name], after.estimates[name]
            assert narrow.value == wide.value
            assert narrow.interval
            assert wide.interval
            assert wide.interval.low < narrow.interval.low < narrow.interval.high < wide.interval.high
