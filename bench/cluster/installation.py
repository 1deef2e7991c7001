"""What a machine has installed that its runs depend on, and in what two machines' installations differ."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import bench
from bench.catalog import factories as users_modules
from bench.catalog import variables
from bench.host.checkout import COMMIT_FILE, program_commit
from bench.host.environments import built_environment
from bench.host.fingerprint import differences
from bench.host.software import Software, SoftwareKey, read_software

PROVISION = "start the nodes with the driver's environment, or let `--provision` build it there"
"""The way out where a node has other software than the driver."""


def _way_out() -> str:
    folder = built_environment()
    if folder is None:
        return PROVISION
    return (
        f"this is the environment that was built in {folder}, of what is installed where the command is given, but for "
        f"packages from files of that machine: install those from an index there, or remove this folder if it was "
        f"changed since"
    )


@dataclass(frozen=True, kw_only=True)
class Program:
    """A copy of this program."""

    version: str
    commit: str | None
    """The commit that it is at; None where there is no checkout, and none is stated."""
    content: str
    """Digest of its files' names and content: copies of one content are the same program, whatever commit they name."""

    def __str__(self) -> str:
        at = f" at {self.commit[:12]}{'+dirty' if self.commit.endswith('+dirty') else ''}" if self.commit else ""
        return f"{self.version}{at} (content {self.content[:12]})"


@dataclass(frozen=True, kw_only=True)
class Installation:
    """What runs depend on beside the machine: the same on every machine of a campaign."""

    program: Program
    software: Mapping[SoftwareKey, Software]
    """What each backend's runs would use, with the settings of the environment."""
    factories: Mapping[str, str]
    """Digest of the module of each `module:factory` of the user's; empty for a module that isn't there."""


def read_installation(keys: Iterable[SoftwareKey], factories: Iterable[str]) -> Installation:
    """What is installed here.

    Args:
        keys: what the software of the runs depends on.
        factories: the user's `module:factory` names; nothing is imported.
    """
    return Installation(
        program=read_program(),
        software={key: read_software(key.backend, variables=variables.find(key.env)) for key in sorted(set(keys))},
        factories={name: _module_digest(name.partition(":")[0]) for name in sorted(set(factories))},
    )


def _module_digest(module: str) -> str:
    content = users_modules.source(module)
    return "" if content is None else hashlib.sha256(content).hexdigest()


def read_program() -> Program:
    """This program, as this process has imported it."""
    return Program(version=bench.__version__, commit=program_commit(), content=_content(Path(bench.__file__).parent))


def program_files(package: Path) -> list[Path]:
    """The files of a copy of this program that make it what it is, in order; what Python or a copy added isn't."""
    return sorted(
        path
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path != package / COMMIT_FILE
    )


@functools.cache
def _content(package: Path) -> str:
    whole = hashlib.sha256()
    for path in program_files(package):
        content = path.read_bytes()
        whole.update(f"{path.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()


def disagreements(driver: Installation, node: Installation) -> tuple[str, ...]:
    """Why a node's runs would not be those of the driver, a sentence for each fact; empty where they would be.

    Each names the fact, the driver's value and the node's, and the way out.
    """
    return (*_program_disagreements(driver, node), *_software_disagreements(driver, node), *_code(driver, node))


def _program_disagreements(driver: Installation, node: Installation) -> list[str]:
    if driver.program.content == node.program.content:
        return []
    return [f"the program differs: bench {driver.program} → {node.program}; {_way_out()}"]


def _software_disagreements(driver: Installation, node: Installation) -> list[str]:
    facts: dict[str, None] = {}  # most are those of every backend, and are reported once
    for key, expected in driver.software.items():
        present = node.software.get(key)
        if present is None:
            facts[f"software of {key.backend}: unknown"] = None
        else:
            facts.update(dict.fromkeys(differences(expected, present)))
    return [f"the software differs: {fact}; {_way_out()}" for fact in facts]


def _code(driver: Installation, node: Installation) -> list[str]:
    return [
        f"the code of {name} differs: {digest[:12]} → {node.factories.get(name) or 'not there'}; it must come from the "
        f"folder where the command is given, which is sent to the nodes, or from a package that they have as well"
        for name, digest in driver.factories.items()
        if node.factories.get(name) != digest
    ]
