"""A node that lacks the driver's environment is refused by name, or equipped with it: real Ray, a real environment."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.catalog import tasks
from bench.catalog.cache import obtain
from bench.cli import app
from bench.cluster.admission import requirements_of
from bench.cluster.local_cluster import local_cluster
from bench.cluster.node import NodeSettings
from bench.cluster.nodes import Admitted, NodeEvent, Refused
from bench.cluster.provision import Provision, provision_of_driver
from bench.cluster.ray_nodes import RayNodes
from bench.core.errors import ExitCode
from bench.plan.prepare import prepare
from bench.run.session import campaign_of, software_of


def a_wheel_of_all_that_is_here(folder: Path) -> Path:
    """In the place of what takes minutes to install: a wheel that makes an environment see this one's packages.

    But for this program: `bench` is another one there.
    """
    path, info = folder / "linked-1.0-py3-none-any.whl", "linked-1.0.dist-info"
    files = {
        "linked.pth": "".join(f"{entry}\n" for entry in sys.path if "site-packages" in entry),
        "bench.py": "",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: linked\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    return path


def first_event(nodes: RayNodes) -> NodeEvent:
    while not (events := nodes.events(5.0)):
        pass
    return events[0]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> NodeSettings:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)  # Ray imports from the driver's folder too
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    prepared = prepare("quick", ["epochs=1", "seeds=0"], 0)
    plan = prepared.plan()
    data = {"mnist_5k": obtain(tasks.find("mnist_5k"), data_dir=None, report=print)}
    requirements, _ = requirements_of(plan, data, tmp_path)
    campaign = campaign_of(plan, prepared.machine.fingerprint, software_of(plan))
    return NodeSettings(
        campaign=campaign, requirements=requirements, silence_seconds=60, worker="tests.support.fake_worker"
    )


def test_a_node_without_this_program_is_refused_or_equipped(settings: NodeSettings, tmp_path: Path) -> None:
    lock = f"linked @ {a_wheel_of_all_that_is_here(tmp_path).as_uri()}\n"
    provision = Provision(lock=lock, python=platform.python_version())
    interpreter = tmp_path / "cache" / "environments" / provision.digest / "bin" / "python"
    with local_cluster(1) as address:
        with RayNodes(address, {}, provision) as nodes:
            (node,) = nodes.alive()
            nodes.start(node, settings)
            admitted = first_event(nodes)
            assert isinstance(admitted, Admitted), admitted
            assert admitted.facts.refusals == ()
            assert nodes._interpreters == {node: str(interpreter)}
        with RayNodes(address, {}) as nodes:
            nodes.alive()
            nodes._start_process(node, settings, {"py_executable": shlex.quote(str(interpreter))})
            refused = first_event(nodes)
    assert isinstance(refused, Refused), refused
    assert refused.reason.startswith("it has no such program (ModuleNotFoundError: No module named 'bench.")
    assert "--provision" in refused.reason


def test_the_drivers_environment_is_what_is_installed_here() -> None:
    notes: list[str] = []
    provision = provision_of_driver(notes.append)
    assert notes[0].startswith(f"each node gets this Python environment, {len(provision.lock.splitlines())} packages")
    assert provision.python == platform.python_version()
    assert f"numpy=={importlib.metadata.version('numpy')}\n" in provision.lock
    assert "rnn-bench" not in provision.lock
    assert sysconfig.get_paths()["purelib"] not in provision.lock


def test_without_a_cluster_there_is_nothing_to_equip() -> None:
    done = CliRunner().invoke(app, ["run", "quick", "--provision"])
    assert str(done.exception) == "--provision equips the nodes of a cluster, and none is named: add --on ray."
    assert done.exception.exit_code is ExitCode.USAGE  # type: ignore[union-attr] # the user's error
