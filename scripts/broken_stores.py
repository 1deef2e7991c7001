"""Breaks stores on purpose, and checks that every command that reads one gives the figures of what is sound.

    python scripts/broken_stores.py [--count 1000] [--seed 0] [--two-hosts] [--out FILE]

Store number n is made by the seed n: one file of a sound store, of parts or folded, is mutated, byte by byte, field by
field, or as a whole. Then `table`, `report`, `compare`, `gate`, `history`, `show`, `export` and `compact` are run on it
in this process: `table` on each, three of the others drawn by the seed, a report on each tenth, folding on each third.
None may end with 1 or 70, take a minute or 2 GiB; each must give exactly what it gives of the sound store, or of the
store without what was mutated (the file, or in a folded one the runs), and the latter only where it named the file.
What a mutation can't be told from (a number changed to another that is possible, where there is no checksum) is asked
for no more than not to crash. Whether damaged bytes can be told is decided by reading all of the file: an error can,
and so can damage that changed nothing.

A fresh process takes each hundred, and FILE keeps what has been done: interrupted, the same command goes on from there.
Ends with 1 where anything was found.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import cli
from bench.core.case import Case, Status
from bench.core.observation import Observation
from bench.core.predictions import pack
from bench.host.hardware import Machine
from bench.store.campaign import Campaign, open_campaign
from bench.store.ceilings import Ceilings, ProductShape, save
from bench.store.compact import compact
from bench.store.parts import read_part, write_run
from bench.store.schema import BY_NAME, COLUMNS, TEXT, TIME
from tests.support.roots import LAPTOP
from tests.support.stored import CAMPAIGN, a_run

CHUNK = 100
"""Stores that one process breaks."""
SECONDS = 60
"""What a command may take."""
GIBIBYTES = 2.0
"""What a process may take."""
REPORT_EACH = 10
"""Reports draw figures, which takes seconds: one store in so many is reported on."""
COMPACT_EACH = 3
"""One store in so many is folded."""
DRAWN = 3
"""Commands that are run on each store beside `table`."""

Outcome = tuple[int, str]
"""A command's exit code and its standard output."""


# --- the sound store ---


def make_store(folder: Path, *, slower: float = 1.0, year: int = 2026, two_hosts: bool = False) -> None:
    """A store of two campaigns of a year, with inference, predictions, a failed run, a manifest each and ceilings."""
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 10, 50)
    for number, began in enumerate(("01-02T03:04:05.000006+00:00", "01-03T03:04:05.000006+00:00")):
        machine = replace(LAPTOP, cpu_model="another") if two_hosts and number else LAPTOP
        campaign = replace(
            CAMPAIGN,
            machine_fingerprint=machine.fingerprint,
            started_at=f"{year}-{began}",
            project_commit=f"{number:040d}",
        )
        cases = [
            Case(cell=cell, task="mnist_5k", epochs=2, seed=seed, latency_calls=3)
            for seed in (0, 1)
            for cell in ("simple_rnn", "gru")
        ]
        open_campaign(folder, campaign, _plan(campaign, cases), lambda _: (), new=True)
        for position, case in enumerate(cases):
            write_run(folder, _run(campaign, machine, position, case, slower, draw, labels))
    shape = ProductShape(
        backend="tensorflow", device="cpu", dtype="float32", threads=0, gates=3, units=128, batch_size=32, steps=28,
        features=28,
    )  # fmt: skip
    save(
        folder,
        Ceilings(
            shape=shape, machine_fingerprint=CAMPAIGN.machine_fingerprint,
            software_fingerprint=CAMPAIGN.software_fingerprint, measured_at="2026-01-02T03:04:05+00:00",
            peak_flops_per_second=1e11, serial_seconds=1e-3,
        ),
    )  # fmt: skip


def _plan(campaign: Campaign, cases: Sequence[Case]) -> dict[str, Any]:
    left_out = [{"case": asdict(cases[0]), "reason": "no GPU here"}]
    return {
        "cases": [{"id": case.id, "case": asdict(case)} for case in cases],
        "left_out": left_out,
        "command": f"bench run {campaign.suite}",
    }


def _run(
    campaign: Campaign,
    machine: Machine,
    position: int,
    case: Case,
    slower: float,
    draw: np.random.Generator,
    labels: np.ndarray[Any, Any],
) -> Any:
    base = a_run(position, case)
    seconds = slower * (1 + position / 10)
    calls = [
        Observation(
            phase="predict", entry=entry, predict_batch=batch, call=call, seconds=seconds * call / 1e3, samples=1
        )
        for entry in ("predict", "compiled")
        for batch in (1, 8)
        for call in (1, 2, 3)
    ]
    second = replace(base.observations[2], epoch=2, seconds=11.0 * seconds)
    metadata = replace(
        base.metadata,
        training_flops_per_sample=9e6,
        test_predictions=pack(labels, draw.dirichlet(np.ones(10), len(labels))),
        code_json=json.dumps([{"name": "my.cells", "file": "/p/my/cells.py", "sha256": "0" * 64, "distribution": ""}]),
    )
    observations = (*base.observations[:4], second, *calls, *base.observations[4:])
    changes: dict[str, Any] = {
        "campaign": campaign,
        "machine_json": machine.to_json(),
        "machine_fingerprint": machine.fingerprint,
        "metadata": metadata,
        "observations": observations,
    }
    if position == 3:
        changes |= {"status": Status.FAILED, "error": "ValueError: no", "log": "logs/x.log"}
    return replace(base, **changes)


# --- mutations ---

LONG = "x" * 10**6
DEEP = "[" * 10**5 + "]" * 10**5
ODD_JSON = (
    "", "null", "[]", "3", "{}x", '{"a": NaN}', '{"a": 1e999}', DEEP, '{"a":' * 900 + "1" + "}" * 900, '{"train": 3}',
    '{"train": {"a": 3}}', '{"train": {"a": {"kernel": null}}}', '{"gpus": 3}', '{"gpus": [{}]}', '{"settings": "ab"}',
    '{"settings": [["a"]]}', '{"cpu_quota": "x"}', '{"usable_cores": -1e300}', '{"uptime_seconds": {}}',
    '{"cpu_model": [[[]]]}', '[{"name": []}]', "[[1]]", '{"' + LONG + '": 1}', '{"a": ' + "9" * 5000 + "}",
    '{"predict": {"a": {"kernel": "x", "operations": 3, "artefact": {}}}}',
)  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """What was done to a file."""

    kind: str
    detail: str
    detectable: bool = True
    """Whether a reader can tell; else it is asked not to crash."""
    refused: bool = False
    """Whether a command may refuse the store: it is of a newer bench."""
    runs: frozenset[str] = frozenset()
    """Ids of the runs that alone were touched; empty where the file is broken as a whole."""


def mutate(path: Path, draw: random.Random) -> Mutation:
    """Break a file of a store."""
    if path.suffix == ".json":
        return mutate_json(path, draw)
    kinds: tuple[Callable[[Path, random.Random], Mutation], ...] = (_bytes, mutate_field, _columns, _whole_file)
    return draw.choices(kinds, weights=(3, 8, 2, 2))[0](path, draw)


def _bytes(path: Path, draw: random.Random) -> Mutation:
    kind = draw.choice(("flip", "flip without checksum", "cut", "insert", "zeros"))
    before = read_part(path, tuple(BY_NAME))
    assert isinstance(before, pa.Table)
    if kind == "flip without checksum":
        pq.write_table(pq.read_table(path), path, compression=draw.choice(("NONE", "ZSTD")))
    content = bytearray(path.read_bytes())
    place = draw.randrange(len(content))
    # half of them in the footer, where the structure is
    if draw.random() < 0.5:
        place = max(0, len(content) - 1 - draw.randrange(6_000))
    if kind.startswith("flip"):
        for _ in range(draw.choice((1, 1, 1, 5))):
            content[min(place + draw.randrange(20), len(content) - 1)] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del content[place:]
    elif kind == "insert":
        content[place:place] = draw.randbytes(draw.randrange(1, 50))
    else:
        content[place : place + 64] = bytes(len(content[place : place + 64]))
    path.write_bytes(content)
    # a page's checksum covers neither its header nor the footer, where names, types and values' places are
    return Mutation(f"bytes: {kind}", f"at {place} of {path.name}", detectable=_shows(path, before))


def _shows(path: Path, before: pa.Table) -> bool:
    """Whether a reader can tell damage of bytes: all of the part can't be read, or it still holds what it held."""
    now = read_part(path, tuple(BY_NAME))
    return not isinstance(now, pa.Table) or now.equals(before)


def mutate_field(path: Path, draw: random.Random) -> Mutation:
    """Give a column of a part another value, in a row or in all."""
    table = pq.read_table(path)
    column = draw.choice(COLUMNS)
    name = column.name
    values = table[name].to_pylist()
    rows = draw.choice((range(len(values)), [draw.randrange(len(values))]))
    kind, value, detectable = draw.choice(_values(name, column.type, column.nullable))
    if not any(values[row] is not None for row in rows) and value is None:
        value, detectable, kind = values[rows[0]], True, "as it was"
    for row in rows:
        values[row] = value
    new_type = column.type
    if kind == "other type":
        new_type = draw.choice((pa.bool_(), pa.list_(pa.int64()), pa.struct([("a", pa.int64())]), pa.binary()))
        values = [{pa.bool_(): True, pa.binary(): b"\xff"}.get(new_type) for _ in values]
        if not pa.types.is_boolean(new_type) and not pa.types.is_binary(new_type):
            values = [[1] if pa.types.is_list(new_type) else {"a": 1} for _ in values]
    touched = frozenset(table["run_id"].take(pa.array(list(rows))).to_pylist())
    place = table.schema.get_field_index(name)
    changed = table.set_column(place, pa.field(name, new_type), pa.array(values, new_type))
    pq.write_table(changed, path, compression="ZSTD")
    return Mutation(
        f"field: {kind}",
        f"{name} of {path.name}",
        # a case that was changed is not the one that its id names
        detectable=(detectable and name != "schema_version") or name in Case.__dataclass_fields__,
        # a part that has lost track of whose a row is, or a column's type, is broken as a whole
        runs=frozenset() if name == "run_id" or kind == "other type" else touched,
    )


def _values(name: str, kind: pa.DataType, nullable: bool) -> list[tuple[str, Any, bool]]:
    """The values that a column can be given: what it is, the value, and whether a reader can tell."""
    # what is not measured is null, so a null can stand in a column that may be missing
    values: list[tuple[str, Any, bool]] = [("null", None, not nullable), ("other type", None, True)]
    if name.endswith("_json"):
        return values + [("odd JSON", text, False) for text in ODD_JSON]
    if kind == TIME:
        return [
            *values,
            ("far date", 2**60, True),
            ("before 1970", -(10**15), True),
            ("clock went back", 10**15, False),
        ]
    if kind == TEXT:
        texts = [("long text", LONG, False), ("empty", "", False), ("unknown name", "nonesuch", False)]
        return [*values, *texts, ("escapes", "\x1b[31m<b>|`", False)]
    numbers: list[tuple[str, Any, bool]] = [("negative", -7, name not in ("loss", "output_difference", "repeat"))]
    if pa.types.is_floating(kind):
        unsure = name in ("loss", "accuracy", "output_difference")
        numbers += [("NaN", float("nan"), not unsure), ("infinity", float("inf"), not unsure), ("huge", 1e308, False)]
    else:
        numbers += [("huge", 2**31 - 1, False), ("zero", 0, False)]
    return values + numbers


def _columns(path: Path, draw: random.Random) -> Mutation:
    table = pq.read_table(path)
    name = draw.choice(table.column_names)
    kind = draw.choice(("dropped", "twice", "one more", "shuffled", "no rows", "rows twice", "large text", "millions"))
    detectable = False
    if kind == "dropped":
        table = table.drop_columns([name])
    elif kind == "twice":
        table = table.append_column(name, table[name])
    elif kind == "one more":
        table = table.append_column("more", pa.array([{"a": [1]}] * table.num_rows))
    elif kind == "shuffled":
        table = table.select(draw.sample(table.column_names, len(table.column_names)))
    elif kind == "no rows":
        table = table.slice(0, 0)
        detectable = True
    elif kind == "rows twice":
        table = pa.concat_tables([table, table])
        detectable = True
    elif kind == "large text":
        texts = [pa.large_string() if field.type == TEXT else field.type for field in table.schema]
        table = table.cast(pa.schema(list(zip(table.column_names, texts, strict=True)), table.schema.metadata))
    else:
        table = table.take(pa.array(np.zeros(3_000_000, np.int32)))
    pq.write_table(table, path, compression="ZSTD")
    return Mutation(f"columns: {kind}", f"{name} of {path.name}", detectable=detectable)


def _whole_file(path: Path, draw: random.Random) -> Mutation:
    kind = draw.choice(("renamed", "copied", "empty", "text", "folder", "pipe", "dead link", "foreign", "newer", "old"))
    refused = False
    if kind == "renamed":
        path.rename(path.with_name(f"{draw.randrange(10**9)}.parquet"))
    elif kind == "copied":
        shutil.copy(path, path.with_name(f"{draw.randrange(10**9)}.parquet"))
    elif kind in ("newer", "old"):
        table = pq.read_table(path)
        version = "4" if kind == "newer" else draw.choice(("0", "-5", "x", "9" * 30, "1", "2", ""))
        pq.write_table(table.replace_schema_metadata({b"bench_schema_version": version}), path)
        refused = kind == "newer" or version == "9" * 30
    elif kind == "foreign":
        pq.write_table(pa.table({"run_id": ["a"], "schema_version": [3]}), path)
    else:
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "dead link":
            path.symlink_to("nowhere")
        else:
            path.write_text("" if kind == "empty" else "PAR1 no parquet PAR1")
    return Mutation(f"file: {kind}", path.name, refused=refused)


def mutate_json(path: Path, draw: random.Random) -> Mutation:
    """Change the text of a JSON file, or a value in it."""
    text = path.read_text()
    if draw.random() < 0.4:
        place = draw.randrange(len(text))
        path.write_text(text[:place] + draw.choice(("", "x", DEEP, '"', "{")) + text[place + draw.randrange(3) :])
        return Mutation("json: text", path.name, detectable=False)
    content = json.loads(text)
    spot: Any = content
    keys: list[Any] = []
    while isinstance(spot, dict | list) and spot and (not keys or draw.random() < 0.7):
        keys.append(draw.choice(list(spot) if isinstance(spot, dict) else range(len(spot))))
        holder, spot = spot, spot[keys[-1]]
    odd: tuple[Any, ...] = (None, [], {}, "x", LONG, -1, 2**70, 1e308, [[]], {"a": {}}, True)
    holder[keys[-1]] = draw.choice(odd)
    path.write_text(json.dumps(content))
    return Mutation("json: value", f"{'.'.join(map(str, keys))} of {path.name}", detectable=False)


# --- commands and what they must give ---


def commands(base: Path, store: Path) -> dict[str, list[str]]:
    """The commands that read a store, but for `report` and `compact`."""
    return {
        "table": ["table", str(store), "--format", "json"],
        "table md": ["table", str(store), "--format", "md"],
        "compare": ["compare", str(base), str(store), "--format", "json"],
        "gate": ["gate", str(store), str(base)],
        "history": ["history", str(store), "--format", "json"],
        "history accuracy": ["history", str(store), "--metric", "accuracy"],
        "show": ["show", "last", str(store)],
        "export": ["export", str(store), "--format", "pytest-benchmark"],
        "export github": ["export", str(store), "--format", "github-action-benchmark"],
    }


def run_command(arguments: Sequence[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command, run in this process."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.object(sys, "argv", ["bench", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        _in_time(),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


class Breaker:
    """Breaks a store again and again, and mends it in between.

    Args:
        folder: an empty one.
        two_hosts: whether the second of the store's campaigns was measured on another machine.
    """

    def __init__(self, folder: Path, *, two_hosts: bool = False) -> None:
        self._folder, self._base, self._store = folder, folder / "base", folder / "store"
        make_store(self._base, slower=1.01, year=2025, two_hosts=two_hosts)
        self._sound = {"parts": folder / "sound-parts", "compacted": folder / "sound-compacted"}
        for sound in self._sound.values():
            make_store(sound, two_hosts=two_hosts)
        compact(self._sound["compacted"])
        self._expected: dict[tuple[str, str, frozenset[str], str], Outcome] = {}

    def check(self, seed: int) -> tuple[Mutation, list[str]]:
        """Make store number `seed`, and say what was done to it and what is wrong with what is made of it."""
        draw = random.Random(seed)
        layout = draw.choices(("parts", "compacted"), weights=(4, 1))[0]
        self._mend(layout)
        files = sorted(self._store.glob("runs/*.parquet"))
        if draw.random() < 0.15:
            files = sorted([*self._store.glob("campaigns/*.json"), *self._store.glob("bounds/*.json")])
        path = draw.choice(files)
        mutation = mutate(path, draw)
        known = commands(self._base, self._store)
        todo = {name: known[name] for name in ("table", *draw.sample(sorted(set(known) - {"table"}), DRAWN))}
        if seed % REPORT_EACH == 0:
            todo["report"] = ["report", str(self._store), "--out", str(self._folder / "page")]
        wrong = [
            f"{name}: {problem}"
            for name, arguments in todo.items()
            for problem in self._problems(layout, path, name, arguments, mutation)
        ]
        if seed % COMPACT_EACH == 0:
            wrong += self._compacting(mutation)
        return mutation, wrong

    def _mend(self, layout: str, without: Path | None = None, runs: frozenset[str] = frozenset()) -> None:
        """A sound store, or one without a file, or without some of the file's runs."""
        shutil.rmtree(self._store, ignore_errors=True)
        shutil.copytree(self._sound[layout], self._store)
        if without is not None and runs:
            table = pq.read_table(without)
            kept = table.filter(pa.array([run not in runs for run in table["run_id"].to_pylist()]))
            without.unlink()
            if kept.num_rows:
                pq.write_table(kept, without)
        elif without is not None:
            without.unlink()

    def _problems(
        self, layout: str, path: Path, name: str, arguments: Sequence[str], mutation: Mutation
    ) -> Iterator[str]:
        code, out, err = self._run(arguments)
        if code in (1, 2, 70):
            # a regression may be there in the sound store too, and an export of two hosts is refused
            sound = {self._of(layout, which, mutation.runs, name, arguments)[0] for which in (None, path)}
            if code == 70 or not (code in sound or (code == 2 and mutation.refused)):
                yield f"ended with {code}: {err[-300:]}"
            if code != 2:
                return
        if not mutation.detectable or mutation.refused:
            return
        whole = self._of(layout, None, frozenset(), name, arguments)
        rest = self._of(layout, path, mutation.runs, name, arguments)
        if (code, out) == rest:
            if rest != whole and path.name not in err:
                yield "left the file out without naming it"
        elif (code, out) != whole:
            yield f"figures are neither the whole store's nor those of the rest ({code})"

    def _run(self, arguments: Sequence[str]) -> tuple[int, str, str]:
        """Exit code, figures and standard error of a command; a report's figures stand in its markdown."""
        page = self._folder / "page"
        shutil.rmtree(page, ignore_errors=True)
        code, out, err = run_command(arguments)
        if arguments[0] == "report":
            text = (page / "report.md").read_text() if (page / "report.md").exists() else ""
            out = "\n".join(line for line in text.splitlines() if line and not line.startswith("Warning: "))
        return code, out, err

    def _of(
        self, layout: str, without: Path | None, runs: frozenset[str], name: str, arguments: Sequence[str]
    ) -> Outcome:
        """What a command gives of the sound store, with all, or without a file or some of its runs."""
        key = (layout, without.name if without else "", runs, name)
        if key not in self._expected:
            broken = self._folder / "broken"
            self._store.rename(broken)
            try:
                self._mend(layout, without, runs)
                code, out, _ = self._run(arguments)
            finally:
                shutil.rmtree(self._store, ignore_errors=True)
                broken.rename(self._store)
            self._expected[key] = (code, out)
        return self._expected[key]

    def _compacting(self, mutation: Mutation) -> Iterator[str]:
        """Folding must change no figure, and lose nothing that it didn't understand."""
        table = ["table", str(self._store), "--format", "json"]
        before = run_command(table)
        code, _, err = run_command(["compact", "--results", str(self._store)])
        if code not in (0, 2) or (code == 2 and not mutation.refused):
            yield f"compact: ended with {code}: {err[-300:]}"
        if run_command(table)[:2] != before[:2]:
            yield "compact: changed the table"


def _chunk(first: int, stop: int, skip: set[int], two_hosts: bool) -> Iterator[Mapping[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder  # the logs of faults
        breaker = Breaker(Path(folder), two_hosts=two_hosts)
        for seed in range(first, stop):
            if seed in skip:
                continue
            try:
                mutation, wrong = breaker.check(seed)
            except TimeoutError as error:
                mutation, wrong = Mutation("unknown", ""), [str(error)]
            gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
            if gib > GIBIBYTES:
                wrong.append(f"the process took {gib:.1f} GiB")
            yield {"seed": seed, "kind": mutation.kind, "detail": mutation.detail, "wrong": wrong}


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first store; the others follow")
    parser.add_argument("--out", type=Path, default=Path("results/local/broken_stores.jsonl"))
    parser.add_argument("--two-hosts", action="store_true", help="half of each store's runs are another machine's")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    stop = given.seed + given.count
    if given.here:
        done = {result["seed"] for result in _read(given.out)}
        with given.out.open("a") as out:
            for result in _chunk(given.seed, stop, done, given.two_hosts):
                print(json.dumps(result), file=out, flush=True)
        return 0
    died = []
    for first in range(given.seed, stop, CHUNK):
        count = min(CHUNK, stop - first)
        command = [
            sys.executable,
            __file__,
            "--here",
            *(["--two-hosts"] if given.two_hosts else []),
            "--seed",
            str(first),
            "--count",
            str(count),
        ]
        code = subprocess.run([*command, "--out", str(given.out)], check=False).returncode
        if code:
            died.append(f"the process of stores {first} to {first + count - 1} ended with {code}")
        print(f"{first + count - given.seed}/{given.count}", flush=True)
    results = [result for result in _read(given.out) if given.seed <= result["seed"] < stop]
    for kind, number in sorted(Counter(result["kind"] for result in results).items()):
        print(f"{number:5} {kind}")
    wrong = [f"store {r['seed']}, {r['kind']}, {r['detail']}: {text}" for r in results for text in r["wrong"]] + died
    print(*wrong, f"{len(results)} stores, {len(wrong)} problems", sep="\n")
    return 1 if wrong else 0


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
