"""Where a project keeps its packages: the folders that a worker has to import from."""

from __future__ import annotations

import configparser
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from bench.core.errors import UsageError


def source_folders(root: Path, *declared_in: Path) -> tuple[Path, ...]:
    """The folders of a project that its packages lie in, the most specific first, those that exist only.

    `[tool.bench] source = ["python"]` in pyproject.toml decides where it is given; else the settings of the project's
    build backend (setuptools, hatch, maturin, poetry, PDM, flit), and then `src` and the project's folder itself.

    Args:
        root: the project's folder.
        declared_in: other folders whose pyproject.toml may declare `source`: an older commit may not have it yet.

    Raises:
        UsageError: `source` is no list of folders.
    """
    for folder in (root, *declared_in):
        declared = _declared(folder)
        if declared:
            return tuple(root / name for name in declared if _is_folder(root / name))
    named = [root / name for name in dict.fromkeys(_built_from(root))]
    return tuple(dict.fromkeys(folder for folder in (*named, root / "src", root) if _is_folder(folder)))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, or a folder above it that may not be read
        return False


def top_level_names(folders: Collection[Path]) -> frozenset[str]:
    """Names of the modules and packages that lie directly in a project's source folders; namespace packages too."""
    names = set()
    for folder in folders:
        for path in folder.iterdir():
            if path.is_dir() and path.name.isidentifier() and any(path.rglob("*.py")):
                names.add(path.name)
            elif path.suffix == ".py" and path.stem.isidentifier():
                names.add(path.stem)
    return frozenset(names)


def _declared(folder: Path) -> list[str]:
    source = _table(_pyproject(folder), "tool", "bench").get("source", [])
    if not isinstance(source, list) or not all(isinstance(name, str) and name for name in source):
        raise UsageError(
            f"source = {source!r} ([tool.bench] in {folder / 'pyproject.toml'}) is no list of folders: write "
            f'source = ["python"].'
        )
    return [name for name in source if _inside(name)]


def _built_from(root: Path) -> Iterator[str]:
    """The folders that the build's own configuration names."""
    content = _pyproject(root)
    setuptools = _table(content, "tool", "setuptools")
    yield from _texts(_table(setuptools, "packages", "find").get("where"))
    yield from _texts(_table(setuptools, "package-dir").get(""))
    wheel = _table(content, "tool", "hatch", "build", "targets", "wheel")
    yield from _texts(wheel.get("sources"))
    yield from (str(PurePosixPath(package).parent) for package in _texts(wheel.get("packages")))
    yield from _texts(_table(content, "tool", "maturin").get("python-source"))
    yield from _texts(_table(content, "tool", "pdm", "build").get("package-dir"))
    packages = _table(content, "tool", "poetry").get("packages")
    for package in packages if isinstance(packages, list) else ():
        yield from _texts(package.get("from") if isinstance(package, dict) else None)
    legacy = configparser.ConfigParser(interpolation=None)
    try:
        legacy.read(root / "setup.cfg", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return
    yield from legacy.get("options.packages.find", "where", fallback="").split()
    for line in legacy.get("options", "package_dir", fallback="").splitlines():
        package, equals, folder = line.partition("=")
        if equals and not package.strip():
            yield from _texts(folder.strip())


def _pyproject(folder: Path) -> Mapping[str, Any]:
    """The project's settings; empty where there are none that can be read: then the layout is the usual one."""
    try:
        return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # brackets nested ten thousand deep
        return {}


def _table(content: Any, *names: str) -> Mapping[str, Any]:
    for name in names:
        content = content.get(name) if isinstance(content, Mapping) else None
    return content if isinstance(content, Mapping) else {}


def _texts(value: Any) -> list[str]:
    """A folder or a list of them, those outside of the project left out."""
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str) and _inside(text)]


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
