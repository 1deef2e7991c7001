"""What bench reads that a stranger may have written: by name, inputs to begin with, and what reads them.

A target takes any bytes, and gives a word for what became of them. An input may be refused with an error that its user
can act on (`BenchError`, exit code 2 or 3). Any other exception, exit code 1, 4 or 70, or a minute is a fault of bench.
`scripts/fuzz.py` drives them, and `tests/test_fuzz.py` a small fraction of that.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import random
import shutil
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import chdir
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq

from bench.analysis.promises import read_promises
from bench.analysis.quality import judge_quality
from bench.analysis.records import RunRecord
from bench.analysis.rows import Row
from bench.catalog import tasks
from bench.catalog.tasks.mnist import IDX_FILES, read_folder, read_pack
from bench.core.axes import AXES
from bench.core.case import Case
from bench.core.errors import BenchError
from bench.core.metrics import METRICS
from bench.core.observation import RunMetadata
from bench.core.predictions import pack, unpack
from bench.duel.layout import source_folders, top_level_names
from bench.plan.gate import find_gate
from bench.plan.suite import Settings, built_in
from bench.store import ceilings, load
from bench.store.campaign import Campaign, read_manifests
from bench.store.parts import write_run
from bench.store.shapes import JSON_COLUMNS
from bench.worker.evidence.onnx import read_nodes
from bench.worker.evidence.programs import Evidence, Node, Scopes, read_graph, read_hlo, read_profile
from scripts.broken_stores import make_store, mutate_field, mutate_json, run_command
from tests.support.stored import EVIDENCE, a_run

ROOT = Path(__file__).resolve().parent.parent
RECORDINGS = ROOT / "tests" / "recordings"
LAYERS = ("recurrent_a", "recurrent_b")
STEPS = 28
_SCOPES_OF_LAYERS = Scopes.of_names(LAYERS, STEPS)


@dataclass(frozen=True)
class Target:
    """Something that reads."""

    name: str
    reads: str
    seeds: Callable[[], Iterable[bytes]]
    """Inputs to begin with."""
    read: Callable[[bytes, Path], str]
    """Reads an input in an empty folder, or one that it was given before; gives a word for what became of it."""
    words: tuple[str, ...] = ()
    """What inputs are made of, for a fuzzer's dictionary."""


class UnexpectedExitError(Exception):
    """A command ended with a code that no input may cause."""


def outcome(target: Target, data: bytes, folder: Path) -> str:
    """What becomes of an input: a word of the target's, or `refused`.

    Raises:
        Exception: whatever an input must not cause.
    """
    try:
        return target.read(data, folder)
    except BenchError as error:
        if not str(error).strip() or "Traceback" in str(error):
            raise UnexpectedExitError(f"an error without a sentence: {str(error)[:200]!r}") from error
        return "refused"


def mutated(data: bytes, draw: random.Random, words: Sequence[str]) -> bytes:
    """An input with a few places changed, as a fuzzer without coverage would."""
    content = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        place = draw.randrange(len(content) + 1)
        length = draw.choice((0, 1, 1, 4, 30))
        piece = draw.choice(
            (
                draw.randbytes(draw.randrange(1, 5)),
                draw.choice(words).encode() if words else b"",
                bytes(content[(start := draw.randrange(len(content) + 1)) : start + draw.randrange(40)]),
                draw.choice((b"\0", b"\xff" * 4, b"-1", b"9" * 30, b"nan", b"1e999", b"[", b"{", b'"', b"\n")),
            )
        )
        content[place : place + length] = piece
    return bytes(content)


def _command(arguments: Sequence[str | Path], word: str) -> str:
    """What a command makes of an input, by its exit code."""
    code, _, err = run_command([str(argument) for argument in arguments])
    if code not in (0, 2, 3):
        raise UnexpectedExitError(f"bench {arguments[0]} ended with {code}: {err[-2000:]}")
    if "Traceback" in err:
        raise UnexpectedExitError(f"bench {arguments[0]} shows a traceback: {err[-2000:]}")
    return {0: word, 2: "refused", 3: "nothing to judge"}[code]


# --- what a user writes ---


def _read_suite(data: bytes, folder: Path) -> str:
    path = folder / "suite.toml"
    path.write_bytes(data)
    return _command(["plan", path], "planned")


def _suites() -> Iterable[bytes]:
    yield from (path.read_bytes() for path in built_in().values())
    axes = "\n".join(f"{plural} = {json.dumps([axis.default[0]])}" for plural, axis in AXES.items())
    yield f"title = 'all'\n[axes]\n{axes}\n[settings]\nrepeats = 2\n[gate]\nrequire = ['loss']\n".encode()


_ODD_TOML = """
1 ; 0 ; -1 ; 7 ; 1.5 ; nan ; inf ; 1e400 ; true ; [] ; {} ; 1979-05-27 ; 07:32:00 ; "" ; "lstm" ; "mnist_5k" ; "0..9"
"0..99999999999" ; "1,,2" ; [1] ; [1, 2] ; [1, 1] ; ["lstm"] ; ["gru", "my.cells:gru"] ; [true] ; [1.5] ; [[1]]
["\\u0000"] ; ["float32"] ; ["cpu"] ; 9223372036854775808 ; [9223372036854775807] ; [0.1, 1e308] ; "5 %"
"1 point" ; "5 bananas" ; "١ %" ; { tolerance = 0.1 } ; { tolerance = '5 %', floor = 0 } ; { floor = 0.4 }
{ tolerance = -0.0 } ; { tolerance = 5 } ; ["loss"] ; ["training", "train_seconds"] ; ["."] ; ["..", "/"]
[{ from = 'z' }] ; ["a\\nb"]
"""
ODD_VALUES = (
    *(value for line in _ODD_TOML.strip().splitlines() for value in line.split(" ; ")),
    "9" * 4_000,
    "[" * 60 + "]" * 60,
    f'"{"x" * 9_000}"',
    f'["{"y" * 300}"]',
)
"""What a key of a TOML file may be given."""


def _fields(data: bytes, tables: Sequence[str], keys: Sequence[str]) -> bytes:
    """A TOML file of three bytes a line: its table, its key, its value."""
    lines: dict[str, dict[str, str]] = {}
    for table, key, value in zip(data[::3], data[1::3], data[2::3], strict=False):
        of_table = lines.setdefault(tables[table % len(tables)], {})
        of_table[json.dumps(keys[key % len(keys)])] = ODD_VALUES[value % len(ODD_VALUES)]
    return "\n".join(
        line
        for table, of_table in sorted(lines.items())
        for line in (f"[{table}]" if table else "", *(f"{key} = {value}" for key, value in of_table.items()))
    ).encode()


def _read_suite_fields(data: bytes, folder: Path) -> str:
    return _read_suite(_fields(data, ("axes", "settings", "gate", ""), (*_AXES, *_GATE, "title", "", "a b")), folder)


def _read_settings_fields(data: bytes, folder: Path) -> str:
    (folder / "src" / "p").mkdir(parents=True, exist_ok=True)
    return _read_settings(_fields(data, _TABLES, (*_GATE, "source", "gate", "where", "from", "", "packages")), folder)


def _read_overrides(data: bytes, folder: Path) -> str:
    # a command line has no zero byte
    texts = data.decode("utf-8", "surrogateescape").replace("\0", "").split("\n")
    return _command(["plan", "quick", *(part for text in texts for part in ("--set", text))], "planned")


def _overrides() -> Iterable[bytes]:
    yield b"cells=lstm,gru\nseeds=0..9\nepochs=1"
    yield b"repeats=3\nbounds=true\nsilence_seconds=9.5\nfallback_task=mnist_5k"
    for plural, axis in AXES.items():
        yield f"{plural}={axis.default[0]}".encode()


def _read_settings(data: bytes, folder: Path) -> str:
    (folder / "pyproject.toml").write_bytes(data)
    with chdir(folder):
        refusals = []
        for file in (None, Path("pyproject.toml")):
            try:
                find_gate(file)
            except BenchError as error:
                refusals.append(error)
        top_level_names(source_folders(folder))
    if refusals:
        raise refusals[0]
    return "read"


def _settings() -> Iterable[bytes]:
    yield (ROOT / "pyproject.toml").read_bytes()
    yield (
        b"[tool.bench]\nsource = ['python', 'src']\n[tool.bench.gate]\nrequire = ['train_seconds', 'accuracy']\n"
        b"train_seconds = { tolerance = '5 %' }\naccuracy = { tolerance = '1 point', floor = 0.002 }\n"
    )
    yield (
        b"[tool.setuptools]\npackage-dir = { '' = 'lib' }\n[tool.setuptools.packages.find]\nwhere = ['python']\n"
        b"[tool.hatch.build.targets.wheel]\npackages = ['a/b']\nsources = ['c']\n[tool.maturin]\npython-source = 'd'\n"
        b"[tool.pdm.build]\npackage-dir = 'e'\n[[tool.poetry.packages]]\nfrom = 'f'\ninclude = 'g'\n"
    )
    yield b"[gate]\nloss = { tolerance = 0.05, floor = 1e-3 }\n[bench.gate]\n[tool.benhc.gate]\n"


def _read_setup_cfg(data: bytes, folder: Path) -> str:
    (folder / "setup.cfg").write_bytes(data)
    return f"{len(top_level_names(source_folders(folder)))} packages"


# --- data sets ---


@functools.cache
def _small_task() -> tuple[tasks.Task, dict[str, np.ndarray[Any, Any]]]:
    """A task with a few digits, and its arrays."""
    small = replace(tasks.TASKS["mnist"], train_samples=3, test_samples=2, steps=2, features=3)
    draw = np.random.default_rng(0)
    parts = {part: draw.integers(0, 10, small.shape(part), dtype=np.uint8) for part in tasks.PARTS}
    arrays = tasks.Arrays(**parts)
    return (
        replace(small, digest=tasks.content_digest(arrays), part_digests=tasks.part_digests(arrays)),
        parts,
    )


def _idx(part: str) -> bytes:
    values = _small_task()[1][part]
    return bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()


def _read_idx(data: bytes, folder: Path) -> str:
    """The first byte chooses which of the four files the others are, gzipped or not."""
    chosen, content = (data or b"\0")[0] % 8, data[1:]
    for number, part in enumerate(tasks.PARTS):
        path = folder / (IDX_FILES[part] + (".gz" if number == chosen - 4 else ""))
        path.write_bytes(content if number == chosen % 4 else _idx(part))
    read_folder(folder, _small_task()[0])
    return "read"


def _idx_files() -> Iterable[bytes]:
    for number, part in enumerate(tasks.PARTS):
        yield bytes([number]) + _idx(part)
        yield bytes([number + 4]) + gzip.compress(_idx(part), mtime=0)


def _read_npz(data: bytes, folder: Path) -> str:
    path = folder / "mnist.npz"
    path.write_bytes(data)
    tasks.read_npz(path, _small_task()[0])
    return "read"


def _npz_files() -> Iterable[bytes]:
    parts = _small_task()[1]
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, values in parts.items():
                member = io.BytesIO()
                np.save(member, values)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), compression)
        yield file.getvalue()


def _read_pack(data: bytes, folder: Path) -> str:
    path = folder / "pack.tgz"
    path.write_bytes(data)
    read_pack(path, _small_task()[0])
    return "read"


def _packs() -> Iterable[bytes]:
    for compressed in (False, True):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            for part in tasks.PARTS:
                member = tarfile.TarInfo(f"package/data/{IDX_FILES[part]}")
                content = _idx(part)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        yield gzip.compress(file.getvalue(), mtime=0) if compressed else file.getvalue()


# --- a store ---


@functools.cache
def _template(where: Path) -> Path:
    """A small sound store, made once for a folder."""
    folder = where / "template"
    shutil.rmtree(folder, ignore_errors=True)
    make_store(folder)
    return folder


def _store(where: Path, parts: int) -> Path:
    """A fresh copy of a few parts of it, with all that lies beside them."""
    store = where / "store"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(_template(where), store)
    for path in sorted(store.glob("runs/*.parquet"))[parts:]:
        path.unlink()
    return store


def _read_part(data: bytes, folder: Path) -> str:
    store = _store(folder, 2)
    path = min(store.glob("runs/*.parquet"))
    path.write_bytes(data)
    warnings: list[str] = []
    load([store], warn=warnings.append)
    if warnings:
        return "left out"
    # what is taken for sound must be fit for all that reads it
    return _command(["table", store], "in the table")


@functools.cache
def _small_parts() -> tuple[bytes, ...]:
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        path = write_run(Path(folder), a_run(0, Case(cell="gru", task="mnist_5k")))
        parts.append(path.read_bytes())
        # without checksums, so that what is changed in a value stays readable
        for compression in ("NONE", "ZSTD"):
            pq.write_table(pq.read_table(path), path, compression=compression, write_statistics=False)
            parts.append(path.read_bytes())
    return tuple(parts)


def _read_manifest(data: bytes, folder: Path) -> str:
    store = _store(folder, 3)
    for path in store.glob("campaigns/*.json"):
        path.unlink()
    try:
        name = Campaign(**json.loads(data)["campaign"]).id  # one by another name is left out, whatever it holds
    except Exception:
        name = "0" * 16
    (store / "campaigns" / f"{name}.json").write_bytes(data)
    manifests = read_manifests(store, warn=lambda text: None)
    if not manifests:
        return "left out"
    read_promises(load([store]), manifests)
    return _command(["compare", store, store], "compared")


@functools.cache
def _manifests() -> tuple[bytes, ...]:
    old = min((RECORDINGS / "schema_1" / "campaigns").glob("*.json")).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        make_store(Path(folder))
        return min(Path(folder).glob("campaigns/*.json")).read_bytes(), old


def _read_part_fields(data: bytes, folder: Path) -> str:
    """The input is the seed of a mutation of a column's values."""
    path = folder / "part.parquet"
    path.write_bytes(_small_parts()[0])
    mutate_field(path, random.Random(data))
    return _read_part(path.read_bytes(), folder)


def _read_manifest_fields(data: bytes, folder: Path) -> str:
    """The input is the seed of a mutation of one of its values."""
    path = folder / "manifest.json"
    path.write_bytes(next(iter(_manifests())))
    mutate_json(path, random.Random(data))
    return _read_manifest(path.read_bytes(), folder)


def _read_ceilings(data: bytes, folder: Path) -> str:
    store = _store(folder, 2)
    path = min(store.glob("bounds/*.json"))
    path.write_bytes(data)
    if not ceilings.load([store], warn=lambda text: None):
        return "left out"
    return _command(["table", store], "in the table")


def _ceilings() -> Iterable[bytes]:
    yield min((ROOT / "results" / "reference" / "mnist_rows_family_25" / "bounds").glob("*.json")).read_bytes()


def _read_json_column(data: bytes, folder: Path) -> str:
    """The first byte chooses the column, the others are its text."""
    text = data[1:].decode("utf-8", "replace")
    name = sorted(JSON_COLUMNS)[(data or b"\0")[0] % len(JSON_COLUMNS)]
    store = folder / "store"
    shutil.rmtree(store, ignore_errors=True)
    run = a_run(0, Case(cell="gru", task="mnist_5k"))
    changes: dict[str, Any] = {name: text}
    if name in RunMetadata.__dataclass_fields__:
        changes = {"metadata": replace(run.metadata, **changes)}
    write_run(store, replace(run, **changes))
    warnings: list[str] = []
    load([store], columns=(name,), warn=warnings.append)
    _command(["table", store], "")
    return _command(["show", "last", store], "shown")


def _json_texts() -> Iterable[bytes]:
    run = a_run(0, Case(cell="gru", task="mnist_5k"))
    modules = [{"name": "my.cells", "file": "/p/my/cells.py", "sha256": "0" * 64, "distribution": ""}]
    texts = {**asdict(run.metadata), **vars(run), "code_json": json.dumps(modules)}
    for number, name in enumerate(sorted(JSON_COLUMNS)):
        yield bytes([number]) + str(texts[name]).encode()


def _read_predictions(data: bytes, folder: Path) -> str:
    try:
        unpack(text := data.decode("utf-8", "replace"))
    except ValueError:
        return "damaged"
    run = RunRecord(run_id="a", campaign_id="b", block=0, seed=0, repeat=0, started_at=0.0)
    judge_quality(cast(Row, SimpleNamespace(runs=(run,))), {"a": text})
    return "judged"


def _predictions() -> Iterable[bytes]:
    draw = np.random.default_rng(0)
    yield pack(draw.integers(0, 10, 20), draw.dirichlet(np.ones(10), 20)).encode()
    yield pack(draw.integers(0, 2, 0), np.ones((0, 2))).encode()


# --- executed programs ---


def _judged(program: dict[str, Evidence]) -> str:
    """The evidence must fit into a store, and be what its readers take."""
    JSON_COLUMNS["attestation_json"](
        json.loads(json.dumps({"train": {layer: asdict(shown) for layer, shown in program.items()}}))
    )
    return ", ".join(sorted({shown.kernel for shown in program.values()}))


def _read_hlo(data: bytes, folder: Path) -> str:
    return _judged(dict(read_hlo(data.decode("utf-8", "replace"), "", _SCOPES_OF_LAYERS)))


def _hlo_texts() -> Iterable[bytes]:
    yield from (path.read_bytes() for path in sorted(RECORDINGS.glob("*.hlo")))


def _lines(data: bytes) -> list[list[str]]:
    return [line.split("\t") for line in data.decode("utf-8", "replace").split("\n")]


def _read_graph(data: bytes, folder: Path) -> str:
    nodes = [
        Node(name, "".join(rest[:1]), "xla" in rest[1:], "loop" in rest[1:]) for name, *rest in _lines(data) if name
    ]
    return _judged(dict(read_graph(nodes, "0123", _SCOPES_OF_LAYERS)))


def _graphs() -> Iterable[bytes]:
    for nodes in json.loads((RECORDINGS / "tensorflow_gpu_graph.json").read_text()).values():
        lines = [f"{name}\t{operation}{chr(9) + 'loop' if looped else ''}" for name, operation, looped in nodes]
        yield "\n".join(lines).encode()


def _counts(data: bytes) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name, *number in _lines(data):
        text = "".join(number)
        counts[name] += int(text) if text.isdecimal() and len(text) < 9 else 1
    return counts


def _read_profile(data: bytes, folder: Path) -> str:
    return _judged({layer: read_profile(_counts(data), STEPS) for layer in LAYERS})


def _profiles() -> Iterable[bytes]:
    yield b"aten::mm\t56\naten::addmm\t2\naten::tanh\t56"
    yield b"aten::_cudnn_rnn\t1\nvoid cudnn::LSTM_elementWise_fp\t28\nvoid persistRNN<float>\t1"
    yield b"aten::mkldnn_rnn_layer\t1"
    yield b"aten::_thnn_fused_lstm_cell\t28\naten::linear\t56"


def _read_onnx(data: bytes, folder: Path) -> str:
    nodes = [(name, "".join(rest[:1])) for name, *rest in _lines(data)]
    return _judged(read_nodes(nodes, LAYERS, STEPS, "0123"))


def _onnx_graphs() -> Iterable[bytes]:
    yield b"LSTM\tStatefulPartitionedCall/model/recurrent_a/PartitionedCall/LSTM\nLSTM\tfused"
    yield b"Loop\tmodel/recurrent_a/while_loop\nLoop\tmodel/recurrent_b/while_loop\nGemm\tdense"
    yield b"\n".join(b"MatMul\tmodel/recurrent_%s/MatMul_%d" % (layer, n) for layer in (b"a", b"b") for n in range(28))


_TOML = ("[axes]", "[settings]", "[gate]", "[[", "]]", "=", "'''", '"""', "inf", "nan", "true", "1979-05-27", "0x", "#")
_JSON = ("null", "true", "NaN", "Infinity", "1e999", "{}", "[]", '":', "\\ud800", "\\u0000", "9" * 25)
_AXES = (*AXES, *Settings.model_fields)
_GATE = ("require", "tolerance", "floor", "%", "points", *METRICS)
_SCOPES = ("recurrent_a", "recurrent_b", "/while", "while", "dot_general", "jvp(", "transpose(", "op_name=", " = ")
_OPERATIONS = ("While", "MatMul", "CudnnRNNV3", "EagerPyFunc", "PyFunc", "For", "MapDefun", "\tloop", "\txla")

_TABLES = (
    "tool.bench", "tool.bench.gate", "tool.setuptools", "tool.setuptools.packages.find", "tool.setuptools.package-dir",
    "tool.hatch.build.targets.wheel", "tool.maturin", "tool.pdm.build", "tool.poetry", "gate", "tool.benhc", "bench",
)  # fmt: skip

TARGETS = {
    target.name: target
    for target in (
        Target("suite", "a suite's TOML (`bench plan FILE`)", _suites, _read_suite, (*_TOML, *_AXES)),
        Target(
            "suite fields",
            "a suite's TOML, made of odd values for its keys",
            lambda: [b"\0\0\0", bytes(range(90))],
            _read_suite_fields,
        ),
        Target("set", "`--set` (`bench plan quick`)", _overrides, _read_overrides, (*_AXES, "=", ",", "..", "\n")),
        Target(
            "settings",
            "pyproject.toml: gate, bench and build tables",
            _settings,
            _read_settings,
            (*_TOML, *_GATE, "tool.bench", "source", "tool.setuptools", "where"),
        ),
        Target(
            "settings fields",
            "pyproject.toml, made of odd values for its keys",
            lambda: [b"\1\0\0", bytes(range(90))],
            _read_settings_fields,
        ),
        Target(
            "setup.cfg",
            "setup.cfg: where packages lie",
            lambda: [b"[options]\npackage_dir =\n  = lib\n[options.packages.find]\nwhere = python\n"],
            _read_setup_cfg,
            ("[options]", "[DEFAULT]", "package_dir", "where", "%(a)s", "\n "),
        ),
        Target("idx", "IDX files, gzipped or not", _idx_files, _read_idx),
        Target("npz", ".npz files", _npz_files, _read_npz, ("descr", "fortran_order", "shape", "|u1", "|O", "PK")),
        Target("pack", "an npm package", _packs, _read_pack, tuple(IDX_FILES.values())),
        Target("part", "parquet parts (`bench table`)", _small_parts, _read_part, ("PAR1",)),
        Target("part fields", "parts with odd values (`bench table`)", lambda: [b"0", b"1"], _read_part_fields),
        Target("manifest", "manifests (`bench compare`)", _manifests, _read_manifest, _JSON),
        Target(
            "manifest fields",
            "manifests with odd values (`bench compare`)",
            lambda: [b"0", b"1"],
            _read_manifest_fields,
        ),
        Target("ceilings", "ceilings (`bench table`)", _ceilings, _read_ceilings, _JSON),
        Target("json", "JSON in a part (`table`, `show`)", _json_texts, _read_json_column, (*_JSON, *EVIDENCE)),
        Target("predictions", "stored predictions", _predictions, _read_predictions, ("p1 ", "nan", "inf", " 0 ")),
        Target("hlo", "HLO of JAX", _hlo_texts, _read_hlo, _SCOPES),
        Target("graph", "graphs of TensorFlow", _graphs, _read_graph, (*_SCOPES, *_OPERATIONS)),
        Target("profile", "profiles of torch", _profiles, _read_profile, ("aten::", "void ", "RNN_", "persistRNN")),
        Target("onnx", "graphs of ONNX Runtime", _onnx_graphs, _read_onnx, (*_SCOPES, "LSTM", "Loop", "Gemm")),
    )
}


def check(target: Target, data: bytes, folder: Path) -> str:
    """The outcome of an input in a folder of the target's own, which is emptied of what the last input left."""
    home = folder / target.name
    home.mkdir(exist_ok=True)
    for path in home.iterdir():
        if path.is_file() or path.is_symlink():
            path.unlink()
    return outcome(target, data, home)
