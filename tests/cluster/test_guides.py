"""The guides to clusters: the manifest of KubeRay is one, and the commands have the options that they name."""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

from bench.cli import app
from tests.support.kuberay import RAY_JOB

GUIDES = Path(__file__).parents[2] / "docs" / "guides"


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", (GUIDES / "kubernetes.md").read_text(), re.M | re.S)
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def problems(manifest: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(RAY_JOB)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


def test_the_manifest_is_a_ray_job(manifest: dict[str, Any]) -> None:
    assert problems(manifest) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "entryPoint"), "bench run"),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "rayClusterSpec", "workerGroupSpecs"), []),
        (("spec", "rayClusterSpec", "authOptions", "mode"), "tokens"),
        (("apiVersion",), "ray.io/v1alpha1"),
        (("spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "containers", 0, "volumeMount"), []),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "replicas"), "4"),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "template", "spec", "containers", 0, "env", 0, "val"), "0"),
    ],
)
def test_the_schema_sees_what_is_wrong(manifest: dict[str, Any], path: tuple[str | int, ...], value: object) -> None:
    wrong = copy.deepcopy(manifest)
    inner: Any = wrong
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    assert len(problems(wrong)) == 1


FREE = {"labels", "matchLabels", "rayStartParams", "requests", "limits"}
"""Fields whose keys the schema leaves to who writes them."""


def keys(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all keys of a manifest that KubeRay or Kubernetes has named."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from keys(each, (*path, number))
    elif isinstance(value, dict) and path[-1:] not in {(name,) for name in FREE}:
        for name, each in value.items():
            yield (*path, name)
            yield from keys(each, (*path, name))


def test_no_field_of_the_manifest_may_be_misspelt(manifest: dict[str, Any]) -> None:
    paths = list(keys(manifest))
    assert len(paths) > 50
    for path in paths:
        wrong = copy.deepcopy(manifest)
        inner: Any = wrong
        for name in path[:-1]:
            inner = inner[name]
        inner[f"{path[-1]}s"] = inner.pop(path[-1])
        assert problems(wrong), path


def test_ray_start_has_the_parameters_of_the_manifest(manifest: dict[str, Any]) -> None:
    from ray.scripts.scripts import start

    cluster = manifest["spec"]["rayClusterSpec"]
    given = {
        name for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]) for name in group["rayStartParams"]
    }
    assert {f"--{name}" for name in given} <= {option for parameter in start.params for option in parameter.opts}


def test_only_the_workers_measure_one_on_each_machine(manifest: dict[str, Any]) -> None:
    cluster = manifest["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = cluster["workerGroupSpecs"]
    (term,) = workers["template"]["spec"]["affinity"]["podAntiAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert term["labelSelector"]["matchLabels"] == workers["template"]["metadata"]["labels"]
    (container,) = workers["template"]["spec"]["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    (head,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    assert head["image"] == container["image"]


def commands() -> list[str]:
    """Each `bench …` of the guides, and the entry point of the manifest."""
    found = []
    for name in ("kubernetes", "slurm", "ssh"):
        text = (GUIDES / f"{name}.md").read_text()
        found += re.findall(r"^(?:  entrypoint: )?(bench (?:run|slurm) .*)$", text, re.M)
    return found


def test_every_command_has_the_options_that_it_names() -> None:
    lines = commands()
    assert len(lines) >= 4
    group: Any = typer.main.get_command(app)
    for line in lines:
        _, verb, *words = shlex.split(line.partition(">")[0])
        known = {name for parameter in group.commands[verb].params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_ray_starts_with_what_the_guides_give_it() -> None:
    from ray.scripts.scripts import start

    text = "".join((GUIDES / f"{name}.md").read_text() for name in ("cluster", "ssh"))
    given = re.findall(r"ray start((?: --[\w-]+(?:[= ](?:'[^']*'|[\w.:][\w.:-]*))?)+)", text)
    assert len(given) >= 4
    for words in given:
        start.make_context("ray", shlex.split(words))


KILLED = {
    "run": "the process of a run",
    "server": "a worker's server",
    "node process": "a node's process",
    "raylet": "a raylet",
    "head": "the head (GCS)",
    "driver": "the driver",
    "stop": "a node stopped for 45 s and continued",
}


def test_the_kills_that_are_told_are_those_that_were_recorded() -> None:
    rows = json.loads((GUIDES.parent / "cluster-kills.json").read_text())
    text = " ".join((GUIDES.parent / "reliability.md").read_text().split())
    kills = Counter[str]()
    for row in rows:
        kills.update(row["kills"])
        assert all(re.fullmatch(r"\d+ ray::\w+Agent is left", each) for each in row["wrong"])
    assert kills.keys() == KILLED.keys()
    assert all(f"| {words} | {kills[kind]} |" in text for kind, words in KILLED.items())
    cases, attempts = (sum(row[name] for row in rows) for name in ("cases", "attempts"))
    assert f"{kills.total()} kills in {len(rows)} campaigns of 240 cases" in text
    assert f"{cases:,} of {cases:,} cases kept once in {attempts:,} attempts" in text
