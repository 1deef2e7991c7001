"""The guides to clusters: the manifest of KubeRay is one, and the commands have the options that they name."""

from __future__ import annotations

import copy
import re
import shlex
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
    ],
)
def test_the_schema_sees_what_is_wrong(manifest: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    wrong = copy.deepcopy(manifest)
    inner = wrong
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    assert len(problems(wrong)) == 1


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
