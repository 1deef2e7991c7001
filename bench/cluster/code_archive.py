"""The user's code on its way to a node: the files of his folder in one archive, proved there by the digest of all.

What travels is what git would commit there (all files where there is no checkout, without environments and results), so
that a factory has the modules, and the files, that lie beside it.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath

from bench.catalog.cache import default_cache, exclusive_scratch
from bench.catalog.tasks import Report
from bench.core.code import ImportedModule
from bench.core.errors import UsageError
from bench.host.checkout import run_git
from bench.store.files import refused

MOST_BYTES = 64 << 20
"""The largest that a folder of a user's may be: a data set belongs into a task, whose data go their own way."""
_GIT_SECONDS = 60.0
_LEFT_OUT = ("__pycache__", "results", "node_modules")
_ENVIRONMENT_MARK = "pyvenv.cfg"
_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True, kw_only=True)
class CodeArchive:
    """The user's folder as it is sent: what a node must have of it, and the bytes, which most nodes need once."""

    digest: str
    """SHA-256, in hex, of the files' names and content."""
    working_folder: str
    """Where the command was given, relative to the folder that is sent: runs stand there."""
    import_folders: tuple[str, ...]
    """Folders to import the user's modules from beside that, relative to the folder that is sent."""
    files: dict[str, str]
    """SHA-256, in hex, of each file by its path."""

    def unexpected(self, modules: Iterable[ImportedModule]) -> tuple[str, ...]:
        """Why modules that a run imported aren't those that were sent, a sentence each; empty where all are.

        Modules of installed packages are not judged here: they are the environment's.
        """
        sent = set(self.files.values())
        return tuple(
            f"{module.name} was imported from {module.file}, whose content was not sent from the driver"
            for module in modules
            if not module.distribution and module.sha256 not in sent
        )


def pack_code(factories: Iterable[str], folder: Path) -> tuple[CodeArchive, bytes] | None:
    """The archive of the user's folder; None where nothing of it is needed: no factory comes from outside a package.

    Args:
        factories: `module:factory` names.
        folder: where the command is given.

    Raises:
        UsageError: a module lies outside of the folder and its checkout, or the folder is too large.
    """
    folder = folder.resolve()
    origins = {name: origin for name in sorted(set(factories)) if (origin := _import_folder(name)) is not None}
    if not origins:
        return None
    root = folder if all(origin.is_relative_to(folder) for origin in origins.values()) else _checkout(folder) or folder
    for name, origin in origins.items():
        if not origin.is_relative_to(root):
            raise UsageError(
                f"{name} is imported from {origin}, which is outside of {root} and is not sent to the nodes: give the "
                f"command in the folder that holds it, or install it as a package on each node."
            )
    paths = sorted(_files(root))
    _check_size(root, paths)
    content = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
    archive = CodeArchive(
        digest=_digest(content),
        working_folder=folder.relative_to(root).as_posix(),
        import_folders=tuple(sorted({origin.relative_to(root).as_posix() for origin in origins.values()})),
        files={name: hashlib.sha256(data).hexdigest() for name, data in content.items()},
    )
    return archive, _packed(content)


def unpack_code(archive: CodeArchive, fetch: Callable[[], bytes], report: Report) -> Path:
    """The folder on this node that holds what an archive has, proved by its digest; kept for later campaigns.

    Args:
        archive: what is wanted.
        fetch: gets the archive's bytes; called only where this node doesn't have the folder, or it was changed.
        report: called with a sentence about what takes time or is wrong.

    Raises:
        UsageError: the bytes aren't those of the archive, or the folder can't be written to.
    """
    kept = default_cache() / "code"
    folder = kept / archive.digest
    if _is_intact(folder, archive):
        return folder
    content = _unpacked(fetch())
    if _digest(content) != archive.digest:
        raise UsageError(
            f"the code that arrived here is not what the driver sent (SHA-256 {_digest(content)[:12]}, not "
            f"{archive.digest[:12]}): give the command again."
        )
    with refused(kept, "set BENCH_CACHE_DIR to another folder"), exclusive_scratch(kept, report) as scratch:
        if _is_intact(folder, archive):  # another process made it meanwhile
            return folder
        new = scratch / "new"
        for name, data in content.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if folder.exists():
            report(f"{folder} was changed: making it again.")
            folder.rename(scratch / "changed")
        new.rename(folder)
    return folder


def _import_folder(factory: str) -> Path | None:
    """The folder that a factory's module is imported from; None for one of an installed package or of Python."""
    package = factory.partition(":")[0].partition(".")[0]
    spec = PathFinder.find_spec(package, ["", *sys.path])
    places = [spec.origin] if spec and spec.origin else list((spec and spec.submodule_search_locations) or ())
    if not places:
        return None
    path = Path(places[0]).resolve()
    if any(part in _INSTALLED for part in path.parts):
        return None
    is_module = spec is not None and spec.submodule_search_locations is None
    return path.parent if is_module else (path.parent.parent if path.is_file() else path.parent)


def _checkout(folder: Path) -> Path | None:
    done = run_git(folder, "rev-parse", "--show-toplevel", seconds=_GIT_SECONDS)
    return Path(os.fsdecode(done.stdout).strip()).resolve() if done.returncode == 0 else None


def _files(root: Path) -> Iterator[Path]:
    """The files of a folder that are sent: links are followed to files inside it, and else left out."""
    for path in _listed_by_git(root) or _walked(root):
        if path.is_file() and path.resolve().is_relative_to(root):
            yield path


def _listed_by_git(root: Path) -> list[Path]:
    try:
        done = run_git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", seconds=_GIT_SECONDS)
    except OSError:
        return []
    return [root / os.fsdecode(name) for name in set(done.stdout.split(b"\0")) if name] if done.returncode == 0 else []


def _walked(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        here = Path(folder)
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".") and name not in _LEFT_OUT and not (here / name / _ENVIRONMENT_MARK).exists()
        ]
        yield from (here / name for name in names)


def _check_size(root: Path, paths: list[Path]) -> None:
    sizes = {path: path.stat().st_size for path in paths}
    if sum(sizes.values()) <= MOST_BYTES:
        return
    largest = max(paths, key=sizes.__getitem__)
    raise UsageError(
        f"{root} has {sum(sizes.values()) >> 20} MiB, and at most {MOST_BYTES >> 20} are sent to the nodes as the "
        f"user's code; the largest file is {largest.relative_to(root)} ({sizes[largest] >> 20} MiB): let git ignore "
        f"what isn't code, or give the command in a folder of the code alone."
    )


def _digest(content: dict[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name in sorted(content):
        whole.update(f"{name}\0{len(content[name])}\0".encode("utf-8", "surrogateescape") + content[name])
    return whole.hexdigest()


def _packed(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _unpacked(packed: bytes) -> dict[str, bytes]:
    """The files of an archive.

    Raises:
        UsageError: it is damaged, or names a file outside of its folder.
    """
    content = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
            for member in tar:
                reader = tar.extractfile(member)
                path = PurePosixPath(member.name)
                if reader is None or path.is_absolute() or ".." in path.parts:
                    raise UsageError(f"the code that arrived here has {member.name!r}, which is no file of a folder.")
                content[member.name] = reader.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UsageError(f"the code that arrived here is damaged ({error}): give the command again.") from error
    return content


def _is_intact(folder: Path, archive: CodeArchive) -> bool:
    """Whether a folder has the files of an archive, whole; what Python wrote beside them doesn't matter."""
    try:
        return all(
            hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in archive.files.items()
        )
    except OSError:
        return False
